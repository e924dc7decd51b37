"""One Depot project for a customer's project, however many processes build it for the first time at once."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import depotlab as dl
from depotlab.service._core.tables import open_database
from tests.support.planeparts import PlaneThread

N_PROCESSES = 3


def test_first_builds_of_several_processes_make_one_project(tmp_path: Path) -> None:
    with PlaneThread() as thread, ExitStack() as stack:
        token, url = thread.plane.environment["DEPOT_TOKEN"], thread.plane.url
        database = tmp_path / "service.sqlite3"
        open_database(database).close()
        command = [sys.executable, "-m", "tests.support.projectasker", str(database), url]
        asking = [
            stack.enter_context(
                subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    env={**os.environ, "DEPOT_TOKEN": token},
                )
            )
            for _ in range(N_PROCESSES)
        ]
        for one in asking:
            assert one.stdout is not None
            assert one.stdout.readline() == "ready\n"
        for one in asking:  # all at once: none waits for another to answer
            assert one.stdin is not None
            one.stdin.write("now\n")
            one.stdin.flush()
        found = [one.communicate()[0].strip() for one in asking]
        with dl.depot_api(url=url, token=token) as api:
            made = [
                project.id for project in api.projects.list() if project.name == "depotlab-shop"
            ]
    assert made == [*set(found)]
