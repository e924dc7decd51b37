"""Files of a state as values: one, and the list of those in a directory.

Modes arrive as Go's `os.FileMode`: permissions below, types and setuid at the other end of the word.
Source: golang/go `io/fs/fs.go`; tonistiigi/fsutil `types/stat.proto`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, overload

from depotlab._proto import fsutil_stat_pb2
from depotlab._values import Tabular, Value
from depotlab.buildkit.shown import bytes_text, cut, table_html, time_text

__all__ = ["FileInfo", "FileKind", "Listing", "file_info"]

FileKind = Literal["file", "directory", "symlink", "device", "pipe", "socket"]

_DIR, _SYMLINK, _DEVICE, _PIPE, _SOCKET = 1 << 31, 1 << 27, 1 << 26, 1 << 25, 1 << 24
_SETUID, _SETGID, _STICKY = 1 << 23, 1 << 22, 1 << 20
_KINDS: tuple[tuple[int, FileKind], ...] = (
    (_DIR, "directory"),
    (_SYMLINK, "symlink"),
    (_DEVICE, "device"),
    (_PIPE, "pipe"),
    (_SOCKET, "socket"),
)
_LETTERS = {
    "file": "-",
    "directory": "d",
    "symlink": "l",
    "device": "c",
    "pipe": "p",
    "socket": "s",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHOWN_ROWS = 200
_COLUMNS = ("path", "kind", "mode", "uid", "gid", "size_bytes", "modified_at", "link_target")


@dataclass(frozen=True, slots=True, repr=False)
class FileInfo(Value):
    """One file of a state.

    Attributes:
        path: In the state, absolute.
        kind: What it is; `symlink` for the link itself.
        mode: Permissions with setuid, setgid and sticky, as in `chmod`: 0o644.
        uid: Owner.
        gid: Group.
        size_bytes: Of a file its content; of a symlink its target's name; 0 for all else.
        modified_at: When its content last changed.
        link_target: Where a symlink points, as it is written; else empty.
        same_as: The path in the same directory that a hard link shares its content with; else empty. The first of
            several has none.
    """

    path: str
    kind: FileKind
    mode: int
    uid: int
    gid: int
    size_bytes: int
    modified_at: datetime
    link_target: str = ""
    same_as: str = ""

    @property
    def name(self) -> str:
        """The last part of the path; `/` for the root."""
        return posixpath.basename(self.path) or "/"

    @property
    def is_dir(self) -> bool:
        """Whether it is a directory."""
        return self.kind == "directory"

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return self.kind == "file"

    @property
    def mode_text(self) -> str:
        """Type and permissions as `ls -l` writes them: `-rwxr-xr-x`."""
        letters = list(_LETTERS[self.kind])
        for shift, special, low, high in (
            (6, 0o4000, "s", "S"),
            (3, 0o2000, "s", "S"),
            (0, 0o1000, "t", "T"),
        ):
            bits = self.mode >> shift
            letters += ["r" if bits & 4 else "-", "w" if bits & 2 else "-"]
            runs = bool(bits & 1)
            letters.append((low if runs else high) if self.mode & special else "x" if runs else "-")
        return "".join(letters)

    def __repr__(self) -> str:
        size = f" {bytes_text(self.size_bytes)}" if self.kind == "file" else ""
        target = f" -> {cut(self.link_target, 60)}" if self.kind == "symlink" else ""
        return f"<{self.kind} {cut(self.path, 100)}{target}{size} {self.mode_text}>"

    def row(self) -> dict[str, Any]:
        """Return the fields by name, for tables."""
        values = (
            self.path,
            self.kind,
            self.mode_text,
            self.uid,
            self.gid,
            self.size_bytes,
            self.modified_at,
            self.link_target,
        )
        return dict(zip(_COLUMNS, values, strict=True))


# No Sequence of files for type checkers: they would call a question for a name a mistake.
class Listing(Tabular):
    """Files in order, which a notebook shows as a table.

    `"app.py" in listing` asks for a name, or a path when it has a slash; `listing["app.py"]` gives it. Else it is
    like a tuple: a number gives one file, a slice some.

    Args:
        path: The directory, or where a search began.
        files: In the order in which they are shown.
        what: What they are called in the headline.
    """

    _columns = _COLUMNS

    def __init__(self, path: str, files: Iterable[FileInfo], *, what: str = "in") -> None:
        self.path = path
        self._files = tuple(files)
        self._what = what

    @overload
    def __getitem__(self, index: int | str) -> FileInfo: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[FileInfo, ...]: ...
    def __getitem__(self, index: int | str | slice) -> FileInfo | tuple[FileInfo, ...]:
        if isinstance(index, str):
            found = self._find(index)
            if found is None:
                raise KeyError(index)
            return found
        return self._files[index]

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[FileInfo]:
        return iter(self._files)

    def __contains__(self, wanted: object) -> bool:
        return self._find(wanted) is not None if isinstance(wanted, str) else wanted in self._files

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Listing):
            return NotImplemented
        return (self.path, self._files) == (other.path, other._files)

    def __hash__(self) -> int:
        return hash((self.path, self._files))

    def _find(self, name: str) -> FileInfo | None:
        bare = name.rstrip("/")
        full = bare if bare.startswith("/") else posixpath.join(self.path, bare)
        return next(
            (f for f in self._files if f.path == full or ("/" not in bare and f.name == bare)), None
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The last parts of the paths."""
        return tuple(file.name for file in self._files)

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths in the state."""
        return tuple(file.path for file in self._files)

    @property
    def total_bytes(self) -> int:
        """Of all regular files together, hard links once."""
        return sum(f.size_bytes for f in self._files if f.is_file and not f.same_as)

    def rows(self) -> list[dict[str, Any]]:
        """Return a dictionary for each file, for tables of any kind such as `pandas.DataFrame`."""
        return [file.row() for file in self._files]

    def _headline(self) -> str:
        entries = "entry" if len(self) == 1 else "entries"
        return f"{len(self)} {entries} {self._what} {self.path}, {bytes_text(self.total_bytes)}"

    def __repr__(self) -> str:
        names = [f.name + ("/" if f.is_dir else "") for f in self._files[:8]]
        more = ", …" if len(self) > len(names) else ""
        return (
            f"<{self._headline()}: {', '.join(names)}{more}>" if names else f"<{self._headline()}>"
        )

    def __str__(self) -> str:
        """The lines of `ls -l`."""
        return "\n".join(
            f"{f.mode_text} {f.uid:>5} {f.gid:>5} {f.size_bytes:>10} {time_text(f.modified_at)} {_name(f, self.path)}"
            for f in self._files
        )

    def _repr_html_(self) -> str:
        rows = [
            (
                cut(_name(f, self.path), 120),
                bytes_text(f.size_bytes) if f.is_file else "",
                f.mode_text,
                f"{f.uid}:{f.gid}",
                time_text(f.modified_at),
            )
            for f in self._files[:_SHOWN_ROWS]
        ]
        rest = len(self) - _SHOWN_ROWS
        return table_html(
            self._headline(),
            ("name", "size", "mode", "owner", "modified"),
            rows,
            notes=[f"and {rest} more"] if rest > 0 else (),
            right=frozenset({"size"}),
        )


def _name(file: FileInfo, folder: str) -> str:
    """The path from the folder on, with what `ls -F` adds."""
    name = posixpath.relpath(file.path, folder) if file.path.startswith("/") else file.path
    if file.is_dir:
        return name + "/"
    return f"{name} -> {file.link_target}" if file.kind == "symlink" else name


def file_info(sent: fsutil_stat_pb2.Stat, path: str) -> FileInfo:
    """Decode what the daemon says of a file.

    Args:
        sent: The message.
        path: Of the file in the state; the message has only a part of it.
    """
    kind: FileKind = next((kind for bit, kind in _KINDS if sent.mode & bit), "file")
    mode = sent.mode & 0o777
    for bit, unix in ((_SETUID, 0o4000), (_SETGID, 0o2000), (_STICKY, 0o1000)):
        if sent.mode & bit:
            mode |= unix
    is_link = kind == "symlink"
    return FileInfo(
        path=path,
        kind=kind,
        mode=mode,
        uid=sent.uid,
        gid=sent.gid,
        size_bytes=sent.size,
        modified_at=_EPOCH + timedelta(microseconds=sent.modTime // 1000),
        link_target=sent.linkname if is_link else "",
        # Of a regular file the name of an earlier entry of the same inode. Source: tonistiigi/fsutil `stat_unix.go`.
        same_as=posixpath.join(posixpath.dirname(path), sent.linkname)
        if sent.linkname and not is_link
        else "",
    )
