"""File actions as values: what `mkdir`, `mkfile`, `copy`, `rm` and `symlink` make.

An action belongs to no state. `state.file(a, b, c)` applies a chain in one op; `a.on(state)` binds a chain to
another state, to be copied from. Source of the rules: buildkit client/llb/fileop.go.
"""

# ruff: noqa: SLF001  (a State hides its pieces from users, not from the files of its room)
from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack

from depotlab._values import Value
from depotlab.llb._check import boolean, guest, refuse, some, strings, unknown_option
from depotlab.llb._check import mode as check_mode
from depotlab.llb._filespecs import (
    Copy,
    Instant,
    Mkdir,
    Mkfile,
    Owner,
    Rm,
    Spec,
    Symlink,
    as_owner,
    as_timestamp_ns,
)
from depotlab.llb._wire import flag

if TYPE_CHECKING:
    from depotlab.llb._state import State

GuestPath = str | os.PathLike[str]


class CopyOptions(TypedDict, total=False):
    """Options of `copy`. Those left out are as a Dockerfile's COPY has them.

    Attributes:
        include: Copy only what matches one of these patterns, relative to the copied directory.
        exclude: Leave out what matches one of these, even if it is included.
        required: Paths that must be among the included.
        mode: Permission bits such as 0o644, or words such as `u=rwX,go=rX`; kept when left out.
        owner: `user`, `user:group` (names are looked up in the state copied to) or (uid, gid); root when left out.
        created_at: Modification time; an int is nanoseconds since 1970.
        follow_symlinks: If the source is a link, copy what it points to. Default True.
        copy_dir_contents_only: Of a directory copy what is in it, not the directory. Default True.
        create_dest_path: Make missing directories above the destination. Default True.
        allow_wildcard: `*`, `?` and `[…]` in the source match names. Default True.
        allow_empty_wildcard: A wildcard may match nothing. Default False.
        attempt_unpack: Unpack the source if it is an archive, as ADD does. Default False.
        always_replace_existing_dest_paths: Replace what is in the way with another type. Default False.
        dot_is_dir: A destination `.` or `` is the working directory. Default True; with False, as
            in the Go client, a file takes its place if it does not exist.
    """

    include: Iterable[str]
    exclude: Iterable[str]
    required: Iterable[str]
    mode: int | str | None
    owner: Owner | None
    created_at: Instant | None
    follow_symlinks: bool
    copy_dir_contents_only: bool
    create_dest_path: bool
    allow_wildcard: bool
    allow_empty_wildcard: bool
    attempt_unpack: bool
    always_replace_existing_dest_paths: bool
    dot_is_dir: bool


COPY_NAMES = frozenset(CopyOptions.__annotations__)

# Field numbers in `pb.FileActionCopy`, and the defaults.
_COPY_FLAGS: Final = {
    "follow_symlinks": (5, True),
    "copy_dir_contents_only": (6, True),
    "attempt_unpack": (7, False),
    "create_dest_path": (8, True),
    "allow_wildcard": (9, True),
    "allow_empty_wildcard": (10, False),
}


