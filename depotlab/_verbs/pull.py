"""A pull with its view, for both ways of waiting."""

from __future__ import annotations

import asyncio
from pathlib import Path

from depotlab._portal import portal
from depotlab._verbs.pulling import pull_image
from depotlab._verbs.pullrequest import Pulled, PullRequest
from depotlab.progress import Fold
from depotlab.widgets import ProgressMode, Ticker, choose

__all__ = ["pull", "pull_async"]


def pull(
    request: PullRequest,
    *,
    token: str | None,
    organization: str | None,
    url: str | None,
    local: bool | str | Path,
    progress: ProgressMode,
) -> Pulled:
    """Pull, and wait. Ctrl-C cuts it off."""
    fold = Fold()
    ticker = Ticker(fold, choose(progress)).start()
    try:
        return portal().run(
            pull_image(request, fold, token=token, organization=organization, url=url, local=local)
        )
    finally:
        ticker.stop()


async def pull_async(
    request: PullRequest,
    *,
    token: str | None,
    organization: str | None,
    url: str | None,
    local: bool | str | Path,
    progress: ProgressMode,
) -> Pulled:
    """Pull, from any event loop."""
    fold = Fold()
    ticker = Ticker(fold, choose(progress)).start()
    try:
        return await portal().wait_for(
            pull_image(request, fold, token=token, organization=organization, url=url, local=local)
        )
    finally:
        ticker.end()
        await asyncio.to_thread(ticker.stop)
