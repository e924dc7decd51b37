"""The server's side of TLS over a socket, on memory BIOs: the peer must prove who it is, and says which name it wants.

TLS 1.3 only. Its handshake is over for the client before the server has seen the client's certificate, so a client
that is refused learns it when it first reads. No session tickets: each connection shows its certificate again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from depotlab._plane.authority import Leaf
from depotlab._rpc.sockets import SocketTransport
from depotlab.errors import ConnectionLost, LinkError

_CHUNK_BYTES = 512 << 10
_READ_BYTES = 256 << 10


def server_context(leaf: Leaf, ca_pem: str) -> ssl.SSLContext:
    """Return the settings of a server that speaks HTTP/2 with clients of one authority only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_verify_locations(cadata=ca_pem)
    context.num_tickets = 0
    context.set_alpn_protocols(["h2"])
    with _as_file((leaf.key_pem + leaf.cert_pem).encode()) as path:
        context.load_cert_chain(path)
    return context


@contextmanager
def _as_file(secret: bytes) -> Iterator[str]:
    """Make bytes readable under a path for a moment, for nobody but this user: `ssl` reads files only."""
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("depotlab", os.MFD_CLOEXEC)
        try:
            with os.fdopen(os.dup(handle), "wb") as file:
                file.write(secret)
            yield f"/proc/self/fd/{handle}"
        finally:
            os.close(handle)
        return
    with tempfile.NamedTemporaryFile(prefix="depotlab-") as named:  # created with mode 0600
        named.write(secret)
        named.flush()
        yield named.name


class Names:
    """Which certificate answers to which name, and what each connection asked for.

    Args:
        find: Returns the context of a name, or None when there is no such machine.
        unnamed: Answers until the client has said a name; its certificate is never shown.
    """

    def __init__(
        self, find: Callable[[str], ssl.SSLContext | None], unnamed: ssl.SSLContext
    ) -> None:
        self._find = find
        self._asked: WeakKeyDictionary[ssl.SSLObject, str] = WeakKeyDictionary()
        self.context = unnamed
        unnamed.sni_callback = self._choose

    def asked_by(self, connection: ssl.SSLObject) -> str:
        """Return the name that a connection asked for; there is one once the handshake is over."""
        return self._asked[connection]

    def _choose(
        self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext
    ) -> ssl.AlertDescription | None:
        found = self._find(name or "")
        if found is None:
            return ssl.AlertDescription.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        self._asked[connection] = name or ""
        connection.context = found
        return None


class ServerTls:
    """A `Transport` that decrypts what a client sends. Made by `accept`."""

    def __init__(self, plain: SocketTransport, names: Names) -> None:
        self._plain = plain
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._view = memoryview(bytearray(_READ_BYTES))
        self._sending = asyncio.Lock()
        self._ssl = names.context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._names = names

    @classmethod
    async def accept(cls, plain: SocketTransport, names: Names) -> ServerTls:
        """Shake hands. The caller closes `plain` when this fails.

        Raises:
            ssl.SSLError: The client shows no good certificate, or asks for a name that is not here.
            ConnectionLost: It went away.
        """
        self = cls(plain, names)
        while True:
            try:
                self._ssl.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._take_more()
            except ssl.SSLError:
                with contextlib.suppress(LinkError):
                    await self._flush()  # tells the client why
                raise
            else:
                await self._flush()
                return self

    @property
    def server_name(self) -> str:
        """Which machine the client wants."""
        return self._names.asked_by(self._ssl)

    @property
    def is_http2(self) -> bool:
        """Whether the client agreed on HTTP/2."""
        return self._ssl.selected_alpn_protocol() == "h2"

    @property
    def uris(self) -> list[str]:
        """What the client's certificate says about who it is."""
        certificate: Any = self._ssl.getpeercert() or {}
        return [value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"]

    async def read(self) -> bytes | None:
        """Return the next bytes, or None when the client has closed.

        Raises:
            ConnectionLost: The connection broke.
        """
        while True:
            data = self._decrypt()
            if self._outgoing.pending:  # an answer of TLS itself
                await self._flush()
            if data is None or data:
                return data
            await self._take_more()

    async def write(self, pieces: list[bytes | memoryview]) -> None:
        """Send pieces in order; returns when it may be called again.

        Raises:
            ConnectionLost: The connection broke.
        """
        for piece in pieces:
            data = memoryview(piece)
            at = 0
            while at < len(data):
                stop = min(at + _CHUNK_BYTES, len(data))
                try:
                    while at < stop:  # a record at a time
                        at += self._ssl.write(data[at:stop])
                except ssl.SSLError as error:
                    raise _lost(error) from error
                await self._flush()

    async def close(self) -> None:
        """Send what is left, for a moment at most, and close. Can be called twice.

        TLS has no last word: HTTP/2 has its own (GOAWAY), a cut connection shall look like one, and clients on
        CPython's `ssl` have to know that it tells a goodbye as an empty read, again and again.
        """
        with contextlib.suppress(LinkError):
            await self._flush()
        await self._plain.close()

    async def _flush(self) -> None:
        async with self._sending:  # reading and writing both get here
            if self._outgoing.pending:
                await self._plain.write([self._outgoing.read()])

    async def _take_more(self) -> None:
        data = await self._plain.read()
        if data is None:
            self._incoming.write_eof()
        else:
            self._incoming.write(data)

    def _decrypt(self) -> bytes | None:
        """Return what can be read of what has arrived; None is the end."""
        read: Any = self._ssl.read  # typeshed does not know what it does with a buffer
        view, n_bytes = self._view, 0
        try:
            while n_bytes < _READ_BYTES:
                n_read = read(_READ_BYTES - n_bytes, view[n_bytes:])
                if not n_read:  # it has said goodbye; CPython's _ssl.c tells that by 0
                    return bytes(view[:n_bytes]) or None
                n_bytes += n_read
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            if not n_bytes:
                return None
        except ssl.SSLError as error:
            if not n_bytes:
                raise _lost(error) from error
        return bytes(view[:n_bytes])


def _lost(error: ssl.SSLError) -> ConnectionLost:
    reason = (error.reason or str(error)).replace("_", " ").lower()
    return ConnectionLost(f"The connection of a client was lost: {reason}.", address="")
