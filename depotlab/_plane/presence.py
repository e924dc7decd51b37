"""One plane for each state folder: the lock that says so, the record that others read, where it all is."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from depotlab._local import lock_held, make_private_dir, read_text, state_dir, write_private
from depotlab.errors import EngineError, MissingExtra

__all__ = [
    "Places",
    "PlaneStatus",
    "held_alone",
    "need_extra",
    "plane_dir",
    "status",
    "write_record",
]


def plane_dir(given: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of a plane's state: `given`, or `DEPOTLAB_PLANE`, or `plane` beside the engine's.

    Where `DEPOTLAB_STATE` names the engine's, it is inside that one: nobody has given us its neighbours.
    """
    chosen = os.fspath(given) if given is not None else os.environ.get("DEPOTLAB_PLANE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    engine = state_dir()
    return (engine if os.environ.get("DEPOTLAB_STATE") else engine.parent) / "plane"


def need_extra(feature: str) -> None:
    """Pass if the packages that `up` needs are installed.

    Args:
        feature: What wants them, for the message.

    Raises:
        MissingExtra: One is not.
    """
    for package in ("connectrpc", "hypercorn"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(feature, extra="plane")


class Places:
    """The names inside one state folder. Makes no file by itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "plane.db"
        self.token = folder / "organization-token"
        self.port = folder / "port"
        self.record = folder / "plane.json"
        self.lock = folder / "plane.lock"
        self.machines = folder / "machines"
        self.registry = folder / "registry"
        self.tls = folder / "tls"


@dataclass(frozen=True, slots=True)
class PlaneStatus:
    """What is known of a plane from outside.

    Attributes:
        state: Its folder.
        running: A process holds it.
        pid: Of that process.
        url: Of its API and its page; empty until it is ready.
        tls_url: The same with TLS, or empty.
        registry: `HOST:PORT` of its registry.
        started_at: When it became ready.
        organization: Id of its organisation.
        project: Id of the project for those who name none.
    """

    state: Path
    running: bool
    pid: int | None = None
    url: str = ""
    tls_url: str = ""
    registry: str = ""
    started_at: datetime | None = None
    organization: str = ""
    project: str = ""


@contextlib.contextmanager
def held_alone(places: Places) -> Iterator[None]:
    """Hold the state folder while the body runs.

    Raises:
        EngineError: Another plane holds it, or it cannot be used.
    """
    make_private_dir(places.folder)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(
                lock_held(places.lock, timeout_s=0.0, waiting_for="running this plane")
            )
        except EngineError as error:
            found = _read(places)
            where = f" at {found.url}" if found.url else ""
            raise EngineError(
                f"A plane runs already with the state folder {places.folder}{where}.",
                hint="use it, stop it, or give another folder with --state",
            ) from error
        try:
            yield
        finally:
            places.record.unlink(missing_ok=True)


def write_record(places: Places, found: PlaneStatus) -> None:
    """Tell others where the plane is."""
    assert found.started_at is not None
    fields = {
        "pid": found.pid,
        "url": found.url,
        "tls_url": found.tls_url,
        "registry": found.registry,
        "started_at": found.started_at.isoformat(),
        "organization": found.organization,
        "project": found.project,
    }
    write_private(places.record, json.dumps(fields))


def status(state: str | os.PathLike[str] | None = None) -> PlaneStatus:
    """Return whether a plane runs with this state folder, and where. Asks nobody but the folder."""
    places = Places(plane_dir(state))
    if not places.lock.exists():
        return PlaneStatus(places.folder, running=False)
    try:
        with lock_held(places.lock, timeout_s=0.0, waiting_for="running this plane"):
            return PlaneStatus(places.folder, running=False)
    except EngineError:
        return _read(places)


def _read(places: Places) -> PlaneStatus:
    text = read_text(places.record)
    if text is None:  # it starts
        return PlaneStatus(places.folder, running=True)
    fields = json.loads(text)
    started_at = datetime.fromisoformat(fields.pop("started_at")).astimezone(UTC)
    return PlaneStatus(places.folder, running=True, started_at=started_at, **fields)
