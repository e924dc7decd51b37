"""The kinds of contexts: one small value for each place that files of a build can come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from depotlab._contexts.ignoring import Choice
from depotlab._transfer import HostTree, MemoryTree
from depotlab._values import Value, is_unicode
from depotlab.errors import UsageError
from depotlab.llb import State

__all__ = ["Directory", "File", "Files", "Graph", "Image", "OciImage"]


@dataclass(frozen=True, slots=True, repr=False)
class File(Value):
    """A file that is given as a value, where its permissions matter.

    Attributes:
        content: Text is written as UTF-8.
        mode: Permission bits, such as 0o755 for a program.

    Example:
        >>> File("#!/bin/sh", mode=0o755).mode == 0o755
        True
    """

    content: str | bytes = field(repr=False)
    mode: int = 0o644

    def __post_init__(self) -> None:
        if not isinstance(self.content, str | bytes):
            raise UsageError(
                f"The content of a file is text or bytes, not {type(self.content).__name__}.",
                hint="encode it, for example with json.dumps(...)",
            )
        if isinstance(self.content, str) and not is_unicode(self.content):
            raise UsageError(
                "The content of a file cannot be written as UTF-8.",
                hint="pass bytes, for example text.encode('utf-8', 'surrogateescape')",
            )
        if isinstance(self.mode, bool) or not isinstance(self.mode, int) or self.mode & ~0o777:
            raise UsageError(
                f"mode={self.mode!r} is not between 0 and 0o777.", hint="write it in octal: 0o755"
            )

    @property
    def data(self) -> bytes:
        """The content as bytes."""
        return self.content.encode() if isinstance(self.content, str) else self.content


@dataclass(frozen=True, slots=True, repr=False)
class Directory(Value):
    """A directory on this machine.

    Attributes:
        host_path: Absolute.
        choice: What of it may be sent.
    """

    host_path: Path
    choice: Choice

    def __str__(self) -> str:
        return str(self.host_path)

    def tree(self) -> HostTree:
        """Return what file sync serves.

        Raises:
            ContextError: The directory, or the ignore file, is not there or cannot be read.
        """
        return HostTree(self.host_path, offered=self.choice.filter())


@dataclass(frozen=True, slots=True, repr=False)
class Files(Value):
    """Files given as values.

    Attributes:
        files: By relative path.
        choice: What of them may be sent.
    """

    files: Mapping[str, File] = field(repr=False, hash=False)
    choice: Choice

    def __str__(self) -> str:
        n_files = len(self.files)
        return f"{n_files} file{'' if n_files == 1 else 's'} in memory"

    def tree(self) -> MemoryTree:
        """Return what file sync serves.

        Raises:
            ContextError: A path cannot be one, or the ignore file cannot be read.
        """
        return MemoryTree(
            {path: file.content for path, file in self.files.items()},
            modes={path: file.mode for path, file in self.files.items()},
            offered=self.choice.filter(),
        )


@dataclass(frozen=True, slots=True, repr=False)
class Graph(Value):
    """The result of a graph.

    Attributes:
        state: The graph.
    """

    state: State

    def __str__(self) -> str:
        return repr(self.state)


@dataclass(frozen=True, slots=True, repr=False)
class Image(Value):
    """The files of an image.

    Attributes:
        ref: As it was written; `scratch` is the empty image.
    """

    ref: str

    def __str__(self) -> str:
        return self.ref


@dataclass(frozen=True, slots=True, repr=False)
class OciImage(Value):
    """The files of an image in an OCI layout on this machine.

    Attributes:
        host_path: Directory of the layout.
        ref: Tag, name or digest in it; empty for the only one.
    """

    host_path: Path
    ref: str = ""

    def __str__(self) -> str:
        return f"{self.host_path}{'' if not self.ref else ('@' if ':' in self.ref else ':') + self.ref}"
