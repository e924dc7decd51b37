"""A shell in the terminal of a program: a pseudo-terminal, and what is typed into it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator

import pytest

SCRIPT = """
import depotlab as dl
from depotlab import llb
with dl.connect({address!r}) as bk:
    try:
        bk.build(llb.image("busybox").run("echo left > /left; exit 4"), progress="quiet")
    except dl.errors.StepFailed as error:
        shell = error.shell(env={{"PS1": "ready# "}})
        print("ended with", shell.exit_code, flush=True)
input()
"""


class Terminal:
    """A program in a pseudo-terminal, and everything it has shown."""

    def __init__(self, address: str) -> None:
        self.ours, theirs = pty.openpty()
        self.shown = ""
        self.resize(24, 80)
        self.before = termios.tcgetattr(theirs)
        self._theirs = theirs
        code = SCRIPT.format(address=address)
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True
        )

    def resize(self, rows: int, cols: int) -> None:
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode())

    def until(self, text: str, *, within_s: float = 30.0) -> None:
        deadline = time.monotonic() + within_s
        while text not in self.shown:
            assert time.monotonic() < deadline, f"{text!r} is not in {self.shown!r}"
            if select.select([self.ours], [], [], 0.1)[0]:
                self.shown += os.read(self.ours, 4096).decode()

    @property
    def settings(self) -> list[object]:
        return termios.tcgetattr(self._theirs)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(60)
        os.close(self.ours)
        os.close(self._theirs)


@pytest.fixture
def terminal(engine) -> Iterator[Terminal]:
    running = Terminal(engine.address)
    yield running
    running.close()


def test_keys_sizes_and_the_end_are_those_of_a_terminal(terminal: Terminal) -> None:
    terminal.until("ready# ")
    assert terminal.settings != terminal.before, "every key goes through as it is"
    terminal.type("cat /left; stty size\r")
    terminal.until("left\r\n24 80")
    terminal.resize(30, 100)
    terminal.type("until stty size | grep -q '^30 100'; do sleep 0.1; done; stty size\r")
    terminal.until("\n30 100")
    terminal.type("echo $((6 * 7)); sleep 60\r")
    terminal.until("\n42")
    terminal.type("\x03")
    terminal.type("echo $((8 * 8)); exit 3\r")
    terminal.until("\n64")
    terminal.until("ended with 3")
    assert terminal.settings == terminal.before


def test_the_terminal_is_put_back_when_the_program_is_ended(terminal: Terminal) -> None:
    terminal.until("ready# ")
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.process.wait(100) == -signal.SIGTERM
    assert terminal.settings == terminal.before
