"""A program whose builds are interrupted: by its user, or because it is killed from outside.

    python -m tests.support.interruptedbuilds interrupt|hold SEED N

`interrupt` builds one after the other, each with a Ctrl-C at a random moment; `hold` begins all at once and is to be
killed. Environment: DEPOT_API_URL, DEPOT_TOKEN, DEPOT_PROJECT_ID. Prints the id of each build that succeeded.
"""

from __future__ import annotations

import random
import signal
import sys

import depotlab as dl
from depotlab import llb
from depotlab.errors import ConnectionLost

__all__ = ["MARK", "work"]

MARK = "0.40317"
"""How long a step sleeps, in seconds; what is found of it afterwards was left behind."""


def work(name: str, *, slow: bool) -> llb.State:
    """A build that no cache has, whose last step has the name in its own."""
    if not slow:
        return llb.scratch().mkfile(f"/{name}", name)
    shell = llb.scratch().copy(llb.local("/bin", include=["busybox"]), "/busybox", "/bin/sh")
    return shell.run(f"sleep {MARK}; echo {name}")


def main(mode: str, seed: int, n_builds: int) -> None:
    draw = random.Random(seed)
    with dl.depot() as client:
        print("ready", flush=True)
        if mode == "hold":
            names = [f"held-{seed}-{number}" for number in range(n_builds)]
            for build in [client.submit(work(n, slow=True), progress="quiet") for n in names]:
                print(build.result().depot.build_id, flush=True)
            return
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        n_lost = 0
        for number in range(n_builds):
            made = None
            try:
                signal.setitimer(signal.ITIMER_REAL, draw.uniform(0.002, 0.6))
                try:
                    made = client.build(
                        work(f"typed-{seed}-{number}", slow=number % 2 == 0), progress="quiet"
                    )
                except ConnectionLost as error:  # one may be; how it ended, the plane knows
                    n_lost += 1
                    if n_lost > 1:
                        raise
                    print(error, file=sys.stderr)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                continue
            if made is not None:
                print(made.depot.build_id, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
