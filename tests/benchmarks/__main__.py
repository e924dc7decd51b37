"""`make bench`: every figure that the README claims, measured in one run and printed.

    python -m tests.benchmarks                       all of it
    python -m tests.benchmarks depot                 builds on Depot, beside the official command line
    python -m tests.benchmarks service [--help]      the build service under load; writes tables into docs/service.md
    python -m tests.benchmarks notebook [--help]     the view in a notebook; writes figures into docs/notebook.md
    python -m tests.benchmarks telemetry [--help]    rows, lines, queue, archives; into docs/telemetry.md and service.md
    python -m tests.benchmarks transfers [--help]    sending and receiving only; writes docs/performance.md

Absolute seconds differ between machines and hours; the ratios are what the README quotes.
"""

from __future__ import annotations

import signal
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from depotlab import _local as engine_room
from tests.benchmarks import bench_inner, cached_build, depot_builds
from tests.benchmarks.llb import bench_llb
from tests.benchmarks.notebook import run as notebook
from tests.benchmarks.service import run as service
from tests.benchmarks.telemetry import run as telemetry
from tests.benchmarks.transfers import run as transfers
from tests.support.officialclients import ClientUnavailable

IMPORT_ROUNDS = 9


def import_ms() -> tuple[float, list[str]]:
    """Median time of `import depotlab` in ms, and the heavy packages it loads (none, we hope)."""
    code = (
        "import time; a = time.perf_counter(); import depotlab; b = time.perf_counter(); import sys; "
        "heavy = [m for m in ('grpc', 'google.protobuf', 'ipywidgets', 'IPython', 'rich', 'h2') if m in sys.modules]; "
        "print((b - a) * 1000, *heavy)"
    )
    times, heavy = [], []
    for _ in range(IMPORT_ROUNDS):
        words = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        ).stdout.split()
        times.append(float(words[0]))
        heavy = words[1:]
    return statistics.median(times), heavy


def _depot() -> list[str]:
    try:
        return depot_builds.run()
    except ClientUnavailable as error:
        return [f"builds on Depot beside the official CLI: not measured: {error}"]


def main(words: list[str]) -> int:
    # So that a benchmark that is told to end removes what it started, as one that is interrupted does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    if words[:1] == ["transfers"]:
        return transfers.main(words[1:])
    if words[:1] == ["notebook"]:
        return notebook.main(words[1:])
    if words[:1] == ["service"]:
        return service.main(words[1:])
    if words[:1] == ["telemetry"]:
        return telemetry.main(words[1:])
    if words == ["depot"]:
        print("\n".join(_depot()))
        return 0
    if words:
        sys.stderr.write(
            f"no such part: {words[0]}; there are `transfers`, `notebook`, `service`, `telemetry`, `depot`, or all "
            "without a name\n"
        )
        return 2
    milliseconds, heavy = import_ms()
    print(f"import depotlab: {milliseconds:.0f} ms, heavy packages loaded: {heavy or 'none'}")
    programs = engine_room.install()
    assert programs.buildctl is not None, "the comparison needs buildctl"
    buildctl = programs.buildctl.host_path
    with tempfile.TemporaryDirectory(prefix="dl-") as folder:
        engine = engine_room.start(state_dir=Path(folder) / "engine")
        try:
            figures = cached_build.run(engine.address, str(buildctl))
        finally:
            engine.close()
            engine_room.stop(state_dir=Path(folder) / "engine")
    print(
        f"fully cached tiny Dockerfile build: {figures['ours_s'] * 1000:.0f} ms, "
        f"buildctl {figures['buildctl_s'] * 1000:.0f} ms, ratio {figures['ratio']:.2f}"
    )
    print("\n".join(_depot()))
    print("the session's gRPC server, with a peer in memory:")
    bench_inner.main(rounds=1)
    print(
        "graphs of 10 000 runs in a chain, 10 000 merged, 5 000 at random; ratio is Go's time over ours:"
    )
    large = {graph: bench_llb.ours(graph, "100000") for graph in bench_llb.GRAPHS}
    bench_llb.report(bench_llb.compare(5), large)
    print("the view of a build in a notebook:")
    notebook.main()
    print("rows, lines, queue and archives, and three stores side by side:")
    different = telemetry.main()
    print("the build service under load:")
    lost = service.main()
    return transfers.main() or lost or different


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
