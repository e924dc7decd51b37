"""A service on a port: JSON, Connect and gRPC on one, with or without TLS, until it is closed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from depotlab._local import make_private_dir
from depotlab._portal import portal
from depotlab._serving import bind, is_loopback
from depotlab._values import Value
from depotlab.errors import EngineError, MissingExtra, UsageError

if TYPE_CHECKING:
    from depotlab.service._access.access import Access
    from depotlab.service._core.core import Core

__all__ = ["AwaitingServer", "Server", "Tls", "check_host", "serving"]

_LOG = logging.getLogger("depotlab.service")

_HEARD_S = 10.0
# A request has a megabyte at most. Who never sends the end of one would else keep a connection for ever.
_ARRIVES_S = 60.0
_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - served with TLS only

Tls = bool | tuple[str | os.PathLike[str], str | os.PathLike[str]] | None
"""True for a certificate of the service's own authority; or the paths of a certificate chain and its key."""


class _Serving:
    """One open port. To be used on the event loop of the service."""

    def __init__(self, stack: AsyncExitStack, *, url: str, ca: Path | None) -> None:
        self._stack = stack
        self.url = url
        self.ca = ca

    async def close(self) -> None:
        """Take no more requests, end logs that are followed, let answers be finished. Idempotent."""
        await self._stack.aclose()


async def serving(
    service: Core,
    access: Access,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: Tls = None,
    tls_folder: Path | None = None,
    beat_s: float = 15.0,
) -> _Serving:
    """Serve on a port, and return once it answers. To be called on the event loop of the service.

    Args:
        service: What is served.
        access: Who may use it.
        host: Where to listen. What is not loopback is served with TLS only.
        port: 0 takes a free one.
        tls: See `Tls`; None is plain HTTP.
        tls_folder: Where the authority of a certificate of our own is kept; needed for `tls=True`.
        beat_s: After so much silence, a log that is followed gets an empty line.

    Raises:
        UsageError: `host` is not loopback and there is no TLS, or it is an address without a certificate of the
            caller's; or the certificate cannot be used.
        EngineError: The port cannot be had.
        MissingExtra: The packages of the extra `service` are not installed.
    """
    try:
        from depotlab._plane.apitls import ApiTls
        from depotlab._serving import Listener, RpcApp
        from depotlab.service._access.access import NOBODY
        from depotlab.service._http.guarded import Guarded
        from depotlab.service._http.jsonapp import MAX_REQUEST_BYTES, JsonApp
        from depotlab.service._http.rpc import SERVICE, BuildServiceMethods
        from depotlab.service._http.schemafile import schema
    except ImportError as error:
        raise MissingExtra("serving builds over the network", extra="service") from error

    check_host(host, tls)
    async with AsyncExitStack() as stack:
        api_tls = None
        if tls:
            folder = tls_folder or Path()
            if tls is True:
                await asyncio.to_thread(make_private_dir, folder)
            api_tls = await asyncio.to_thread(ApiTls, folder, host, tls)
        bound = _bind(host, port)
        stack.callback(bound.close)
        name = api_tls.name if api_tls is not None else host
        if host in _WILDCARDS:  # is no name by which clients could reach it
            name = socket.gethostname()
        scheme = "http" if api_tls is None else "https"
        url = f"{scheme}://{f'[{name}]' if ':' in name else name}:{bound.getsockname()[1]}"

        stopping = asyncio.Event()
        guarded = Guarded(service, access, stopping)
        methods = BuildServiceMethods(guarded).methods()
        rpc = RpcApp(
            access.identify,
            methods,
            anybody=NOBODY,
            log=_LOG,
            max_request_bytes=MAX_REQUEST_BYTES,
        )
        plain = JsonApp(
            guarded,
            access,
            url=lambda: url,
            schema=schema(SERVICE, methods),
            stopping=stopping,
            beat_s=beat_s,
        )
        listener = Listener(_app(rpc, plain), log=_LOG)
        stack.push_async_callback(listener.close)
        if api_tls is not None:
            stack.push_async_callback(api_tls.keep_fresh())
        await listener.listen(bound, api_tls.context if api_tls is not None else None)
        stack.callback(stopping.set)  # the first thing that happens when it is closed
        ca = api_tls.ca if api_tls is not None else None
        return _Serving(stack.pop_all(), url=url, ca=ca)


