"""Copies of a graph with something changed: lazy parts computed, image configs applied, pickling.

All are one walk: each op is asked once for a copy with its new inputs, and is kept if nothing changed, so that
sharing survives and the work is linear.
"""

# ruff: noqa: SLF001  (a State hides its pieces from users, not from the files of its room)
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from depotlab.llb._check import refuse
from depotlab.llb._config import ImageConfig
from depotlab.llb._execop import ExecOp
from depotlab.llb._op import Edge, LazyOp, Op, reads_all, walk
from depotlab.llb._paths import join
from depotlab.llb._platform import Platform
from depotlab.llb._reference import Reference, digest_fault
from depotlab.llb._settings import EMPTY, Settings
from depotlab.llb._sourceop import SourceOp
from depotlab.llb._state import NO_CONFIG, Exec, State, make_exec, make_state
from depotlab.llb._where import Locator, Where


class ImageRef(NamedTuple):
    """An image whose config a build wants to know.

    Attributes:
        ref: Normalised, such as `docker.io/library/busybox:latest`.
        platform: That of the image source, else the one that was asked for, else None.
    """

    ref: str
    platform: Platform | None


class _Base(NamedTuple):
    """What a state starts from, once it is known."""

    origin: Op | None
    settings: Settings
    config: ImageConfig


class _Copy:
    """A graph being copied. Lazy parts are always computed, images resolved if configs say so."""

    def __init__(
        self,
        configs: Mapping[tuple[str, Platform | None], ImageConfig],
        platform: Platform | None = None,
        digests: Mapping[tuple[str, Platform | None], str] | None = None,
    ) -> None:
        self.configs = configs
        self.platform = platform
        self.digests = digests or {}
        self.new: dict[Op, Op] = {}
        self.instead: dict[Op, Edge | None] = {}
        self.bases: dict[Op, _Base] = {}
        self.asked: dict[Op, int] = {}

    # What `Rewriter` wants.

    def edge(self, edge: Edge) -> Edge | None:
        op, index = edge
        if op in self.instead:
            return self.instead[op]
        new = self.new[op]
        return edge if new is op else (new, index)

    def inherit(self, origin: Op | None, settings: Settings) -> tuple[Op | None, Settings]:
        if origin is None:
            return None, settings
        base = self.bases.get(origin)
        if base is None:
            return self.new[origin], settings
        return base.origin, settings.over(base.settings)

    def where(self, where: Where | None) -> Where | None:
        return where

    # The walk.

    def state(self, state: State) -> State:
        executed = state._exec if isinstance(state, Exec) else None
        roots = [op for op in (state._op, state._origin, executed) if op is not None]
        for each in walk(roots, lambda o: o in self.new or o in self.instead, self._reads):
            self._visit(each)
        edge = None if state._edge is None else self.edge(state._edge)
        origin, settings = self.inherit(state._origin, state._settings)
        base = None if state._origin is None else self.bases.get(state._origin)
        config = state._config if base is None else state._config.over(base.config)
        again = None if executed is None else self.new[executed]
        if not isinstance(again, ExecOp):
            return make_state(edge, settings, origin, config)
        return make_exec(edge, settings, origin, config, again)

    def _reads(self, op: Op) -> tuple[Op, ...]:
        if not isinstance(op, LazyOp):
            return reads_all(op)
        # An op is asked before and after the ops it reads; once more means that it waits for itself.
        self.asked[op] = self.asked.get(op, 0) + 1
        if self.asked[op] > 2:
            refuse("a lazy state depends on itself.")
        target = force(op)
        return tuple(o for o in (target._op, target._origin) if o is not None)

    def _visit(self, op: Op) -> None:
        if isinstance(op, LazyOp):
            target = force(op)
            edge = target._edge
            self.instead[op] = None if edge is None else self.edge(edge)
            origin, settings = self.inherit(target._origin, target._settings)
            below = None if target._origin is None else self.bases.get(target._origin)
            config = target._config if below is None else target._config.over(below.config)
            self.bases[op] = _Base(origin, settings, config)
            return
        if isinstance(op, SourceOp) and op.image is not None:
            resolved = self._resolve(op, op.image)
            if resolved is not None:
                self.new[op] = resolved
                return
        copied = op.rewritten(self)
        if isinstance(copied, Op):
            self.new[op] = copied
        else:
            self.instead[op] = copied

    def _resolve(self, op: SourceOp, image: Reference) -> Op | None:
        key = ImageRef(str(image), op.platform or self.platform)
        config = self.configs.get(key)
        if config is None:
            return None
        directory = config.working_dir or ""
        settings = Settings(
            env=tuple(config.env.items()),
            directory=join("/", directory) if directory else "",
            user=config.user,
        )
        self.bases[op] = _Base(None, EMPTY if settings == EMPTY else settings, config)
        digest = self.digests.get(key)
        if digest is None:
            return op.pinned(None)
        if why := digest_fault(digest):
            refuse(f"digests[{key.ref!r}]: {why}.")
        return op.pinned(image._replace(digest=digest))


