"""A shell in the terminal that the program runs in: raw bytes both ways, until the shell has ended.

The terminal is put back as it was however it ends: the end of the shell, an exception, SIGTERM or SIGHUP. Its size is
looked at ten times a second, so that no signal handler of the program is touched for it.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from depotlab.widgets._shell import Keys

__all__ = ["TerminalShell", "has_terminal"]

LOOK_S = 0.1
_READ_BYTES = 4096


def has_terminal() -> bool:
    """Say whether somebody sits at a terminal that this program reads from and writes to."""
    try:
        return os.isatty(sys.stdin.fileno()) and os.isatty(sys.stdout.fileno())
    except (AttributeError, OSError, ValueError):  # a stream without a file, or a closed one
        return False


class TerminalShell:
    """Shows a shell on standard output. `attend` reads standard input on the caller's thread.

    Args:
        keys: What is typed goes there.
    """

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._stdin = sys.stdin.fileno()
        self._stdout = sys.stdout.fileno()

    def open(self) -> None:
        """Say the size."""
        sys.stdout.flush()
        self._tell_size()

    def write(self, data: bytes) -> None:
        """Show what the shell wrote; waits for the terminal."""
        left = memoryview(data)
        while left:
            left = left[os.write(self._stdout, left) :]

    def close(self, ending: str) -> None:
        """Say how it ended, when not by itself."""
        if ending != "exit code 0":
            self.write(f"\r\n[{ending}]\r\n".encode())

    def attend(self, is_over: Callable[[], bool]) -> None:
        """Pass on what is typed until the shell is over."""
        size: os.terminal_size | None = None
        with _raw(self._stdin):
            while not is_over():
                if size != (size := os.get_terminal_size(self._stdout)):
                    self._keys.resized(size.lines, size.columns)
                ready, _, _ = select.select([self._stdin], [], [], LOOK_S)
                if not ready:
                    continue
                data = os.read(self._stdin, _READ_BYTES)
                if not data:
                    self._keys.hung_up()
                    return
                self._keys.typed(data)

    def _tell_size(self) -> None:
        size = os.get_terminal_size(self._stdout)
        self._keys.resized(size.lines, size.columns)


@contextmanager
def _raw(file: int) -> Iterator[None]:
    """Let every key through as it is, Ctrl-C too; afterwards the terminal is as it was."""
    import termios
    import tty

    before = termios.tcgetattr(file)

    def put_back() -> None:
        termios.tcsetattr(file, termios.TCSADRAIN, before)

    with _signals_first(put_back):
        try:
            tty.setraw(file)
            yield
        finally:
            put_back()


@contextmanager
def _signals_first(put_back: Callable[[], None]) -> Iterator[None]:
    """Put the terminal back before a signal ends the program, where the program has no handler of its own."""
    taken: list[signal.Signals] = []

    def leave(number: int, _frame: FrameType | None) -> None:
        put_back()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    if threading.current_thread() is threading.main_thread():
        for one in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(one) is signal.SIG_DFL:
                signal.signal(one, leave)
                taken.append(one)
    try:
        yield
    finally:
        for one in taken:
            signal.signal(one, signal.SIG_DFL)
