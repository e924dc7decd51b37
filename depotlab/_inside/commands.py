"""A command to run, checked in the line of its caller."""

from __future__ import annotations

import contextvars
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Protocol

from depotlab.errors import UsageError
from depotlab.llb import Exec, Mount, Secret, Ssh, State, scratch

__all__ = ["KEEP_BYTES", "AnyMount", "Command", "OnOutput", "Stdin", "Writer", "check_command"]

AnyMount = Mount | Secret | Ssh
OnOutput = Callable[[str], object]
"""Is given every line as it comes, without its end."""

KEEP_BYTES = 16 << 20
"""Of the output of a command, unless the caller says otherwise."""


class Readable(Protocol):
    """A file to read from, as bytes or as text."""

    def read(self, size: int, /) -> bytes | str:
        """Return the next piece, empty at the end."""


class Writer(Protocol):
    """A file that takes bytes."""

    def write(self, data: bytes, /) -> object:
        """Take a piece."""


Stdin = bytes | str | Readable | None


@dataclass(frozen=True, slots=True)
class Command:
    """A command to run, checked.

    Attributes:
        args: Its argv.
        mounts: Beside those of the place where it runs; only for states.
        env: Variables, after those of the place.
        cwd: Working directory; that of the place when empty.
        user: As `app` or `1000:1000`; that of the place when empty.
        network: `sandbox`, `host` or `none`; that of the place when empty.
        stdin: What it reads.
        tty: It gets a terminal.
        timeout_s: It is killed after so many seconds.
        on_output: Is given every line.
        stdout: Takes the standard output in place of the result.
        keep_bytes: The most output that is kept for the result.
        context: Of the caller, so that what `on_output` prints lands in the caller's cell.
    """

    args: tuple[str, ...]
    mounts: tuple[AnyMount, ...] = ()
    env: Mapping[str, str | int] | None = None
    cwd: str = ""
    user: str = ""
    network: str = ""
    stdin: Stdin = None
    tty: bool = False
    timeout_s: float | None = None
    on_output: OnOutput | None = None
    stdout: Writer | None = None
    keep_bytes: int = KEEP_BYTES
    context: contextvars.Context | None = None

    def on(self, state: State) -> Exec:
        """Return the op that runs it in a state."""
        return state.run(
            list(self.args),
            mounts=self.mounts,
            env=self.env,
            dir=self.cwd or None,
            user=self.user or None,
            network=self.network or None,
        )


def check_command(
    command: str | Sequence[str],
    *,
    mounts: Iterable[AnyMount] = (),
    env: Mapping[str, str | int] | None = None,
    cwd: str | PurePath = "",
    user: str = "",
    network: str = "",
    stdin: Stdin = None,
    tty: bool = False,
    timeout_s: float | None = None,
    on_output: OnOutput | None = None,
    stdout: Writer | None = None,
    max_output_bytes: int = KEEP_BYTES,
) -> Command:
    """Check the arguments of `run` in the caller's line.

    Raises:
        UsageError: With the argument that is wrong and what it may be.
    """
    args: tuple[Any, ...] = ("/bin/sh", "-c", command) if isinstance(command, str) else ()
    if not isinstance(command, str | bytes) and isinstance(command, Iterable):
        args = tuple(command)
    is_words = all(isinstance(word, str) and "\0" not in word for word in args)
    if not args or not is_words or not args[-1].strip():
        raise UsageError(
            f"command={command!r} is neither a shell command nor a list of words.",
            hint="write run(state, 'make test') for a shell, or run(state, ['make', 'test'])",
        )
    if timeout_s is not None and not timeout_s > 0:
        raise UsageError(f"timeout_s={timeout_s!r} must be above zero.", hint="in seconds")
    if not isinstance(max_output_bytes, int) or max_output_bytes < 0:
        raise UsageError(
            f"max_output_bytes={max_output_bytes!r} is not a number of bytes.",
            hint="the most output to keep, such as 16 << 20; stdout= takes a file for all of it",
        )
    if stdin is not None and not isinstance(stdin, bytes | str) and not hasattr(stdin, "read"):
        raise UsageError(
            f"stdin={stdin!r} cannot be read.", hint="pass bytes, text, or an open file"
        )
    if stdout is not None and (not hasattr(stdout, "write") or isinstance(stdout, io.TextIOBase)):
        raise UsageError(
            f"stdout={stdout!r} does not take bytes.",
            hint="open the file with mode 'wb', or leave stdout= out",
        )
    if on_output is not None and not callable(on_output):
        raise UsageError(
            f"on_output={on_output!r} cannot be called.", hint="for example on_output=print"
        )
    made = Command(
        args,
        mounts=tuple(mounts),
        env=env,
        cwd=str(cwd),
        user=user,
        network=network,
        stdin=stdin,
        tty=tty,
        timeout_s=timeout_s,
        on_output=on_output,
        stdout=stdout,
        keep_bytes=max_output_bytes,
        context=contextvars.copy_context(),
    )
    made.on(scratch())  # a wrong mount, name or network is refused here
    return made
