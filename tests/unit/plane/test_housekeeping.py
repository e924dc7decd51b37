"""What a plane does once an hour, and how much room its state takes."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from depotlab._local import Program
from depotlab._plane.database import Database
from depotlab._plane.garbage import EACH_S, collect, is_due
from depotlab._plane.history import History, Keep
from depotlab._plane.housekeeping import keep_house
from depotlab._plane.presence import Places
from depotlab._plane.sizes import sizes
from depotlab._plane.store import Store
from depotlab.errors import EngineError
from tests.support.planeparts import FakeRegistry, until


class Failing(FakeRegistry):
    async def tidy(self) -> None:
        await super().tidy()
        raise EngineError("no port is left")


def keeping(tmp_path: Path, registry: FakeRegistry, *, running: bool = False) -> int:
    """Keep house until it was tidied three times, or some time has passed; return how often it was."""

    async def run() -> None:
        database = Database(tmp_path / "plane.db")
        history = History(database)
        if running:
            history.create(Store(database).default_project().project_id, b"")
        task = asyncio.create_task(keep_house(history, registry, Keep(), each_s=0.001))
        try:
            await until(lambda: registry.n_tidied >= 3, timeout_s=0.3 if running else 10)
        except TimeoutError:
            assert running
        finally:
            assert not task.done()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            database.close()

    asyncio.run(run())
    return registry.n_tidied


def test_the_registry_is_tidied_again_and_again(tmp_path):
    assert keeping(tmp_path, FakeRegistry()) >= 3


def test_not_while_a_build_runs(tmp_path):
    assert keeping(tmp_path, FakeRegistry(), running=True) == 0


def test_a_failure_is_logged_and_the_next_time_comes(tmp_path, caplog):
    assert keeping(tmp_path, Failing()) >= 3
    assert "no port is left" in caplog.text


def program(tmp_path: Path, version: str, script: str) -> Program:
    path = tmp_path / "registry"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return Program("registry", path, version, "PATH")


def test_garbage_is_collected_once_a_day(tmp_path):
    mark = tmp_path / "collected"
    assert is_due(mark)
    said = tmp_path / "said"
    fake = program(tmp_path, "3.1.2", f'echo "$@" > {said}')
    collect(fake, tmp_path / "registry.yml", mark, dict(os.environ))
    assert said.read_text() == f"garbage-collect --delete-untagged {tmp_path}/registry.yml\n"
    assert not is_due(mark)
    yesterday = time.time() - EACH_S - 1
    os.utime(mark, (yesterday, yesterday))
    assert is_due(mark)


def test_an_old_registry_keeps_manifests_without_a_tag(tmp_path):
    """Version 2 takes the parts of an index for such."""
    said = tmp_path / "said"
    fake = program(tmp_path, "2.8.3", f'echo "$@" > {said}')
    collect(fake, tmp_path / "registry.yml", tmp_path / "collected", dict(os.environ))
    assert said.read_text() == f"garbage-collect {tmp_path}/registry.yml\n"


def test_a_collection_that_fails_is_logged_and_left_for_tomorrow(tmp_path, caplog):
    fake = program(tmp_path, "3.1.2", "echo no room >&2; exit 1")
    mark = tmp_path / "collected"
    collect(fake, tmp_path / "registry.yml", mark, dict(os.environ))
    assert "no room" in caplog.text
    assert not is_due(mark)


def test_sizes_are_those_on_the_disk(tmp_path):
    places = Places(tmp_path)
    nothing = sizes(places)
    assert (nothing.caches.n_bytes, nothing.images.n_bytes, nothing.history.n_bytes) == (0, 0, 0)
    deep = places.registry / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "blob").write_bytes(bytes(1 << 20))
    os.link(deep / "blob", deep / "again")
    (deep / "elsewhere").symlink_to("/")
    places.database.write_bytes(bytes(100_000))
    found = sizes(places)
    assert 1 << 20 <= found.images.n_bytes < (1 << 20) + 100_000, (
        "a file with two names counts once"
    )
    assert found.images.whole
    assert 100_000 <= found.history.n_bytes < 120_000
    assert not sizes(places, limit_s=-1.0).images.whole
