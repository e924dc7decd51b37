"""A plane for a notebook: the one that runs on this computer already, or one in a thread of this process.

All who ask for the same state folder in one process share one plane, which stops with the last of them, or with
the process. A plane of another process is joined, and stays that process's own.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from depotlab._local import read_text
from depotlab._plane.presence import Places, need_extra, plane_dir, status
from depotlab.errors import DepotlabError, EngineError

__all__ = ["PlaneLease", "lease_plane"]

# Longer than a first start takes, which makes keys and a database, and starts the registry.
_START_S = 60.0
_STOP_S = 20.0
_LOOK_S = 0.1


@dataclass(slots=True)
class PlaneLease:
    """The use of a plane, until it is closed.

    Attributes:
        url: Of the API.
        token: Of the organisation; a secret.
        organization: Its id.
        project: Id of the project for those who name none.
        registry: `HOST:PORT`.
        state: Its folder.
    """

    url: str
    token: str = field(repr=False)
    organization: str
    project: str
    registry: str
    state: Path
    _is_open: bool = field(default=True, init=False, repr=False)

    def close(self) -> None:
        """Give it up. A plane of this process stops with its last lease. Can be called twice."""
        with _lock:
            if not self._is_open:
                return
            self._is_open = False
            running = _running.get(self.state)
            if running is None:
                return
            running.n_leases -= 1
            if running.n_leases > 0:
                return
            del _running[self.state]
        running.stop()


def lease_plane(state: str | os.PathLike[str] | None = None) -> PlaneLease:
    """Join the plane of a state folder, or start one there.

    Args:
        state: Folder; that of the user when left out.

    Raises:
        MissingExtra: The extra `plane` is not installed.
        EngineError: It does not start.
    """
    folder = plane_dir(state)
    with _lock:
        running = _running.get(folder)
        if running is None:
            found = _joined(folder)
            if found is not None:
                return found
            need_extra("A Depot on this computer")
            running = _running[folder] = _Running(folder)
            try:
                running.start()
            except BaseException:
                del _running[folder]
                raise
        running.n_leases += 1
        return replace(running.lease)


def _joined(folder: Path) -> PlaneLease | None:
    """Join a plane of another process, or return None when there is none."""
    until_s = time.monotonic() + _START_S
    while (found := status(folder)).running:
        token = (read_text(Places(folder).token) or "").strip()
        if found.url and token:
            return PlaneLease(
                found.url, token, found.organization, found.project, found.registry, folder
            )
        if time.monotonic() > until_s:
            raise EngineError(
                f"The plane of process {found.pid} in {folder} does not get ready.",
                hint="look at what that process says, or end it",
            )
        time.sleep(_LOOK_S)
    return None


class _Running:
    """A plane in a thread with a loop of its own, so that neither a cell nor a build holds it up."""

    def __init__(self, folder: Path) -> None:
        self.n_leases = 0
        self.lease = PlaneLease("", "", "", "", "", folder)
        self._folder = folder
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._main, name="depotlab-plane", daemon=True)

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        self._thread.start()
        is_ready = self._ready.wait(_START_S)
        if isinstance(self._failure, DepotlabError):
            raise self._failure
        if not is_ready or self._failure is not None:
            raise EngineError(
                f"The plane in {self._folder} did not start: {self._failure or 'it takes too long'}.",
                hint="`depotlab up` in a terminal may say more",
            ) from self._failure
        atexit.register(self.stop)

    def stop(self) -> None:
        """Stop it, and wait for its end. Can be called twice."""
        atexit.unregister(self.stop)
        if self._loop is not None and self._over is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(_STOP_S)

    def _main(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as error:  # noqa: BLE001 - `start` raises it in the caller's thread
            self._failure = error
        finally:
            self._ready.set()

    async def _run(self) -> None:
        from depotlab._plane.up import Plane

        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        async with Plane(self._folder) as plane:
            of = plane.environment
            self.lease = PlaneLease(
                plane.url,
                of["DEPOT_TOKEN"],
                of["DEPOT_ORG_ID"],
                of["DEPOT_PROJECT_ID"],
                plane.registry,
                self._folder,
            )
            self._ready.set()
            await self._over.wait()


_lock = threading.RLock()
_running: dict[Path, _Running] = {}
