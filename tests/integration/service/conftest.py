"""Real parts for the build service: a Depot with machines, contexts in a folder, rows in DuckDB."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import depotlab as dl
from depotlab._local import find_installed
from depotlab._plane import PlaneLease, lease_plane
from depotlab.service import BuildService, Depot, Limits, LocalStorage
from tests.conftest import unavailable


@pytest.fixture(scope="session")
def service_folder() -> Iterator[Path]:
    """A folder for planes and services of this run; short, because sockets live in it."""
    found = find_installed()
    if found is None or found.runtime is None:
        unavailable("the engine is not installed: run `depotlab engine install`")
    folder = Path(tempfile.mkdtemp(prefix="dlb-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def service_plane(service_folder: Path) -> Iterator[PlaneLease]:
    """The Depot on this computer that the services of one file build on."""
    lease = lease_plane(Path(tempfile.mkdtemp(dir=service_folder)) / "p")
    yield lease
    lease.close()


@pytest.fixture(scope="module")
def service_api(service_plane: PlaneLease) -> Iterator[dl.DepotApi]:
    """The API of that Depot: what it knows of the builds."""
    with dl.depot_api(local=service_plane.state) as api:
        yield api


@pytest.fixture(scope="module")
def service(service_plane: PlaneLease, service_folder: Path) -> Iterator[BuildService]:
    """A service with nothing but local parts."""
    folder = Path(tempfile.mkdtemp(dir=service_folder))
    with BuildService(
        depot=Depot(local=service_plane.state),
        storage=LocalStorage(folder / "contexts"),
        telemetry=str(folder / "builds.duckdb"),
        state=folder / "state",
        limits=Limits(max_machines=2),
    ) as running:
        yield running
