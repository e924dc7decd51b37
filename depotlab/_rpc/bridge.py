"""A unix socket for grpcio, which connects to sockets only, in front of any `Dialer`.

Each connection that arrives dials one transport, and bytes go both ways until either side ends. The socket is
in a folder that only its owner can enter; both are removed at `close`, or at the latest when the process exits.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import tempfile
import weakref
from collections.abc import Awaitable
from functools import partial
from pathlib import Path

from depotlab._rpc.sockets import SocketTransport
from depotlab._rpc.transport import Dialer, Transport
from depotlab.errors import ConnectionLost, DepotlabError, LinkError

__all__ = ["SocketBridge"]

# Of sun_path, with room for macOS, which has 104.
SOCKET_PATH_LENGTH = 100


class SocketBridge:
    """Listens from the moment it is made, on the running event loop, to which it belongs.

    Args:
        dialer: Opens what is behind the socket.
        address: What that is, for errors.

    Attributes:
        host_path: The socket.
        failure: Why the last connection could not be made or ended; None while all is well.
    """

    def __init__(self, dialer: Dialer, *, address: str) -> None:
        self._dialer = dialer
        self._address = address
        self.failure: DepotlabError | None = None
        folder = Path(tempfile.mkdtemp(prefix="depotlab-"))
        if len(str(folder)) + 2 > SOCKET_PATH_LENGTH:
            folder.rmdir()
            folder = Path(tempfile.mkdtemp(prefix="depotlab-", dir="/tmp"))
        self._remove = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.host_path = folder / "s"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.host_path))
        self._listener.listen()
        self._listener.setblocking(False)
        self._serving = asyncio.get_running_loop().create_task(
            self._serve(), name=f"bridge to {address}"
        )

    async def close(self) -> None:
        """End all connections and remove the socket. Can be called twice."""
        self._serving.cancel()
        await asyncio.wait([self._serving])
        self._listener.close()
        self._remove()
        if not self._serving.cancelled():
            self._serving.result()

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        broken: asyncio.Future[None] = loop.create_future()
        async with asyncio.TaskGroup() as connections:
            # Not `sock_accept`: when it is cancelled just as somebody connects, that connection stays open.
            loop.add_reader(self._listener, self._accept, connections, broken)
            try:
                await broken
            finally:
                loop.remove_reader(self._listener)

    def _accept(self, connections: asyncio.TaskGroup, broken: asyncio.Future[None]) -> None:
        """Called by the loop when somebody connects."""
        try:
            accepted, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError):  # who has connected is gone
            return
        except OSError as error:
            if not broken.done():
                broken.set_exception(error)
            return
        accepted.setblocking(False)
        task = connections.create_task(self._connect(accepted))
        # A task that is cancelled before its first step closes nothing itself.
        task.add_done_callback(partial(_close, accepted))

    async def _connect(self, accepted: socket.socket) -> None:
        async with contextlib.AsyncExitStack() as opened:
            try:
                near = SocketTransport(accepted, address=self._address)
                # Closed last: by then `failure` says what its peer may want to know.
                opened.push_async_callback(near.close)
                far = await self._dialer()
                opened.push_async_callback(far.close)
                self.failure = None
                await _pump_both(near, far)
            except DepotlabError as error:
                self.failure = error
            except OSError as error:
                self.failure = LinkError(
                    f"The connection to {self._address} failed: {error.strerror or error}.",
                    address=self._address,
                )


def _close(accepted: socket.socket, _task: asyncio.Task[None]) -> None:
    accepted.close()


async def _pump_both(near: Transport, far: Transport) -> None:
    """Move bytes until one side ends; raise what went wrong on the far one."""
    ways = [
        asyncio.create_task(_pump_up(near, far), name="bridge up"),
        asyncio.create_task(_pump_down(far, near), name="bridge down"),
    ]
    try:
        done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
    for way in done:
        way.result()


async def _pump_up(near: Transport, far: Transport) -> None:
    while (data := await _near(near.read())) is not None:
        await far.write([data])


async def _pump_down(far: Transport, near: Transport) -> None:
    while (data := await far.read()) is not None:
        try:
            await near.write([data])
        except ConnectionLost:
            return


async def _near(reading: Awaitable[bytes | None]) -> bytes | None:
    """Read from grpcio's side. However it closes, nothing went wrong."""
    try:
        return await reading
    except ConnectionLost:
        return None
