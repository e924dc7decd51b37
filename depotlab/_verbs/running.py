"""Start a build and the view of it. Called on the user's thread, so that the view lands in the right cell."""

from __future__ import annotations

from depotlab._portal import portal
from depotlab._verbs.details import StepDetails
from depotlab._verbs.open import AnyBuilder
from depotlab._verbs.request import BuildRequest
from depotlab._verbs.result import Build
from depotlab.widgets import ProgressMode, Ticker, choose, hears_while_busy

__all__ = ["start"]


def start(
    builder: AnyBuilder, request: BuildRequest, *, progress: ProgressMode, can_cancel: bool = False
) -> Build:
    """Start the build on the I/O thread, show a view of it, and return at once.

    Args:
        builder: The daemon.
        request: What to build.
        progress: Which view; a wrong name is refused before anything is sent.
        can_cancel: The cell does not wait for the build. A notebook's view then has a Cancel button
            on every kernel, else only where the kernel hears one while a cell waits.
    """
    builder.check(request)
    # The view comes first, so that a wrong name sends nothing; its button is pressed later than the next line.
    has_button = can_cancel or hears_while_busy()
    details = StepDetails(request, builder)
    view = choose(
        progress, on_cancel=(lambda: job.cancel()) if has_button else None, details=details
    )
    fold = builder.new_fold()
    job = portal().submit(builder.build(request, fold))
    return Build(request, job, fold, Ticker(fold, view).start(), details)
