"""Fixtures that several suites share. What they need beyond Python is in tests/support."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from depotlab.errors import EngineError

# Tests must not depend on whether Docker Hub answers today.
os.environ.setdefault("DEPOTLAB_DOCKER_HUB", "last")
# Nor on the user's own logins, and they leave nothing in the user's home.
_home = tempfile.mkdtemp(prefix="dl-home-")
os.environ["XDG_STATE_HOME"] = f"{_home}/state"
os.environ["DOCKER_CONFIG"] = f"{_home}/docker"
os.environ["DEPOTLAB_PAST"] = f"{_home}/past.sqlite3"
for _name in ("REGISTRY_USERNAME", "REGISTRY_PASSWORD", "REGISTRY_URL"):
    os.environ.pop(_name, None)
atexit.register(shutil.rmtree, _home, ignore_errors=True)


def pytest_unconfigure() -> None:
    """Remove it here too: a process that pytest-xdist ends comes to no `atexit`."""
    shutil.rmtree(_home, ignore_errors=True)


# On a busy machine a deadline per example says nothing about the code.
hypothesis.settings.register_profile("depotlab", deadline=None)
hypothesis.settings.register_profile("quick", deadline=None, max_examples=15)
hypothesis.settings.load_profile("quick" if os.environ.get("DEPOTLAB_QUICK") else "depotlab")

LASTING_THREADS = (
    "depotlab-io", "pytest_timeout", "asyncio_", "ThreadPoolExecutor", "Thread-", "depotlab-storage"
)  # fmt: skip
"""Threads that one process keeps: the portal, grpcio's own poller, executors of event loops; and those of a store of
contexts, which start when they are needed and which fixtures keep (a test of its own sees them end)."""


ROOMY = {Path(__file__).parent / name for name in ("integration", "notebooks", "browser", "typing")}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts daemons, kernels, browsers and compilers has more time: a computer may be slow and busy."""
    for item in items:
        if ROOMY & set(item.path.parents) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(600))


def unavailable(reason: str) -> None:
    """Skip with the reason; in CI, where everything must run, fail."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(autouse=True)
def no_leaked_threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 20.0
    while True:
        leaked = [
            t
            for t in threading.enumerate()
            if t not in before and not t.name.startswith(LASTING_THREADS)
        ]
        if not leaked:
            return
        if time.monotonic() > deadline:
            pytest.fail(f"threads left behind: {leaked}")
        time.sleep(0.02)


@pytest.fixture(scope="session")
def engine_state() -> Iterator[Path]:
    """A folder for engines of this test run; short, because sockets live in it."""
    path = Path(tempfile.mkdtemp(prefix="dl-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def engine(engine_state: Path):
    """The embedded engine in a folder of its own, seeded with busybox, stopped at the end."""
    from depotlab import _local as local

    try:
        running = local.start(state_dir=engine_state / "engine")
    except EngineError as error:
        unavailable(f"the embedded engine cannot start: {error}")
    yield running
    running.close()
    local.stop(state_dir=engine_state / "engine")


@pytest.fixture
def bk(engine):
    """A client of the test engine, as `depotlab.connect` makes it."""
    import depotlab as dl

    with dl.connect(engine.address) as client:
        yield client
