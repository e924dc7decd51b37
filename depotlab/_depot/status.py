"""Tells the API what our side of a build is doing, in BuildKit's status messages.

When a server wants it: Depot's own machines report the steps of a build themselves, so the official command line sends
only its own steps here (launching a machine, connecting to it). A server whose machines report nothing, such as a
plain buildkitd, learns of a build's steps only from here. Nobody asks for it on the wire, so it is off unless the
caller makes a `StatusMirror`.

Messages go out in batches of one second, over one stream that is opened with the first. The queue is bounded: what
does not fit is dropped and counted. If the stream breaks, or does not end in time, what was not sent yet goes over a
second one, for five seconds at most; it may arrive after the build is finished. No failure here fails a build.
Source of the numbers: depot/cli `pkg/progress/`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from hashlib import sha256
from types import TracebackType
from typing import Final, Self

from depotlab._depot import methods
from depotlab._depot.build import DepotBuild
from depotlab._depot.errors import DepotError
from depotlab._depot.retry import Retry
from depotlab._depot.stages import Stage
from depotlab._proto import control_pb2 as control
from depotlab._proto import depot_cli_pb2 as cli

__all__ = ["StatusMirror"]

BATCH_S: Final = 1.0
QUEUE: Final = 16_384
CLOSE_S: Final = 5.0

# A server takes four megabytes in one message; a status of ours is small, one of a long log is not.
_BATCH_BYTES: Final = 1 << 20

_log = logging.getLogger("depotlab.depot")

_STEPS = {"waiting for machine": "[depot] launching {}", "connecting": "[depot] connecting to {}"}
_NEXT = {"connecting": "waiting for machine", "ready": "connecting"}


class StatusMirror:
    """The status of one build, for the API. `async with` sends what is left at its end.

    To be used on one event loop. The server takes what comes late, even after the build was finished.

    Args:
        build: Whose status.
        max_queued: Messages that may wait.

    Attributes:
        n_sent: Messages that the server has, as far as we know.
        n_dropped: Messages that did not fit, or could not be sent.
    """

    def __init__(self, build: DepotBuild, *, max_queued: int = QUEUE) -> None:
        self.n_sent = 0
        self.n_dropped = 0
        self._connect = build.connect.another(retry=Retry(n_tries=1))
        self._build_id = build.id
        self._max_queued = max_queued
        self._queue: deque[control.StatusResponse] = deque()
        self._begun: dict[str, control.Vertex] = {}
        self._in_flight = 0
        self._more = asyncio.Event()
        self._ending = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def add(self, message: bytes) -> None:
        """Take one message; never waits. After `close` it is dropped.

        Args:
            message: A serialised `moby.buildkit.v1.StatusResponse`, as the daemon sent it.
        """
        self._add(control.StatusResponse.FromString(message))

    def _add(self, message: control.StatusResponse) -> None:
        if self._closed or len(self._queue) >= self._max_queued:
            self.n_dropped += 1
            return
        self._queue.append(message)
        self._more.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="depotlab status")

    def stage(self, stage: Stage) -> None:
        """Take a stage of a machine, as the step that the official command line makes of it. Others are no steps."""
        done = self._begun.pop(f"{_NEXT.get(stage.name, '')} {stage.machine}", None)
        changed = [done] if done is not None else []
        if done is not None:
            done.completed.FromNanoseconds(stage.at_ns)
        if stage.name in _STEPS:
            name = f"{_STEPS[stage.name].format(stage.machine)} machine"
            vertex = control.Vertex(name=name, digest=_digest(name, stage.at_ns))
            vertex.started.FromNanoseconds(stage.at_ns)
            self._begun[f"{stage.name} {stage.machine}"] = vertex
            changed.append(vertex)
        if changed:
            self._add(control.StatusResponse(vertexes=changed))

    async def close(self) -> None:
        """Send what is left, and wait for it up to five seconds. Harmless when called twice."""
        self._closed = True
        self._ending.set()
        self._more.set()
        try:
            if self._task is not None:
                await asyncio.wait([self._task], timeout=CLOSE_S)
                if not self._task.done():  # the stream hangs
                    await self._stop()
                if self._queue:
                    await self._send(CLOSE_S)
        finally:
            self._connect.close()  # first: what follows may be cancelled
            await self._stop()
            self.n_dropped += len(self._queue)
            self._queue.clear()

    async def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        """Send until the end; a stream that breaks is replaced with the next batch."""
        while not self._ending.is_set() or self._queue:
            await self._more.wait()
            if not self._queue:
                self._more.clear()
                continue
            if not await self._send(None):
                if self._ending.is_set():
                    return  # `close` tries once more
                await asyncio.sleep(BATCH_S)

    async def _send(self, timeout_s: float | None) -> bool:
        """Send over one stream, until the end or its failure; what was not taken stays queued."""
        try:
            async for _ in self._connect.stream(
                methods.REPORT_STATUS_STREAM, self._batches(), timeout_s=timeout_s
            ):
                pass
        except DepotError as error:
            _log.info("status of build %s: %s", self._build_id, error.message)
            return False
        finally:
            self._in_flight = 0
        return True

    async def _batches(self) -> AsyncIterator[cli.ReportStatusStreamRequest]:
        while True:
            # Being asked for the next one means that the last one was taken.
            self._take_off()
            if not self._queue:
                if self._ending.is_set():
                    return
                self._more.clear()
                await self._more.wait()
            await self._pause()
            request = cli.ReportStatusStreamRequest(build_id=self._build_id)
            size_bytes = 0
            for message in self._queue:
                size_bytes += message.ByteSize()
                if self._in_flight and size_bytes > _BATCH_BYTES:
                    break
                request.statuses.append(message)
                self._in_flight += 1
            if self._in_flight:
                yield request

    async def _pause(self) -> None:
        """Let a batch fill for a second, or until the end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(BATCH_S):
                await self._ending.wait()

    def _take_off(self) -> None:
        for _ in range(self._in_flight):
            self._queue.popleft()
        self.n_sent += self._in_flight
        self._in_flight = 0


def _digest(name: str, at_ns: int) -> str:
    return f"sha256:{sha256(f'{name} {at_ns}'.encode()).hexdigest()}"
