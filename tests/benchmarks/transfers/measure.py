"""Run one scenario: both sides in turns, each build between what its job does untimed."""

from __future__ import annotations

import statistics
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.transfers.daemon import Daemon
from tests.benchmarks.transfers.jobs import Job, Place
from tests.benchmarks.transfers.scenarios import MOST_PEAK_MB, MTLS, UNIX, Scenario
from tests.benchmarks.transfers.sides import (
    Buildctl,
    Buildx,
    CannotRun,
    Door,
    Hung,
    Ours,
    Run,
    Side,
    find_buildx,
)
from tests.support.link import Link, Shape

LOOPBACK = "127.0.0.1"
PLAIN = "ours without compression"
BLIND = "a receiver that does nothing with what it gets"
_MOST_HUNG = 5
_FASTER = 2.0
"""What a link must be able to carry, times what it plays: else the machine is measured and not the link."""


@dataclass(slots=True)
class Row:
    """What came out.

    Attributes:
        scenario: What was run.
        ours: Timed builds of ours, in order; `buildctl` has the others of each pair.
        buildctl: See `ours`.
        others: Further ones of each round, by side: buildx, where it is installed and the scenario is one of a
            Dockerfile, and ours without compression, where the scenario asks for it.
        daemon_s: Processor seconds of the daemon during the builds of each side.
        hung: Builds that stood still, by side, which were ended and are not among the others.
        wrong: How what arrived differs; empty when it is what it should be.
        problem: Why there are no figures, or empty.
    """

    scenario: Scenario
    ours: list[Run] = field(default_factory=list)
    buildctl: list[Run] = field(default_factory=list)
    others: dict[str, list[Run]] = field(default_factory=dict)
    daemon_s: dict[str, list[float]] = field(default_factory=dict)
    hung: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    problem: str = ""

    @property
    def ratio(self) -> float:
        """The median of the ratios of all pairs."""
        return _median_ratio(self.ours, self.buildctl)

    @property
    def blind_ratio(self) -> float | None:
        """Of the receiver that does nothing beside `buildctl`, where it was run: no client can be below it."""
        runs = self.others.get(BLIND)
        return _median_ratio(runs, self.buildctl) if runs else None

    @property
    def other_ratios(self) -> dict[str, float]:
        """The same beside each of the others."""
        return {
            side: _median_ratio(self.ours, runs)
            for side, runs in self.others.items()
            if side != BLIND
        }

    def add(self, side: str, run: Run, daemon_s: float) -> None:
        """Note a timed build."""
        own = {"ours": self.ours, "buildctl": self.buildctl}
        runs = own[side] if side in own else self.others.setdefault(side, [])
        runs.append(run)
        self.daemon_s.setdefault(side, []).append(daemon_s)

    @property
    def peak_mb(self) -> float:
        """Our highest, above a bare interpreter."""
        return max(run.peak_mb for run in self.ours)

    @property
    def verdict(self) -> str:
        """`met`, or what is missing."""
        if self.problem:
            return "not run"
        if self.wrong:
            return "WRONG FILES"
        over = [] if round(self.ratio, 2) <= self.scenario.must else ["time"]  # as it is printed
        over += [] if self.peak_mb <= MOST_PEAK_MB else ["memory"]
        return f"not met: {', '.join(over)}" if over else "met"


