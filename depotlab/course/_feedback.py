"""What a reader gets back: feedback on an answer, and solutions, in a notebook and in a terminal."""

from __future__ import annotations

import html
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from depotlab._values import Value

__all__ = ["Feedback", "Solution", "Standing"]

Standing = Literal["right", "not yet", "open"]

# Tones that are read on light and on dark pages.
_COLOURS: dict[Standing, str] = {"right": "#2b8a3e", "not yet": "#e67700", "open": "#868e96"}
_MARKS: dict[Standing, str] = {"right": "✔", "not yet": "✎", "open": "○"}
_TITLES: dict[Standing, str] = {"right": "right", "not yet": "not yet", "open": "your turn"}


@dataclass(frozen=True, slots=True, repr=False)
class Feedback(Value):
    """What `course.check` says of an answer. It is true when the answer is right.

    Attributes:
        exercise: Its name, such as `05.1`.
        standing: `right`, `not yet`, or `open` while the gap is still there.
        text: Why it is right, or what is different.
        nudge: Where to look next; empty when it is right.
    """

    exercise: str
    standing: Standing
    text: str
    nudge: str = ""

    def __bool__(self) -> bool:
        return self.standing == "right"

    @property
    def _title(self) -> str:
        return f"{_MARKS[self.standing]} {self.exercise}: {_TITLES[self.standing]}."

    @property
    def _way_out(self) -> str:
        return f"`course.solution({self.exercise!r})` shows one way."

    def __str__(self) -> str:
        lines = [f"{self._title} {self.text}"]
        if self.nudge:
            lines += [f"  Nudge: {self.nudge}", f"  {self._way_out}"]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<Feedback {self.exercise}: {self.standing}>"

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self._html()}

    def _html(self) -> str:
        colour = _COLOURS[self.standing]
        nudge = ""
        if self.nudge:
            nudge = (
                f"<details><summary>A nudge</summary><div>{_marked_up(self.nudge)}"
                f" {_marked_up(self._way_out)}</div></details>"
            )
        return (
            f'<div style="border-left:4px solid {colour};padding:2px 12px;max-width:52em">'
            f'<b style="color:{colour}">{html.escape(self._title)}</b> '
            f"<span>{_marked_up(self.text)}</span>{nudge}</div>"
        )


@dataclass(frozen=True, slots=True, repr=False)
class Solution(Value):
    """One way to do an exercise.

    Attributes:
        exercise: Its name.
        source: What could be in the cell, without the check.
        because: Why it is a solution.
    """

    exercise: str
    source: str
    because: str

    def __str__(self) -> str:
        return f"{self.source}\n\n# {self.because}"

    def __repr__(self) -> str:
        return f"<Solution {self.exercise}>"

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, str]:
        shown = (
            f'<div style="max-width:52em"><b>{html.escape(self.exercise)}</b>'
            f"<pre>{html.escape(self.source)}</pre><div>{_marked_up(self.because)}</div></div>"
        )
        return {"text/plain": str(self), "text/html": shown}


def _marked_up(text: str) -> str:
    """Escape a text, and make code of what is between backticks."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))
