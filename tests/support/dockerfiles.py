"""Build a Dockerfile with all that its contexts need, and keep what the steps printed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

from depotlab._rpc import Channel, Endpoint
from depotlab._session import Session, Uploads
from depotlab._session.content import ContentStores
from depotlab._verbs.dockerfile import dockerfile_request
from depotlab._verbs.request import BuildRequest
from depotlab.buildkit import SolveSpec, new_ref, solve
from depotlab.errors import DepotlabError
from depotlab.frontend import Dockerfile
from depotlab.progress import Fold, Snapshot

__all__ = ["Built", "build"]


@dataclass
class Built:
    """A build that succeeded.

    Attributes:
        session: What it served.
        sent_bytes: Of each upload.
        snapshot: How it went.
    """

    session: Session
    sent_bytes: Mapping[str, int]
    snapshot: Snapshot

    def log(self, part: str) -> str:
        """What the step whose name has this part printed."""
        step = next(s for s in self.snapshot.steps if part in s.name)
        return "\n".join(line.text for line in step.log.lines())


def build(address: str, target: Dockerfile, *, no_cache: bool = True, configs=None) -> Built:
    """Build on a daemon; what goes wrong raises what a client would raise."""
    request = BuildRequest(target, "test", no_cache=no_cache)
    asked = dockerfile_request(target, request, configs=configs)
    problems: list[DepotlabError] = []
    uploads = Uploads(asked.uploads, report=problems.append)
    stores = ContentStores(asked.stores, report=problems.append)
    session = Session(asked.folders, services=[uploads, stores], problems=problems)
    fold = Fold()

    async def run() -> None:
        channel = Channel(Endpoint(address))
        try:
            async with asyncio.timeout(120):
                spec = SolveSpec(
                    new_ref(), frontend="dockerfile.v0", attrs=asked.attrs, inputs=asked.inputs
                )
                await solve(channel, spec, session, fold.feed)
        finally:
            await channel.close()

    asyncio.run(run())
    return Built(session, uploads.sent_bytes, fold.snapshot(at_ns=time.time_ns()))
