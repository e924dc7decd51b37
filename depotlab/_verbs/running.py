"""Start a build and the view of it. Called on the user's thread, so that the view lands in the right cell."""

from __future__ import annotations

from depotlab._portal import portal
from depotlab._verbs.open import AnyBuilder
from depotlab._verbs.request import BuildRequest
from depotlab._verbs.result import Build
from depotlab.progress import Fold
from depotlab.widgets import ProgressMode, Ticker, choose

__all__ = ["start"]


def start(
    builder: AnyBuilder, request: BuildRequest, *, progress: ProgressMode, can_cancel: bool = False
) -> Build:
    """Start the build on the I/O thread, show a view of it, and return at once.

    Args:
        builder: The daemon.
        request: What to build.
        progress: Which view; a wrong name is refused before anything is sent.
        can_cancel: Give a notebook's view a Cancel button. Only for builds that the cell does not
            wait for: a button cannot be heard while a cell blocks.
    """
    builder.check(request)
    # The view comes first, so that a wrong name sends nothing; its button is pressed later than the next line.
    view = choose(progress, on_cancel=(lambda: job.cancel()) if can_cancel else None)
    fold = Fold()
    job = portal().submit(builder.build(request, fold))
    return Build(request, job, fold, Ticker(fold, view).start())
