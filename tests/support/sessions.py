"""Drive one build with a session of the test's own, so that the test can look into the session."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from depotlab._rpc import Channel, Endpoint
from depotlab._session import Session
from depotlab.buildkit import SolveSpec, new_ref, solve
from depotlab.export import Output

__all__ = ["build"]


def build(
    address: str,
    session: Session,
    attrs: dict[str, str] | None = None,
    *,
    outputs: Sequence[Output] = (),
    timeout_s: float = 120.0,
) -> dict[str, str]:
    """Build the Dockerfile that the session offers; return the daemon's answer."""

    async def run() -> dict[str, str]:
        channel = Channel(Endpoint(address))
        try:
            async with asyncio.timeout(timeout_s):
                spec = SolveSpec(
                    new_ref(), frontend="dockerfile.v0", attrs=attrs or {}, exporters=outputs
                )
                return await solve(channel, spec, session, lambda _: None)
        finally:
            await channel.close()

    return asyncio.run(run())
