"""What pictures are made of: a figure that shows itself, bars with names, colours for light and dark pages.

No pyplot: it has a list of open figures and a backend for the whole process, which are the user's. Backgrounds are
transparent and all colours are of middle brightness, so that the same picture reads on white and on black.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import io
import math
import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from depotlab._values import cut
from depotlab.errors import MissingExtra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "AMBER",
    "BLUE",
    "GREEN",
    "GREY",
    "RED",
    "TEAL",
    "drawable",
    "empty",
    "figure",
    "label_rows",
    "percent_axis",
    "seconds_axis",
    "styled",
    "tick_text",
]

BLUE, GREEN, RED, TEAL, GREY, AMBER = (
    "#3b8fe0",
    "#3aa655",
    "#e04848",
    "#1f9eb0",
    "#7d848c",
    "#e08a1e",
)
WIDTH_IN = 8.0
ROW_IN = 0.3
SIZE_PT = 9.0
_NAME_LETTERS = 46
_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}")  # of a base image: longer than all the rest
_SCREEN_DPI = 72
_SHARP_DPI = 144
_MOST_TICKS = 6
_ROUND_S = (
    *(digit * 10.0**power for power in (-4, -3, -2, -1) for digit in (1, 2, 5)),
    *(1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0),
    *(minutes * 60.0 for minutes in (1, 2, 5, 10, 15, 20, 30, 60, 120, 360)),
)
_FONT = "DejaVu Sans"  # comes with matplotlib


def figure(height_in: float) -> Figure:
    """Return an empty figure that a notebook shows, also where no backend of pyplot was chosen.

    Args:
        height_in: In inches; a notebook shows 72 pixels for each.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    made: Figure = _picture_type()(figsize=(WIDTH_IN, height_in), layout="constrained")
    made.patch.set_alpha(0)
    engine: Any = made.get_layout_engine()
    engine.set(w_pad=0.08, h_pad=0.08)
    return made


@functools.cache
def _picture_type() -> Any:
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtra("telemetry.plot", extra="plots")
    figures = importlib.import_module("matplotlib.figure")

    class Picture(figures.Figure):  # type: ignore[misc,name-defined]  # imported when it is first needed
        """A figure that a notebook shows by itself."""

        def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
            """Return it with twice as many dots as it takes, for sharp screens."""
            file = io.BytesIO()
            self.savefig(file, format="png", dpi=_SHARP_DPI)
            width_in, height_in = self.get_size_inches()
            size = {
                "width": round(width_in * _SCREEN_DPI),
                "height": round(height_in * _SCREEN_DPI),
            }
            return file.getvalue(), size

    return Picture


def empty(text: str) -> Figure:
    """Return a figure that says that there is nothing to draw."""
    made = figure(1.0)
    made.text(0.5, 0.5, drawable(text), ha="center", va="center", color=GREY, fontsize=SIZE_PT + 2)
    return made


def styled(axes: Axes, title: str = "") -> None:
    """Give axes the look that all have: no frame, a quiet grid, a title at the left."""
    axes.set_facecolor("none")
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(colors=GREY, labelsize=SIZE_PT, length=0)
    axes.grid(visible=True, color=GREY, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    if title:
        axes.set_title(
            drawable(title),
            loc="left",
            color=GREY,
            fontsize=SIZE_PT + 2,
            fontweight="bold",
            parse_math=False,
        )


def label_rows(axes: Axes, names: Sequence[str]) -> None:
    """Write a name beside each row of a picture of rows, the first at the top."""
    # Without it a command with two dollar signs is set as a formula.
    labels = [drawable(cut(_DIGEST.sub("", name), _NAME_LETTERS)) for name in names]
    axes.set_yticks(range(len(names)), labels, parse_math=False)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")


def seconds_axis(axis: Any, label: str, *, most_s: float) -> None:
    """Write times on an axis, which begins at 0 and shows `most_s`, with their unit."""
    step_s = _step_s(most_s)
    places = [number * step_s for number in range(int(most_s / step_s + 1e-9) + 1)]
    axis.set_ticks(places, [tick_text(place) for place in places])
    axis.set_label_text(label, color=GREY, fontsize=SIZE_PT)


def percent_axis(axis: Any, label: str) -> None:
    """Write shares of 0 to 1 on an axis as percents."""
    ticker = importlib.import_module("matplotlib.ticker")
    axis.set_major_locator(ticker.FixedLocator([0, 0.25, 0.5, 0.75, 1]))
    axis.set_major_formatter(ticker.PercentFormatter(1.0, decimals=0))
    axis.set_label_text(label, color=GREY, fontsize=SIZE_PT)


def drawable(text: str) -> str:
    """Return a text without letters that the font lacks, for which matplotlib would warn and draw a box anyway."""
    known = _letters()
    return "".join(
        letter if ord(letter) in known else "□"
        for letter in text
        if unicodedata.category(letter)[0] != "C"
    )


@functools.cache
def _letters() -> frozenset[int]:
    fonts = importlib.import_module("matplotlib.font_manager")
    return frozenset(fonts.get_font(fonts.findfont(_FONT)).get_charmap())


def tick_text(value_s: float) -> str:
    """Return a round time in as few letters as say it: `20 ms`, `1.5 s`, `2 min`, `1 h 30 min`."""
    if value_s < 1e-9:
        return "0"
    if value_s < 1:
        return f"{value_s * 1000:g} ms"
    if value_s < 60:
        return f"{value_s:g} s"
    minutes, seconds = divmod(round(value_s), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (seconds, "s"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count)


def _step_s(most_s: float) -> float:
    """Return a round time of which at most six make the whole."""
    for step_s in _ROUND_S:
        if most_s <= step_s * _MOST_TICKS:
            return step_s
    return math.ceil(most_s / _MOST_TICKS / _ROUND_S[-1]) * _ROUND_S[-1]
