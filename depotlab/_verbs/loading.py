"""An image goes straight from the builder into a Docker Engine: nothing is stored on the way.

The builder's archive arrives over the session and is written to a file object (`Pipe`); a thread sends it on to the
engine as it comes. When one side fails the other is told at once.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import io
import queue
import threading
from collections.abc import Iterator, Sequence
from typing import BinaryIO, cast

from depotlab import export
from depotlab._docker import DockerEngine, DockerHost, docker_at, find_docker
from depotlab.errors import DepotlabError, SessionError
from depotlab.export import Output

__all__ = ["Loading", "engine_to_load"]

_N_CHUNKS = 8  # of at most 3 MiB, the daemon's largest message
_POLL_S = 0.1
_GRACE_S = 1.0
"""How long a load that is given up may take to end; one that is still connecting ends by itself."""


def engine_to_load(load: bool | str) -> DockerHost:
    """Return the engine that `load=` means. Blocks; nothing is sent.

    Raises:
        Unreachable: There is none on this computer.
        UsageError: The address cannot be understood.
    """
    return docker_at(load, origin="load=") if isinstance(load, str) else find_docker(or_podman=True)


class Pipe(io.RawIOBase):
    """A file object whose bytes are read by another thread as `chunks`."""

    def __init__(self) -> None:
        super().__init__()
        self._queue: queue.Queue[bytes | None] = queue.Queue(_N_CHUNKS)
        self._reader_ended = False
        self._broken = False

    def writable(self) -> bool:
        """Say that it is."""
        return True

    def write(self, data: object) -> int:
        """Hand bytes on; waits while the reader is behind."""
        piece = bytes(cast("bytes", data))
        self._put(piece)
        return len(piece)

    def finish(self) -> None:
        """Say that the archive is complete."""
        self._put(None)

    def abort(self) -> None:
        """Say that it never will be; the reader fails."""
        self._broken = True

    def chunks(self) -> Iterator[bytes]:
        """Yield what is written, to its end.

        Raises:
            SessionError: The writer gave up.
        """
        while True:
            try:
                piece = self._queue.get(timeout=_POLL_S)
            except queue.Empty:
                if self._broken:
                    raise SessionError("The image was not completed.") from None
                continue
            if piece is None:
                return
            yield piece

    def reader_ended(self) -> None:
        """Let a writer that waits fail: nobody reads any more."""
        self._reader_ended = True

    def _put(self, piece: bytes | None) -> None:
        while not self._reader_ended:
            try:
                self._queue.put(piece, timeout=_POLL_S)
            except queue.Full:
                continue
            return
        raise BrokenPipeError("the Docker Engine does not read any more")


class Loading:
    """One image on its way into an engine. Belongs to the loop it was made on.

    Args:
        host: The engine.
        names: For the image; none leaves it with its id.
        beside: The other outputs of the build. The builder gives layers that it has compressed for one of them to all,
        XX

    Attributes:
        output: To be added to the outputs of the build.
    """

    def __init__(
        self, host: DockerHost, names: tuple[str, ...], *, beside: Sequence[Output] = ()
    ) -> None:
        self._pipe = Pipe()
        self._engine = DockerEngine(host)
        zstd_beside = any(output.attrs.get("compression") == "zstd" for output in beside)
        self.output: Output = export.docker(
            cast("BinaryIO", self._pipe),
            *names,
            compression="gzip" if zstd_beside else None,
            force_compression=zstd_beside,
        )
        # A thread of its own: a load lasts as long as the build, and the pool of the loop is small.
        done: concurrent.futures.Future[list[str]] = concurrent.futures.Future()
        done.set_running_or_notify_cancel()  # what is cancelled is the build: the thread is told by `abort`
        thread = threading.Thread(
            target=self._load, args=(done,), name="depotlab load", daemon=True
        )
        thread.start()
        self._task = asyncio.wrap_future(done)
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())

    def _load(self, done: concurrent.futures.Future[list[str]]) -> None:
        try:
            found = self._engine.load(self._pipe.chunks())
        except Exception as error:  # noqa: BLE001 - handed to who waits
            self._pipe.reader_ended()
            done.set_exception(error)
        else:
            self._pipe.reader_ended()
            done.set_result(found)

    async def finish(self) -> tuple[str, ...]:
        """Wait until the engine has the image; return its names, or its id.

        Raises:
            DepotlabError: The engine refused it.
        """
        if not self._task.done():
            await asyncio.to_thread(self._pipe.finish)
        return tuple(await asyncio.shield(self._task))

    async def abort(self) -> DepotlabError | None:
        """Give up; return the engine's reason when it was the engine that failed."""
        refused = self._task.done()
        self._pipe.abort()
        self._engine.abort()
        await asyncio.wait([self._task], timeout=_GRACE_S)
        found = self._task.exception() if refused else None
        return found if isinstance(found, DepotlabError) else None
