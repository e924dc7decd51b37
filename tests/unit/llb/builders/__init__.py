"""One builder for each golden graph: our words for what the steps of the case say."""

from __future__ import annotations

from collections.abc import Callable

from depotlab.llb import State

from . import chains, execs, files, graphs, sources
from .words import Builders

BUILDERS: Builders = {
    **sources.BUILDERS,
    **execs.BUILDERS,
    **files.BUILDERS,
    **graphs.BUILDERS,
    **chains.BUILDERS,
}
MUST_FAIL: dict[str, Callable[[], State]] = graphs.MUST_FAIL
