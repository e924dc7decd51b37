"""Mounts of a run: files of other states, caches, memory, secrets, an SSH agent.

`from depotlab import mount` gives the same constructors without the rest of `llb`.
"""

# ruff: noqa: SLF001  (a State hides its pieces from users, not from the files of its room)
from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from depotlab._values import Value
from depotlab.llb._check import (
    boolean,
    choice,
    guest,
    integer,
    refuse,
    some,
    string,
    unique_id,
)
from depotlab.llb._check import (
    mode as check_mode,
)
from depotlab.llb._op import Edge, content_key
from depotlab.llb._paths import clean
from depotlab.llb._wire import field as wire_field
from depotlab.llb._wire import flag, text
from depotlab.llb._wire import integer as wire_integer

if TYPE_CHECKING:
    from depotlab.llb._state import State

GuestPath = str | os.PathLike[str]

SHARING = {"shared": 0, "private": 1, "locked": 2}
CONTENT_CACHE = {"default": 0, "on": 1, "off": 2}

_set = object.__setattr__

# What most mounts need, as one object that can be compared by identity.
BIND_CAPS = frozenset({"exec.mount.bind"})

_TYPE_CACHE, _TYPE_TMPFS, _TYPE_SECRET, _TYPE_SSH = 3, 4, 1, 2


class Place:
    """What a mount is, apart from where its files come from.

    Equal ones are one object, so that its encoded form is worked out once, however many runs
    mount the same way.
    """

    __slots__ = (
        "caps",
        "fields",
        "has_output",
        "is_tmpfs",
        "readonly",
        "target",
    )

    def __init__(
        self,
        target: str,
        source_path: str,
        readonly: bool,
        output: bool,
        cache_id: str,
        sharing: str,
        tmpfs_bytes: int | None,
        content_cache: str,
    ) -> None:
        self.fields = (
            some("target", target),
            string("source_path", source_path),
            boolean("readonly", readonly),
            boolean("output", output),
            string("cache_id", cache_id),
            choice("sharing", sharing, SHARING),
            None if tmpfs_bytes is None else integer("size_bytes", tmpfs_bytes, 0, 2**63 - 1),
            choice("content_cache", content_cache, CONTENT_CACHE),
        )
        self.target = target
        self.readonly = readonly
        self.has_output = output and not readonly and not cache_id and tmpfs_bytes is None
        self.is_tmpfs = tmpfs_bytes is not None
        # What a daemon must know for it, by whether it starts from files.
        self.caps = {from_files: self._caps(from_files) for from_files in (False, True)}

    def why_no_output(self) -> str:
        _, _, _, _, cache_id, _, tmpfs_bytes, _ = self.fields
        if tmpfs_bytes is not None:
            return "is a tmpfs, which is gone when the run ends"
        if cache_id:
            return "is a cache, which belongs to no step"
        return "was mounted with output=False"

    def encode(self, number: int, output: int) -> bytes:
        """Return the field `mounts` of `pb.ExecOp`, by input and output numbers; -1 is none."""
        return wire_field(2, wire_integer(1, number) + self._encode(output))

    def _encode(self, output: int) -> bytes:
        target, source_path, readonly, _, cache_id, sharing, tmpfs_bytes, content_cache = (
            self.fields
        )
        parts = [text(2, source_path), text(3, target), wire_integer(4, output), flag(5, readonly)]
        if tmpfs_bytes is not None:
            parts.append(wire_integer(6, _TYPE_TMPFS))
            parts.append(wire_field(19, wire_integer(1, tmpfs_bytes)))
        elif cache_id:
            parts.append(wire_integer(6, _TYPE_CACHE))
            parts.append(wire_field(20, text(1, cache_id) + wire_integer(2, SHARING[sharing])))
        parts.append(wire_integer(24, CONTENT_CACHE[content_cache]))
        return b"".join(parts)

    def _caps(self, from_files: bool) -> frozenset[str]:
        _, source_path, _, _, cache_id, _, tmpfs_bytes, content_cache = self.fields
        found = set()
        if source_path:
            found.add("exec.mount.selector")
        if cache_id:
            found |= {"exec.mount.cache", "exec.mount.cache.sharing"}
        elif tmpfs_bytes is not None:
            found.add("exec.mount.tmpfs")
            if tmpfs_bytes > 0:
                found.add("exec.mount.tmpfs.size")
        elif from_files:
            found.add("exec.mount.bind")
        if content_cache != "default":
            found.add("exec.mount.cache.content")
        return BIND_CAPS if found == BIND_CAPS else frozenset(found)

    def __reduce__(self) -> tuple[Any, ...]:
        return place, self.fields


# Plain binds by target and whether they are read-only: the usual ones, found without hashing all fields.
_plain_binds: dict[tuple[str, bool], Place] = {}
_MAX_PLAIN_BINDS = 4096

# `typed` keeps 1 and True apart, which are equal but not both legal.
_cached_place = functools.lru_cache(maxsize=4096, typed=True)(Place)


