"""Single file actions as values, and how each is written.

Source of the rules: buildkit client/llb/fileop.go; field numbers: solver/pb/ops.proto.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from depotlab.llb._check import integer, refuse, some
from depotlab.llb._paths import clean, effective_dir, guest_path, join
from depotlab.llb._wire import INT, field, flag, text, texts, varint
from depotlab.llb._wire import integer as wire_integer

if TYPE_CHECKING:
    from depotlab.llb._actions import Bound
    from depotlab.llb._state import State

# `user`, `user:group`, a number, or (uid, gid).
Owner = str | int | tuple[int, int]
# An instant with a time zone, or nanoseconds since 1970.
Instant = datetime | int

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_number = re.compile(r"[+-]?[0-9]+")


@dataclass(frozen=True, slots=True)
class User:
    """One half of an owner: a name to look up in the files of the base state, or a number."""

    name: str = ""
    number: int = 0

    def encode(self, base: int) -> bytes:
        if self.name:
            return field(1, text(1, self.name) + wire_integer(2, base))
        # A member of a union is written even when it is zero.
        return INT[2] + varint(self.number & 0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class Chown:
    user: User
    group: User | None = None

    def encode(self, base: int) -> bytes:
        group = b"" if self.group is None else field(2, self.group.encode(base))
        return field(1, self.user.encode(base)) + group


def _as_user(word: str) -> User:
    if word == "root":
        return User(number=0)
    if _number.fullmatch(word) and -(2**31) <= int(word) < 2**31:
        return User(number=int(word))
    return User(name=word)


def as_owner(value: Any) -> Chown | None:
    if value is None:
        return None
    if isinstance(value, str):
        user, colon, group = some("owner", value).partition(":")
        return Chown(_as_user(user), _as_user(group) if colon else None)
    if isinstance(value, tuple) and len(value) == 2:
        uid, gid = (integer("owner", number, 0, 2**32 - 1) for number in value)
        return Chown(User(number=uid), User(number=gid))
    if isinstance(value, int) and not isinstance(value, bool):
        return Chown(User(number=integer("owner", value, 0, 2**32 - 1)))
    refuse(f"owner={value!r} is neither 'user:group' nor (uid, gid).")
    return None


def as_timestamp_ns(value: Any) -> int:
    """Return nanoseconds since 1970; -1 stands for: not set."""
    if value is None:
        return -1
    if isinstance(value, datetime):
        if value.tzinfo is None:
            refuse(f"created_at={value!r} has no time zone.", hint="add tzinfo=datetime.UTC")
        # Whole microseconds, exactly; a float would lose some.
        return (value - _EPOCH) // timedelta(microseconds=1) * 1000
    return integer("created_at", value, -(2**63), 2**63 - 1)


@dataclass(frozen=True, slots=True)
class Mkdir:
    path: str
    mode: int
    parents: bool
    owner: Chown | None
    timestamp_ns: int

    def encode(self, directory: str, base: int, source_directory: str) -> tuple[int, bytes]:
        return 6, b"".join(
            (
                text(1, guest_path(directory, self.path, keep_slash=False)),
                wire_integer(2, self.mode & 0o777),
                flag(3, self.parents),
                b"" if self.owner is None else field(4, self.owner.encode(base)),
                wire_integer(5, self.timestamp_ns),
            )
        )

    def words(self, directory: str, source_directory: str) -> str:
        return f"mkdir {guest_path(directory, self.path, keep_slash=False)}"


@dataclass(frozen=True, slots=True)
class Mkfile:
    path: str
    mode: int
    data: bytes
    owner: Chown | None
    timestamp_ns: int

    def encode(self, directory: str, base: int, source_directory: str) -> tuple[int, bytes]:
        return 5, b"".join(
            (
                text(1, guest_path(directory, self.path, keep_slash=False)),
                wire_integer(2, self.mode & 0o777),
                field(3, self.data) if self.data else b"",
                b"" if self.owner is None else field(4, self.owner.encode(base)),
                wire_integer(5, self.timestamp_ns),
            )
        )

    def words(self, directory: str, source_directory: str) -> str:
        return f"mkfile {guest_path(directory, self.path, keep_slash=False)}"


@dataclass(frozen=True, slots=True)
class Rm:
    path: str
    allow_not_found: bool
    allow_wildcard: bool

    def encode(self, directory: str, base: int, source_directory: str) -> tuple[int, bytes]:
        path = guest_path(directory, self.path, keep_slash=False)
        return 7, text(1, path) + flag(2, self.allow_not_found) + flag(3, self.allow_wildcard)

    def words(self, directory: str, source_directory: str) -> str:
        return f"rm {guest_path(directory, self.path, keep_slash=False)}"


@dataclass(frozen=True, slots=True)
class Symlink:
    oldpath: str
    newpath: str
    owner: Chown | None
    timestamp_ns: int

    def encode(self, directory: str, base: int, source_directory: str) -> tuple[int, bytes]:
        # Both paths go as they are, also relative ones.
        owner = b"" if self.owner is None else field(3, self.owner.encode(base))
        return 8, (
            text(1, self.oldpath)
            + text(2, self.newpath)
            + owner
            + wire_integer(4, self.timestamp_ns)
        )

    def words(self, directory: str, source_directory: str) -> str:
        return f"symlink {self.newpath} -> {self.oldpath}"


@dataclass(frozen=True, slots=True)
class Copy:
    """`flags` are the encoded fields 5 to 10 and 14 of `pb.FileActionCopy`, which are all true or absent."""

    source: State | Bound | None
    src: str
    dest: str
    mode: int | str | None
    flags: tuple[bytes, bytes]
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    required: tuple[str, ...]
    owner: Chown | None
    timestamp_ns: int

    def encode(self, directory: str, base: int, source_directory: str) -> tuple[int, bytes]:
        symbolic = self.mode if isinstance(self.mode, str) else ""
        bits = -1 if self.mode is None else 0 if symbolic else self.mode
        assert isinstance(bits, int)
        return 4, b"".join(
            (
                text(1, self._source_path(source_directory)),
                text(2, guest_path(directory, self.dest, keep_slash=True)),
                b"" if self.owner is None else field(3, self.owner.encode(base)),
                wire_integer(4, bits),
                self.flags[0],
                wire_integer(11, self.timestamp_ns),
                texts(12, self.include),
                texts(13, self.exclude),
                self.flags[1],
                text(15, symbolic),
                texts(16, self.required),
            )
        )

    def detached(self) -> Copy:
        """Return the same without the source."""
        return self if self.source is None else replace(self, source=None)

    def _source_path(self, source_directory: str) -> str:
        path = clean(self.src)
        return join("/" if path.startswith("/") else effective_dir(source_directory), path)

    def words(self, directory: str, source_directory: str) -> str:
        dest = guest_path(directory, self.dest, keep_slash=True)
        return f"copy {self._source_path(source_directory)} {dest}"


Spec = Mkdir | Mkfile | Rm | Symlink | Copy


def uses_directory(spec: Spec) -> bool:
    """Return whether an action takes a path relative to the directory of the state it changes."""
    match spec:
        case Symlink():
            return False
        case Copy():
            return not spec.dest.startswith("/")
        case _:
            return not spec.path.startswith("/")
