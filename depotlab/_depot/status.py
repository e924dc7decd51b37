"""Tells the API what our side of a build is doing, in BuildKit's status messages.

Depot's machines report the steps of a build themselves, so the official command line sends only its own steps here
(launching a machine, connecting to it), and always: no answer of the API asks for it. Whether a server wants them it
says when they come: one without the method answers `unimplemented`, and is told nothing more. A server whose machines
report nothing learns of a build's steps only from here, by `add`.

Messages go out in batches of one second, over one stream that is opened with the first; `flush` sends what waits at
once and ends the stream. The queue is bounded: what does not fit is dropped and counted. If the stream breaks, or does
not end in time, what was not sent yet goes over a second one. No failure here fails a build, and closing takes a
time that the caller chooses. Source of the numbers: depot/cli `pkg/progresshelper/reportingwriter.go`.
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
from depotlab._depot.stages import Stage
from depotlab._proto import control_pb2 as control
from depotlab._proto import depot_cli_pb2 as cli

__all__ = ["StatusMirror"]

BATCH_S: Final = 1.0
QUEUE: Final = 16_384
CLOSE_S: Final = 5.0

# A server takes four megabytes in one message; a status of ours is small, one of a long log is not.
_BATCH_BYTES: Final = 1 << 20

# What the server says when it does not take the status of this build, now or later.
_FINAL: Final = frozenset(
    {"unimplemented", "unauthenticated", "permission_denied", "not_found", "failed_precondition"}
)

_log = logging.getLogger("depotlab.depot")

_STEPS = {"waiting for machine": "[depot] launching {}", "connecting": "[depot] connecting to {}"}
_FAILED = ("retry", "released")


class StatusMirror:
    """The status of one build, for the API. `async with` sends what is left at its end.

    To be used on one event loop. The server takes what comes late, even after the build was finished.

    Args:
        build: Whose status; it goes over the connections of the build.
        max_queued: Messages that may wait.
        close_s: What `close` may take.

    Attributes:
        n_sent: Messages that the server has, as far as we know.
        n_dropped: Messages that did not fit, or could not be sent.
        unwanted: The server has no such method.
    """

    def __init__(
        self, build: DepotBuild, *, max_queued: int = QUEUE, close_s: float = CLOSE_S
    ) -> None:
        self.n_sent = 0
        self.n_dropped = 0
        self.unwanted = False
        self._connect = build.connect
        self._build_id = build.id
        self._max_queued = max_queued
        self._close_s = close_s
        self._queue: deque[control.StatusResponse] = deque()
        self._begun: dict[str, control.Vertex] = {}
        self._in_flight = 0
        self._more = asyncio.Event()
        # Batches are not waited for, and the stream ends with the queue.
        self._hurry = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._refused = False
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
        if self._closed or self._refused or len(self._queue) >= self._max_queued:
            self.n_dropped += 1
            return
        self._queue.append(message)
        self._more.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="depotlab status")

    def stage(self, stage: Stage) -> None:
        """Take a stage of a machine, as the step that the official command line makes of it. Others are no steps."""
        changed = []
        begun = self._begun.pop(stage.machine, None)
        if begun is not None:
            begun.completed.FromNanoseconds(stage.at_ns)
            if stage.name in _FAILED:
                begun.error = stage.detail or "there was no machine"
            changed.append(begun)
        if stage.name in _STEPS:
            name = f"{_STEPS[stage.name].format(stage.machine)} machine"
            vertex = control.Vertex(name=name, digest=_digest(name, stage.at_ns))
            vertex.started.FromNanoseconds(stage.at_ns)
            self._begun[stage.machine] = vertex
            changed.append(vertex)
        if changed:
            self._add(control.StatusResponse(vertexes=changed))

    def flush(self) -> None:
        """Send what waits at once, and end the stream: nothing more is expected for a while. Never waits."""
        if self._queue:
            self._hasten()

    async def close(self) -> None:
        """Send what is left, and wait for that as long as was chosen. Harmless when called twice."""
        self._closed = True
        self._hasten()
        try:
            if self._task is not None:
                async with asyncio.timeout(self._close_s):
                    # A stream that hangs leaves half of the time for another one.
                    await asyncio.wait([self._task], timeout=self._close_s / 2)
                    await self._stop()
                    if self._queue and not self._refused:
                        await self._send()
        except TimeoutError:
            pass  # what is left is counted below
        finally:
            await self._stop()
            self.n_dropped += len(self._queue)
            if self._queue:
                _log.info(
                    "build %s: %d status messages were not sent", self._build_id, len(self._queue)
                )
            self._queue.clear()

    def _hasten(self) -> None:
        self._hurry.set()
        self._more.set()

    async def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        """Send until the end; a stream that breaks is replaced with the next batch."""
        while not self._closed or self._queue:
            await self._more.wait()
            if not self._queue:
                self._more.clear()
                continue
            sent = await self._send()
            if self._closed and not sent:
                return  # `close` tries once more
            if not self._closed:
                self._hurry.clear()
            if not sent:
                await self._pause()

    async def _send(self) -> bool:
        """Send over one stream, until it is ended or fails; what was not taken stays queued."""
        try:
            async for _ in self._connect.stream(methods.REPORT_STATUS_STREAM, self._batches()):
                pass
        except DepotError as error:
            _log.info("status of build %s: %s", self._build_id, error.message)
            if error.code in _FINAL:
                self._refuse(error)
            return False
        else:
            self._take_off()
            return True
        finally:
            self._in_flight = 0

    def _refuse(self, error: DepotError) -> None:
        self._refused = True
        self.unwanted = error.code == "unimplemented"
        self.n_dropped += len(self._queue)
        self._queue.clear()

    async def _batches(self) -> AsyncIterator[cli.ReportStatusStreamRequest]:
        while True:
            # Being asked for the next one means that the last one was taken.
            self._take_off()
            if not self._queue:
                if self._hurry.is_set():
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
            if self._hurry.is_set() and self._in_flight == len(self._queue):
                return  # the answer says whether they were taken

    async def _pause(self) -> None:
        """Let a batch fill for a second, or until there is a hurry."""
        with suppress(TimeoutError):
            async with asyncio.timeout(BATCH_S):
                await self._hurry.wait()

    def _take_off(self) -> None:
        for _ in range(self._in_flight):
            self._queue.popleft()
        self.n_sent += self._in_flight
        self._in_flight = 0


def _digest(name: str, at_ns: int) -> str:
    return f"sha256:{sha256(f'{name} {at_ns}'.encode()).hexdigest()}"
