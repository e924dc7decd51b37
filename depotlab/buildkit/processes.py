"""Processes in containers of a client-run build.

A container is made first (`NewContainer`), then `ExecProcess` carries processes. One such stream could carry all of
them; here each process has a stream of its own, because one message that the daemon dislikes ends the whole stream
and every process on it.

What goes over the stream: we send `Init`, the daemon answers `Started`; then `File` carries bytes in both directions,
by number of the file (0 is what it reads, 1 and 2 what it writes; a terminal has 0 and 1), with a mark for the end of
each; `Signal` and `Resize` go to the process at any time. `Exit` tells the code, the ends of the outputs follow, and
`Done` is last. `Done` waits for the end of file 0, so a process counts as over when its exit and the ends of all its
outputs are known. The first process of a container is its init: when it ends, the container is gone.
Source: moby/buildkit `frontend/gateway/pb/gateway.proto`, `frontend/gateway/gateway.go`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from depotlab._proto import gateway_pb2, ops_pb2
from depotlab._rpc import RpcFailed, Stream
from depotlab.buildkit.gateway import Bridge
from depotlab.errors import ProtocolError

__all__ = ["Exit", "Process", "ProcessSpec", "start_process"]

PIECE_BYTES = 32 << 10
"""Of what is sent to a process at a time, so that a signal never waits behind a megabyte."""

UNKNOWN_EXIT = 255
"""What the daemon says when it does not know. A process may really end with it."""


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """What to start.

    Attributes:
        container_id: Of a container of the same build.
        meta: A serialised `pb.Meta`: argv, environment, directory, user.
        tty: Give it a terminal: outputs come as one, in file 1.
        has_stdin: It is given something to read; else it finds the end at once. A terminal always has it.
        is_insecure: Run it with all privileges, which the build must be entitled to.
        secret_env: Serialised `pb.SecretEnv`, one for each variable that holds a secret.
    """

    container_id: str
    meta: bytes
    tty: bool = False
    has_stdin: bool = False
    is_insecure: bool = False
    secret_env: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended.

    Attributes:
        code: 0 to 255; 255 also when the daemon does not know.
        message: What the daemon says beside the code, often empty.
        is_told: False when the daemon gave the process up without a word, as it does when input comes for one that
            has just ended. The release of the container may still tell.
    """

    code: int
    message: str = ""
    is_told: bool = True


class Process:
    """A process that runs. Made by `start_process`; belongs to the event loop it was made on.

    Attributes:
        exit: None as long as it runs.
    """

    def __init__(self, stream: Stream, process_id: str, spec: ProcessSpec) -> None:
        self._stream = stream
        self._id = process_id
        self._sending = asyncio.Lock()  # a stream takes one message at a time
        self._takes_stdin = spec.tty or spec.has_stdin
        self._open_outputs = {1} if spec.tty else {1, 2}
        self.exit: Exit | None = None

    async def read(self) -> tuple[int, bytes] | None:
        """Return what it wrote next, as (1 or 2, bytes), or None when it has ended and all was read.

        What is not read waits in the daemon and holds the process up.

        Raises:
            RpcFailed: The daemon gave the process up.
        """
        while self.exit is None or self._open_outputs:
            message = await self._receive()
            kind = message.WhichOneof("Input")
            if kind == "File":
                file = message.File
                if file.EOF:
                    self._open_outputs.discard(file.Fd)
                if file.Data:
                    return file.Fd, file.Data
            elif kind == "Exit":
                self.exit = Exit(message.Exit.Code, message.Exit.Error.message)
            elif kind == "Done":
                self._open_outputs.clear()
                self.exit = self.exit or Exit(UNKNOWN_EXIT, is_told=False)
        return None

    async def write(self, data: bytes) -> None:
        """Send bytes to its standard input; waits while it does not read. Ignored when it has ended."""
        view = memoryview(data)
        for start in range(0, len(view), PIECE_BYTES):
            if not self._takes_stdin or self.exit is not None:
                return
            piece = bytes(view[start : start + PIECE_BYTES])
            await self._send(File=gateway_pb2.FdMessage(Fd=0, Data=piece))

    async def close_stdin(self) -> None:
        """Let it find the end of its standard input."""
        if self._takes_stdin and self.exit is None:
            self._takes_stdin = False
            await self._send(File=gateway_pb2.FdMessage(Fd=0, EOF=True))

    async def resize(self, *, rows: int, cols: int) -> None:
        """Tell its terminal the size, in characters."""
        if self.exit is None:
            await self._send(Resize=gateway_pb2.ResizeMessage(Rows=rows, Cols=cols))

    async def signal(self, name: str) -> None:
        """Send it a signal by its name without `SIG`, such as `INT`. A wrong name ends the stream.

        The init of a container does not get signals that it has no handler for, but for `KILL`.
        """
        if self.exit is None:
            await self._send(Signal=gateway_pb2.SignalMessage(Name=name))

    def close(self) -> None:
        """Give it up at once. It is killed when its container is released."""
        self._stream.cancel()

    async def _send(self, **message: object) -> None:
        data = gateway_pb2.ExecMessage(ProcessID=self._id, **message).SerializeToString()  # type: ignore[arg-type]  # one of the fields above
        async with self._sending:
            try:
                await self._stream.write(data)
            except RpcFailed:
                # The reader learns the reason; a process that ends while it is written to is no fault.
                if self.exit is None:
                    self._takes_stdin = False

    async def _receive(self) -> gateway_pb2.ExecMessage:
        data = await self._stream.read()
        if data is None:
            raise ProtocolError(
                "The daemon ended the stream of a process without telling its exit."
            )
        return gateway_pb2.ExecMessage.FromString(data)


async def start_process(bridge: Bridge, spec: ProcessSpec) -> Process:
    """Start a process and return when it runs, or has failed to.

    Args:
        bridge: The gateway of the build that the container belongs to.
        spec: What to start.

    Raises:
        RpcFailed: The daemon refused.
    """
    stream = bridge.open_stream("ExecProcess")
    process = Process(stream, f"{spec.container_id}:{secrets.token_hex(8)}", spec)
    try:
        init = gateway_pb2.InitMessage(
            ContainerID=spec.container_id,
            Tty=spec.tty,
            Fds=[0, 1] if spec.tty else [0, 1, 2] if spec.has_stdin else [1, 2],
            Security=ops_pb2.INSECURE if spec.is_insecure else ops_pb2.SANDBOX,
        )
        init.Meta.ParseFromString(spec.meta)
        for one in spec.secret_env:
            init.secretenv.add().ParseFromString(one)
        await process._send(Init=init)  # noqa: SLF001 - its own class
        message = await process._receive()  # noqa: SLF001
        if message.WhichOneof("Input") == "Exit":
            process.exit = Exit(message.Exit.Code, message.Exit.Error.message)
            process._open_outputs.clear()  # noqa: SLF001
    except BaseException:
        process.close()
        raise
    return process
