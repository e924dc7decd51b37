"""Functions over several states: `merge`, `diff`, `passthrough`, `build`, `lazy`.

Source of the rules: buildkit client/llb/merge.go, diff.go, passthrough.go, async.go, llbbuild.
"""

# ruff: noqa: SLF001  (a State hides its pieces from users, not from the files of its room)
from __future__ import annotations

import secrets
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Unpack

from depotlab._values import Value
from depotlab.llb._check import refuse, some, string
from depotlab.llb._meta import OpOptions, as_constraints
from depotlab.llb._op import BuildOp, DiffOp, Edge, LazyOp, MergeOp, PassthroughOp
from depotlab.llb._sources import scratch
from depotlab.llb._state import State, as_state, fresh_state
from depotlab.llb._where import caller


def merge(*states: State, **options: Unpack[OpOptions]) -> State:
    """Put the layers of several states on top of each other, without copying files.

    Settings and image config are those of the first state that is not empty; a warning says so
    when another one's config is lost. Empty states are left out; of one state nothing is made.

    Args:
        states: From the lowest to the topmost.
        options: See `OpOptions`.

    Example:
        >>> from depotlab import llb
        >>> llb.merge(llb.image("busybox"), llb.scratch().mkfile("/hello", "hi"))
        State(merge (image busybox, mkfile /hello); 3 ops)
    """
    if len(states) == 1 and isinstance(states[0], (list, tuple)):
        refuse("merge() got one list.", hint="write llb.merge(*states)")
    given = [as_state("merge()", state) for state in states]
    constraints = as_constraints("merge", options)
    present = [state for state in given if state._edge is not None]
    if not present:
        return scratch()
    first = present[0]
    if len(present) == 1:
        return first
    for other in present:
        if other._config is not first._config and other._config != first._config:
            _warn_of_lost_config(other)
    edges: tuple[Edge, ...] = tuple(s._edge for s in present if s._edge is not None)
    return first._with((MergeOp(edges, constraints, caller()), 0))


def _warn_of_lost_config(state: State) -> None:
    # Variables, directory and user are set for building as often as for the image.
    lost = state._config.describe(skip=("env", "working_dir", "user"))
    if lost:
        warnings.warn(
            f"merge keeps the image config of its first state; lost: {lost}",
            UserWarning,
            stacklevel=3,
        )


def diff(lower: State, upper: State, **options: Unpack[OpOptions]) -> State:
    """Return what `upper` adds to, changes in and removes from `lower`, as a layer to merge.

    Settings and image config are those of `lower`. With an empty `lower` it is `upper` itself.

    Args:
        lower: What to compare with.
        upper: What was made of it.
        options: See `OpOptions`.

    Example:
        >>> from depotlab import llb
        >>> base = llb.image("alpine")
        >>> tools = llb.diff(base, base.run("apk add git"))
        >>> both = llb.merge(base.run("apk add curl"), tools)
    """
    below, above = as_state("diff()", lower), as_state("diff()", upper)
    constraints = as_constraints("diff", options)
    if below._edge is None:
        return scratch() if above._edge is None else above
    return below._with((DiffOp(below._edge, above._edge, constraints, caller()), 0))


@dataclass(frozen=True, slots=True, repr=False)
class Passthrough(Value):
    """What `passthrough` returns: one state for every input that is given on."""

    outputs: tuple[State, ...]

    def output(self, number: int) -> State:
        """Return an output by its number.

        Raises:
            GraphError: There is no such output.
        """
        if not 0 <= number < len(self.outputs):
            refuse(
                f"there is no output {number}.",
                hint=f"it has {len(self.outputs)}, counted from 0",
            )
        return self.outputs[number]


def passthrough(
    id: str,  # noqa: A002  (BuildKit's word)
    inputs: Iterable[State | tuple[State, bool]],
    **options: Unpack[OpOptions],
) -> Passthrough:
    """Give states on once all of them are built. `state.requires()` is the short form.

    Args:
        id: A name for the knot; it is part of the digest.
        inputs: States; as `(state, False)` one is only waited for. Empty ones are left out.
        options: See `OpOptions`.

    Raises:
        GraphError: No id, no input, or none that is given on.
    """
    name = some("id", id)
    edges: list[Edge] = []
    outputs: list[int] = []
    for each in inputs:
        given, exposed = each if isinstance(each, tuple) else (each, True)
        state = as_state("passthrough()", given)
        if state._edge is None:
            continue
        if exposed:
            outputs.append(len(edges))
        edges.append(state._edge)
    if not edges:
        refuse("passthrough() needs at least one input that is not empty.")
    if not outputs:
        refuse("passthrough() needs at least one input to give on.")
    op = PassthroughOp(
        name, tuple(edges), tuple(outputs), as_constraints("passthrough", options), caller()
    )
    return Passthrough(tuple(fresh_state((op, number)) for number in range(len(outputs))))


def build(state: State, filename: str = "", **options: Unpack[OpOptions]) -> State:
    """Build the marshalled definition that a file in `state` holds.

    Settings and image config are those of `state`, except that its platform does not reach the op.

    Args:
        state: The files to read it from.
        filename: `buildkit.llb.definition` if not given.
        options: See `OpOptions`.
    """
    given = as_state("build()", state)
    if given._edge is None:
        refuse("build() needs files to read a definition from; scratch has none.")
    constraints = as_constraints("build", options, build)
    op = BuildOp(given._edge, string("filename", filename), constraints, caller())
    return given._with((op, 0))


def lazy(function: Callable[[], State]) -> State:
    """Return a state that is computed only when it is marshalled, once.

    Settings made on it are put on top of those of the result.

    Args:
        function: Called without arguments. What it raises comes out of `marshal()`.
    """
    if not callable(function):
        refuse(f"lazy({function!r}) needs a function that returns a state.")
    checked: Any = function
    op = LazyOp(checked, secrets.token_bytes(16), caller())
    return fresh_state((op, 0), op)
