"""A build service that a test kills: it has four builds, says their ids, and waits. Run as a program."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from depotlab.service import Limits
from tests.support.fakerunner import FakeRunner, line, open_core, order


async def _for_ever(asked, secrets, journal):
    journal.stage("solve")
    journal.lines([line(f"try {journal.attempt}")])
    await asyncio.Event().wait()


async def _main(folder: Path) -> None:
    async with open_core(folder, FakeRunner(_for_ever), limits=Limits(max_running=2)) as core:
        builds = [
            await order(core, "a"),
            await order(core, "b", env={"TOKEN": "s"}),
            await order(core, "c"),
            await order(core, "d", env={"TOKEN": "s"}),
        ]
        await core._logs.next(builds[0].build_id, 0, follow=True, is_open=lambda: True)
        print(*[build.build_id for build in builds], flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1])))
