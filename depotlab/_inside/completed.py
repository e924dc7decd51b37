"""What a command in a container came to."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from depotlab._values import Value
from depotlab.errors import CommandFailed
from depotlab.widgets import colored_html

__all__ = ["Completed", "Tail", "shown_command"]

_SHOWN_LINES = 200
_ERROR_LINES = 20

# Mid-tones that can be read on white and on near-black.
_GOOD, _BAD, _DIM = "#2f9e44", "#e03131", "#868e96"


def shown_command(args: Iterable[str]) -> str:
    """Return an argv as a person would type it; the shell's own words are left out of a shell command."""
    words = tuple(args)
    if len(words) == 3 and words[:2] == ("/bin/sh", "-c"):
        return words[2]
    return shlex.join(words)


class Tail:
    """The newest output of a process: what came before is forgotten when there is too much.

    Args:
        limit_bytes: The most that is kept.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.pieces: list[tuple[int, bytes]] = []
        self.dropped_bytes = 0
        self._n_bytes = 0
        self._first = 0

    def add(self, file: int, data: bytes) -> None:
        """Take what came from file 1 or 2."""
        self.pieces.append((file, data))
        self._n_bytes += len(data)
        while self._n_bytes > self.limit_bytes:
            number, oldest = self.pieces[self._first]
            cut = min(len(oldest), self._n_bytes - self.limit_bytes)
            self._n_bytes -= cut
            self.dropped_bytes += cut
            self.pieces[self._first] = (number, oldest[cut:])
            if cut == len(oldest):
                self._first += 1
        if self._first > 1000:
            del self.pieces[: self._first]
            self._first = 0

    def kept(self) -> tuple[tuple[int, bytes], ...]:
        """Return what is kept, in the order in which it came."""
        return tuple(self.pieces[self._first :])


@dataclass(frozen=True, slots=True, repr=False)
class Completed(Value):
    """A command that ran in a container and has ended.

    Attributes:
        args: Its argv.
        exit_code: 0 to 255.
        output: What it wrote, in the order in which it came, as (1 for stdout or 2 for stderr, bytes).
        duration_s: Seconds from its start to its end.
        dropped_bytes: Output that is not in `output`, because there was too much; the oldest goes first.
    """

    args: tuple[str, ...]
    exit_code: int
    output: tuple[tuple[int, bytes], ...] = ()
    duration_s: float = 0.0
    dropped_bytes: int = 0

    @property
    def stdout_bytes(self) -> bytes:
        """What it wrote to its standard output; with a terminal, everything."""
        return b"".join(data for file, data in self.output if file == 1)

    @property
    def stderr_bytes(self) -> bytes:
        """What it wrote to its standard error."""
        return b"".join(data for file, data in self.output if file == 2)

    @property
    def stdout(self) -> str:
        """The standard output as text (UTF-8)."""
        return self.stdout_bytes.decode("utf-8", "replace")

    @property
    def stderr(self) -> str:
        """The standard error as text (UTF-8)."""
        return self.stderr_bytes.decode("utf-8", "replace")

    @property
    def ok(self) -> bool:
        """Whether it ended with 0."""
        return self.exit_code == 0

    def check(self) -> Completed:
        """Return it if it ended with 0.

        Raises:
            CommandFailed: It did not.
        """
        if self.ok:
            return self
        raise CommandFailed(
            f"The command {shown_command(self.args)!r} ended with exit code {self.exit_code}.",
            command=self.args,
            exit_code=self.exit_code,
            output_tail=self.last_lines(_ERROR_LINES),
            hint="127 means that it was not found: is it installed in this image?"
            if self.exit_code == 127
            else "",
        )

    def last_lines(self, n: int) -> tuple[str, ...]:
        """Return the last lines of what it wrote, both outputs together, without the ends of lines."""
        data = b"".join(data for _, data in self.output)
        return tuple(data.decode("utf-8", "replace").splitlines()[-n:])

    def __repr__(self) -> str:
        command = shown_command(self.args)
        if len(command) > 60:
            command = command[:59] + "…"
        sizes = f"{len(self.stdout_bytes)} B out, {len(self.stderr_bytes)} B err"
        dropped = f", {self.dropped_bytes} B dropped" if self.dropped_bytes else ""
        return (
            f"<Completed {command!r}: exit code {self.exit_code} in {self.duration_s:.2f} s, "
            f"{sizes}{dropped}>"
        )

    def _repr_html_(self) -> str:
        mark, tint = ("✔", _GOOD) if self.ok else ("✖", _BAD)
        head = (
            f'<div><span style="color:{tint}">{mark}</span> <b><code>'
            f"{escape(shown_command(self.args))}</code></b> "
            f'<span style="color:{_DIM}">exit code {self.exit_code} · {self.duration_s:.2f} s</span></div>'
        )
        lines = self.last_lines(_SHOWN_LINES)
        if not lines:
            return head
        note = (
            "" if not self._is_cut else f'<div style="color:{_DIM}">… only the end is shown</div>'
        )
        body = "\n".join(colored_html(line) for line in lines)
        style = "text-align:left;margin:4px 0;max-height:320px;overflow:auto;white-space:pre-wrap"
        return f'{head}{note}<pre style="{style}">{body}</pre>'

    @property
    def _is_cut(self) -> bool:
        n_lines = sum(data.count(b"\n") for _, data in self.output)
        return bool(self.dropped_bytes) or n_lines > _SHOWN_LINES
