"""Methods as an ASGI application that speaks Connect, gRPC and JSON, and who may call them.

A service is an object with `methods()`. Its handlers take a caller and a message of `_proto`, return
a message, and raise `Fault`; nothing of HTTP reaches them. Unknown fields are ignored by protobuf,
and by the JSON codec as it is set here.
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Generic, Literal, TypeVar

from connectrpc.code import Code
from connectrpc.compat import google_protobuf_codecs
from connectrpc.errors import ConnectError
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.request import RequestContext
from connectrpc.server import ConnectASGIApplication, Endpoint
from google.protobuf.message import Message

from depotlab._serving.faults import Fault

__all__ = ["Method", "RpcApp", "methods"]

CallerT = TypeVar("CallerT")

# A status stream sends what has piled up in one message; steps may print megabytes.
_LARGEST_MESSAGE_BYTES = 64 << 20

Shape = Literal["unary", "client_stream", "server_stream"]


@dataclass(frozen=True, slots=True)
class Method:
    """One method of the API.

    Attributes:
        path: `/package.Service/Method`.
        takes: Class of the request, or of each message of the request's stream.
        gives: Class of the answer, or of each message of the answer's stream.
        handler: Called with the caller and the request (a stream of them where `shape` says so).
            Returns an awaitable of the answer, or an asynchronous iterator for a server stream.
        shape: Which side streams.
        open: No token is needed.
    """

    path: str
    takes: type[Message]
    gives: type[Message]
    handler: Callable[[Any, Any], Any]
    shape: Shape = "unary"
    open: bool = False


def methods(
    service: str,
    messages: ModuleType,
    *,
    client_streams: Collection[str] = (),
    server_streams: Collection[str] = (),
    open: Collection[str] = (),  # noqa: A002 - the word of `Method`
    **handlers: Callable[[Any, Any], Any],
) -> list[Method]:
    """Return the methods of a service, whose messages are named after them.

    Args:
        service: With its package.
        messages: Has `<method>Request` and `<method>Response`.
        client_streams: Methods whose request is a stream.
        server_streams: Methods whose answer is a stream.
        open: Methods that need no token.
        **handlers: By the methods' names.
    """

    def shape(name: str) -> Shape:
        if name in client_streams:
            return "client_stream"
        return "server_stream" if name in server_streams else "unary"

    return [
        Method(
            f"/{service}/{name}",
            getattr(messages, f"{name}Request"),
            getattr(messages, f"{name}Response"),
            handler,
            shape(name),
            name in open,
        )
        for name, handler in handlers.items()
    ]


class RpcApp(ConnectASGIApplication[None], Generic[CallerT]):
    """Serves methods by their paths.

    Args:
        identify: Given the `authorization` header (empty when there is none), returns who calls, or raises `Fault`.
        methods: What is served.
        anybody: Who calls a method that asks for no token.
        log: Hears of our own mistakes, which the client is not told.
        max_request_bytes: Of one message.

    Attributes:
        methods: What is served, by path.
    """

    def __init__(
        self,
        identify: Callable[[str], CallerT],
        methods: Iterable[Method],
        *,
        anybody: CallerT,
        log: logging.Logger,
        max_request_bytes: int = _LARGEST_MESSAGE_BYTES,
    ) -> None:
        self._identify = identify
        self._anybody = anybody
        self._log = log
        self.methods: Mapping[str, Method] = {method.path: method for method in methods}
        served = {path: self._endpoint(method) for path, method in self.methods.items()}
        super().__init__(
            service=None,
            endpoints=lambda _: served,
            read_max_bytes=max_request_bytes,
            codecs=google_protobuf_codecs(),
        )

    @property
    def path(self) -> str:
        """Under which it is mounted."""
        return ""

    def _endpoint(self, method: Method) -> Any:
        _, service, name = method.path.split("/")
        info: MethodInfo[Any, Any] = MethodInfo(
            name=name,
            service_name=service,
            input=method.takes,
            output=method.gives,
            idempotency_level=IdempotencyLevel.UNKNOWN,
            stream_type=StreamType[method.shape.upper()],
        )
        if method.shape == "server_stream":

            async def stream(request: Any, ctx: RequestContext[Any, Any]) -> AsyncIterator[Message]:
                try:
                    async for message in method.handler(self._caller(method, ctx), request):
                        yield message
                except Exception as error:  # noqa: BLE001 - all that comes is told, or logged
                    raise self._told(error, method, ctx) from None

            return Endpoint.server_stream(info, stream)

        async def call(request: Any, ctx: RequestContext[Any, Any]) -> Message:
            try:
                answer: Awaitable[Message] = method.handler(self._caller(method, ctx), request)
                return await answer
            except Exception as error:  # noqa: BLE001 - all that comes is told, or logged
                raise self._told(error, method, ctx) from None

        if method.shape == "client_stream":
            return Endpoint.client_stream(info, call)
        return Endpoint.unary(info, call)

    def _caller(self, method: Method, ctx: RequestContext[Any, Any]) -> CallerT:
        if method.open:
            return self._anybody
        return self._identify(ctx.request_headers.get("authorization", ""))

    def _told(self, error: Exception, method: Method, ctx: RequestContext[Any, Any]) -> Exception:
        """What the client is told. Our own mistakes go to the log, and only their place to the client."""
        if isinstance(error, Fault):
            if error.retry_after_s is not None:
                ctx.response_headers["retry-after"] = str(math.ceil(error.retry_after_s))
            text = f"{error.text} ({error.hint})" if error.hint else error.text
            return ConnectError(Code[error.code.upper()], text)
        if isinstance(error, ConnectError):  # the stream was cut, or its bytes are no message
            return error
        self._log.error("%s failed", method.path, exc_info=error)
        return ConnectError(
            Code.INTERNAL, f"{method.path} failed here; the log of the server has more"
        )
