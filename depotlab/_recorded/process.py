"""A process of a recording: it writes what it wrote, when it was given to read what it was given then."""

from __future__ import annotations

import asyncio

from depotlab._proto import gateway_pb2
from depotlab._recorded.canonical import digest_of
from depotlab._recorded.clock import Clock
from depotlab._recorded.nearest import HINT
from depotlab._recorded.player import Player
from depotlab._recorded.tape import CANCELLED, Call
from depotlab._rpc import RpcFailed, Status, Stream, Telling
from depotlab.errors import NotRecorded

__all__ = ["PlayedProcess"]


class PlayedProcess(Stream):
    """`ExecProcess` of a recorded build, for one process.

    Args:
        player: The recording.
        ref: The build.
        telling: For taps.
    """

    def __init__(self, player: Player, ref: str, telling: Telling | None) -> None:
        self._player = player
        self._ref = ref
        self._telling = telling
        self._call: Call | None = None
        self._process_id = ""
        self._clock = Clock(player.speed)
        self._stdin = bytearray()
        self._has_all = False
        self._number = 0
        self._before_ns = 0
        self._changed = asyncio.Event()

    async def write(self, message: bytes) -> None:
        """See `Stream`."""
        if self._telling is not None:
            self._telling.message("client", message)
        sent = gateway_pb2.ExecMessage.FromString(message)
        match sent.WhichOneof("Input"):
            case "Init":
                self._process_id = sent.ProcessID
                self._call = self._player.process(self._ref, message)
                self._before_ns = self._call.began_ns
            case "File":
                self._stdin += sent.File.Data
                self._has_all = self._has_all or sent.File.EOF
        self._changed.set()

    async def read(self) -> bytes | None:
        """See `Stream`."""
        while self._call is None:
            await self._change()
        call = self._call
        if self._number == len(call.messages):
            if call.code and call.code != CANCELLED:
                raise RpcFailed(Status(call.code), call.text, call.details)
            return None
        message = call.messages[self._number]
        while len(self._stdin) < message.n_before and not self._has_all:
            await self._change()
        if message.n_before and message.n_before == self._n_read(call):
            self._check(call)
        self._number += 1
        await self._clock.wait(message.at_ns - self._before_ns)
        self._before_ns = message.at_ns
        told = gateway_pb2.ExecMessage.FromString(message.data)
        told.ProcessID = self._process_id
        data = told.SerializeToString()
        if self._telling is not None:
            self._telling.message("daemon", data)
        return data

    async def close_send(self) -> None:
        """See `Stream`."""
        self._has_all = True
        self._changed.set()

    async def initial_metadata(self) -> dict[str, str]:
        """See `Stream`."""
        return {}

    def cancel(self) -> None:
        """See `Stream`."""
        if self._telling is not None:
            self._telling.ended()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _n_read(self, call: Call) -> int:
        return max(message.n_before for message in call.messages)

    def _check(self, call: Call) -> None:
        """Refuse a process that is given something else to read than in the recording."""
        if call.stdin and call.stdin != digest_of(bytes(self._stdin[: self._n_read(call)])):
            raise NotRecorded(
                "This command was given something else to read when it was recorded.",
                asked="a command with this input",
                path=self._player.path,
                hint=HINT,
            )
