"""TLS over any `Transport`, from both sides: certificates from memory, and HTTP/2 agreed on in the handshake (ALPN).

The `ssl` module reads a certificate and its key from files only. They go through an anonymous file in memory
where the system has one (Linux), else through a file that only we may read, removed before this returns.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from depotlab._rpc.endpoint import TLS
from depotlab._rpc.sockets import SocketTransport
from depotlab._rpc.transport import Transport
from depotlab.errors import ConnectionLost, LinkError, Unreachable, UsageError

__all__ = ["TlsTransport", "client_context", "server_context"]

# Plain bytes that are encrypted before they are sent. Measured: 64 KiB costs a quarter more.
_CHUNK_BYTES = 512 << 10
_READ_BYTES = 256 << 10
_SILENT = "it ended the connection after the handshake"


def client_context(tls: TLS) -> ssl.SSLContext:
    """Return the settings of a connection, ready for many.

    Raises:
        UsageError: The certificates cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # so that sending never has to wait for receiving
    context.set_alpn_protocols(["h2"])
    if tls.ca is None:
        context.load_default_certs()
    else:
        try:
            context.load_verify_locations(cadata=tls.ca.decode("ascii"))
        except (ssl.SSLError, UnicodeDecodeError) as error:
            raise UsageError(
                f"TLS(ca=...) cannot be used: {_reason(error)}.",
                hint="it must hold certificates in PEM, one after the other",
            ) from error
    if tls.cert is not None and tls.key is not None:
        try:
            with _as_file(tls.key + b"\n" + tls.cert) as path:
                # Without a function for the password OpenSSL would ask for one on the terminal.
                context.load_cert_chain(path, password=_no_password)
        except ssl.SSLError as error:
            raise UsageError(
                f"TLS(cert=..., key=...) cannot be used: {_reason(error)}.",
                hint="both must be PEM, the key that of the first certificate and not encrypted",
            ) from error
    return context


