"""Ways to write a handler for a call with one request and one answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from depotlab._rpc.call import Call, Handler, RpcFault, Status

__all__ = ["Instant", "unary"]


def unary(fn: Callable[[Call, bytes], Awaitable[bytes]]) -> Handler:
    """Make a handler from a function that turns one request into one answer.

    A request of no message, or of several, ends with INTERNAL, as in grpc-go.
    """

    async def handler(call: Call) -> None:
        call.queue(await fn(call, await _only_message(call)))

    return handler


@dataclass(frozen=True, slots=True)
class Instant:
    """A handler that the server answers while it parses the request: no task, no turn to wait for.

    Attributes:
        answer: Must be quick; runs on the event loop. It may raise `RpcFault`.
    """

    answer: Callable[[bytes], bytes]

    async def __call__(self, call: Call) -> None:
        """Serve a call as any handler does, for calls that another server makes."""
        call.queue(self.answer(await _only_message(call)))


async def _only_message(call: Call) -> bytes:
    request = await call.receive()
    if request is None or await call.receive() is not None:
        raise RpcFault(Status.INTERNAL, "this method takes exactly one message")
    return request