class FileAction(Value):
    """A chain of file actions, the newest last. A value: every method returns a new one."""

    __slots__ = ("_prev", "_spec")

    def __init__(self, spec: Spec, prev: FileAction | None = None) -> None:
        self._spec = spec
        self._prev = prev

    def mkdir(
        self,
        path: GuestPath,
        mode: int = 0o755,
        *,
        parents: bool = False,
        owner: Owner | None = None,
        created_at: Instant | None = None,
    ) -> FileAction:
        """Make a directory after this. See `llb.mkdir`."""
        return FileAction(_mkdir(path, mode, parents, owner, created_at), self)

    def mkfile(
        self,
        path: GuestPath,
        data: str | bytes = b"",
        mode: int = 0o644,
        *,
        owner: Owner | None = None,
        created_at: Instant | None = None,
    ) -> FileAction:
        """Make a file after this. See `llb.mkfile`."""
        return FileAction(_mkfile(path, data, mode, owner, created_at), self)

    def rm(
        self, path: GuestPath, *, allow_not_found: bool = False, allow_wildcard: bool = False
    ) -> FileAction:
        """Remove a file or directory after this. See `llb.rm`."""
        return FileAction(_rm(path, allow_not_found, allow_wildcard), self)

    def symlink(
        self,
        oldpath: GuestPath,
        newpath: GuestPath,
        *,
        owner: Owner | None = None,
        created_at: Instant | None = None,
    ) -> FileAction:
        """Make a symbolic link after this. See `llb.symlink`."""
        return FileAction(_symlink(oldpath, newpath, owner, created_at), self)

    def copy(
        self, source: State | Bound | None, *paths: GuestPath, **options: Unpack[CopyOptions]
    ) -> FileAction:
        """Copy after this. See `llb.copy`."""
        return _chain(self, copy_specs(source, paths, options))

    def on(self, state: State) -> Bound:
        """Return what the chain makes of `state`, to be copied from in another chain."""
        if not hasattr(state, "_edge"):
            refuse(f"on({state!r}) needs a state.")
        return Bound(self, state)

    def _specs(self) -> list[Spec]:
        found: list[Spec] = []
        action: FileAction | None = self
        while action is not None:
            found.append(action._spec)
            action = action._prev
        found.reverse()
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FileAction) and self._specs() == other._specs()

    def __hash__(self) -> int:
        return hash(tuple(self._specs()))

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuild_chain, (self._specs(),)

    def __repr__(self) -> str:
        words = [spec.words("/", "/") for spec in self._specs()]
        shown = (
            words if len(words) <= 6 else [*words[:3], f"… {len(words) - 6} more …", *words[-3:]]
        )
        return f"FileAction({', '.join(shown)})"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Bound(Value):
    """A chain of actions applied to a state, as the source of a copy. Used twice, it is done once."""

    action: FileAction
    state: State


def rebuild_chain(specs: list[Spec]) -> FileAction:
    return _chain(None, specs)


def _chain(prev: FileAction | None, specs: Iterable[Spec]) -> FileAction:
    for spec in specs:
        prev = FileAction(spec, prev)
    assert prev is not None
    return prev


def specs_of(actions: Iterable[Any]) -> Iterator[Spec]:
    """Yield the single actions of several chains."""
    for number, action in enumerate(actions):
        if not isinstance(action, FileAction):
            refuse(
                f"file() argument {number} is {action!r}, not a file action.",
                hint="write file(llb.mkdir('/a'), llb.mkfile('/a/b', 'text'))",
            )
        yield from action._specs()


def _path(argument: str, value: Any) -> str:
    return guest(argument, value)


def _mkdir(
    path: GuestPath, mode: int, parents: bool, owner: Owner | None, created_at: Instant | None
) -> Mkdir:
    return Mkdir(
        _path("path", path),
        check_mode("mode", mode),
        boolean("parents", parents),
        as_owner(owner),
        as_timestamp_ns(created_at),
    )


def _mkfile(
    path: GuestPath,
    data: Any,
    mode: int,
    owner: Owner | None,
    created_at: Instant | None,
) -> Mkfile:
    if isinstance(data, str):
        try:
            data = data.encode()
        except UnicodeEncodeError:
            refuse(f"the content of {path!r} cannot be written in UTF-8.", hint="give bytes")
    elif isinstance(data, (bytearray, memoryview)):
        data = bytes(data)
    elif not isinstance(data, bytes):
        refuse(
            f"the content of {path!r} is not text or bytes but {type(data).__name__}.",
            hint="the content comes before the mode: mkfile('/a', 'text', 0o644)",
        )
    return Mkfile(
        _path("path", path),
        check_mode("mode", mode),
        data,
        as_owner(owner),
        as_timestamp_ns(created_at),
    )


def _rm(path: GuestPath, allow_not_found: bool, allow_wildcard: bool) -> Rm:
    return Rm(
        _path("path", path),
        boolean("allow_not_found", allow_not_found),
        boolean("allow_wildcard", allow_wildcard),
    )


def _symlink(
    oldpath: GuestPath, newpath: GuestPath, owner: Owner | None, created_at: Instant | None
) -> Symlink:
    return Symlink(
        _path("oldpath", oldpath),
        _path("newpath", newpath),
        as_owner(owner),
        as_timestamp_ns(created_at),
    )


