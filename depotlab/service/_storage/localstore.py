"""A folder on this computer as the store of contexts, with a small server of its own in front of it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from depotlab._serving import bind
from depotlab._values import Value
from depotlab.errors import MissingExtra, StorageError, UsageError
from depotlab.service._boundary import ContextFacts, Upload
from depotlab.service._storage.endpoints import base_url
from depotlab.service._storage.refusals import missing
from depotlab.service._storage.shelf import Shelf
from depotlab.service._storage.signing import Signer, is_key
from depotlab.service._storage.storeserver import StoreServer
from depotlab.service._storage.threads import Threads

if TYPE_CHECKING:
    from depotlab._serving import Listener

__all__ = ["LocalStorage"]

_LOG = logging.getLogger("depotlab.service.storage")
_DAY_S = 86_400.0
_WILDCARDS = ("", "0.0.0.0", "::")  # noqa: S104 - these are asked for more, not bound to by themselves


class LocalStorage(Value):
    """A private folder, and a server that hands out addresses to put archives there and to get them.

    It needs nothing installed and behaves as a bucket of S3 does, but for two things: an archive that is larger than
    allowed is refused while it comes, and an address to put one is good for one upload. The server is part of this
    process and speaks plain HTTP: put a proxy with TLS before it when others upload over a network.

    Args:
        folder: Made when it is missing. Only its owner can read what is put there.
        host: The address to listen on. Others reach the server only if it is not of loopback.
        port: 0 takes the port of the last time if that is free, and else any.
        public_url: Under which those who upload reach the server, such as `https://uploads.example.com`.
        build_url: Under which build machines do; as `public_url` when that is given.
        keep_days: Archives that came longer ago are removed, when the store is opened and once a day.

    Raises:
        UsageError: An argument is wrong.

    Example:
        >>> LocalStorage("contexts", port=8900)
        LocalStorage('contexts', port=8900)
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        public_url: str | None = None,
        build_url: str | None = None,
        keep_days: float = 30,
    ) -> None:
        if not 0 <= port <= 65535:
            raise UsageError(f"port is {port}.", hint="it is 0 for any, or up to 65535")
        if keep_days <= 0:
            raise UsageError(f"keep_days is {keep_days}.", hint="it is more than 0")
        public_url = base_url("public_url", public_url)
        build_url = base_url("build_url", build_url) or public_url
        if host in _WILDCARDS and not (public_url and build_url):
            raise UsageError(
                f"host {host!r} is every address of this computer, and nobody can be sent there.",
                hint="say under which one others reach it: public_url='http://NAME:PORT'",
            )
        self._folder = Path(folder).expanduser()
        self._host = host
        self._port = port
        self._public_url = public_url
        self._build_url = build_url
        self._keep_s = keep_days * _DAY_S
        # Whole: the process may change its working directory.
        self._shelf = Shelf(self._folder.absolute())
        self._open: _Open | None = None

    def __repr__(self) -> str:
        port = f", port={self._port}" if self._port else ""
        return f"LocalStorage({str(self._folder)!r}{port})"

    def _facts(self) -> Iterable[tuple[str, object]]:
        return [
            ("folder", str(self._folder)),
            ("address", self._open.url if self._open else "not open"),
            ("public_url", self._public_url),
            ("build_url", self._build_url),
            ("keep_s", self._keep_s),
        ]

    async def open(self) -> None:
        """Make the folder, remove what is too old, and listen.

        Raises:
            StorageError: The folder cannot be used, or the port is taken.
            MissingExtra: The packages of the server are not installed.
        """
        if self._open is not None:
            return
        try:
            from depotlab._serving import Listener
        except ImportError as error:
            raise MissingExtra("The store of contexts", extra="service") from error
        threads = Threads()
        try:
            signer = Signer(await threads.run(self._prepared))
            bound = await threads.run(self._bound)
            listener = Listener(StoreServer(self._shelf, signer, threads), log=_LOG)
            try:
                await listener.listen(bound)
            except BaseException:
                bound.close()
                raise
        except BaseException:
            await threads.close()
            raise
        port = bound.getsockname()[1]
        host = f"[{self._host}]" if ":" in self._host else self._host
        sweeping = asyncio.create_task(self._sweep_daily(threads))
        self._open = _Open(f"http://{host}:{port}", signer, threads, listener, sweeping)

    async def close(self) -> None:
        """Stop listening; uploads that are under way are cut and leave nothing. Idempotent."""
        was, self._open = self._open, None
        if was is None:
            return
        was.sweeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await was.sweeping
        await was.listener.close()
        await was.threads.close()

    async def upload(self, key: str, *, expires_s: int, max_bytes: int) -> Upload:
        """Allow one upload under this key; see `Storage.upload`."""
        if not is_key(key):
            raise UsageError(
                f"key {key[:100]!r} is none.", hint="it looks like 'PROJECT/NANOSECONDS.tar.gz'"
            )
        now = self._opened()
        path = now.signer.sign("PUT", key, expires_s=expires_s, max_bytes=max_bytes)
        return Upload((self._public_url or now.url) + path, key, expires_s, max_bytes)

    async def check(self, key: str, *, max_bytes: int, max_unpacked_bytes: int) -> ContextFacts:
        """Look at what was uploaded, without unpacking it; see `Storage.check`."""

        def opened() -> BinaryIO:
            return cast("BinaryIO", self._shelf.path(key).open("rb", buffering=0))

        try:
            return await self._opened().threads.check(
                opened, max_bytes=max_bytes, max_unpacked_bytes=max_unpacked_bytes
            )
        except FileNotFoundError:
            raise missing(key) from None
        except OSError as error:
            raise _unusable(self._folder, error) from error

    async def download_url(self, key: str, *, expires_s: int) -> str:
        """Return an address from which a build machine can GET it; see `Storage.download_url`."""
        now = self._opened()
        return (self._build_url or now.url) + now.signer.sign("GET", key, expires_s=expires_s)

    async def delete(self, key: str) -> None:
        """Remove what is under a key; nothing there is no error."""
        try:
            await self._opened().threads.run(self._shelf.remove, key)
        except OSError as error:
            raise _unusable(self._folder, error) from error

    async def sweep(self, older_than_s: float) -> int:
        """Remove archives that came longer ago; return how many."""
        try:
            return await self._opened().threads.run(self._shelf.sweep, older_than_s)
        except OSError as error:
            raise _unusable(self._folder, error) from error

    def _opened(self) -> _Open:
        if self._open is None:
            raise UsageError(
                "The store of contexts is not open.",
                hint="a service opens and closes its store; alone, `await storage.open()`",
            )
        return self._open

    def _prepared(self) -> bytes:
        try:
            secret = self._shelf.prepare()
            self._shelf.sweep(self._keep_s)
        except ValueError:
            raise StorageError(
                f"The file signing.key in {self._folder} is damaged.",
                is_transient=False,
                hint="delete it: a new one is made, and addresses that were handed out are not good any more",
            ) from None
        except OSError as error:
            raise _unusable(self._folder, error) from error
        return secret

    def _bound(self) -> socket.socket:
        """Return a socket on the port that was asked for, or that of the last time, or any."""
        last = 0 if self._port else self._shelf.last_port()
        if last:
            with contextlib.suppress(OSError):  # somebody else has it now
                return self._bound_to(last)
        try:
            return self._bound_to(self._port)
        except OSError as error:
            raise StorageError(
                f"The store of contexts cannot listen on {self._host}:{self._port}: {error.strerror or error}.",
                is_transient=False,
                hint="choose another host= or port=; port 0 takes a free one",
            ) from error

    def _bound_to(self, port: int) -> socket.socket:
        bound = bind(self._host, port)
        try:
            self._shelf.keep_port(bound.getsockname()[1])
        except BaseException:
            bound.close()
            raise
        return bound

    async def _sweep_daily(self, threads: Threads) -> None:
        while True:
            await asyncio.sleep(_DAY_S)
            try:
                await threads.run(self._shelf.sweep, self._keep_s)
            except OSError as error:
                _LOG.warning("old contexts in %s were not removed: %s", self._folder, error)


@dataclass(frozen=True, slots=True)
class _Open:
    """What a store has while it is open."""

    url: str
    signer: Signer
    threads: Threads
    listener: Listener
    sweeping: asyncio.Task[None]


def _unusable(folder: Path, error: OSError) -> StorageError:
    passes = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EIO)
    return StorageError(
        f"The folder {folder} of the store of contexts cannot be used: {error.strerror or error}.",
        is_transient=passes,
        hint="see that there is room, and that this user may write there",
    )
