"""Where outputs go on this machine, as values. Nothing is opened here, only looked at."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

from depotlab._values import Value
from depotlab.errors import UsageError

__all__ = [
    "Destination",
    "Place",
    "ToDirectory",
    "ToFile",
    "ToLayout",
    "ToMemory",
    "ToStream",
    "archive",
    "directory",
    "path_of",
]

Place = str | os.PathLike[str] | BinaryIO | None
"""What a user may say for an archive: a path, a binary file object, or None for memory."""


@dataclass(frozen=True, slots=True, repr=False)
class ToFile(Value):
    """A file, which appears under its name when the whole build has succeeded, complete.

    Attributes:
        host_path: Absolute. What is there is replaced.
        limit_bytes: The most that is taken, or None.
    """

    host_path: Path
    limit_bytes: int | None = None


@dataclass(frozen=True, slots=True, repr=False)
class ToStream(Value):
    """A binary file object of the caller, which gets bytes as they come and is not closed.

    Attributes:
        stream: Its `write` is called in a thread; it may be slow.
        limit_bytes: The most that is taken, or None.
    """

    stream: BinaryIO = field(repr=False)
    limit_bytes: int | None = None


@dataclass(frozen=True, slots=True, repr=False)
class ToMemory(Value):
    """Memory of this process, see `Artifact.data`.

    Attributes:
        limit_bytes: The most that is taken, or None.
    """

    limit_bytes: int | None = None


@dataclass(frozen=True, slots=True, repr=False)
class ToDirectory(Value):
    """A directory, which gets its files when the whole build has succeeded.

    Attributes:
        host_path: Absolute; made if it is missing.
        mode: `copy` adds and replaces, `delete` also removes what the result does not have.
        devices: Make device nodes, for which one has to be root; otherwise they are left out.
        limit_bytes: The most content that is taken, all files together, or None.
    """

    host_path: Path
    mode: Literal["copy", "delete"] = "copy"
    devices: bool = False
    limit_bytes: int | None = None


@dataclass(frozen=True, slots=True, repr=False)
class ToLayout(Value):
    """A directory with an OCI image layout, which the builder fills blob by blob.

    Attributes:
        host_path: Absolute; made if it is missing.
    """

    host_path: Path


Destination = ToFile | ToStream | ToMemory | ToDirectory | ToLayout


def archive(call: str, dest: Place, limit_bytes: int | None) -> ToFile | ToStream | ToMemory:
    """Return where an archive goes.

    Args:
        call: The function that was called, for messages.
        dest: As the user gave it.
        limit_bytes: As the user gave it.

    Raises:
        UsageError: It cannot go there.
    """
    _check_limit(call, limit_bytes)
    if dest is None:
        return ToMemory(limit_bytes)
    if not isinstance(dest, str | os.PathLike):
        return ToStream(_checked_stream(call, dest), limit_bytes)
    host_path = path_of(call, dest)
    if host_path.is_dir():
        example = str(host_path / "image.tar")
        raise UsageError(
            f"{call}() writes a file, and {host_path} is a directory.",
            hint=f"name a file in it, such as {example!r}; export.local() writes directories",
        )
    if not host_path.parent.is_dir():
        raise UsageError(
            f"{call}() cannot write {host_path}: there is no directory {host_path.parent}.",
            hint=f"make it first; relative paths start from {Path.cwd()}",
        )
    return ToFile(host_path, limit_bytes)


def directory(
    call: str,
    dest: str | os.PathLike[str],
    mode: Literal["copy", "delete"],
    *,
    devices: bool,
    limit_bytes: int | None,
) -> ToDirectory:
    """Return where a tree of files goes.

    Raises:
        UsageError: It cannot go there.
    """
    _check_limit(call, limit_bytes)
    host_path = path_of(call, dest)
    _check_is_directory(call, host_path)
    if mode == "delete":
        _check_may_empty(call, host_path)
    return ToDirectory(host_path, mode, devices, limit_bytes)


def path_of(call: str, dest: Any) -> Path:
    """Return an absolute path; a later change of the working directory does not move it.

    Raises:
        UsageError: It is no path.
    """
    path = os.fspath(dest) if isinstance(dest, str | os.PathLike) else None
    if not isinstance(path, str):
        raise UsageError(
            f"{call}() takes the path of a directory, not {_kind(dest)}.",
            hint="for example 'out'; for files in memory use export.tar()",
        )
    if not path.strip() or "\0" in path:
        raise UsageError(f"{call}({path!r}) is no path.", hint="for example 'out/app.tar'")
    host_path = Path(path).expanduser().absolute()
    try:
        host_path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return host_path
    except OSError as error:  # such as a name that is too long
        reason = (error.strerror or str(error)).lower()
        raise UsageError(
            f"{call}() cannot use the path {_shortened(path)!r}: {reason}.",
            hint="name another place, or look at what is in the way there",
        ) from error
    return host_path


def _shortened(path: str) -> str:
    return path if len(path) <= 100 else f"{path[:99]}…"


def layout_directory(call: str, dest: Any) -> ToLayout:
    """Return where an OCI image layout goes.

    Raises:
        UsageError: It cannot go there.
    """
    if not isinstance(dest, str | os.PathLike):
        raise UsageError(
            f"{call}(tar=False) writes a directory, and cannot write to {_kind(dest)}.",
            hint="give the path of a directory, or leave tar=False out",
        )
    host_path = path_of(call, dest)
    _check_is_directory(call, host_path)
    return ToLayout(host_path)


def _check_is_directory(call: str, host_path: Path) -> None:
    if host_path.exists() and not host_path.is_dir():
        raise UsageError(
            f"{call}() writes a directory, and {host_path} is a file.",
            hint="name a directory; it is made if it is missing",
        )


def _check_may_empty(call: str, host_path: Path) -> None:
    """Refuse directories that nobody means to be emptied."""
    kept = {Path("/"), *_home_and_above(), *Path.cwd().parents, Path.cwd()}
    if host_path.resolve() in kept:
        raise UsageError(
            f"{call}(mode='delete') would remove what is in {host_path}, which is or holds your home "
            "or working directory.",
            hint="name a directory of its own, or use mode='copy', which removes nothing",
        )


def _home_and_above() -> list[Path]:
    try:
        home = Path.home().resolve()
    except (RuntimeError, OSError):  # a user id without an entry and without HOME
        return []
    return [home, *home.parents]


def _checked_stream(call: str, stream: Any) -> BinaryIO:
    if isinstance(stream, io.TextIOBase):
        raise UsageError(
            f"{call}() writes bytes, and this file object takes text.",
            hint="open it with mode 'wb'; for standard output use sys.stdout.buffer",
        )
    if not callable(getattr(stream, "write", None)):
        raise UsageError(
            f"{call}() cannot write to {_kind(stream)}.",
            hint="give a path, a file object opened with 'wb', or None for memory",
        )
    if getattr(stream, "closed", False) is True:
        raise UsageError(f"{call}() got a file object that is closed.", hint="open it again")
    writable = getattr(stream, "writable", None)
    if callable(writable) and not writable():
        raise UsageError(
            f"{call}() got a file object that is open for reading only.",
            hint="open it with mode 'wb'",
        )
    found: BinaryIO = stream
    return found


def _check_limit(call: str, limit_bytes: Any) -> None:
    if limit_bytes is None:
        return
    if isinstance(limit_bytes, bool) or not isinstance(limit_bytes, int) or limit_bytes < 1:
        raise UsageError(
            f"{call}(limit_bytes={limit_bytes!r}) is not a number of bytes.",
            hint="for example 2 * 1024**3 for 2 GiB; leave it out for no limit",
        )


def _kind(value: Any) -> str:
    """Say what a value is without showing it: it may be the data of somebody."""
    return f"an object of type {type(value).__name__}" if value is not None else "None"
