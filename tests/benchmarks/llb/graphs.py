"""The graphs of the benchmark, as main.go beside it makes them. Prints one measurement as JSON."""

from __future__ import annotations

import json
import sys
import time

from depotlab import llb, mount
from depotlab.llb import State
from tests.support.memory import memory_mb

ALPINE = "docker.io/library/alpine:latest"


def chain(size: int) -> State:
    state = llb.image(ALPINE)
    for number in range(size):
        state = state.run(["sh", "-c", f"echo {number}"])
    return state


def merge(size: int) -> State:
    base = llb.image(ALPINE)
    return llb.merge(*[base.run(["sh", "-c", f"echo {number}"]) for number in range(size)])


def choices(size: int) -> list[list[int]]:
    """Which earlier states each run mounts, chosen by a linear congruential generator."""
    x = 7

    def pick(n: int) -> int:
        nonlocal x
        x = (x * 1103515245 + 12345) % 2**31
        return x // 256 % n

    return [[pick(number + 1) for _ in range(1 + pick(3))] for number in range(size)]


def dag(chosen: list[list[int]]) -> State:
    """Runs that mount earlier runs; those that nobody mounts are merged."""
    base = llb.image(ALPINE)
    states: list[State] = [base]
    for number, places in enumerate(chosen):
        mounts = [mount.bind(f"/in{place}", states[c]) for place, c in enumerate(places)]
        states.append(base.run(["step", str(number)], mounts=mounts))
    picked = {c for places in chosen for c in places}
    return llb.merge(*[state for i, state in enumerate(states) if i not in picked])


def main(graph: str, size: int) -> None:
    # Loads what the first call loads, as Go's program has loaded itself by then.
    llb.merge(llb.image(ALPINE).run("x", mounts=[mount.tmpfs("/t")]), llb.image("x")).marshal(
        "linux/amd64"
    ).to_bytes()
    make = {"chain": chain, "merge": merge, "dag": dag}[graph]
    # The numbers of the random graph are chosen before: they are no part of either library.
    plan = choices(size) if graph == "dag" else size
    start = time.perf_counter()
    definition = make(plan).marshal("linux/amd64")
    encoded = definition.to_bytes()
    seconds = time.perf_counter() - start
    print(
        json.dumps(
            {
                "graph": graph,
                "seconds": seconds,
                "head": definition.head,
                "bytes": len(encoded),
                "peak_mb": memory_mb(),
            }
        )
    )


if __name__ == "__main__":
    sizes = {"chain": 10_000, "merge": 10_000, "dag": 5_000}
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else sizes[sys.argv[1]])
