"""A plane as `depotlab up` runs it, and the official clients that use it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from depotlab._local import install
from depotlab.errors import EngineError
from tests.conftest import unavailable
from tests.support.officialclients import (
    Cli,
    ClientUnavailable,
    RunningPlane,
    depot_cli,
    running_plane,
)


@pytest.fixture(scope="session")
def plane_folder() -> Iterator[Path]:
    """A folder for planes; short, because sockets live in it."""
    try:
        if install().runtime is None:
            unavailable("a plane needs an OCI runtime such as runc")
    except EngineError as error:
        unavailable(f"a plane cannot run here: {error}")
    folder = Path(tempfile.mkdtemp(prefix="dlu-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def up(plane_folder: Path) -> Iterator[RunningPlane]:
    """A plane in a process of its own, for one file of tests."""
    folder = Path(tempfile.mkdtemp(dir=plane_folder))
    with running_plane(folder) as running:
        yield running
    assert "Traceback" not in running.log.read_text()
    assert running.environment["DEPOT_TOKEN"] not in running.log.read_text()


@pytest.fixture(scope="session")
def depot_program() -> Path:
    """The official command line."""
    try:
        return depot_cli()
    except ClientUnavailable as error:
        unavailable(str(error))
        raise


@pytest.fixture
def cli(depot_program: Path, up: RunningPlane, tmp_path: Path) -> Cli:
    """The official command line, set to use the plane."""
    return Cli.at(depot_program, up, tmp_path)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A folder with a Dockerfile that copies, and runs, what no other test does."""
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "word").write_text(f"word of {tmp_path}\n")
    (folder / "Dockerfile").write_text(
        "FROM busybox\nCOPY word /word\nRUN cat /word && echo made > /made\n"
    )
    return folder
