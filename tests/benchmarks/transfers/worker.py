"""Our side: one interpreter with one open client, told on standard input what to build.

The first line is where the daemon is, `{"address", "certificates", "compress", "blind"}`; each further one a `Task`.
Each is answered by one line: `{"seconds", "cpu_s", "peak_mb"}` or `{"error"}`. `{"log": true}` asks for the log of the
last build: `{"lines", "sha256"}`.

Seconds are those of the call of `Client.build`. The peak is that of the process since its start, above what a
bare interpreter has: what `import depotlab`, grpcio and protobuf take is in it.
"""

from __future__ import annotations

import re
import sys


def _memory_mb(field: str) -> float:
    with open("/proc/self/status") as status:
        found = re.search(rf"{field}:\s+(\d+) kB", status.read())
    assert found is not None
    return int(found[1]) / 1024


_BARE_MB = _memory_mb("VmRSS")  # before anything else is imported

import hashlib  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import resource  # noqa: E402
import time  # noqa: E402
from typing import Any  # noqa: E402

import depotlab as dl  # noqa: E402
from depotlab import export, llb  # noqa: E402
from depotlab._rpc.inner import ServedCall  # noqa: E402
from tests.benchmarks.transfers.blind import Blind, SeenEnough  # noqa: E402
from tests.benchmarks.transfers.sides import SERVER_NAME  # noqa: E402
from tests.benchmarks.transfers.tasks import Task  # noqa: E402


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def build(
    client: dl.Client, task: Task, blind: Blind | None
) -> tuple[dl.BuildResult | None, dict[str, float]]:
    """Run one task, timed; a blind receiver has no result of an archive."""
    target = task.state() if task.graph else dl.dockerfile(task.folder)
    output = None
    if task.output:
        to = open(os.devnull, "wb") if task.output_path == os.devnull else task.output_path  # noqa: SIM115
        output = getattr(export, task.output)(to, **task.output_attrs)
    if blind is not None and task.output != "local":
        blind.n_bytes = task.arguments["n_mib"] << 20
    cpu_s = _cpu_s()
    began_s = time.perf_counter()
    result = None
    try:
        result = client.build(target, output=output, progress="quiet")
        seconds = time.perf_counter() - began_s
    except SeenEnough:
        assert blind is not None
        seconds = blind.ended_s - began_s
    return result, {
        "seconds": seconds,
        "cpu_s": _cpu_s() - cpu_s,
        "peak_mb": _memory_mb("VmHWM") - _BARE_MB,
    }


def read_log(result: dl.BuildResult) -> dict[str, Any]:
    """Return what a log comes to."""
    lines = result.logs().splitlines()
    return {
        "lines": len(lines),
        "sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest(),
    }


def main() -> None:
    """Connect, warm up, and serve tasks until standard input ends."""
    where = json.loads(sys.stdin.readline())
    if not where["compress"]:
        ServedCall.use_gzip = lambda self: False  # type: ignore[method-assign]
    blind = Blind() if where["blind"] else None
    tls = None
    if at := where["certificates"]:
        files = {"ca": f"{at}/ca.pem", "cert": f"{at}/cert.pem", "key": f"{at}/key.pem"}
        tls = dl.TLS(**files, server_name=SERVER_NAME)
    with dl.connect(where["address"], tls=tls) as client:
        # Loads what a first build loads, and opens what stays open.
        result: dl.BuildResult | None
        result = client.build(llb.scratch().mkfile("/warm", b""), progress="quiet")
        _say({"ready": True})
        for line in sys.stdin:
            question = json.loads(line)
            try:
                if "log" in question:
                    assert result is not None
                    answer: dict[str, Any] = read_log(result)
                else:
                    result, answer = build(client, Task(**question), blind)
            except (
                Exception
            ) as error:  # told to whoever measures; the row then says why it has no figure
                answer = {"error": f"{type(error).__name__}: {error}"}
            _say(answer)


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