class Bench:
    """The daemon and the link that all rows use.

    Args:
        folder: For everything; removed by whoever made it.
        daemon: Listens on loopback and, where there is a link, at its near end.
        link: Or why there is none.
        control: `buildctl` takes our place too.
    """

    def __init__(
        self, folder: Path, daemon: Daemon, link: Link | str, *, control: bool = False
    ) -> None:
        self._control = control
        self._folder = folder
        self._daemon = daemon
        self._link = link
        self._measured: dict[Shape, str] = {}

    @property
    def links(self) -> dict[Shape, str]:
        """What was measured of each link before it was used."""
        return self._measured

    def run(self, scenario: Scenario, rounds: int) -> Row:
        """Measure one row; a side that fails gives a row that says why."""
        row = Row(scenario)
        with tempfile.TemporaryDirectory(prefix="row-", dir=self._folder) as folder:
            try:
                self._run(row, rounds * scenario.repeats, Path(folder))
            except CannotRun as error:
                row.problem = str(error)
        self._daemon.empty()
        return row

    def _run(self, row: Row, rounds: int, folder: Path) -> None:
        door = self._door(row.scenario.way)
        job = row.scenario.job(Place(folder, self._daemon))
        is_dockerfile = not job.task("ours").graph
        with self._sides(door, folder, row.scenario, is_dockerfile=is_dockerfile) as sides:
            self._daemon.empty()  # of what our side has built to warm up
            for number in range(-job.n_warm, rounds):
                job.renew()
                for side in sides:
                    run, daemon_s = self._build(job, side, row.hung)
                    job.after(side.name, run, last=number == rounds - 1)
                    if number >= 0:
                        row.add(side.name, run, daemon_s)
        row.wrong = job.verify()

    def _build(self, job: Job, side: Side, hung: Counter[str]) -> tuple[Run, float]:
        """Return one build and the daemon's processor seconds in it; one of another client that hangs is repeated."""
        for _ in range(_MOST_HUNG):
            job.before(side.name)
            task = job.task(side.name)
            daemon_s = self._daemon.cpu_s()
            try:
                return side.run(task), self._daemon.cpu_s() - daemon_s
            except Hung:
                hung[side.name] += 1
                self._daemon.has_stuck_builds = True
                if side.name == "ours":
                    raise
        raise CannotRun(f"{side.name} hung {_MOST_HUNG} times one after another")

    def _door(self, way: str | Shape) -> Door:
        certificates = self._daemon.client
        if way == UNIX:
            return Door(self._daemon.socket_address)
        if way == MTLS:
            return Door(f"tcp://{LOOPBACK}:{self._daemon.port}", certificates)
        assert isinstance(way, Shape)
        if isinstance(self._link, str):
            raise CannotRun(f"no emulated link: {self._link}")
        self._shape(self._link, way)
        return Door(f"tcp://{self._link.here}:{self._daemon.port}", certificates, self._link.enter)

    def _shape(self, link: Link, shape: Shape) -> None:
        if shape not in self._measured:
            link.shape(Shape(0.0))
            carried = max(link.throughput_mbit_s(duration_s=1.0) for _ in range(3))
            if carried < _FASTER * shape.rate_mbit_s:
                raise CannotRun(
                    f"this machine carries {carried:.0f} Mbit/s over a link without limits, "
                    f"too little to play {shape}"
                )
            link.shape(shape)
            self._measured[shape] = (
                f"{shape}: measured {link.rtt_ms():.1f} ms and {link.throughput_mbit_s():.0f} Mbit/s "
                f"on one TCP connection; without delay and limit {carried:.0f} Mbit/s"
            )
        link.shape(shape)

    @contextmanager
    def _sides(
        self, door: Door, folder: Path, scenario: Scenario, *, is_dockerfile: bool
    ) -> Iterator[list[Side]]:
        home = folder / "home"
        home.mkdir()
        buildctl = self._daemon.buildctl
        with ExitStack() as stack:
            sides: list[Side] = [Buildctl(door, buildctl, home)]
            if self._control:
                sides.insert(0, Buildctl(door, buildctl, home, name="ours"))
            else:
                sides.insert(0, Ours(door, home))
            stack.callback(sides[0].close)
            if scenario.plain:
                sides.append(Ours(door, home, name=PLAIN, compress=False))
                stack.callback(sides[-1].close)
            if scenario.blind:
                sides.append(Ours(door, home, name=BLIND, blind=True))
                stack.callback(sides[-1].close)
            if is_dockerfile and (program := find_buildx()):
                sides.append(Buildx(door, program, home))
            yield sides


def _median_ratio(ours: list[Run], theirs: list[Run]) -> float:
    return statistics.median(a.seconds / b.seconds for a, b in zip(ours, theirs, strict=True))
