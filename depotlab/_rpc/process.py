"""A connection that is a program: bytes on its standard input and output, complaints on the error output.

The program lives in a session of its own, so that Ctrl-C does not reach it and it cannot ask for a password on
our terminal. It ends in this order: its input is closed, SIGTERM, SIGKILL three seconds later. When its
output ends before we have closed, its exit code and its last words say why.
Source: docker/cli `cli/connhelper/commandconn/commandconn.go`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
from collections import deque
from collections.abc import Sequence
from typing import cast

from depotlab.errors import ConnectionLost, LinkError, Unreachable

__all__ = ["ProcessTransport"]

KILL_S = 3.0
EXIT_S = 10.0
"""How long a program whose output has ended may take to say with which code."""
LAST_WORDS_S = 0.5
"""How long the pipes of a program that has ended may stay open: what it started may hold them."""
COMPLAINTS_BYTES = 4096
READ_AHEAD_BYTES = 512 << 10


class ProcessTransport(asyncio.SubprocessProtocol):
    """A `Transport` over a program. Made by `start`."""

    def __init__(self, argv: Sequence[str], address: str) -> None:
        self._argv = argv
        self._address = address
        self._chunks: deque[bytes] = deque()
        self._n_waiting_bytes = 0
        self._heard = False
        self._complaints = bytearray()
        self._closing = False
        loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._output_ended = False
        self._exited: asyncio.Future[None] = loop.create_future()
        self._complained: asyncio.Future[None] = loop.create_future()
        self._gone: asyncio.Future[None] = loop.create_future()

    @classmethod
    async def start(cls, argv: Sequence[str], *, address: str) -> ProcessTransport:
        """Start the program.

        Args:
            argv: Program and arguments. They show up in errors, so there must be no secret in them.
            address: What is connected to, for errors.

        Raises:
            Unreachable: There is no such program, or it cannot be started.
        """
        program = shutil.which(argv[0])
        if program is None:
            raise Unreachable(
                f"{address} is reached with the program {argv[0]!r}, which is not on the PATH.",
                address=address,
                hint=f"install {argv[0]}, or correct PATH",
            )
        loop = asyncio.get_running_loop()
        try:
            _, protocol = await loop.subprocess_exec(
                lambda: cls(argv, address), program, *argv[1:], start_new_session=True
            )
        except OSError as error:
            raise Unreachable(
                f"{address} is reached with {program}, which cannot be started: {error.strerror}.",
                address=address,
                hint="check its permissions",
            ) from error
        return protocol

    # --------------------------------------------------------------------------------- Transport

    async def read(self) -> bytes | None:
        """Return the next bytes, or None when the program has ended well.

        Raises:
            Unreachable: It ended without connecting; the message has what it complained of.
            ConnectionLost: It failed later.
        """
        while not self._chunks:
            if self._closing:
                return None
            if self._output_ended:
                error = await self._failure()
                if error is not None:
                    raise error
                return None
            self._arrived.clear()
            await self._arrived.wait()
        chunk = self._chunks.popleft()
        self._n_waiting_bytes -= len(chunk)
        if self._n_waiting_bytes < READ_AHEAD_BYTES // 2 and not self._output_ended:
            self._output.resume_reading()
        return chunk

    async def write(self, pieces: list[bytes | memoryview]) -> None:
        """Send pieces in order; returns when the program has taken most of them.

        Raises:
            LinkError: As `read`; ConnectionLost when the program has ended well.
        """
        if not self._input.is_closing():
            self._input.write(b"".join(pieces))
            await self._writable.wait()
        if self._input.is_closing():
            raise await self._failure() or ConnectionLost(
                f"The connection to {self._address} has ended.", address=self._address
            )

    async def close(self) -> None:
        """End the program and wait until it is gone. Can be called twice."""
        self._closing = True
        self._arrived.set()
        self._input.close()
        if not self._exited.done():
            self._signal(signal.SIGTERM)
            await asyncio.wait([self._exited], timeout=KILL_S)
            if not self._exited.done():
                self._signal(signal.SIGKILL)
                await self._exited
        self._process.close()
        await self._gone

    def _signal(self, number: signal.Signals) -> None:
        # To its whole session: a script in between must not outlive us with the program it runs.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.get_pid(), number)

    async def _failure(self) -> LinkError | None:
        """Say why the program ended, or return None when it ended well and had something to say."""
        await asyncio.wait([self._exited], timeout=EXIT_S)
        command = shlex.join(self._argv)
        if not self._exited.done():
            ended = f"has closed its output, but is still running after {EXIT_S:g} s"
        else:
            code = self._process.get_returncode() or 0
            if code == 0 and self._heard:
                return None
            ended = f"ended with code {code}" if code >= 0 else f"was ended by signal {-code}"
            # What it started may hold the pipe open; its own words are here by now.
            await asyncio.wait([self._complained], timeout=LAST_WORDS_S)
        words = bytes(self._complaints).decode("utf-8", "replace").strip()
        kind = ConnectionLost if self._heard else Unreachable
        what = "was lost" if self._heard else "could not be made"
        return kind(
            f"The connection to {self._address} {what}: `{command}` {ended}"
            f"{': ' + words if words else ' without a word'}",
            address=self._address,
            hint="finished steps are in the daemon's cache: build again"
            if self._heard
            else "try the command in a terminal; it should wait for input",
        )

    # --------------------------------------------------------------------------------- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the pipes, which are open by now."""
        self._process = cast("asyncio.SubprocessTransport", transport)
        self._input = cast("asyncio.WriteTransport", self._process.get_pipe_transport(0))
        self._output = cast("asyncio.ReadTransport", self._process.get_pipe_transport(1))

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Take what the program wrote."""
        if fd == 2:
            self._complaints += data
            del self._complaints[:-COMPLAINTS_BYTES]
            return
        self._heard = True
        self._chunks.append(data)
        self._n_waiting_bytes += len(data)
        if self._n_waiting_bytes >= READ_AHEAD_BYTES:
            self._output.pause_reading()
        self._arrived.set()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """Note that a pipe has ended."""
        if fd == 0:
            self._writable.set()
        elif fd == 1:
            self._output_ended = True
            self._arrived.set()
        elif not self._complained.done():
            self._complained.set_result(None)

    def process_exited(self) -> None:
        """Note that the program has ended."""
        if not self._exited.done():
            self._exited.set_result(None)
        asyncio.get_running_loop().call_later(LAST_WORDS_S, self._end_orphans)

    def _end_orphans(self) -> None:
        """End what the program has left behind, if it still holds the output open."""
        if not self._output_ended:
            self._signal(signal.SIGKILL)
            self.pipe_connection_lost(1, None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the program and its pipes are gone."""
        if not self._gone.done():
            self._gone.set_result(None)

    def pause_writing(self) -> None:
        """The program is slower than we are."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The program has caught up."""
        self._writable.set()
