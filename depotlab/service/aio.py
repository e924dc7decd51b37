"""The build service to await, from any event loop.

    async with aio.BuildService(depot=Depot(local=True)) as service:
        context = await service.upload("shop", "./app")
        build = await service.build(context, project="shop", deployment="d1")
        async for line in service.get_build_logs(build.build_id):
            print(line)

Values and settings are those of `depotlab.service`. `aio.RemoteBuildService` is a service elsewhere.
"""

from __future__ import annotations

from depotlab.service._faces.awaiting import AwaitingBuildService as BuildService
from depotlab.service._remote.faces import AwaitingRemoteBuildService as RemoteBuildService

__all__ = ["BuildService", "RemoteBuildService"]


def __dir__() -> list[str]:
    return sorted(__all__)