def copy_specs(source: Any, paths: tuple[GuestPath, ...], options: CopyOptions) -> list[Copy]:
    """Return one action per source path of a copy."""
    if source is not None and not isinstance(source, Bound) and not hasattr(source, "_edge"):
        refuse(
            f"copy() source {source!r} is not a state.",
            hint="write copy(llb.local('.'), 'from', 'to'); None copies within the state itself",
        )
    if len(paths) < 2:
        refuse(
            "copy() needs a source path and a destination.", hint="write copy(src, 'from', 'to')"
        )
    *sources, dest = (_path("path", path) for path in paths)
    if len(sources) > 1 and not dest.endswith(("/", ".")):
        refuse(
            f"copy() has {len(sources)} source paths, so its destination {dest!r} must be a directory.",
            hint=f"did you mean {dest + '/'!r}?",
        )
    if options.get("dot_is_dir", True) and dest in {"", "."}:
        dest = "./"
    flags = {
        name: boolean(name, options.get(name, default))
        for name, (_, default) in _COPY_FLAGS.items()
    }
    replace_existing = boolean(
        "always_replace_existing_dest_paths",
        options.get("always_replace_existing_dest_paths", False),
    )
    mode = options.get("mode")
    if isinstance(mode, str):
        some("mode", mode)
    elif mode is not None:
        check_mode("mode", mode)
    encoded_flags = (
        b"".join(flag(_COPY_FLAGS[name][0], value) for name, value in flags.items()),
        flag(14, replace_existing),
    )
    shared = (
        mode,
        encoded_flags,
        strings("include", options.get("include", ())),
        strings("exclude", options.get("exclude", ())),
        strings("required", options.get("required", ())),
        as_owner(options.get("owner")),
        as_timestamp_ns(options.get("created_at")),
    )
    return [Copy(source, path, dest, *shared) for path in sources]


def mkdir(
    path: GuestPath,
    mode: int = 0o755,
    *,
    parents: bool = False,
    owner: Owner | None = None,
    created_at: Instant | None = None,
) -> FileAction:
    """Make a directory.

    Args:
        path: Absolute, or relative to the directory of the state it is applied to.
        mode: Permission bits; BuildKit keeps the low nine.
        parents: Make missing directories above, and accept an existing one.
        owner: `user`, `user:group` (names are looked up in the state) or (uid, gid).
        created_at: Modification time; an int is nanoseconds since 1970.
    """
    return FileAction(_mkdir(path, mode, parents, owner, created_at))


def mkfile(
    path: GuestPath,
    data: str | bytes = b"",
    mode: int = 0o644,
    *,
    owner: Owner | None = None,
    created_at: Instant | None = None,
) -> FileAction:
    """Make a file with this content; see `mkdir` for the rest."""
    return FileAction(_mkfile(path, data, mode, owner, created_at))


def rm(
    path: GuestPath, *, allow_not_found: bool = False, allow_wildcard: bool = False
) -> FileAction:
    """Remove a file, or a directory with all that is in it.

    Args:
        path: Absolute, or relative to the directory of the state it is applied to.
        allow_not_found: It may be missing.
        allow_wildcard: `*`, `?` and `[…]` match names.
    """
    return FileAction(_rm(path, allow_not_found, allow_wildcard))


def symlink(
    oldpath: GuestPath,
    newpath: GuestPath,
    *,
    owner: Owner | None = None,
    created_at: Instant | None = None,
) -> FileAction:
    """Make `newpath` a symbolic link to `oldpath`. Neither is taken relative to the state's directory.

    Args:
        oldpath: What the link says, as it is.
        newpath: The link.
        owner: Of the link.
        created_at: Its time.
    """
    return FileAction(_symlink(oldpath, newpath, owner, created_at))


def copy(
    source: State | Bound | None, *paths: GuestPath, **options: Unpack[CopyOptions]
) -> FileAction:
    """Copy files, as COPY does.

    Args:
        source: The state to copy from, or actions bound to one; None is the state itself.
        paths: One or more source paths, relative to the directory of `source`, and the destination. Of a
            directory its contents are copied. A destination that ends in `/`, or is `.`, is a directory.
        options: See `CopyOptions`.
    """
    for option in options:
        if option not in COPY_NAMES:
            unknown_option("copy", option, COPY_NAMES)
    return _chain(None, copy_specs(source, paths, options))
