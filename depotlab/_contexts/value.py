"""`context(...)`: from what people have at hand to a value that says where the files of a build come from.

The kind is found from the source. Texts that are URLs are remote, all others are paths; a path to a file is an
archive. Nothing is sent and no directory is walked here.
"""

from __future__ import annotations

import difflib
import io
import os
import re
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, cast

from depotlab._contexts.carriers import tar_of_bytes, tar_of_file, tar_of_path, tar_of_stream
from depotlab._contexts.ignoring import Choice, choose
from depotlab._contexts.kinds import Directory, File, Files, Graph, Image, OciImage
from depotlab._contexts.remote import Git, Http, is_remote, remote
from depotlab._contexts.tar import Tar
from depotlab._oci import oci_store
from depotlab._transfer import MemoryTree
from depotlab._values import Value
from depotlab.errors import ContextError, ReferenceInvalid, UsageError
from depotlab.llb import State, parse_reference

if TYPE_CHECKING:
    from depotlab._contexts.preview import Preview

__all__ = ["Context", "Kind", "Source", "Where", "context"]

Kind = Literal["directory", "memory", "tar", "git", "http", "graph", "image", "oci-layout"]
Where = Directory | Files | Tar | Git | Http | Graph | Image | OciImage
Source = (
    str
    | os.PathLike[str]
    | Mapping[str, str | bytes | File]
    | bytes
    | bytearray
    | memoryview
    | BinaryIO
    | Iterator[bytes]
    | Callable[[], Iterator[bytes]]
    | State
)

_KINDS: Mapping[type[Any], Kind] = {
    Directory: "directory",
    Files: "memory",
    Tar: "tar",
    Git: "git",
    Http: "http",
    Graph: "graph",
    Image: "image",
    OciImage: "oci-layout",
}
_OCI_REF = re.compile(r"(?P<path>.*?)(?:@(?P<digest>[a-z0-9]+:[0-9a-fA-F]+)|:(?P<tag>[^/:@]+))?")


@dataclass(frozen=True, slots=True, repr=False)
class Context(Value):
    """Where the files of a build come from. Make one with `depotlab.context`.

    Attributes:
        where: The place, by its kind.
    """

    where: Where

    @property
    def kind(self) -> Kind:
        """What it is: `directory`, `memory`, `tar`, `git`, `http`, `graph`, `image` or `oci-layout`."""
        return _KINDS[type(self.where)]

    def __repr__(self) -> str:
        if isinstance(self.where, Files):
            return f"<context: {self.where}>"
        return f"<context: {self.kind} {self.where}>"

    def preview(self) -> Preview:
        """Return what would be sent, before anything is: how much, what, and because of which rules.

        Walks the directory, or reads the headers of the archive; `.dockerignore` counts as the builder would
        let it. For the ignore file of a Dockerfile, ask the preview of `depotlab.dockerfile(...)`.

        Raises:
            ContextError: The directory or the archive cannot be read.
            UsageError: Nothing of it is sent from here, or it can be read only once.
        """
        from depotlab._contexts.preview import preview

        return preview(self)


def context(
    source: Source | Context,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    ignore_file: str | os.PathLike[str] | None = None,
) -> Context:
    r"""Say where the files of a build come from.

    Args:
        source: One of

            - the path of a directory;
            - a mapping of paths to text, bytes or `File`: `{"app.py": "print(1)"}`;
            - a tar archive, plain or packed with gzip, bzip2, xz or zstd: its path, its bytes, a file object opened
              in binary mode, an iterator of bytes, or a function that returns one. A file object that cannot be
              wound back and an iterator serve one build; a function serves any number;
            - the URL of a git repository (`https://host/repo.git#ref:subdir`, `git@host:repo.git`,
              `…?branch=main&subdir=app&checksum=…`) or of an archive, which the builder fetches itself;
            - a graph made with `depotlab.llb`;
            - `docker-image://REF`; `oci-layout://PATH[:TAG]` or `oci-layout://PATH@DIGEST`.
        include: Of a directory or a mapping, offer only what matches one of these patterns.
        exclude: Of a directory or a mapping, do not offer what matches one of these; `!` takes back.
        ignore_file: Rules for a directory or a mapping in the place of its `.dockerignore`, which is not
            sent then.

    Patterns are those of `.dockerignore`. What they leave out is never sent, whatever the Dockerfile says.

    Raises:
        ContextError: The directory, archive or ignore file is not there, or is nothing that can be sent.
        UsageError: The source is of no kind that is known, or an argument does not go with it.

    Example:
        >>> context({"app.py": "print(1)"})
        <context: 1 file in memory>
    """
    if isinstance(source, Context):
        if include or exclude or ignore_file is not None:
            raise UsageError(
                "context() cannot choose from what is a context already.",
                hint="give include=, exclude= and ignore_file= where the context is made",
            )
        return source
    rules = None if ignore_file is None else _host_path(ignore_file)
    choice = choose(include, exclude, rules)
    where = _where(source, choice)
    if choice != Choice() and not isinstance(where, Directory | Files):
        raise UsageError(
            f"include=, exclude= and ignore_file= go with a directory or a mapping; this is {_KINDS[type(where)]}.",
            hint="leave them out, and choose with COPY in the Dockerfile",
        )
    return Context(where)