def force(op: LazyOp) -> State:
    """Return the state of a lazy op, computed once. What its function raises comes through."""
    if op.state is None:
        found = op.function()
        if not isinstance(found, State):
            refuse(f"the function of a lazy state returned {found!r}, which is not a state.")
        op.state = found
    return op.state


def expanded(state: State) -> State:
    """Return the same graph with its lazy parts computed."""
    return _Copy({}).state(state)


def unresolved(state: State, platform: Platform | None = None) -> tuple[ImageRef, ...]:
    """Return the images whose config matters for `state`, in the order of the graph.

    Those are images that a step or the result takes variables, directory or user from, not ones
    that are only mounted or copied from. Lazy parts are computed. Ask a daemon for the configs, and give
    them to `state.resolved()`.

    Args:
        state: The graph.
        platform: What to return for images that have no platform of their own.

    Example:
        >>> from depotlab import llb
        >>> [each.ref for each in llb.unresolved(llb.image("busybox").run("true"))]
        ['docker.io/library/busybox:latest']
    """
    whole = expanded(state)
    seen: set[Op] = set()
    found: dict[ImageRef, None] = {}

    def note(origin: Op | None) -> None:
        if isinstance(origin, SourceOp) and origin.image is not None:
            found.setdefault(ImageRef(str(origin.image), origin.platform or platform))

    for op in walk([] if whole._op is None else [whole._op], seen.__contains__, reads_all):
        seen.add(op)
        for origin in op.origins():
            note(origin)
    note(whole._origin)
    return tuple(found)


def resolve(
    state: State,
    configs: Mapping[tuple[str, Platform | None], ImageConfig],
    platform: Platform | None,
    digests: Mapping[tuple[str, Platform | None], str],
) -> State:
    """See `State.resolved`."""
    for key, config in configs.items():
        if not isinstance(config, ImageConfig):
            refuse(
                f"configs[{key!r}] is not an ImageConfig.",
                hint="read the document with llb.ImageConfig.from_json()",
            )
    return _Copy(configs, platform, digests).state(state)


# ---------------------------------------------------------------------------------- pickling


class _Numbers:
    """Replaces ops by their numbers, and places in code by their lines."""

    def __init__(self) -> None:
        self.numbers: dict[Op, int] = {}
        self.locate = Locator()

    def edge(self, edge: Edge) -> Any:
        return self.numbers[edge[0]], edge[1]

    def inherit(self, origin: Op | None, settings: Settings) -> Any:
        return (None if origin is None else self.numbers[origin]), settings

    def where(self, where: Where | None) -> Where | None:
        return None if where is None else self.locate(where)


class _Ops:
    """Replaces numbers by the ops they stand for."""

    def __init__(self) -> None:
        self.ops: list[Op] = []

    def edge(self, edge: Any) -> Any:
        return self.ops[edge[0]], edge[1]

    def inherit(self, origin: Any, settings: Settings) -> Any:
        return (None if origin is None else self.ops[origin]), settings

    def where(self, where: Where | None) -> Where | None:
        return where


def flatten(state: State) -> tuple[Any, ...]:
    """Return a state as a flat list of ops that name each other by number.

    Pickle follows references one inside the other, which overflows its stack on a long chain.
    """
    numbers = _Numbers()
    executed = state._exec if isinstance(state, Exec) else None
    roots = [op for op in (state._op, state._origin, executed) if op is not None]
    stubs = []
    for op in walk(roots, numbers.numbers.__contains__, reads_all):
        stubs.append(op.rewritten(numbers))
        numbers.numbers[op] = len(numbers.numbers)
    places = tuple(
        None if op is None else numbers.numbers[op] for op in (state._op, state._origin, executed)
    )
    index = 0 if state._edge is None else state._edge[1]
    return stubs, places, index, state._settings, state._config


def restore(flat: tuple[Any, ...]) -> State:
    """Return the state that `flatten` took apart."""
    stubs, places, index, settings, config = flat
    ops = _Ops()
    for stub in stubs:
        ops.ops.append(stub.rewritten(ops))
    op, origin, executed = (None if place is None else ops.ops[place] for place in places)
    if settings == EMPTY:
        settings = EMPTY
    edge = None if op is None else (op, index)
    if executed is None:
        return make_state(edge, settings, origin, config or NO_CONFIG)
    return make_exec(edge, settings, origin, config or NO_CONFIG, executed)
