"""The op that runs a command.

Source of the rules: buildkit client/llb/exec.go. Mounts are sorted by target, secrets and sockets follow in
the order they were given; inputs are numbered by that order and merged when digest and output are equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from depotlab._values import Value
from depotlab.llb._arrange import READONLY_ROOT, ROOT, Arrangement, arrange
from depotlab.llb._check import boolean, refuse, some, string
from depotlab.llb._meta import Constraints
from depotlab.llb._mount import Row, Secret, Ssh
from depotlab.llb._op import MINUS_ONE, Context, Edge, LazyOp, Op, Rewriter
from depotlab.llb._settings import Settings, encode_env
from depotlab.llb._where import Where
from depotlab.llb._wire import INT, VARINT_COUNT, VARINTS, field, flag, text, texts, varint

# What runc gives a process when nothing sets PATH; a daemon without the capability
# exec.meta.setsdefaultpath is told (buildkit util/system/path.go).
_DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SETS_PATH: Final = "exec.meta.setsdefaultpath"

_NO_INPUT: Final = INT[1] + MINUS_ONE
_ROOT_MOUNT: Final = field(2, text(3, "/"))
_SCRATCH_ROOT_MOUNT: Final = field(2, _NO_INPUT + text(3, "/"))
_CAPS_SCRATCH: Final = frozenset({"exec.meta.base"})
_CAPS_IMAGE: Final = frozenset({"exec.meta.base", "exec.mount.bind"})


@dataclass(frozen=True, slots=True, repr=False)
class Proxy(Value):
    """Proxy variables of a run. They do not enter its cache key."""

    http: str = ""
    https: str = ""
    ftp: str = ""
    no_proxy: str = ""
    all: str = ""

    def __post_init__(self) -> None:
        for name in ("http", "https", "ftp", "no_proxy", "all"):
            string(f"Proxy {name}", getattr(self, name))

    def encode(self) -> bytes:
        """Return the message `pb.ProxyEnv`."""
        values = (self.http, self.https, self.ftp, self.no_proxy, self.all)
        return b"".join(text(number, value) for number, value in enumerate(values, start=1))


@dataclass(frozen=True, slots=True, repr=False)
class Device(Value):
    """A device by its CDI name, such as `nvidia.com/gpu=all`."""

    name: str
    optional: bool = False

    def __post_init__(self) -> None:
        some("Device name", self.name)
        boolean("Device optional", self.optional)

    def encode(self) -> bytes:
        """Return the message `pb.CDIDevice`."""
        return text(1, self.name) + flag(2, self.optional)


class Extras(NamedTuple):
    """What few runs have beside mounts of files."""

    secrets: tuple[Secret, ...] = ()
    ssh: tuple[Ssh, ...] = ()
    devices: tuple[Device, ...] = ()
    proxy: Proxy | None = None
    readonly_root: bool = False


_NO_EXTRAS: Final = Extras()
_ONLY_ROOT: Final = arrange((ROOT,))


class ExecOp(Op):
    """One run.

    Attributes:
        args: The argv.
        root: The file system it starts from; None is scratch.
        settings: The state's, with those of this run on top; relative to `origin`.
        origin: The image or lazy state whose settings are still to be learned, if any.
        places: Where the root and the mounts with files are; None if there is nothing but a writable root.
        edges: What they show, in the order of `places.places`; None is an empty directory.
        extras: Secrets and the like, or None.
    """

    __slots__ = ("_caps", "args", "edges", "extras", "origin", "places", "root", "settings")
    kind = "exec"
    passes_platform = True

    def __init__(
        self,
        args: tuple[str, ...],
        root: Edge | None,
        settings: Settings,
        origin: Op | None,
        mounts: Sequence[Row],
        extras: Extras | None,
        constraints: Constraints,
        line: Where | None,
    ) -> None:
        self.constraints = constraints
        self.where = line
        self.key = None
        self.args = args
        self.root = root
        self.settings = settings
        self.origin = origin
        self.lazy = origin.__class__ is LazyOp
        self.extras = extras
        self._caps: frozenset[str] | None = None
        if mounts or extras is not None:
            at_root = READONLY_ROOT if extras is not None and extras.readonly_root else ROOT
            self.places: Arrangement | None = arrange((at_root, *[row[0] for row in mounts]))
            self.edges: tuple[Edge | None, ...] = (root, *[row[1] for row in mounts])
            if self.places.order is not None:
                self.edges = tuple([self.edges[number] for number in self.places.order])
            self.deps = tuple([edge[0] for edge in self.edges if edge is not None])
        else:
            self.places = None
            self.edges = ()
            self.deps = () if root is None else (root[0],)

    @property
    def rows(self) -> list[Row]:
        """The places and what they show, as they are written; empty if there is only a writable root."""
        return [] if self.places is None else list(zip(self.places.places, self.edges, strict=True))

    @property
    def root_output(self) -> int:
        """The output number of a writable root."""
        places = self.places
        return 0 if places is None or places.root_row == 0 else places.output_of(places.root_row)

    def output_of(self, number: int) -> int:
        """Return the output number of a row that has an output."""
        return 0 if self.places is None else self.places.output_of(number)

    def encode(self, context: Context) -> bytes:
        constraints, settings = self.constraints, self.settings
        platform = constraints.platform or settings.platform
        platform_field = context.platform_field if platform is None else field(10, platform.encoded)
        tail = constraints.tail if not context.filters else context.tail(constraints)
        if self.extras is not None or context.caps is not None:
            return self._encode_all(context, platform_field + tail)
        if self.places is not None:
            inputs, mounts = self._encode_mounts(context, self.places, self.edges)
        elif self.root is None:
            inputs, mounts = b"", _SCRATCH_ROOT_MOUNT
        else:
            op, index = self.root
            inputs = context.input(op, index) if index else context.inputs[op]
            mounts = _ROOT_MOUNT
        # One join of all pieces; with a hundred thousand runs the copies in between would show.
        args = texts(1, self.args)
        env, rest, modes = settings.encoded
        size = len(args) + len(env) + len(rest)
        head = b"\x0a" + (VARINTS[size] if size < VARINT_COUNT else varint(size))
        size += len(head) + len(mounts) + len(modes)
        return b"".join(
            (
                inputs,
                platform_field,
                tail,
                b"\x12",
                VARINTS[size] if size < VARINT_COUNT else varint(size),
                head,
                args,
                env,
                rest,
                mounts,
                modes,
            )
        )

    def _encode_mounts(
        self, context: Context, places: Arrangement, edges: tuple[Edge | None, ...]
    ) -> tuple[bytes, bytes]:
        """Return the inputs of the op, and the mounts with files."""
        inputs: dict[bytes, int] = {}
        numbers: list[int] = []
        known = context.inputs
        for edge in edges:
            if edge is None:
                numbers.append(-1)
            else:
                op, index = edge
                read = context.input(op, index) if index else known[op]
                numbers.append(inputs.setdefault(read, len(inputs)))
        return b"".join(inputs), places.encode(tuple(numbers))

    def _encode_all(self, context: Context, between: bytes) -> bytes:
        """Return the op with everything that a run can have."""
        extras = self.extras or _NO_EXTRAS
        inputs, mounts = self._encode_mounts(
            context, self.places or _ONLY_ROOT, self.edges or (self.root,)
        )
        targets = ssh_targets(extras.ssh)
        sockets = zip(extras.ssh, targets, strict=True)
        proxy = b"" if extras.proxy is None else field(5, extras.proxy.encode())
        meta = texts(1, self.args) + self._env(context, targets) + self.settings.encode_rest(proxy)
        parts = [field(1, meta), mounts]
        parts += [field(2, s.encode_mount()) for s in extras.secrets if s.target is not None]
        parts += [field(2, socket.encode_mount(target)) for socket, target in sockets]
        parts.append(self.settings.encoded[2])
        parts += [field(5, s.encode_env()) for s in extras.secrets if s.env is not None]
        parts += [field(6, device.encode()) for device in extras.devices]
        return inputs + between + field(2, b"".join(parts))

    def _env(self, context: Context, ssh_targets: list[str]) -> bytes:
        added: dict[str, str] = {}
        if ssh_targets:
            added["SSH_AUTH_SOCK"] = ssh_targets[0]
        if context.caps is not None and _SETS_PATH not in context.caps and context.path_default:
            added["PATH"] = _DEFAULT_PATH
        if not added:
            return self.settings.encoded[0]
        present = {key for key, _ in self.settings.env}
        missing = [pair for pair in added.items() if pair[0] not in present]
        return encode_env((*self.settings.env, *missing))

    def caps(self, context: Context) -> frozenset[str]:
        found = self._caps
        if found is None:
            found = self._caps = self._own_caps()
        if context.caps is not None and _SETS_PATH in context.caps:
            return found | {_SETS_PATH}
        return found

    def _own_caps(self) -> frozenset[str]:
        found = _CAPS_SCRATCH if self.root is None else _CAPS_IMAGE
        if self.settings.caps:
            found |= self.settings.caps
        if self.constraints.metadata.resources is not None:
            found |= {"exec.meta.linux.resources"}
        places = self.places
        if places is not None:
            caps = places.caps
            if None in self.edges:
                caps = places.caps_of(tuple(edge is not None for edge in self.edges))
            if not caps <= found:
                found |= caps
        extras = self.extras
        if extras is None:
            return found
        more = []
        if extras.secrets:
            more.append("exec.mount.secret")
        if any(secret.env is not None for secret in extras.secrets):
            more.append("exec.secretenv")
        if extras.ssh:
            more.append("exec.mount.ssh")
        if extras.devices:
            more.append("exec.meta.cdi")
        if extras.proxy is not None:
            more.append("exec.meta.proxyenv")
        return found.union(more)

    def rewritten(self, rewriter: Rewriter) -> Op | Edge | None:
        root = None if self.root is None else rewriter.edge(self.root)
        before = self.rows
        rows = [(where, None if edge is None else rewriter.edge(edge)) for where, edge in before]
        origin, settings = rewriter.inherit(self.origin, self.settings)
        line = rewriter.where(self.where)
        if (
            root == self.root
            and rows == before
            and origin is self.origin
            and settings is self.settings
            and line is self.where
        ):
            return self
        at_root = 0 if self.places is None else self.places.root_row
        mounts = [row for number, row in enumerate(rows) if number != at_root]
        return ExecOp(
            self.args, root, settings, origin, mounts, self.extras, self.constraints, line
        )

    def origins(self) -> tuple[Op, ...]:
        return () if self.origin is None else (self.origin,)

    def identity(self) -> bytes:
        return self.settings.directory.encode()


def ssh_targets(sockets: tuple[Ssh, ...]) -> list[str]:
    return [s.target or f"/run/buildkit/ssh_agent.{number}" for number, s in enumerate(sockets)]


def as_argv(command: tuple[Any, ...]) -> tuple[str, ...]:
    """Return the argv of a `run` call: one text is a shell command, several or a list are the argv."""
    if len(command) == 1:
        only = command[0]
        if isinstance(only, str):
            if not only.strip():
                refuse("run() got an empty command.", hint="write run('make test')")
            return "/bin/sh", "-c", string("command", only)
        # A list is what most give; asking about Mapping is slow.
        if only.__class__ is not list and (
            isinstance(only, (bytes, Mapping)) or not hasattr(only, "__iter__")
        ):
            refuse(f"run({only!r}) is neither text nor a list of texts.")
        command = tuple(only)
    if not command:
        refuse(
            "run() needs a command.",
            hint="write run('make test') for a shell, or run('make', 'test') for an argv",
        )
    # All words at once; one by one only to say which is wrong.
    try:
        joined = "".join(command)
    except TypeError:
        joined = "\0"
    if not joined.isascii() or "\0" in joined:
        for number, word in enumerate(command):
            string(f"command[{number}]", word)
    return command