def _where(source: Any, choice: Choice) -> Where:
    if isinstance(source, str):
        return _of_text(source, choice)
    if isinstance(source, os.PathLike):
        return _of_path(Path(source), choice)
    if isinstance(source, Mapping):
        return _of_mapping(source, choice)
    if isinstance(source, bytes | bytearray | memoryview):
        return tar_of_bytes(source)
    if isinstance(source, State):
        return Graph(source)
    if hasattr(source, "read"):
        if isinstance(source, io.TextIOBase):
            raise UsageError(
                f"{source!r} is opened as text, but an archive is bytes.",
                hint="open it with mode 'rb'",
            )
        return tar_of_file(cast("BinaryIO", source))
    if isinstance(source, Iterator) or (callable(source) and not isinstance(source, type)):
        return tar_of_stream(cast("Iterator[bytes]", source))
    raise UsageError(
        f"{reprlib.repr(source)} is nothing that the files of a build can come from.",
        hint="pass a path, a mapping of paths to contents, an archive, a URL or a graph; "
        "bk.to_state(dockerfile) is the graph of a Dockerfile",
    )


def _of_text(text: str, choice: Choice) -> Where:
    if not text.strip():
        raise UsageError("The context is empty text.", hint="for the working directory write '.'")
    scheme, colon, rest = text.partition("://")
    if colon and scheme == "docker-image":
        return _of_image(rest)
    if colon and scheme == "oci-layout":
        return _of_layout(rest)
    return remote(text) if is_remote(text) else _of_path(Path(text), choice)


def _of_path(path: Path, choice: Choice) -> Where:
    host_path = _host_path(path)
    if host_path.is_dir():
        return Directory(host_path, choice)
    if host_path.is_file():
        return tar_of_path(host_path)
    if os.path.lexists(host_path):
        kind = "a link to nothing" if host_path.is_symlink() else "neither a directory nor a file"
        raise ContextError(
            f"The build context {host_path} is {kind}.",
            path=str(host_path),
            hint="pass a directory or a tar archive",
        )
    raise ContextError(
        f"The build context {host_path} does not exist.",
        path=str(host_path),
        hint=_similar(path, host_path) or f"relative paths start from {Path.cwd()}",
    )


def _host_path(path: str | os.PathLike[str]) -> Path:
    # Path.expanduser raises RuntimeError for a user, or a home, that this computer does not know.
    return Path(os.path.expanduser(path)).absolute()  # noqa: PTH111


def _similar(path: Path, host_path: Path) -> str:
    text = str(path)
    if re.match(r"[a-z0-9-]+(\.[a-z0-9-]+)+/.+", text):
        return f"for a repository write https://{text.removesuffix('.git')}.git"
    scheme = difflib.get_close_matches(text.partition(":")[0], ("docker-image", "oci-layout"), n=1)
    if scheme and ":" in text:
        return f"did you mean {scheme[0]}://…?"
    try:
        names = [path.name for path in host_path.parent.iterdir()]
    except OSError:
        return ""
    close = difflib.get_close_matches(host_path.name, names, n=1, cutoff=0.7)
    return f"did you mean {host_path.with_name(close[0])}?" if close else ""


def _of_mapping(mapping: Mapping[Any, Any], choice: Choice) -> Files:
    files: dict[str, File] = {}
    for path, content in mapping.items():
        if not isinstance(path, str):
            raise UsageError(
                f"{path!r} is no path of a file.", hint="the keys are text such as 'app/main.py'"
            )
        if isinstance(content, File):
            files[path] = content
        elif isinstance(content, str | bytes):
            files[path] = _file(path, content)
        else:
            hint = "the values are text, bytes or File(content, mode=0o755)"
            if isinstance(content, Mapping) and content:
                hint = f"write one key for each file: {path + '/' + str(next(iter(content)))!r}"
            raise UsageError(f"The content of {path!r} is {type(content).__name__}.", hint=hint)
    MemoryTree(dict.fromkeys(files, b""))  # refuses impossible paths
    return Files(files, choice)


def _file(path: str, content: str | bytes) -> File:
    try:
        return File(content)
    except UsageError as error:
        raise UsageError(f"{path!r} in the context: {error.message}", hint=error.hint) from None


def _of_image(ref: str) -> Image:
    if ref != "scratch":
        try:
            parse_reference(ref)
        except ReferenceInvalid as error:
            raise ReferenceInvalid(
                f"docker-image://{ref} names no image: {error.message}", ref=ref, hint=error.hint
            ) from error
    return Image(ref)


def _of_layout(text: str) -> OciImage:
    found = _OCI_REF.fullmatch(text)
    assert found is not None  # every part may be empty
    host_path = _host_path(found["path"])
    if host_path.is_file():
        raise ContextError(
            f"{host_path} is a file; an OCI layout is a directory.",
            path=str(host_path),
            hint="unpack it with tar -xf, or write it with tar=False",
        )
    ref = found["digest"] or found["tag"] or ""
    oci_store(host_path, ref)
    return OciImage(host_path, ref)
