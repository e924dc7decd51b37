"""A Depot of this computer in a process of its own, whose machines end soon after their last build.

Called by `run` with the folder of its state, and how long an idle machine stays, in seconds. Says `ready` once its
API answers, and ends when its input does.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from depotlab._plane.up import Plane


async def main(state: Path, idle_s: float) -> None:
    async with Plane(state, idle_s=idle_s):
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), float(sys.argv[2])))
