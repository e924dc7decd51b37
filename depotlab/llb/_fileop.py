"""The op that changes files without running anything: a chain of actions, possibly on several states.

Source of the rules: buildkit client/llb/fileop.go. Inputs are numbered in the order in which the actions need
them, while a walk visits them from the last action back to the first; both orders are visible in a definition.
"""

# ruff: noqa: SLF001  (a State hides its pieces from users, not from the files of its room)
from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from depotlab.llb._actions import Bound
from depotlab.llb._check import refuse
from depotlab.llb._filespecs import Copy, Spec, uses_directory
from depotlab.llb._meta import Constraints
from depotlab.llb._op import MINUS_ONE, Context, Edge, LazyOp, Op, Rewriter
from depotlab.llb._settings import EMPTY, Settings
from depotlab.llb._where import Where
from depotlab.llb._wire import INT, field, integer

if TYPE_CHECKING:
    from depotlab.llb._state import State

_CAPS = frozenset({"file.base"})
_NONE = -1


class Place(NamedTuple):
    """A state as actions see it: its files, and its working directory relative to `origin`.

    The directory is left out where all paths are absolute, and with it the origin: then the config
    of a base image need not be asked for.
    """

    edge: Edge | None
    settings: Settings
    origin: Op | None

    @classmethod
    def of(cls, state: State, *, with_directory: bool) -> Place:
        directory = state._settings.directory if with_directory else ""
        settings = Settings(directory=directory) if directory else EMPTY
        known = not with_directory or directory.startswith("/")
        return cls(state._edge, settings, None if known else state._origin)


class Step(NamedTuple):
    """One action in a chain. Numbers point into `FileOp.places` and at earlier steps; -1 is none."""

    spec: Spec
    base: int
    previous: int
    source: int = _NONE
    source_step: int = _NONE


class FileOp(Op):
    """One chain of actions.

    Attributes:
        places: The states involved, in the order in which the actions need them.
        steps: The actions, copies' sources before their users.
    """

    __slots__ = ("places", "steps")
    kind = "file"

    def __init__(
        self,
        places: tuple[Place, ...],
        steps: tuple[Step, ...],
        deps: tuple[Op, ...],
        constraints: Constraints,
        where: Where | None,
    ) -> None:
        super().__init__(deps, constraints, where)
        self.places = places
        self.steps = steps
        self.lazy = any(isinstance(place.origin, LazyOp) for place in places)

    def encode(self, context: Context) -> bytes:
        inputs: dict[bytes, int] = {}
        numbers = [
            _NONE
            if place.edge is None
            else inputs.setdefault(context.input(*place.edge), len(inputs))
            for place in self.places
        ]
        last = len(self.steps) - 1
        actions = []
        for number, step in enumerate(self.steps):
            base = numbers[step.base]
            first = base if step.previous == _NONE else len(inputs) + step.previous
            second = _NONE if step.source == _NONE else numbers[step.source]
            if step.source_step != _NONE:
                second = len(inputs) + step.source_step
            member, payload = step.spec.encode(*self._directories(step, base))
            action = (
                integer(1, first)
                + integer(2, second)
                + (INT[3] + MINUS_ONE if number < last else b"")
                + field(member, payload)
            )
            actions.append(field(2, action))
        return b"".join((*inputs, context.tail(self.constraints), field(4, b"".join(actions))))

    def _directories(self, step: Step, base: int) -> tuple[str, int, str]:
        source = step.source
        if step.source_step != _NONE:
            source = self.steps[step.source_step].base
        source_directory = "/" if source == _NONE else self.places[source].settings.cwd
        return self.places[step.base].settings.cwd, base, source_directory

    def words(self) -> str:
        """Return what it does, as the daemon would name it."""
        shown = []
        for step in self.steps:
            directory, _, source_directory = self._directories(step, 0)
            shown.append(step.spec.words(directory, source_directory))
        return ", ".join(shown)

    def caps(self, context: Context) -> frozenset[str]:
        # The Go client never records what single actions need: it looks at a list that is still
        # empty (client/llb/fileop.go, Marshal).
        return _CAPS

    def rewritten(self, rewriter: Rewriter) -> Op | Edge | None:
        places = tuple(_rewrite_place(place, rewriter) for place in self.places)
        where = rewriter.where(self.where)
        if where is self.where and all(
            new.edge == old.edge and new.origin is old.origin and new.settings is old.settings
            for new, old in zip(places, self.places, strict=True)
        ):
            return self
        moved = {
            old.edge[0]: None if new.edge is None else new.edge[0]
            for new, old in zip(places, self.places, strict=True)
            if old.edge is not None
        }
        deps = tuple(dep for dep in map(moved.__getitem__, self.deps) if dep is not None)
        return FileOp(places, self.steps, deps, self.constraints, where)

    def origins(self) -> tuple[Op, ...]:
        return tuple(place.origin for place in self.places if place.origin is not None)

    def identity(self) -> bytes:
        return "\0".join(place.settings.directory for place in self.places).encode()


