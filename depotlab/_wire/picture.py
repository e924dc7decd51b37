"""Paints rows as a sequence picture: a lane for each who takes part, an arrow for each call, from top to bottom.

As the pictures of graphs: presentation attributes only, on a card of its own, everything escaped. Arrows of one colour
are one path, since a saved notebook keeps the picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from depotlab._graph import CARD, FAINT, FONT, FRAME, INK, MUTED, clean, fit, width_px
from depotlab._wire.lanes import NOTEBOOK, REGISTRY, lanes_of, lines_of
from depotlab._wire.rows import Row, rows_of
from depotlab._wire.values import Exchanges, RegistryTalk, time_span

__all__ = ["sequence_svg", "width_of"]

_OURS, _THEIRS, _FAILED, _PAST_US = "#0b62c4", "#8a3ec2", "#c4262e", "#626b76"
_LEGEND = (
    (_OURS, "your notebook asks"),
    (_THEIRS, "the daemon asks"),
    (_PAST_US, "the daemon asks a registry"),
    (_FAILED, "did not end well"),
)

_MOST_ROWS = 44
_FEW_ROWS = 16
_MAX_BYTES = 17_000

_TIME_PX = 50
_LANE_PX = 90
_ASIDE_PX = 290
_LEAST_PX = 780  # for the legend
_HEAD_PX = 46
_ROW_PX = 23
_TEXT_SIZE = 11
_HEAD_SIZE = 12.0
_GAP_PX = 10


def sequence_svg(exchanges: Exchanges, registries: Sequence[RegistryTalk]) -> str:
    """Return the picture as one SVG element of at most about 17 kB; of a long conversation much is folded."""
    lanes = lanes_of(exchanges, registries)
    for most in range(_MOST_ROWS, _FEW_ROWS, -4):
        rows = rows_of(exchanges, registries, most=most)
        svg = _painted(lanes, rows, f"{len(exchanges)} calls between {', '.join(lanes)}")
        if len(svg.encode()) <= _MAX_BYTES:
            break
    return svg


def width_of(exchanges: Exchanges, registries: Sequence[RegistryTalk]) -> int:
    """Return how wide the picture is, in px."""
    return _width(lanes_of(exchanges, registries))


def _width(lanes: Sequence[str]) -> int:
    return max(_TIME_PX + len(lanes) * _LANE_PX + _ASIDE_PX, _LEAST_PX)


def _painted(lanes: Sequence[str], rows: Sequence[Row], words: str) -> str:
    at = {lane: _TIME_PX + _LANE_PX // 2 + i * _LANE_PX for i, lane in enumerate(lanes)}
    width = _width(lanes)
    aside = (_TIME_PX + len(lanes) * _LANE_PX, width)
    bottom = _HEAD_PX + len(rows) * _ROW_PX + 8
    height = bottom + 24
    lines = "".join(f"M{x} {_HEAD_PX}V{bottom}" for x in at.values())
    arrows: dict[tuple[str, bool], list[str]] = {}
    texts: list[str] = []
    behind: list[str] = []
    for number, row in enumerate(rows):
        _paint(row, at, _HEAD_PX + (number + 1) * _ROW_PX, aside, arrows, texts, behind)
    return "".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" role="img" aria-label="{escape(words)}" '
            f'font-family="{escape(FONT)}" font-size="{_TEXT_SIZE}" fill="{INK}">'
            f'<rect x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="8" fill="{CARD}" '
            f'stroke="{FRAME}"/>',
            *(_head(lane, x) for lane, x in at.items()),
            f'<path d="{lines}" stroke="{FAINT}" stroke-dasharray="2 3"/>',
            f'<path d="{"".join(behind)}" fill="{CARD}"/>',
            *(
                f'<path d="{"".join(parts)}" fill="none" stroke="{color}" stroke-width="1.4"'
                + (' stroke-dasharray="4 2.5"' if is_dashed else "")
                + "/>"
                for (color, is_dashed), parts in arrows.items()
            ),
            *texts,
            _legend({color for color, _ in arrows}, height - 10),
            "</svg>",
        ]
    )


def _head(lane: str, x: int) -> str:
    above, name = lines_of(lane)
    label = escape(fit(name, _LANE_PX - 6, _HEAD_SIZE))
    return (
        f'<text x="{x}" y="18" text-anchor="middle" fill="{MUTED}">{escape(above)}</text>'
        f'<text x="{x}" y="34" text-anchor="middle" font-size="{_HEAD_SIZE:g}" '
        f'font-weight="600">{label}</text>'
    )


def _paint(
    row: Row,
    at: dict[str, int],
    y: int,
    place: tuple[int, int],
    arrows: dict[tuple[str, bool], list[str]],
    texts: list[str],
    behind: list[str],
) -> None:
    """Add the arrows and the texts of a row whose arrow is at `y`; `place` is where there is room beside the lanes."""
    if not row.source:
        texts.append(f'<text x="{_TIME_PX}" y="{y}" fill="{MUTED}">{escape(row.label)}</text>')
        return
    start, end = at[row.source], at[row.target]
    sign = 1 if end > start else -1
    color = _color(row)
    solid = arrows.setdefault((color, row.is_end), [])
    solid.append(f"M{start} {y}H{end - sign}{_tip(sign)}")
    if row.answers:
        arrows.setdefault((color, True), []).append(f"M{end} {y + 4}H{start + sign}{_tip(-sign)}")
    room = abs(end - start) - 8
    label, aside = clean(row.label), clean(row.aside)
    if width_px(label, _TEXT_SIZE) > room:
        name, _, rest = label.partition(" ")
        label = fit(name, room, _TEXT_SIZE)
        aside = " · ".join(filter(None, [rest, aside]))
    middle, wide = (start + end) // 2, round(width_px(label, _TEXT_SIZE))
    behind.append(f"M{middle - wide // 2} {y - 13}h{wide}v11h-{wide}z")
    texts.append(f'<text x="{middle}" y="{y - 4}" text-anchor="middle">{escape(label)}</text>')
    texts.append(
        f'<text x="{_TIME_PX - 4}" y="{y}" text-anchor="end" fill="{MUTED}">'
        f"{time_span(max(row.at_s, 0.0))}</text>"
    )
    if aside:
        told = escape(fit(aside, place[1] - place[0] - _GAP_PX, _TEXT_SIZE))
        texts.append(f'<text x="{place[0]}" y="{y}" fill="{MUTED}">{told}</text>')


def _tip(sign: int) -> str:
    return f"m{-5 * sign}-3l{5 * sign} 3l{-5 * sign} 3"


def _color(row: Row) -> str:
    if row.failed:
        return _FAILED
    if REGISTRY in (row.source, row.target):
        return _PAST_US
    # The end of a call of ours points to us, and its beginning from us.
    return _OURS if (row.source == NOTEBOOK) is not row.is_end else _THEIRS


def _legend(colors: Iterable[str], y: int) -> str:
    parts, x, present = [], _TIME_PX // 4, set(colors)
    for color, words in _LEGEND:
        if color in present:
            parts.append(
                f'<path d="M{x} {y - 4}h20m-5-3l5 3l-5 3" fill="none" stroke="{color}" stroke-width="1.4"/>'
                f'<text x="{x + 25}" y="{y}">{words}</text>'
            )
            x += 25 + round(width_px(words, _TEXT_SIZE)) + 16
    parts.append(f'<text x="{x}" y="{y}">dashed: the answer, or the end of a call</text>')
    return f'<g fill="{MUTED}">{"".join(parts)}</g>'
