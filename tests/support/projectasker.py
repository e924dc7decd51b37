"""A process that asks for the Depot project of a customer's project, as a service does at a first build.

    python -m tests.support.projectasker DATABASE URL

It says `ready`, waits for a line, asks, and prints the id. The token is in DEPOT_TOKEN.
"""

from __future__ import annotations

import asyncio
import os
import sys
from functools import partial
from pathlib import Path

from depotlab._depot import Api, Connect
from depotlab.service._core.tables import open_database
from depotlab.service._run.projects import Projects, find_or_make
from depotlab.service._settings.depot import Depot


async def main(path: Path, url: str) -> None:
    database = open_database(path)
    connect = Connect(url, token=os.environ["DEPOT_TOKEN"])
    try:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        make = partial(find_or_make, Api(connect).projects, Depot(), "shop")
        sys.stdout.write(f"{await Projects(database).depot_project('shop', '', make)}\n")
    finally:
        connect.close()
        database.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
