"""The client's end of the conversation with the supervisor. Its frames are described there."""

from __future__ import annotations

import json
import os
import select
import socket
import time
from pathlib import Path
from typing import Any

from depotlab.errors import EngineError

from . import _forks


class Gone(Exception):
    """Nobody listens, or the supervisor ended while we spoke: start one, or try again."""


class Line:
    """One connection to the supervisor. It is closed in forked children, and when collected.

    Attributes:
        ended: What the supervisor said when the engine ended, or None.
    """

    def __init__(self, socket_path: Path) -> None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(os.fspath(socket_path))
        except OSError as error:
            connection.close()
            raise Gone(str(error)) from error
        # A bare descriptor instead of a socket object: a forked child closes it without a trace.
        self._handle = connection.detach()
        _forks.keep_from_children(self._handle)
        self._owner = os.getpid()
        self._received = b""
        self.ended: dict[str, Any] | None = None

    def close(self) -> None:
        """Give the lease back. Does nothing the second time, and in a forked child."""
        handle, self._handle = self._handle, -1
        if handle >= 0 and os.getpid() == self._owner:
            _forks.close(handle)

    def __del__(self) -> None:
        if hasattr(self, "_handle"):
            self.close()

    def say(self, do: str, **fields: Any) -> None:
        """Send one line.

        Raises:
            Gone: The supervisor has ended.
        """
        line = json.dumps({"do": do, **fields}).encode() + b"\n"
        try:
            os.write(self._open_handle(), line)
        except OSError as error:
            raise Gone(str(error)) from error

    def hear(self, *, timeout_s: float) -> dict[str, Any]:
        """Wait for the next line.

        Raises:
            Gone: The connection ended.
            TimeoutError: Nothing came in time.
        """
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._received:
            handle = self._open_handle()
            left_s = deadline - time.monotonic()
            if not select.select([handle], [], [], max(0.0, left_s))[0]:
                raise TimeoutError(f"the supervisor said nothing for {timeout_s:.0f} s")
            try:
                received = os.read(handle, 1 << 16)
            except OSError as error:
                raise Gone(str(error)) from error
            if not received:
                raise Gone("the connection ended")
            self._received += received
        line, _, self._received = self._received.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def poll_end(self) -> str | None:
        """Return why the engine ended, or None while it lives. Does not wait."""
        if self.ended is None:
            try:
                self.ended = self.hear(timeout_s=0)
            except TimeoutError:
                return None
            except Gone as gone:
                self.ended = {"reason": f"its supervisor is gone ({gone})"}
        return str(self.ended.get("reason", ""))

    def _open_handle(self) -> int:
        if self._handle < 0 or os.getpid() != self._owner:
            raise Gone("the lease was given back, or belongs to the process that forked this one")
        return self._handle


def take(socket_path: Path, *, timeout_s: float) -> tuple[Line, dict[str, Any]]:
    """Take a lease and wait until the engine is ready.

    Returns:
        The open lease and what the supervisor says about the engine.

    Raises:
        Gone: Nobody listens there, or not any more.
        EngineError: The engine does not come up.
    """
    line = Line(socket_path)
    line.say("lease", pid=os.getpid())
    try:
        answer = line.hear(timeout_s=timeout_s)
    except TimeoutError as error:
        raise EngineError(
            f"The engine was not ready after {timeout_s:.0f} s.",
            hint="run `depotlab engine logs` to see what it does",
        ) from error
    if answer["event"] != "ready":
        line.close()
        raise EngineError(
            f"The engine did not start: {answer.get('reason')}.",
            hint="run `depotlab doctor`; the whole log is shown by `depotlab engine logs`",
            log_tail=tuple(answer.get("log_tail", ())),
        )
    return line, answer
