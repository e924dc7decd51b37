"""Which of the earlier builds one is to be compared with."""

from __future__ import annotations

from collections.abc import Sequence

from depotlab._past.build import PastBuild
from depotlab._proto import ops_pb2

__all__ = ["choose"]


def choose(
    build: PastBuild, candidates: Sequence[PastBuild], *, is_named: bool
) -> PastBuild | None:
    """Return the build to compare with, or None.

    Builds on the same builder come first: another one has a cache of its own. Of builds with a name the newest is
    taken. Builds without one may be of anything, so of these it is the one that has most operations in common, and none
    if it has none.

    Args:
        build: The build that is asked about.
        candidates: Earlier ones of its name, the newest first.
        is_named: The name says what is built.
    """
    here = [one for one in candidates if one.builder == build.builder]
    for several in (here, candidates):
        if is_named and several:
            return several[0]
        ours = _operations(build)
        ranked = sorted(several, key=lambda one: -len(ours & _operations(one)))  # stable
        if ranked and ours & _operations(ranked[0]):
            return ranked[0]
    return None


def _operations(build: PastBuild) -> frozenset[bytes]:
    """Return the operations that are more than where things come from, without what they read."""
    found = set()
    for graph in build.graphs:
        for one in graph.ops:
            op = ops_pb2.Op.FromString(one.data)
            del op.inputs[:]
            if op.HasField("source"):
                op.source.attrs.pop("local.unique", None)
                op.source.attrs.pop("local.session", None)
            if op.WhichOneof("op"):
                found.add(op.SerializeToString(deterministic=True))
    return frozenset(found) or frozenset(step.name.encode() for step in build.steps)
