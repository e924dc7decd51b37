"""A build service in a process of its own, which a test kills in mid-build.

Called with the Depot's state folder and a folder for everything of the service, with what is to be built on its input,
a gzipped tar. Says the id of the build once its log has the line `begun`, and then stays for ever.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from depotlab.service import BuildService, Depot, LocalStorage, Storage
from depotlab.telemetry import Sink

__all__ = ["service_in"]


def service_in(
    folder: Path, plane: Path, *, storage: Storage | None = None, telemetry: Sink | None = None
) -> BuildService:
    """Return the service of a folder; the same one, whoever opens it."""
    return BuildService(
        depot=Depot(local=plane),
        storage=storage or LocalStorage(folder / "contexts"),
        telemetry=telemetry or str(folder / "builds.duckdb"),
        state=folder / "state",
    )


def main(plane: Path, folder: Path) -> None:
    with service_in(folder, plane) as service:
        context = service.upload("shop", sys.stdin.buffer.read())
        build = service.create_build(context, project="shop", deployment="killed")
        for line in service.get_build_logs(build.build_id):
            if line.text == "begun":
                break
        print(build.build_id, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
