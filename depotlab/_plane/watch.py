"""What happens in a build, seen by the plane itself: its own reader of `Control/Status`.

A build that its client calls internal (the official CLI calls all of them so) leaves no record, so the reader has to
be there while it runs. It asks before the daemon has seen the build: the daemon waits a few seconds for a build to
come, and whoever comes while it runs is told everything from its beginning.
Source: moby/buildkit solver/jobs.go (`Solver.Get`, `Job.Status`), solver/progress.go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from depotlab._plane.calls import Call
from depotlab._proto import control_pb2
from depotlab._rpc import RpcFailed, Status

STATUS = "/moby.buildkit.v1.Control/Status"

# The daemon itself waits six seconds for a build to come.
_ATTEMPTS = 5
_AGAIN_S = 0.1


class Watch:
    """The reader of one build. Made by `open`."""

    def __init__(self, host_socket: Path, ref: str, call: Call) -> None:
        self._host_socket = host_socket
        self.ref = ref
        self._call = call

    @classmethod
    async def open(cls, host_socket: Path, ref: str) -> Watch:
        """Ask for the status of a build; what is sent to the daemon after this returns comes after it.

        Args:
            host_socket: The daemon's.
            ref: The build's name there.

        Raises:
            LinkError: There is no daemon.
        """
        return cls(host_socket, ref, await _ask(host_socket, ref))

    async def run(self, tell: Callable[[bytes], None], is_solving: Callable[[], bool]) -> None:
        """Read until the build ends.

        Args:
            tell: Takes each serialized `StatusResponse`.
            is_solving: Whether the one who started the build is still there. It may take longer than
                the daemon waits until a large request is with it.

        Raises:
            RpcFailed: The daemon has no such build, or ended the call otherwise.
            LinkError: The daemon went away.
        """
        attempts = _ATTEMPTS
        while True:
            try:
                while (message := await self._call.read()) is not None:
                    tell(message)
            except RpcFailed as failure:
                attempts -= 1
                if failure.status is not Status.NOT_FOUND or not attempts or not is_solving():
                    raise
            else:
                return
            finally:
                await self._call.close()
            await asyncio.sleep(_AGAIN_S)
            self._call = await _ask(self._host_socket, self.ref)

    async def close(self) -> None:
        """Let go without having read. Can be called twice."""
        await self._call.close()


async def _ask(host_socket: Path, ref: str) -> Call:
    request = control_pb2.StatusRequest(Ref=ref).SerializeToString()
    return await Call.open(host_socket, STATUS, request)
