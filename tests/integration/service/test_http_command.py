"""`depotlab serve` as a process of its own, on a real Depot: what it prints works, and SIGTERM loses nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from depotlab._plane import PlaneLease
from depotlab.cli import main
from depotlab.service import BuildService, Depot, RemoteBuildService
from tests.support.buildservice import archive, eventually
from tests.support.gate import closed_gate

COMMAND = [sys.executable, "-m", "depotlab.cli", "serve"]


@dataclass(frozen=True)
class Serving:
    """A command that runs.

    Attributes:
        process: Its process.
        printed: What it said until it was ready, line by line.
        config: Its configuration.
    """

    process: subprocess.Popen[str]
    printed: list[str]
    config: Path

    @property
    def url(self) -> str:
        return next(word for word in self.printed[0].split() if word.startswith("http")).rstrip(";")


@contextmanager
def serving(plane: PlaneLease, folder: Path) -> Iterator[Serving]:
    config = folder / "service.toml"
    config.write_text(
        f'state = "state"\n[depot]\nlocal = "{plane.state}"\n[storage]\nfolder = "contexts"\n'
        "[telemetry]\noff = true\n"
    )
    process = subprocess.Popen(
        [*COMMAND, "--config", str(config)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        printed = []
        for line in process.stdout:
            printed.append(line.rstrip("\n"))
            if line.startswith("It stays"):
                break
        yield Serving(process, printed, config)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_what_it_prints_builds_something(service_plane: PlaneLease, tmp_path: Path) -> None:
    with serving(service_plane, tmp_path) as found:
        script = "\n".join(line[2:] for line in found.printed if line.startswith("  "))
        program = tmp_path / "bin" / "depotlab"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m depotlab.cli "$@"\n')
        program.chmod(0o755)
        done = subprocess.run(
            ["sh", "-e"],
            input=script,
            env=os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        log, _, answer = done.stdout.partition("\n")
        build = json.loads(answer)
        assert (log, build["state"], build["project"]) == ("hello", "succeeded", "demo")
        found.process.send_signal(signal.SIGTERM)
        assert found.process.wait() == 0
    kept = (tmp_path / "state" / "port").read_text()
    assert found.url.endswith(f":{kept}"), "the next one is at the same address"


def test_sigterm_lets_a_build_end_and_takes_no_other(
    service_plane: PlaneLease, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(service_plane, tmp_path) as found, closed_gate() as gate:
        files = {"Dockerfile": f"FROM scratch\nADD {gate.url} /gate\n"}
        create = ["serve", "token", "create", "--config", str(found.config)]
        assert main([*create, "--project", "shop"]) == 0
        token = capsys.readouterr().out.strip()
        with RemoteBuildService(found.url, token) as service:
            context = service.upload("shop", archive(files))
            build = service.create_build(context, project="shop", deployment="d1")
            eventually(
                lambda: service.get_build(build.build_id).stage == "solve", what="it is built"
            )
            found.process.send_signal(signal.SIGTERM)
            assert found.process.stdout is not None
            assert found.process.stdout.readline() == "draining: 1 build runs\n"
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(f"{found.url}/v1/health")
            with refused.value as answer:
                assert answer.code == 503
            assert service.get_build(build.build_id).state == "running"
            gate.open()
            assert found.process.wait() == 0
            assert found.process.stdout.readline() == "stopped\n"
    depot = Depot(local=service_plane.state)
    with BuildService(depot=depot, telemetry=None, state=tmp_path / "state") as after:
        assert after.get_build(build.build_id).check().image
