"""Ops: the vertices of a graph. Never changed once made, compared by identity in here.

An op knows the ops it reads (`deps`, in the order in which the Go client walks them), encodes itself when
the digests of those are known, and can make a copy of itself with other inputs. Nothing recurses: a walk
keeps its own stack, so a chain may have any length.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from depotlab.llb._meta import (
    NO_METADATA,
    Constraints,
    OpMetadata,
    caps_only,
    constraints_tail,
)
from depotlab.llb._platform import Platform
from depotlab.llb._settings import Settings
from depotlab.llb._where import Where
from depotlab.llb._wire import INT, LEN, field, integer, packed, text, text_map, varint

if TYPE_CHECKING:
    from depotlab.llb._state import State

# An output of an op. Scratch is None.
Edge = tuple["Op", int]

MINUS_ONE = varint(-1)


class Context:
    """What an op needs to know to encode itself: the defaults of a marshal call, and its inputs.

    Attributes:
        inputs: For every op encoded so far, the `Op.inputs` field that reads its output 0.
        platform_field: The platform field of ops that have none of their own.
        unique_id: For local sources that have neither a session nor an id of their own.
        caps: Features that the daemon has, or None when they are not known.
    """

    __slots__ = ("caps", "filters", "inputs", "path_default", "platform_field", "unique_id")

    def __init__(
        self,
        platform: Platform | None,
        *,
        unique_id: str,
        filters: tuple[str, ...] = (),
        caps: frozenset[str] | None = None,
    ) -> None:
        self.inputs: dict[Op, bytes] = {}
        self.platform_field = b"" if platform is None else field(10, platform.encoded)
        self.unique_id = unique_id
        self.filters = filters
        self.caps = caps
        # Go decides by the default platform of the call, not by that of the op.
        self.path_default = platform is None or platform.os != "windows"

    def input(self, op: Op, index: int) -> bytes:
        """Return the `Op.inputs` field for one output of an op encoded before."""
        found = self.inputs[op]
        if index == 0:
            return found
        payload = found[2:] + INT[2] + varint(index)
        return LEN[1] + varint(len(payload)) + payload

    def tail(self, constraints: Constraints) -> bytes:
        if self.filters:
            return constraints_tail(self.filters + constraints.filters)
        return constraints.tail


INPUT_HEAD = b"\x0a\x49\x0a\x47"
"""What comes before a digest in an `Op.inputs` field for output 0: a digest is always 71 characters long."""


class Rewriter(Protocol):
    """Says what becomes of the pieces of an op when a graph is copied with changes."""

    def edge(self, edge: Edge) -> Edge | None: ...
    def inherit(self, origin: Op | None, settings: Settings) -> tuple[Op | None, Settings]: ...
    def where(self, where: Where | None) -> Where | None: ...


class Op:
    """One vertex.

    Attributes:
        deps: Ops whose outputs it reads, in walking order; one may occur twice.
        constraints: What was said of it: platform, worker, metadata.
        where: The line that made it.
        lazy: Whether it is, or depends directly on, something not computed yet.
    """

    __slots__ = ("constraints", "deps", "key", "lazy", "where")
    kind: ClassVar[str] = ""
    # Whether the platform given to the op passes to states made of its outputs.
    passes_platform: ClassVar[bool] = False
    # Whether metadata given to a marshal call holds for it.
    takes_defaults: ClassVar[bool] = True
    # The directory on this machine that a local source reads.
    host_path: Path | None = None

    def __init__(self, deps: tuple[Op, ...], constraints: Constraints, where: Where | None) -> None:
        self.deps = deps
        self.constraints = constraints
        self.where = where
        self.lazy = False
        self.key: str | None = None

    def encode(self, context: Context) -> bytes:
        raise NotImplementedError

    def caps(self, context: Context) -> frozenset[str]:
        raise NotImplementedError

    def metadata(self, context: Context) -> OpMetadata | None:
        own = self.constraints.metadata
        caps = self.caps(context)
        return caps_only(caps) if own is NO_METADATA else own.with_caps(caps)

    def rewritten(self, rewriter: Rewriter) -> Op | Edge | None:
        """Return a copy with its pieces replaced, or itself if none was."""
        raise NotImplementedError

    def origins(self) -> tuple[Op, ...]:
        """Return ops that it takes settings from without reading their files."""
        return ()

    def identity(self) -> bytes:
        """Return what tells it from another op that encodes to the same bytes."""
        return b""

    @property
    def output_platform(self) -> Platform | None:
        return self.constraints.platform if self.passes_platform else None


def walk(
    roots: Iterable[Op], done: Callable[[Op], bool], reads: Callable[[Op], tuple[Op, ...]]
) -> Iterator[Op]:
    """Yield ops, inputs before users, in the order of a depth first walk.

    Args:
        roots: Where to start.
        done: Whether an op need not be visited; it must be true of an op once it was yielded.
        reads: The ops to visit before an op. Each op is asked twice.
    """
    stack = list(roots)[::-1]
    while stack:
        op = stack[-1]
        if done(op):
            stack.pop()
            continue
        waiting = [dep for dep in reads(op) if not done(dep)]
        if waiting:
            stack.extend(reversed(waiting))
        else:
            stack.pop()
            yield op


def reads_all(op: Op) -> tuple[Op, ...]:
    """Return the deps of an op and the ops that it only takes settings from."""
    return op.deps + op.origins()


def content_key(op: Op) -> str:
    """Return a key that is equal for equal graphs: bytes, metadata and pending settings."""
    if op.key is None:
        context = Context(None, unique_id="")
        for each in walk([op], lambda o: o.key is not None, reads_all):
            each.key = _own_key(each, context)
            context.inputs[each] = INPUT_HEAD + each.key.encode()
    assert op.key is not None
    return op.key


def _own_key(op: Op, context: Context) -> str:
    for dep in op.deps:
        if dep not in context.inputs:
            assert dep.key is not None
            context.inputs[dep] = INPUT_HEAD + dep.key.encode()
    if isinstance(op, LazyOp):
        parts = [b"lazy", op.token]
    else:
        metadata = op.metadata(context)
        parts = [
            op.encode(context),
            b"" if metadata is None else metadata.encode(),
            op.identity(),
            *((origin.key or "").encode() for origin in op.origins()),
        ]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return "sha256:" + digest.hexdigest()


class MergeOp(Op):
    """Layers of several states put on top of each other."""

    __slots__ = ("edges",)
    kind = "merge"

    def __init__(
        self, edges: tuple[Edge, ...], constraints: Constraints, where: Where | None
    ) -> None:
        super().__init__(tuple(edge[0] for edge in edges), constraints, where)
        self.edges = edges

    def encode(self, context: Context) -> bytes:
        inputs = [context.input(op, index) for op, index in self.edges]
        return b"".join((*inputs, context.tail(self.constraints), _merge_body(len(inputs))))

    def caps(self, context: Context) -> frozenset[str]:
        return _MERGE_CAPS

    def rewritten(self, rewriter: Rewriter) -> Op | Edge | None:
        edges = tuple(filter(None, map(rewriter.edge, self.edges)))
        if edges == self.edges:
            return self
        # A lazy input may have turned out to be scratch.
        if len(edges) < 2:
            return edges[0] if edges else None
        return MergeOp(edges, self.constraints, rewriter.where(self.where))


_MERGE_CAPS = frozenset({"mergeop"})


@functools.lru_cache(maxsize=64)
def _merge_body(count: int) -> bytes:
    return field(6, b"".join(field(1, integer(1, index)) for index in range(count)))


class DiffOp(Op):
    """What one state adds to, changes in and removes from another."""

    __slots__ = ("lower", "upper")
    kind = "diff"

    def __init__(
        self,
        lower: Edge | None,
        upper: Edge | None,
        constraints: Constraints,
        where: Where | None,
    ) -> None:
        super().__init__(
            tuple(edge[0] for edge in (lower, upper) if edge is not None), constraints, where
        )
        self.lower = lower
        self.upper = upper

    def encode(self, context: Context) -> bytes:
        inputs: list[bytes] = []
        sides: list[bytes] = []
        for number, edge in ((1, self.lower), (2, self.upper)):
            sides.append(field(number, integer(1, -1 if edge is None else len(inputs))))
            if edge is not None:
                inputs.append(context.input(*edge))
        return b"".join((*inputs, context.tail(self.constraints), field(7, b"".join(sides))))

    def caps(self, context: Context) -> frozenset[str]:
        return _DIFF_CAPS

    def rewritten(self, rewriter: Rewriter) -> Op | Edge | None:
        lower = None if self.lower is None else rewriter.edge(self.lower)
        upper = None if self.upper is None else rewriter.edge(self.upper)
        if lower == self.lower and upper == self.upper:
            return self
        if lower is None:
            return upper
        return DiffOp(lower, upper, self.constraints, rewriter.where(self.where))


_DIFF_CAPS = frozenset({"diffop"})


class PassthroughOp(Op):
    """Gives on some of its inputs, after all of them are built."""

    __slots__ = ("edges", "id", "outputs")
    kind = "passthrough"

    def __init__(
        self,
        id: str,  # noqa: A002  (BuildKit's word)
        edges: tuple[Edge, ...],
        outputs: tuple[int, ...],
        constraints: Constraints,
        where: Where | None,
    ) -> None:
        super().__init__(tuple(edge[0] for edge in edges), constraints, where)
        self.id = id
        self.edges = edges
        self.outputs = outputs

    def encode(self, context: Context) -> bytes:
        inputs = [context.input(op, index) for op, index in self.edges]
        body = field(8, text(1, self.id) + packed(2, self.outputs))
        return b"".join((*inputs, context.tail(self.constraints), body))

    def caps(self, context: Context) -> frozenset[str]:
        return _PASSTHROUGH_CAPS

    def rewritten(self, rewriter: Rewriter) -> Op | Edge | None:
        edges = tuple(map(rewriter.edge, self.edges))
        if edges == self.edges:
            return self
        # An input that turned out to be scratch has no edge; what it was is nothing to wait for,
        # and an output that gave it on cannot be told apart from one that was asked for.
        kept = [(number, edge) for number, edge in enumerate(edges) if edge is not None]
        renumbered = {old: new for new, (old, _) in enumerate(kept)}
        return PassthroughOp(
            self.id,
            tuple(edge for _, edge in kept),
            tuple(renumbered[old] for old in self.outputs if old in renumbered),
            self.constraints,
            rewriter.where(self.where),
        )


_PASSTHROUGH_CAPS = frozenset({"passthroughop"})


class BuildOp(Op):
    """Builds the definition that a file in another state holds."""

    __slots__ = ("edge", "filename")
    kind = "build"

    def __init__(
        self, edge: Edge, filename: str, constraints: Constraints, where: Where | None
    ) -> None:
        super().__init__((edge[0],), constraints, where)
        self.edge = edge
        self.filename = filename

    def encode(self, context: Context) -> bytes:
        platform = self.constraints.platform
        attrs = {"llbbuild.filename": self.filename} if self.filename else {}
        # The builder -1 and the input name mean: LLB (solver/pb/const.go).
        body = (
            INT[1]
            + MINUS_ONE
            + field(2, text(1, "buildkit.llb.definition") + field(2, b""))
            + text_map(4, attrs)
        )
        return b"".join(
            (
                context.input(*self.edge),
                context.platform_field if platform is None else field(10, platform.encoded),
                context.tail(self.constraints),
                field(5, body),
            )
        )

    def caps(self, context: Context) -> frozenset[str]:
        return _BUILD_CAPS

    def rewritten(self, rewriter: Rewriter) -> Op | Edge | None:
        edge = rewriter.edge(self.edge)
        if edge == self.edge:
            return self
        if edge is None:
            return None
        return BuildOp(edge, self.filename, self.constraints, rewriter.where(self.where))


_BUILD_CAPS = frozenset({"source.buildop.llbfilename"})


class LazyOp(Op):
    """Stands for a state that a function computes when marshalling needs it."""

    __slots__ = ("function", "state", "token")
    kind = "lazy"

    def __init__(self, function: Callable[[], State], token: bytes, where: Where | None) -> None:
        super().__init__((), Constraints(), where)
        self.function = function
        self.token = token
        self.state: State | None = None
        self.lazy = True

    def caps(self, context: Context) -> frozenset[str]:
        return frozenset()

    def rewritten(self, rewriter: Rewriter) -> Op | Edge | None:
        where = rewriter.where(self.where)
        return self if where is self.where else LazyOp(self.function, self.token, where)
