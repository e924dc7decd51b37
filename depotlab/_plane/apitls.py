"""The certificate with which the API itself is served, when it is served with TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import ssl
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from depotlab._local import write_private
from depotlab._plane.authority import LEAF_LIFE, Authority
from depotlab._serving import is_loopback
from depotlab.errors import UsageError

__all__ = ["ApiTls"]


class ApiTls:
    """A TLS context for servers, whose certificate is renewed while it is in use.

    Args:
        folder: Where the authority of a certificate of our own is kept.
        host: Where the API listens.
        tls: True for a certificate of our own, or the paths of a certificate chain and its key.

    Attributes:
        context: For `start_server`.
        name: The host name in the certificate.
        ca: File with the authority that clients have to trust; None with a certificate of the user's.

    Raises:
        UsageError: The files are no certificate and key, or `host` is an address and `tls` is True.
    """

    def __init__(
        self,
        folder: Path,
        host: str,
        tls: bool | tuple[str | os.PathLike[str], str | os.PathLike[str]],
    ) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.ca: Path | None = None
        self._authority: Authority | None = None
        self.name = "localhost" if is_loopback(host) else host
        if isinstance(tls, tuple):
            try:
                self.context.load_cert_chain(*tls)
            except (OSError, ssl.SSLError) as error:
                raise UsageError(
                    f"tls= gives no usable certificate and key: {error}.",
                    hint="give the paths of two PEM files: the certificate chain, its key",
                ) from error
            return
        if _is_address(self.name):
            raise UsageError(
                f"A certificate for the address {host!r} has to be yours.",
                hint="give --tls CERT KEY, or a host name as --host",
            )
        self._authority = Authority(folder)
        self.ca = folder / "ca.pem"
        write_private(self.ca, self._authority.ca_pem)
        self._renew()

    def keep_fresh(self) -> Callable[[], Awaitable[None]]:
        """Renew the certificate in the background; what is returned ends that."""
        task = asyncio.get_running_loop().create_task(self._keep_fresh())

        async def end() -> None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

        return end

    async def _keep_fresh(self) -> None:
        while self._authority is not None:
            await asyncio.sleep(LEAF_LIFE.total_seconds() / 2)
            self._renew()

    def _renew(self) -> None:
        assert self._authority is not None
        leaf = self._authority.server(self.name)
        # OpenSSL reads chains from files only; this one is private, and gone at once.
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
            file.write(leaf.cert_pem + leaf.key_pem)
            file.flush()
            self.context.load_cert_chain(file.name)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
