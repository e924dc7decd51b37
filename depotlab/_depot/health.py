"""Tells the API that a build's client is alive, for one machine, and hears when the build is to be canceled.

A report goes out at once and then every five seconds, each with a deadline of thirty; the server gives up a build
whose client it has not heard for a while. A report that hangs does not hold up the next one, which goes over another
connection. No failure of a report fails a build: after each the connections are made anew.

`cancels_at` in an answer is compared with the `date` of the same answer, so that this computer's clock does not matter;
only where a server sends no date it is compared with our clock. The date is cut to whole seconds, so a build is
canceled at most a second late and never early. Source of the intervals: depot/cli `pkg/machine/machine.go`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from depotlab._depot import methods
from depotlab._depot.connect import Connect
from depotlab._depot.errors import DepotError
from depotlab._depot.platforms import builder_platform
from depotlab._depot.retry import Retry
from depotlab._proto import depot_cli_pb2 as cli

__all__ = ["INTERVAL_S", "Health", "remaining_s"]

INTERVAL_S = 5.0
DEADLINE_S = 30.0

_log = logging.getLogger("depotlab.depot")


def remaining_s(cancels_at: datetime, server_now: datetime | None) -> float:
    """Return how long a build may go on, in seconds, at least 0.

    Args:
        cancels_at: As the server said.
        server_now: The server's clock when it said so; None takes ours.
    """
    return max(0.0, (cancels_at - (server_now or datetime.now(UTC))).total_seconds())


class Health:
    """The reports for one machine, on the running event loop.

    Args:
        connect: Says where the API is, with the build's token; it is not used itself.
        build_id: Of the build.
        machine: `amd64` or `arm64`.
        cancel: Called once when the server wants the build canceled, with the reason.

    Attributes:
        n_sent: Reports so far.
        n_failed: Of them, how many failed.
    """

    def __init__(
        self, connect: Connect, build_id: str, machine: str, *, cancel: Callable[[str], None]
    ) -> None:
        self.n_sent = 0
        self.n_failed = 0
        # The next report is the next try.
        self._connect = connect.another(retry=Retry(n_tries=1))
        self._request = cli.ReportBuildHealthRequest(
            build_id=build_id, platform=builder_platform(machine)
        )
        self._cancel = cancel
        self._newest = 0
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to report. Harmless when called twice."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="depotlab health")

    async def stop(self) -> None:
        """Report no more, and close the connections. Harmless when called twice."""
        self._forget_timer()
        try:
            if self._task is not None:
                self._task.cancel()
                await asyncio.wait([self._task])
        finally:
            self._connect.close()

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as reports:
            while True:
                reports.create_task(self._report())
                await asyncio.sleep(INTERVAL_S)

    async def _report(self) -> None:
        self.n_sent += 1
        number, connect = self.n_sent, self._connect
        try:
            reply, now = await connect.dated(
                methods.REPORT_HEALTH, self._request, timeout_s=DEADLINE_S
            )
        except DepotError as error:
            self.n_failed += 1
            _log.info("health of build %s: %s", self._request.build_id, error.message)
            if connect is self._connect:
                self._connect = connect.another()
                connect.close()
            return
        if number < self._newest:  # an answer that was overtaken says nothing new
            return
        self._newest = number
        self._forget_timer()
        if reply.HasField("cancels_at"):
            cancels_at = _moment(reply)
            left_s = remaining_s(cancels_at, now)
            why = f"Depot cancels the build at {cancels_at:%Y-%m-%d %H:%M:%S} UTC"
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(left_s, self._cancel, why)

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _moment(reply: cli.ReportBuildHealthResponse) -> datetime:
    """When the build is to be canceled; never, for a time that no calendar has."""
    try:
        return reply.cancels_at.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        return datetime.max.replace(tzinfo=UTC)
