"""What tests of the build service need around it: contexts, curl, a Depot of the test run's own and what it counted."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import depotlab as dl
from depotlab._plane.health import Limits
from depotlab._plane.up import Plane
from tests.support.gate import Gate
from tests.support.planeparts import PlaneThread

__all__ = [
    "Count",
    "archive",
    "counted_by_depot",
    "counted_by_us",
    "curl",
    "curl_json",
    "eventually",
    "running_depot",
    "waiting_step",
]

T = TypeVar("T")
LAUNCH_STEPS = "[depot] "
"""How the names of steps begin that a client tells Depot of: no step of the daemon."""


def archive(files: Mapping[str, str]) -> bytes:
    """Return a context as a customer uploads it: a tar, compressed with gzip."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, text in files.items():
            data = text.encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return gzip.compress(made.getvalue(), 1)


def curl(*arguments: str) -> str:
    """Run the real curl, and return what it printed."""
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--max-time", "60", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def curl_json(url: str, token: str, *arguments: str, **fields: Any) -> Any:
    """Ask a server as a customer's program would: POST with fields, else GET."""
    body = ("--json", json.dumps(fields)) if fields else ()
    return json.loads(curl("--oauth2-bearer", token, *body, *arguments, url))


def eventually(look: Callable[[], T], *, what: str, timeout_s: float = 60.0) -> T:
    """Ask until the answer is true, and return it.

    Raises:
        AssertionError: It never was.
    """
    until_s = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < until_s, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.02)
    return found


def waiting_step(gate: Gate) -> str:
    """Return a command that waits until the gate opens; steps of a machine of this computer reach its loopback."""
    return f"wget -q -O /dev/null {gate.url}"


@contextmanager
def running_depot(state: Path, *, missed_s: float) -> Iterator[Plane]:
    """Run a Depot of this computer on a thread, for as long as a block lasts; who names its state joins it.

    Args:
        state: Its folder; short, because sockets live in it.
        missed_s: So long after its last sign of life a build is given up.
    """
    with PlaneThread(lambda: Plane(state, limits=Limits(missed_s=missed_s))) as thread:
        yield thread.plane


@dataclass(frozen=True, order=True)
class Count:
    """What one build came to, in the words of who counted.

    Attributes:
        steps: Digests of the steps that were done.
        n_lines: Lines that each step printed, by digest; steps that printed nothing are left out.
    """

    steps: tuple[str, ...]
    n_lines: tuple[tuple[str, int], ...]


def counted_by_depot(api: dl.DepotApi, project_id: str, build_id: str) -> Count:
    """Return what the machine's daemon told Depot of a build: nothing of the service has touched it on its way.

    A piece of a log is what the step wrote at once, so pieces are put together before lines are counted.
    """
    steps = [
        step
        for step in api.builds.steps(project_id, build_id)
        if not step.name.startswith(LAUNCH_STEPS) and step.completed_at is not None
    ]
    written: dict[str, list[str]] = {}
    for log in api.builds.logs(project_id, build_id):
        written.setdefault(log.digest, []).append(log.message)
    digests = {step.digest for step in steps}
    n_lines = {d: len("".join(written[d]).splitlines()) for d in digests & written.keys()}
    return Count(tuple(sorted(digests)), tuple(sorted(n_lines.items())))


def counted_by_us(telemetry: Any, build_id: str) -> Count:
    """Return what the telemetry of the service has of a build, of its last attempt."""
    attempt = "(SELECT max(attempt) FROM build_steps_v1 WHERE build_id = ?)"
    steps = telemetry.sql(
        f"SELECT step_id FROM build_steps_v1 WHERE build_id = ? AND attempt = {attempt}",
        [build_id, build_id],
    )
    lines = telemetry.sql(
        "SELECT step_id, count(*) AS n FROM build_step_logs_v1 WHERE build_id = ? AND stream > 0"
        " GROUP BY step_id",
        [build_id],
    )
    return Count(
        tuple(sorted(row["step_id"] for row in steps)),
        tuple(sorted((row["step_id"], row["n"]) for row in lines)),
    )