def server_context(cert_and_key: bytes, *, client_ca: str) -> ssl.SSLContext:
    """Return the settings of a server that speaks HTTP/2 with clients of one authority only.

    TLS 1.3 only. Its handshake is over for the client before the server has seen the client's certificate, so a client
    that is refused learns it when it first reads. No session tickets: each connection shows its certificate again.

    Args:
        cert_and_key: Both in PEM.
        client_ca: The authority that signs the clients, in PEM.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_verify_locations(cadata=client_ca)
    context.num_tickets = 0
    context.set_alpn_protocols(["h2"])
    with _as_file(cert_and_key) as path:
        context.load_cert_chain(path, password=_no_password)
    return context


def _no_password() -> bytes:
    raise UsageError(
        "TLS(key=...) is encrypted.",
        hint="decrypt it first, for example with: openssl pkey -in key.pem -out plain.pem",
    )


@contextmanager
def _as_file(secret: bytes) -> Iterator[str]:
    """Make bytes readable under a path for a moment, for nobody but this user."""
    if hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir():
        descriptor = os.memfd_create("depotlab", os.MFD_CLOEXEC)
        try:
            with os.fdopen(os.dup(descriptor), "wb") as file:
                file.write(secret)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    with tempfile.NamedTemporaryFile(prefix="depotlab-") as file:  # created with mode 0600
        file.write(secret)
        file.flush()
        yield file.name


def _reason(error: Exception) -> str:
    text = error.reason if isinstance(error, ssl.SSLError) and error.reason else str(error)
    return text.replace("_", " ").lower()


class TlsTransport:
    """A `Transport` that encrypts what goes over another one. Made by `start`, or by `accept` on the server's side.

    Attributes:
        session: What `ssl` knows of the connection.
    """

    def __init__(
        self, plain: Transport, context: ssl.SSLContext, *, address: str, server_name: str | None
    ) -> None:
        self._plain = plain
        self._address = address
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._view = memoryview(bytearray(_READ_BYTES))
        self._is_server = server_name is None
        self._heard = self._is_server  # a client that is let in has shown who it is
        self._sending = asyncio.Lock()
        self.session = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=self._is_server,
            server_hostname=server_name,
        )

    @classmethod
    async def start(
        cls, plain: Transport, context: ssl.SSLContext, *, server_name: str, address: str
    ) -> TlsTransport:
        """Shake hands.

        Args:
            plain: Fresh; the caller closes it when this fails.
            context: From `client_context`.
            server_name: Name that the certificate of the peer must have.
            address: For errors.

        Raises:
            ssl.SSLError: The peer is not trusted, refuses us, or does not speak TLS.
            ConnectionLost: It went away.
        """
        self = cls(plain, context, address=address, server_name=server_name)
        await self._shake_hands()
        return self

    @classmethod
    async def accept(
        cls, plain: Transport, context: ssl.SSLContext, *, address: str
    ) -> TlsTransport:
        """Shake hands with a client.

        Args:
            plain: Fresh; the caller closes it when this fails.
            context: From `server_context`.
            address: For errors.

        Raises:
            ssl.SSLError: The client shows no good certificate, or asks for a name that is not here. It was told so.
            ConnectionLost: It went away.
        """
        self = cls(plain, context, address=address, server_name=None)
        await self._shake_hands()
        return self

    async def _shake_hands(self) -> None:
        while True:
            try:
                self.session.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._take_more()
            except ssl.SSLError:
                with contextlib.suppress(LinkError):
                    await self._flush()  # tells the peer why
                raise
            else:
                await self._flush()
                return

    @property
    def protocol(self) -> str | None:
        """What ALPN agreed on, `h2` or None."""
        return self.session.selected_alpn_protocol()

    @property
    def peer_uris(self) -> list[str]:
        """What the peer's certificate says about who it is."""
        certificate: Any = self.session.getpeercert() or {}
        return [value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"]

    async def read(self) -> bytes | None:
        """Return the next bytes, or None when the peer has closed.

        Raises:
            Unreachable: It has ended the connection without a word, or said that it does not accept us.
            ConnectionLost: The connection broke.
        """
        while True:
            data = self._decrypt()
            if self._outgoing.pending:  # an answer of TLS itself
                await self._flush()
            if data:
                self._heard = True
                return data
            if data is None:
                if self._heard:
                    return None
                raise self._lost(_SILENT)
            try:
                await self._take_more()
            except ConnectionLost as error:
                if self._heard:
                    raise
                raise self._lost(_SILENT) from error

    async def write(self, pieces: list[bytes | memoryview]) -> None:
        """Send pieces in order; returns when it may be called again.

        Raises:
            ConnectionLost: The connection broke.
        """
        data = memoryview(b"".join(pieces))
        at = 0
        while at < len(data):
            stop = min(at + _CHUNK_BYTES, len(data))
            try:
                while at < stop:  # a record at a time
                    at += self.session.write(data[at:stop])
            except ssl.SSLError as error:
                raise self._lost(_reason(error)) from error
            await self._flush()

    def is_link_full(self) -> bool:
        """As in `SocketTransport`; False when what is below does not know."""
        return isinstance(self._plain, SocketTransport) and self._plain.is_link_full()

    async def close(self) -> None:
        """Say goodbye if it can be said at once, and close. Can be called twice.

        A server says none: HTTP/2 has a last word of its own (GOAWAY), a cut connection shall look like one, and
        clients on CPython's `ssl` have to know that it tells a goodbye as an empty read, again and again.
        """
        if not self._is_server:
            with contextlib.suppress(ssl.SSLError, LinkError):
                self.session.unwrap()
        try:
            with contextlib.suppress(LinkError):
                await self._flush()
        finally:
            await self._plain.close()

    async def _flush(self) -> None:
        async with self._sending:  # answers of TLS itself may come while data are sent
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
        read: Any = self.session.read  # typeshed does not know what it does with a buffer
        view, n_bytes = self._view, 0
        try:
            while n_bytes < _READ_BYTES:
                n_read = read(_READ_BYTES - n_bytes, view[n_bytes:])
                if (
                    not n_read
                ):  # the peer said goodbye: OpenSSL has no exception for it, and says so for ever
                    return bytes(view[:n_bytes]) or None
                n_bytes += n_read
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            if not n_bytes:
                return None
        except ssl.SSLError as error:
            if not n_bytes:
                raise self._lost(_reason(error)) from error
        return bytes(view[:n_bytes])

    def _lost(self, reason: str) -> LinkError:
        if self._heard:
            return ConnectionLost(
                f"The connection to {self._address} was lost: {reason}.",
                address=self._address,
                hint=""
                if self._is_server
                else "finished steps are in the daemon's cache: build again",
            )
        # With TLS 1.3 a server looks at our certificate when our side of the handshake is over already.
        return Unreachable(
            f"{self._address} does not accept our certificate, as it seems: {reason}.",
            address=self._address,
            hint="check TLS(cert=..., key=...): the daemon knows the authority that signs its clients",
        )
