"""What a session service sees of one gRPC call, and how it answers.

The inner server (`inner.py`) makes the calls; services in `_session` are written against this
file only, so that they can be tested with a call made in memory.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from enum import IntEnum
from typing import Protocol

__all__ = ["Call", "Handler", "RpcFault", "Status"]


class Status(IntEnum):
    """gRPC status codes. Source: grpc/grpc `doc/statuscodes.md`."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class RpcFault(Exception):
    """Ends a call with a status other than OK; the text goes to the daemon.

    Attributes:
        status: The code the daemon sees.
        message: Shown to users by the daemon, so never a secret.
    """

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(f"{status.name}: {message}")
        self.status = status
        self.message = message


class Call(Protocol):
    """One call from the daemon. All methods belong to the event loop that made it.

    Attributes:
        method: Full name, such as `/moby.filesync.v1.FileSync/DiffCopy`.
        metadata: Request headers in lower case, each with all its values in order.
            `-bin` headers are decoded to bytes by the server and left out here.
    """

    method: str
    metadata: Mapping[str, list[str]]

    async def receive(self) -> bytes | None:
        """Return the next message, or None when the daemon has sent its last."""

    async def receive_many(self) -> list[bytes]:
        """Return all messages that have arrived, at least one; an empty list is the end."""

    def keep_pieces(self) -> bool:
        """Ask for `receive_pieces`, instead of all other ways to receive; False when messages are compressed."""

    async def receive_pieces(self) -> list[memoryview]:
        """Return bytes of messages as they come, cut anywhere, with their prefixes; an empty list is the end.

        Saves two copies of everything. Only after `keep_pieces` returned True.
        """

    def queue(self, *messages: bytes | bytearray | memoryview) -> None:
        """Add whole messages to the outgoing queue without waiting.

        Buffers are sent as they are and must not change afterwards.
        """

    def queue_pieces(self, pieces: list[bytes | memoryview], *, length: int) -> None:
        """Add one message of `length` bytes that is given in pieces, saving a copy."""

    def use_gzip(self) -> bool:
        """Say that messages to the daemon may be compressed; to be called before the first is queued.

        Costs a header field. False means that the daemon does not understand it.
        """

    def is_link_full(self) -> bool:
        """Whether something is queued, and it is the network that does not take it."""

    def queue_gzip(self, message: bytes) -> None:
        """Add one message that is gzip already; only after `use_gzip` returned True."""

    async def drain(self) -> None:
        """Wait until the outgoing queue is below its high-water mark (real back-pressure)."""

    async def send(self, message: bytes | bytearray | memoryview) -> None:
        """Queue one message, then drain."""


Handler = Callable[[Call], Awaitable[None]]
"""Serves one call; returning is OK, `RpcFault` is that status, anything else is INTERNAL."""
