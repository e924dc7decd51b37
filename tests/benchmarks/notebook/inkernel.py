"""What runs inside kernels while the notebook view is measured; imported there by its file name, as `simulate` is."""

from __future__ import annotations

import random
import threading
import time

import simulate

import depotlab as dl
from depotlab import llb
from depotlab.progress import BuildEnded, BuildStarted, Fold, LogWritten, Phase
from depotlab.widgets import NotebookView, Ticker

_LINE = "cc -O2 -Wall -c src/module.c -o build/module.o   # a line of usual length"


def shown_cpu_s(
    n_steps: int, *, seconds: float, n_lines: int = 0, has_view: bool = True, n_parallel: int = 0
) -> float:
    """Play a build whose steps report bytes ten times a second; return the processor seconds of this process."""
    build = Fold()
    script = simulate.many(
        n_steps,
        n_lines=n_lines,
        n_parallel=n_parallel,
        duration_s=seconds,
        frames_per_s=10,
        base_ns=time.time_ns(),
    )
    began_s = time.process_time()
    if has_view:
        with Ticker(build, NotebookView(mode="widgets", on_cancel=lambda: None)):
            simulate.play(script, build)
    else:
        simulate.play(script, build)
    return time.process_time() - began_s


def received_cpu_s(address: str, *, n_lines: int, unique: str, has_view: bool) -> float:
    """Build a step that prints so many lines; return the processor seconds of this process."""
    printed = f"awk 'BEGIN {{ for (n = 0; n < {n_lines}; n++) print n, \"{_LINE}\" }}'"
    target = llb.image("busybox").env(UNIQUE=unique).run(printed)
    with dl.connect(address) as bk:
        bk.build(llb.image("busybox"), progress="quiet")  # the connection and the image are there
        began_s = time.process_time()
        result = bk.build(target, progress="notebook" if has_view else "quiet")
        used_s = time.process_time() - began_s
    n_got = max(step.n_log_lines for step in result.steps)
    assert n_got == n_lines, f"{n_got} lines of {n_lines} arrived"
    return used_s


def stamped(n_stamps: int, *, n_steps: int, mark: str, seed: int) -> None:
    """Show a build of so many active steps, in which one writes the time every now and then.

    After the mark, and by `time.time_ns`; at moments that know nothing of the frames.
    """
    chance = random.Random(seed)
    build, is_over = Fold(), threading.Event()
    now_ns = time.time_ns()
    build.feed([BuildStarted(now_ns, "stamps", "simulated")])
    others = threading.Thread(
        target=simulate.play,
        args=(simulate.many(n_steps, duration_s=n_stamps, frames_per_s=10, base_ns=now_ns), build),
        kwargs={"stop": is_over},
    )
    with Ticker(build, NotebookView(mode="widgets", on_cancel=lambda: None)):
        others.start()
        for _ in range(n_stamps):
            time.sleep(chance.uniform(0.3, 0.7))
            at_ns = time.time_ns()
            build.feed([LogWritten("clock", at_ns, 1, f"{mark}{at_ns}\n".encode())])
        time.sleep(1.0)  # the page sees the last of them before the view ends
        is_over.set()
        others.join()
        build.feed([BuildEnded(time.time_ns(), Phase.SUCCEEDED)])
