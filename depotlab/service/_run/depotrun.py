"""One try of a build at Depot: registered, a machine, the solve, and the word how it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from depotlab._depot import (
    Connect,
    DepotBuild,
    Machine,
    Outcome,
    StatusMirror,
    machines_for,
    register,
)
from depotlab._verbs import Answer, BuildRequest, MachineBuilders, Stages, watched
from depotlab.errors import BuildCanceled
from depotlab.service._boundary import Journal, Order
from depotlab.service._run.buildrequest import image_of, options_of, saved_at_depot
from depotlab.service._run.hearing import Hearing

__all__ = ["Built", "DepotRun"]

# What a build waits for at its end, should its own status still be on the way to the API.
_STATUS_S = 0.5


@dataclass(frozen=True, slots=True)
class Built:
    """What was pushed.

    Attributes:
        image: Its name.
        digest: Of its manifest or index.
    """

    image: str
    digest: str


class DepotRun:
    """One try.

    Args:
        connect: The API, shared by all builds.
        order: The build.
        request: What BuildKit is asked; without outputs the image is saved at Depot.
        hearing: Is fed its progress.
        journal: Is told how far it is.
        machine_timeout_s: How long a machine is waited for.
        mask: Covers what Depot is not to be told in the words of an error.

    Attributes:
        called_off: Why Depot cancelled the build, or empty.
    """

    def __init__(
        self,
        connect: Connect,
        order: Order,
        request: BuildRequest,
        hearing: Hearing,
        journal: Journal,
        *,
        machine_timeout_s: float,
        mask: Callable[[str], str],
    ) -> None:
        self.called_off = ""
        self._connect = connect
        self._order = order
        self._request = request
        self._hearing = hearing
        self._journal = journal
        self._machine_timeout_s = machine_timeout_s
        self._mask = mask

    async def run(self, depot_project_id: str) -> Built:
        """Build in a project of Depot's. Depot hears how it ended, whatever happens.

        Raises:
            NotFound: Of the method `CreateBuild`: there is no such project.
            BuildTimeout: It took longer than the request allows.
            DepotlabError: It failed, or was cancelled at Depot.
        """
        built = await watched(
            self._registered(depot_project_id), self._request, self._hearing, where="Depot"
        )
        if self._hearing.trouble is not None:
            raise self._hearing.trouble
        return built

    async def _registered(self, depot_project_id: str) -> Built:
        self._journal.stage("machine")
        stages = Stages(self._hearing)
        options = options_of(self._order, self._request)
        build = await register(self._connect, options, depot_project_id, report=stages.take)
        async with build:
            self._journal.depot(
                project_id=build.project_id or depot_project_id,
                build_id=build.id,
                build_url=build.url,
            )
            try:
                request = self._request
                if not request.outputs:
                    request = saved_at_depot(self._order, request, build)
                async with StatusMirror(build, close_s=_STATUS_S) as stages.mirror:
                    answer = await self._on_machine(build, request)
            except BaseException as error:
                self._journal.stage("finish")
                # The build's own end tells the words as they are, and those may quote the context's address.
                outcome = Outcome.of(error)
                await build.finish(replace(outcome, error=self._mask(outcome.error)))
                raise
            self._journal.stage("finish")
        return Built(image_of(request.outputs), answer.response.get("containerimage.digest", ""))

    async def _on_machine(self, build: DepotBuild, request: BuildRequest) -> Answer:
        name = next(iter(machines_for(request.platforms)))
        builders = MachineBuilders({}, ())
        machine = Machine(build, name, probe=builders.probe, timeout_s=self._machine_timeout_s)
        try:
            async with machine:
                self._journal.stage("solve")
                try:
                    # It returns when the status of the build has been read to its end.
                    return await machine.guard(
                        builders.at(machine).run(request, self._hearing.feed)
                    )
                finally:
                    self._journal.stage("drain")
                    self._hearing.end()
        except BuildCanceled as error:
            if machine.canceled.is_set():
                self.called_off = machine.cancel_reason or error.message
            raise
        finally:
            await builders.close()
