"""Programs of the system, run privately: in namespaces that end with them, so that nothing is left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

NAMESPACES = (
    # All of it ends when this process does, however that ends.
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
)


@contextlib.contextmanager
def private_daemon(argv: Sequence[str], *, log: Path, stop_s: float = 20.0) -> Iterator[int]:
    """Run a daemon in mount and process namespaces of its own; yield its process id; stop it politely."""
    with log.open("wb") as sink:
        shell = subprocess.Popen(
            [*NAMESPACES, *argv],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
    try:
        daemon = _only_child(shell, log)
        yield daemon
        with contextlib.suppress(ProcessLookupError):
            os.kill(daemon, signal.SIGTERM)
        shell.wait(stop_s)
    finally:
        shell.kill()
        shell.wait()


def _only_child(shell: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and shell.poll() is None:
        children = Path(f"/proc/{shell.pid}/task/{shell.pid}/children").read_text().split()
        if children:
            return int(children[0])
        time.sleep(0.02)
    raise RuntimeError(f"{shell.args} did not start: {log.read_text()}")


def wait_for(path: Path, daemon: int, log: Path, *, timeout_s: float = 30.0) -> None:
    """Wait until a daemon has made its socket."""
    deadline = time.monotonic() + timeout_s
    while not path.exists():
        if time.monotonic() > deadline or not Path(f"/proc/{daemon}").exists():
            raise RuntimeError(f"the daemon did not start:\n{log.read_text()[-2000:]}")
        time.sleep(0.05)