class AwaitingServer(Value):
    """A service on a port, until it is closed or left; for use with `async with`.

    Attributes:
        url: Where clients find it.
        ca: File with the authority that clients have to trust; None without TLS, and with a certificate of yours.
    """

    def __init__(self, open_port: _Serving) -> None:
        self._open = open_port
        self.url = open_port.url
        self.ca = open_port.ca

    def __repr__(self) -> str:
        return f"<build service at {self.url}>"

    async def close(self) -> None:
        """Stop listening; builds go on. Logs that are followed end, and clients resume them elsewhere. Idempotent."""
        await portal().wait_for(self._open.close())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


class Server(Value):
    """A service on a port, until it is closed or left; for use with `with`.

    Attributes:
        url: Where clients find it.
        ca: File with the authority that clients have to trust; None without TLS, and with a certificate of yours.
    """

    def __init__(self, open_port: _Serving) -> None:
        self._open = open_port
        self.url = open_port.url
        self.ca = open_port.ca

    def __repr__(self) -> str:
        return f"<build service at {self.url}>"

    def close(self) -> None:
        """Stop listening; builds go on. Logs that are followed end, and clients resume them elsewhere. Idempotent."""
        portal().run(self._open.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _app(rpc: Callable[..., Any], plain: Callable[..., Any]) -> Callable[[Any, Any, Any], Any]:
    async def serve(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        exchange = _Exchange(receive, send)
        app = rpc if scope["path"].startswith("/depotlab.service.") else plain
        try:
            await app(scope, exchange.receive, exchange.send)
            await exchange.end()
        finally:
            await exchange.close()

    return serve


class _Exchange:
    """One request, of which the rest is read and forgotten when it is answered before it has come.

    Who is refused may still be sending, and hears us only when we have listened to the end: a connection that is closed
    with bytes unread is reset, and the answer is lost. Those who send without end are listened to for a while only;
    the rest goes on being read while the answer is sent, because hypercorn hands a body on through a short queue, ends
    a connection through the same one, and would wait for itself. Seen with hypercorn 0.18.
    """

    def __init__(self, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        self._receive = receive
        self._send = send
        self._is_read = self._is_late = self._is_answered = False
        self._until_s = asyncio.get_running_loop().time() + _ARRIVES_S
        self._forgetting: asyncio.Task[None] | None = None

    async def receive(self) -> Any:
        if self._is_read:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._until_s):
                message = await self._receive()
        except TimeoutError:  # as if the client had left
            self._is_late = self._is_read = True
            return {"type": "http.disconnect"}
        self._is_read = not message.get("more_body", False)  # nothing comes after a disconnect
        return message

    async def send(self, message: Any) -> None:
        if not self._is_read and self._forgetting is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_HEARD_S):
                    await self._hear()
            if not self._is_read:
                self._forgetting = asyncio.create_task(self._forget())
        self._is_answered = True
        await self._send(message)

    async def end(self) -> None:
        """Say why there is no answer, if the request did not come to its end."""
        if self._is_late and not self._is_answered:
            empty = [(b"content-length", b"0")]
            await self._send({"type": "http.response.start", "status": 408, "headers": empty})
            await self._send({"type": "http.response.body", "body": b""})

    async def _hear(self) -> None:
        while not self._is_read:
            await self.receive()

    async def _forget(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def close(self) -> None:
        if self._forgetting is not None:
            self._forgetting.cancel()
            await asyncio.wait([self._forgetting])


def check_host(host: str, tls: Tls) -> None:
    """Pass if tokens may come to this host.

    Raises:
        UsageError: Others could read them on the way.
    """
    if not isinstance(host, str) or not host:
        raise UsageError(f"host={host!r} is none.", hint="127.0.0.1 is this computer only")
    if not is_loopback(host) and not tls:
        raise UsageError(
            f"host={host!r} can be reached from other computers, and so needs TLS: tokens would be read on the way.",
            hint="give tls=('cert.pem', 'key.pem'), or tls=True with a host name; or put a proxy before 127.0.0.1",
        )


def _bind(host: str, port: int) -> socket.socket:
    try:
        return bind(host, port)
    except (OSError, OverflowError) as error:
        raise EngineError(
            f"The service cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}.",
            hint="choose another port; 0 takes a free one",
        ) from error