def place(
    target: str,
    source_path: str = "",
    readonly: bool = False,
    output: bool = True,
    cache_id: str = "",
    sharing: str = "shared",
    tmpfs_bytes: int | None = None,
    content_cache: str = "default",
) -> Place:
    """Return the one Place with these fields."""
    fields = (target, source_path, readonly, output, cache_id, sharing, tmpfs_bytes, content_cache)
    try:
        return _cached_place(*fields)
    except TypeError:  # something cannot be hashed; it is no legal value either
        return Place(*fields)


# What a mount is, and the output it shows; None is an empty directory.
Row = tuple[Place, Edge | None]


class Mount(Value):
    """A directory that a run sees. Made by `bind`, `cache` and `tmpfs`; a value, never changed."""

    __slots__ = ("_row",)
    _row: Row

    def __init__(self, place: Place, source: State | None) -> None:
        edge = None if source is None else source._edge
        if edge is not None and place.is_tmpfs:
            refuse(
                f"the tmpfs at {place.target!r} cannot start from another state.",
                hint="use mount.bind to see files of a state",
            )
        _set(self, "_row", (place, edge))

    @property
    def target(self) -> str:
        """Where the run sees it."""
        return self._row[0].target

    @property
    def readonly(self) -> bool:
        """Whether the run may only read it."""
        return self._row[0].readonly

    def _content(self) -> tuple[Any, ...]:
        place, edge = self._row
        return place.fields, None if edge is None else (content_key(edge[0]), edge[1])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mount):
            return NotImplemented
        return self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self._content())

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a Mount never changes (set {name!r})")

    def __copy__(self) -> Mount:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Mount:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        from depotlab.llb._state import fresh_state

        place, edge = self._row
        return Mount, (place, None if edge is None else fresh_state(edge))

    def __repr__(self) -> str:
        from depotlab.llb._explain import words

        place, edge = self._row
        target, source_path, readonly, output, cache_id, sharing, tmpfs_bytes, _ = place.fields
        if tmpfs_bytes is not None:
            return f"mount.tmpfs({target!r}, size_bytes={tmpfs_bytes})"
        shown = [repr(target)]
        if edge is not None:
            shown.append(f"<{words(edge[0])}>")
        if source_path:
            shown.append(f"source_path={source_path!r}")
        if cache_id:
            return f"mount.cache({', '.join(shown)}, id={cache_id!r}, sharing={sharing!r})"
        shown += [f"readonly={readonly}"] + ["output=False"] * (not output)
        return f"mount.bind({', '.join(shown)})"


@dataclass(frozen=True, slots=True, repr=False)
class Secret(Value):
    """A secret that a run sees as a file at `target`, in the variable `env`, or both."""

    id: str
    target: str | None = None
    env: str | None = None
    uid: int = 0
    gid: int = 0
    mode: int = 0o400
    optional: bool = False

    def encode_env(self) -> bytes:
        """Return the message `pb.SecretEnv`."""
        return text(1, self.id) + text(2, self.env or "") + flag(3, self.optional)

    def encode_mount(self) -> bytes:
        """Return the field `mounts` of `pb.ExecOp`."""
        owner = _encode_agent(self.id, self.uid, self.gid, self.mode, self.optional)
        return _external(self.target or "", _TYPE_SECRET, wire_field(21, owner))


@dataclass(frozen=True, slots=True, repr=False)
class Ssh(Value):
    """The socket of an SSH agent that a run sees at `target`."""

    id: str = ""
    target: str = ""
    uid: int = 0
    gid: int = 0
    mode: int = 0o600
    optional: bool = False

    def encode_mount(self, target: str) -> bytes:
        """Return the field `mounts` of `pb.ExecOp`."""
        owner = _encode_agent(self.id, self.uid, self.gid, self.mode, self.optional)
        return _external(target, _TYPE_SSH, wire_field(22, owner))


def _external(target: str, mount_type: int, options: bytes) -> bytes:
    # Input -1, but output 0: the Go client leaves the output unset here (client/llb/exec.go).
    return wire_integer(1, -1) + text(3, target) + wire_integer(6, mount_type) + options


def _encode_agent(id_: str, uid: int, gid: int, bits: int, optional: bool) -> bytes:
    return (
        text(1, id_)
        + wire_integer(2, uid)
        + wire_integer(3, gid)
        + wire_integer(4, bits)
        + flag(5, optional)
    )


def _refuse_source(value: Any) -> NoReturn:
    refuse(
        f"the source of a mount is {value!r}, not a state.",
        hint="the target comes first: mount.bind('/src', llb.local('.'))",
    )


def _as_source(value: Any) -> State | None:
    if value is not None and not hasattr(value, "_edge"):
        _refuse_source(value)
    return value  # type: ignore[no-any-return]  # checked


def _as_path(argument: str, value: Any) -> str:
    return value if value.__class__ is str else guest(argument, value)


