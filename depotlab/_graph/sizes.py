"""What stands in a box and how large that makes it. All lengths in px.

A box has an icon, a label of one or two lines, small lines, badges. Above it a narrow strip may name
the group it opens and say how its inputs come in; that strip belongs to the room it needs, so no
foreign edge runs through it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from depotlab._graph.model import Badge, Node
from depotlab._graph.text import clean, fit, width_px, wrap

__all__ = ["BADGE_SIZE", "ICON_SIZE", "LABEL_SIZE", "LINE_SIZE", "Content", "Pill", "content_of"]

LABEL_SIZE = 12.0
LINE_SIZE = 10.5
BADGE_SIZE = 10.0
ICON_SIZE = 14

_PAD_X = 10
_PAD_Y = 8
_TEXT_X = _PAD_X + ICON_SIZE + 6
_LABEL_HEIGHT = 15
_LINE_HEIGHT = 14
_PILL_HEIGHT = 15
_PILL_PAD = 5
_PILL_ICON = 12
_MIN_WIDTH = 64
_WIDTH_STEP = 8
_MAX_CHARS = 400
"""Of a label that is looked at: what is longer does not fit into any box."""


class Pill(NamedTuple):
    """A badge with its place in the box; `text` may be cut."""

    badge: Badge
    text: str
    x: int
    y: int
    width: int
    height: int = _PILL_HEIGHT


class Content(NamedTuple):
    """What is in one box, by offsets from its upper left corner; `y` of text are baselines."""

    width: int
    height: int
    label: tuple[tuple[str, int, int], ...]
    lines: tuple[tuple[str, int, int], ...]
    pills: tuple[Pill, ...]


def content_of(node: Node, *, max_text_px: float, max_label_lines: int) -> Content:
    """Return the text that fits and the box around it."""
    label = wrap(
        clean(node.label[:_MAX_CHARS]) or "—", max_text_px, LABEL_SIZE, max_lines=max_label_lines
    )
    small = [
        fit(clean(line[:_MAX_CHARS]), max_text_px, LINE_SIZE) for line in node.lines if line.strip()
    ]
    text_px = max(
        [width_px(line, LABEL_SIZE) for line in label]
        + [width_px(line, LINE_SIZE) for line in small]
    )
    wanted = _TEXT_X + text_px + _PAD_X
    limit = _TEXT_X + max_text_px + _PAD_X
    pills = _pills(node.badges, limit - 2 * _PAD_X)
    if pills:
        wanted = max(wanted, pills[-1].x + pills[-1].width + _PAD_X)
    width = max(_MIN_WIDTH, math.ceil(wanted / _WIDTH_STEP) * _WIDTH_STEP)

    y = _PAD_Y
    placed_label, placed_lines = [], []
    for line in label:
        placed_label.append((line, _TEXT_X, y + 11))
        y += _LABEL_HEIGHT
    for line in small:
        placed_lines.append((line, _TEXT_X, y + 10))
        y += _LINE_HEIGHT
    if pills:
        y += 3
        pills = [pill._replace(y=y) for pill in pills]
        y += _PILL_HEIGHT
    return Content(width, y + _PAD_Y - 1, tuple(placed_label), tuple(placed_lines), tuple(pills))


def _pills(badges: tuple[Badge, ...], room_px: float) -> list[Pill]:
    """Return as many badges as fit into one row; the last says how many more there are."""
    pills: list[Pill] = []
    x = _PAD_X
    end = _PAD_X + room_px
    for i, badge in enumerate(badges):
        extra = 2 * _PILL_PAD + (_PILL_ICON if badge.kind else 0)
        left = len(badges) - i - 1
        reserve = 30 if left else 0
        text = fit(
            clean(badge.label[:_MAX_CHARS]), min(110.0, end - x - reserve - extra), BADGE_SIZE
        )
        if len(text) < min(3, len(badge.label)):
            pills.append(Pill(Badge(f"+{left + 1}"), f"+{left + 1}", x, 0, 26))
            break
        width = math.ceil(extra + width_px(text, BADGE_SIZE))
        pills.append(Pill(badge, text, x, 0, width))
        x += width + 4
    return pills
