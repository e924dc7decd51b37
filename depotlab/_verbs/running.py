"""Start a build and the view of it. Called on the user's thread, so that the view lands in the right cell."""

from __future__ import annotations

from depotlab._portal import portal
from depotlab._verbs.builder import Builder
from depotlab._verbs.request import BuildRequest
from depotlab._verbs.result import Build
from depotlab.progress import Fold
from depotlab.widgets import Ticker, choose

__all__ = ["start"]


def start(builder: Builder, request: BuildRequest, *, progress: str) -> Build:
    """Show a view, start the build on the I/O thread, and return at once.

    Args:
        builder: The daemon.
        request: What to build.
        progress: `auto`, `plain`, `tty`, `notebook` or `quiet`.
    """
    fold = Fold()
    view = choose(progress)
    ticker = Ticker(fold, view)
    ticker.start()
    job = portal().submit(builder.build(request, fold))
    return Build(request, job, fold, ticker)
