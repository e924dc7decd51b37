"""What shows a shell: a terminal in a notebook, a line to type into where that cannot be, and the program's terminal.

A view is given bytes and gives back what is typed. `write` may wait: what a page has not drawn yet is not sent faster.
Every call of a view comes from one thread, in a copy of the context of the cell that made it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Protocol

from depotlab.widgets._ansi import colored_html, only_colors, plain

__all__ = ["Keys", "Recent", "ShellView", "transcript_html", "transcript_text"]

RECENT_BYTES = 256 << 10
TRANSCRIPT_LINES = 200


@dataclass(frozen=True, slots=True)
class Keys:
    """What a view calls, from any thread; none of it waits.

    Attributes:
        typed: Bytes for the shell.
        resized: Rows and columns of the terminal.
        hung_up: Whoever sat at the terminal has left.
    """

    typed: Callable[[bytes], None]
    resized: Callable[[int, int], None]
    hung_up: Callable[[], None]


class ShellView(Protocol):
    """A place where a shell is shown."""

    def open(self) -> None:
        """Show it."""

    def write(self, data: bytes) -> None:
        """Show what the shell wrote; may wait."""

    def close(self, ending: str) -> None:
        """Leave what was written, with a word on how it ended."""


class Recent:
    """The newest bytes of a terminal, to show them again."""

    def __init__(self, limit_bytes: int = RECENT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self.data = bytearray()

    def add(self, data: bytes) -> None:
        """Take what was written."""
        self.data += data
        if len(self.data) > 2 * self._limit_bytes:
            del self.data[: -self._limit_bytes]


# Moves of the cursor inside one line, as line editors make them; whole screens are not kept.
_MOVE = re.compile(r"\x1b\[(\d*)([CDK])|\x08|\r")


def transcript_lines(data: bytes) -> list[str]:
    """Return the last lines of what a terminal showed, with colours and nothing else of its controls."""
    text = data.decode("utf-8", "replace").replace("\r\n", "\n")
    lines = text.split("\n")[-TRANSCRIPT_LINES:]
    return [only_colors(_edited(line)) for line in lines]


def _edited(line: str) -> str:
    """Return a line after its backspaces and rewrites. Lines without any come back as they are."""
    if not _MOVE.search(line):
        return line
    cells: list[str] = []
    at, end = 0, 0
    while end < len(line):
        found = _MOVE.match(line, end)
        if found is None:
            other = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|.", re.DOTALL).match(line, end)
            assert other is not None
            piece = other[0]
            if piece.startswith("\x1b"):
                cells[at:at] = [piece] if piece.endswith("m") else []
                at += piece.endswith("m")
            else:
                cells[at : at + 1] = [piece]
                at += 1
            end = other.end()
            continue
        n = int(found[1] or 1) if found[1] is not None else 1
        if found[0] == "\r":
            at = 0
        elif found[0] == "\x08" or found[2] == "D":
            at = max(0, at - n)
        elif found[2] == "C":
            at = min(len(cells), at + n)
        elif found[2] == "K":
            del cells[at:]
        end = found.end()
    return "".join(cells)


def transcript_text(title: str, data: bytes, ending: str) -> str:
    """Return what is kept of a shell, as plain text."""
    return "\n".join([title, *(plain(line) for line in transcript_lines(data)), f"[{ending}]"])


def transcript_html(title: str, data: bytes, ending: str) -> str:
    """Return what is kept of a shell, as HTML that can be read with its styles removed."""
    body = "\n".join(colored_html(line) for line in transcript_lines(data)).strip("\n")
    style = "text-align:left;margin:4px 0;max-height:320px;overflow:auto;white-space:pre-wrap"
    return (
        f'<div><b>{escape(title)}</b> <span style="color:#868e96">{escape(ending)}</span></div>'
        f'<pre style="{style}">{body}</pre>'
    )
