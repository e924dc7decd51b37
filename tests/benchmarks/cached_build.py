"""A fully cached tiny Dockerfile build: ours on an open client, `buildctl` as a process, alternating."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import depotlab as dl

ROUNDS = 15
DOCKERFILE = "FROM busybox\nCOPY app.txt /app.txt\nRUN wc -c /app.txt\n"


def run(address: str, buildctl: str) -> dict[str, float]:
    """Return medians in seconds, and the ratio ours / `buildctl`."""
    with tempfile.TemporaryDirectory() as folder, dl.connect(address) as bk:
        Path(folder, "Dockerfile").write_text(DOCKERFILE)
        Path(folder, "app.txt").write_text("hello\n")
        command = [
            buildctl,
            "--addr",
            address,
            "build",
            "--progress=plain",
            "--frontend=dockerfile.v0",
        ]
        command += [f"--local=context={folder}", f"--local=dockerfile={folder}"]
        target = dl.dockerfile(folder)
        ours, theirs, ratios = [], [], []
        for round_number in range(ROUNDS + 1):
            started_s = time.perf_counter()
            result = bk.build(target, progress="quiet")
            middle_s = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            ended_s = time.perf_counter()
            if round_number == 0:
                continue  # the first one fills the cache
            assert all(s.state in ("cached", "ran") for s in result.steps), result.steps
            ours.append(middle_s - started_s)
            theirs.append(ended_s - middle_s)
            ratios.append(ours[-1] / theirs[-1])
    return {
        "ours_s": statistics.median(ours),
        "buildctl_s": statistics.median(theirs),
        "ratio": statistics.median(ratios),
    }