def bind(
    target: GuestPath,
    source: State | None = None,
    *,
    source_path: GuestPath = "",
    readonly: bool | None = None,
    output: bool = True,
    content_cache: str = "default",
) -> Mount:
    """Mount the files of a state.

    Args:
        target: Where the run sees them.
        source: The state; None is an empty directory to write into.
        source_path: A file or directory in `source`, instead of its root.
        readonly: Read-only unless said otherwise, as in a Dockerfile; an empty directory is writable.
        output: False if what the run leaves in a writable mount is not wanted.
        content_cache: `on` or `off` to force or deny that the run is cached by the files' content.

    Example:
        >>> from depotlab import llb
        >>> run = llb.image("busybox").run("date > /out/now", mounts=[bind("/out")])
        >>> run.mounted("/out").digest == run.digest
        True
    """
    edge = None
    if source is not None:
        edge = source._edge if hasattr(source, "_edge") else _refuse_source(source)
    if readonly is None:
        readonly = edge is not None
    if target.__class__ is not str:
        target = guest("target", target)
    what = None
    plain = source_path == "" and output is True and content_cache == "default"
    if plain and readonly.__class__ is bool:
        what = _plain_binds.get((target, readonly))
    if what is None:
        inner = guest("source_path", source_path)
        what = place(target, inner, readonly, output, content_cache=content_cache)
        if plain and len(_plain_binds) < _MAX_PLAIN_BINDS:
            _plain_binds[target, readonly] = what
    mount = Mount.__new__(Mount)
    _set(mount, "_row", (what, edge))
    return mount


def cache(
    target: GuestPath,
    source: State | None = None,
    *,
    id: str | None = None,  # noqa: A002  (BuildKit's word)
    sharing: str = "shared",
    source_path: GuestPath = "",
    readonly: bool = False,
    content_cache: str = "default",
) -> Mount:
    """Mount a directory that builds keep between them.

    Args:
        target: Where the run sees it.
        source: What a new cache starts with; None is empty.
        id: Runs with the same id share the directory; the target when not given.
        sharing: `shared` for several writers at once, `private` for a new directory if it is in use,
            `locked` to wait.
        source_path: A directory in `source`, instead of its root.
        readonly: Deny writing.
        content_cache: See `bind`.

    Example:
        >>> from depotlab import llb, mount
        >>> pip = mount.cache("/root/.cache/pip")
        >>> image = llb.image("python:3.12-slim").run("pip install flask", mounts=[pip])
    """
    where, inner = _as_path("target", target), _as_path("source_path", source_path)
    name = clean(where) if id is None else some("id", id)
    what = place(where, inner, readonly, True, name, sharing, content_cache=content_cache)
    return Mount(what, _as_source(source))


def tmpfs(target: GuestPath, *, size_bytes: int = 0) -> Mount:
    """Mount memory that is gone after the run.

    Args:
        target: Where the run sees it.
        size_bytes: The most it may hold; 0 leaves it to the system.
    """
    return Mount(place(_as_path("target", target), tmpfs_bytes=size_bytes), None)


def secret(
    id: str,  # noqa: A002  (BuildKit's word)
    target: GuestPath | None = None,
    *,
    env: str | None = None,
    uid: int = 0,
    gid: int = 0,
    mode: int = 0o400,
    optional: bool = False,
) -> Secret:
    """Show a secret to a run. Its value never becomes part of the graph, the cache or the image.

    Args:
        id: The name under which the build is given the value.
        target: The file it appears in; `/run/secrets/ID` if neither this nor `env` is given.
        env: The variable it appears in.
        uid: Owner of the file, as `gid` is its group.
        gid: See `uid`.
        mode: Permission bits of the file.
        optional: Run without it if the build is not given a value.
    """
    name = some("id", id)
    path = None if target is None else some("target", guest("target", target))
    if path is None and env is None:
        path = f"/run/secrets/{name}"
    return Secret(
        name,
        path,
        None if env is None else some("env", env),
        unique_id("uid", uid),
        unique_id("gid", gid),
        check_mode("mode", mode),
        boolean("optional", optional),
    )


def ssh(
    id: str = "",  # noqa: A002  (BuildKit's word)
    target: GuestPath | None = None,
    *,
    uid: int = 0,
    gid: int = 0,
    mode: int = 0o600,
    optional: bool = False,
) -> Ssh:
    """Let a run use an SSH agent of this machine; `SSH_AUTH_SOCK` is set for it.

    Args:
        id: Which agent; empty is the default one.
        target: The socket; `/run/buildkit/ssh_agent.N` when not given.
        uid: Owner of the socket, as `gid` is its group.
        gid: See `uid`.
        mode: Permission bits of the socket.
        optional: Run without it if the build is not given an agent.
    """
    return Ssh(
        string("id", id),
        "" if target is None else some("target", guest("target", target)),
        unique_id("uid", uid),
        unique_id("gid", gid),
        check_mode("mode", mode),
        boolean("optional", optional),
    )