def _rewrite_place(place: Place, rewriter: Rewriter) -> Place:
    origin, settings = rewriter.inherit(place.origin, place.settings)
    if settings is not place.settings:
        settings = Settings(directory=settings.directory)
    edge = None if place.edge is None else rewriter.edge(place.edge)
    return Place(edge, settings, origin)


class _Frame:
    """A chain being laid out; `last` is the number of its newest step."""

    __slots__ = ("bound", "last", "place", "position", "specs")

    def __init__(self, specs: list[Spec], place: int, bound: Bound | None) -> None:
        self.specs = specs
        self.place = place
        self.bound = bound
        self.position = 0
        self.last = _NONE


class _Layout:
    def __init__(self) -> None:
        self.places: dict[tuple[object, ...], int] = {}
        self.values: list[Place] = []
        self.steps: list[Step] = []
        self.done: dict[int, int] = {}  # id of a Bound: its last step

    def place(self, state: State, with_directory: bool) -> int:
        found = Place.of(state, with_directory=with_directory)
        key = (found.edge and (id(found.edge[0]), found.edge[1]), found.settings, id(found.origin))
        number = self.places.setdefault(key, len(self.values))
        if number == len(self.values):
            self.values.append(found)
        return number

    def run(self, specs: list[Spec], state: State) -> None:
        frames = [_Frame(specs, self.place(state, any(map(uses_directory, specs))), None)]
        states = [state]
        while frames:
            frame = frames[-1]
            if frame.position == len(frame.specs):
                if frame.bound is not None:
                    self.done[id(frame.bound)] = frame.last
                frames.pop()
                states.pop()
                continue
            spec = frame.specs[frame.position]
            source = source_step = _NONE
            if isinstance(spec, Copy):
                if isinstance(spec.source, Bound):
                    if id(spec.source) not in self.done:
                        # Values cannot hold themselves, so this ends.
                        inner = spec.source
                        # With its directory, which relative sources of copies from it start at.
                        place = self.place(inner.state, True)
                        frames.append(_Frame(inner.action._specs(), place, inner))
                        states.append(inner.state)
                        continue
                    source_step = self.done[id(spec.source)]
                else:
                    given = states[-1] if spec.source is None else spec.source
                    source = self.place(given, not spec.src.startswith("/"))
                # The edge is in `places`; a state in here would keep its whole graph alive.
                spec = spec.detached()
            self.steps.append(Step(spec, frame.place, frame.last, source, source_step))
            frame.last = len(self.steps) - 1
            frame.position += 1


def _walk_order(specs: list[Spec], state: State) -> Iterator[Op]:
    """Yield the ops read, as the Go client walks them: the base, then sources from last to first."""
    stack: list[Iterator[Spec]] = [reversed(specs)]
    walked: set[int] = set()
    if state._op is not None:
        yield state._op
    while stack:
        spec = next(stack[-1], None)
        if spec is None:
            stack.pop()
        elif isinstance(spec, Copy) and spec.source is not None:
            inner = spec.source.state if isinstance(spec.source, Bound) else spec.source
            if inner._op is not None:
                yield inner._op
            if isinstance(spec.source, Bound) and id(spec.source) not in walked:
                walked.add(id(spec.source))
                stack.append(reversed(spec.source.action._specs()))


def make_file_op(
    specs: list[Spec], state: State, constraints: Constraints, where: Where | None
) -> FileOp:
    """Lay out a chain on a state."""
    if not specs:
        refuse("file() needs an action.", hint="write file(llb.mkdir('/a'))")
    layout = _Layout()
    layout.run(specs, state)
    deps = tuple(dict.fromkeys(_walk_order(specs, state)))
    return FileOp(tuple(layout.values), tuple(layout.steps), deps, constraints, where)
