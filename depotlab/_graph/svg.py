"""Paints a layout as SVG that survives wherever notebooks go.

Presentation attributes only, no style sheets, classes, scripts, ids or foreign objects: sanitisers and
forges strip or break those. The picture brings its own card, so it reads on any page; texts are in
`title` elements for hovering. Everything from a graph is escaped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from html import escape
from typing import NamedTuple

from depotlab._graph.arrange import MARGIN, PILE, TAG_SIZE, Box, Layout, Link
from depotlab._graph.kinds import KINDS, STATES, kind_look, state_look
from depotlab._graph.model import Node
from depotlab._graph.sizes import BADGE_SIZE, ICON_SIZE, LABEL_SIZE, LINE_SIZE, Pill
from depotlab._graph.text import FONT, clean, width_px

__all__ = [
    "CARD",
    "FAINT",
    "FRAME",
    "INK",
    "LINE",
    "MUTED",
    "Buttons",
    "drawn_links",
    "hover_text",
    "state_of",
    "themed",
    "to_svg",
]

CARD, INK, MUTED = "#ffffff", "#1f2328", "#626b76"
LINE, FAINT, FRAME = "#8b95a0", "#b3bbc4", "#d9dee4"

_THEME = {
    CARD: "--jp-layout-color0",
    INK: "--jp-ui-font-color1",
    MUTED: "--jp-ui-font-color2",
    FRAME: "--jp-border-color2",
}
_MAX_HOVER_LINES = 24
_MAX_HOVER_CHARS = 120
_LEGEND_HEIGHT = 22


class Buttons(NamedTuple):
    """Boxes that can be pressed, with the mouse and from the keyboard, for pages that listen.

    Attributes:
        numbers: For ids of original nodes the number that a press on their box hands on, as `data-n`.
        pressed: Id of the node that was pressed last, or empty.
    """

    numbers: Mapping[str, int]
    pressed: str = ""


def to_svg(
    layout: Layout,
    states: Mapping[str, str] | None = None,
    *,
    note: str = "",
    buttons: Buttons | None = None,
) -> str:
    """Return the picture as one SVG element.

    Args:
        layout: From `layout()`.
        states: For ids of original nodes one of the words in `STATES`; None paints by kind alone.
        note: A few words for the end of the legend.
        buttons: Boxes to press; None makes a plain picture. A box of several nodes hands on the number of the one
            that its state comes from.
    """
    legend, width, height = _legend(layout, states, note)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="{"img" if buttons is None else "group"}" '
        f'aria-label="{_n(layout.n_nodes, "step")}" '
        f'font-family="{escape(FONT)}" font-size="{LABEL_SIZE:g}" fill="{INK}">'
        f'<rect x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="8" fill="{CARD}" '
        f'stroke="{FRAME}"/>',
        f'<g fill="none" stroke="{LINE}" stroke-width="1.3" transform="translate(.5 .5)">',
        *(_link(link) for link in drawn_links(layout)),
        '</g><g transform="translate(.5 .5)">',
        *(_box(box, states, buttons) for box in layout.boxes),
        "</g>",
    ]
    if layout.chips:
        parts += [
            f'<g transform="translate(.5 .5)"><text x="{MARGIN}" y="{MARGIN + 8}" '
            f'font-size="{TAG_SIZE:g}" fill="{MUTED}">shared sources</text>',
            *(_box(box, states, buttons) for box in layout.chips),
            "</g>",
        ]
    parts += [*legend, "</svg>"]
    return "".join(parts)


def themed(svg: str) -> str:
    """Return a picture that takes the colours of the page it is put into, as notebooks have them."""
    for own, word in _THEME.items():
        for paint in ("fill", "stroke"):
            svg = svg.replace(f'{paint}="{own}"', f'{paint}="var({word},{own})"')
    return svg


def drawn_links(layout: Layout) -> list[Link]:
    """Return the links in the order in which they are painted.

    Main ones come last: where several run in one trunk, theirs is the colour that is seen.
    """
    return sorted(layout.links, key=lambda link: link.is_main)


def state_of(node: Node, states: Mapping[str, str] | None) -> str:
    """Return the state of a box: its own, or what matters most among its members; may be empty.

    Members that are over and members that wait make a box that runs.
    """
    if states is None:
        return ""
    counts = _counts(node, states)
    if not counts:
        return ""
    if "waiting" in counts and not counts.keys() <= {"waiting", "failed", "canceled"}:
        counts["running"] += 1
    ranks = {state: i for i, state in enumerate(STATES)}
    return min(counts, key=lambda state: (ranks.get(state, len(ranks)), state))


def hover_text(node: Node, states: Mapping[str, str] | None = None) -> str:
    """Return what a box says when hovered: its title, or what it stands for."""
    if node.members:
        lines = [f"{_n(len(node.members), 'step')}:"]
        shown = node.members[:_MAX_HOVER_LINES]
        for i, member in enumerate(shown, 1):
            state = clean((states or {}).get(member.id, ""))
            text = clean(member.label[: 2 * _MAX_HOVER_CHARS])[:_MAX_HOVER_CHARS]
            lines.append(f"{i}. {text}" + (f" ({state})" if state else ""))
        if len(node.members) > len(shown):
            lines.append(f"… and {len(node.members) - len(shown)} more")
        return clean("\n".join(lines), lines=True)
    whole = node.title or "\n".join([node.label, *node.lines])
    text = clean(whole[:2000], lines=True)
    state = clean((states or {}).get(node.id, ""))
    return f"{text}\n{state}" if state else text


def _counts(node: Node, states: Mapping[str, str]) -> Counter[str]:
    ids = [member.id for member in node.members] or [node.id]
    return Counter(str(states[i]) for i in ids if i in states)


def _n(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


# ---------------------------------------------------------------------------------------- edges


def _link(link: Link) -> str:
    x, y = link.points[0]
    path = [f"M{x} {y}"]
    for to_x, to_y in link.points[1:]:
        if to_x == x:
            path.append(f"V{to_y}")
        else:
            middle = (y + to_y) // 2
            path.append(f"C{x} {middle} {to_x} {middle} {to_x} {to_y}")
        x, y = to_x, to_y
    path.append(f"m-3.5-5.5L{x} {y}l3.5-5.5")
    faint = "" if link.is_main else f' stroke="{FAINT}"'
    label = f"<title>{escape(link.label)}</title>" if link.label else ""
    d = "".join(path)
    return f'<path d="{d}"{faint}>{label}</path>' if label else f'<path d="{d}"{faint}/>'


# ---------------------------------------------------------------------------------------- boxes


def _button(node: Node, states: Mapping[str, str] | None, buttons: Buttons | None) -> str:
    """Return the attributes of a box that can be pressed, or nothing."""
    if buttons is None:
        return ""
    ids = [member.id for member in node.members] or [node.id]
    state = state_of(node, states)
    able = [i for i in ids if i in buttons.numbers]
    # Of several the pressed one, else the last of those whose state the box shows.
    alike = [i for i in able if (states or {}).get(i, "") == state] or able
    chosen = buttons.pressed if buttons.pressed in able else next(reversed(alike), "")
    label = escape(hover_text(node, states))
    if not chosen:
        return f' role="img" tabindex="0" aria-label="{label}"'
    is_on = chosen == buttons.pressed
    glow = ' style="cursor:pointer' + (";filter:drop-shadow(0 0 4px #1c7ed6)" if is_on else "")
    return (
        f' role="button" tabindex="0" data-n="{buttons.numbers[chosen]}" aria-label="{label}" '
        f'aria-pressed="{str(is_on).lower()}"{glow}"'
    )


def _box(box: Box, states: Mapping[str, str] | None, buttons: Buttons | None) -> str:
    node, x, y, content = box.node, box.x, box.y, box.content
    kind = kind_look(node.kind)
    state = state_of(node, states)
    look = state_look(state) if state else None
    color, tint, weight, dash = kind.color, 0.09, 1.0, ""
    if look is not None:
        color, tint, weight, dash = look.color, look.tint, look.weight, look.dash
    ink = MUTED if state in ("not needed", "not reached") else INK
    stroke = f'stroke="{color}"' + (f' stroke-width="{weight:g}"' if weight != 1 else "")
    parts = [
        f"<g{_button(node, states, buttons)}>",
        f"<title>{escape(hover_text(node, states))}</title>",
    ]
    if node.members:
        parts.append(
            f'<path d="M{x + content.width} {y + PILE}h{PILE}v{content.height}H{x + PILE}v-{PILE}" '
            f'fill="none" {stroke} stroke-opacity=".7"/>'
        )
    parts.append(
        f'<rect x="{x}" y="{y}" width="{content.width}" height="{content.height}" rx="5" '
        f'fill="{color}" fill-opacity="{tint:g}" {stroke}'
        + (f' stroke-dasharray="{dash}"' if dash else "")
        + "/>"
    )
    parts.append(_icon(kind.icon, kind.color, x + 9, y + 8))
    for text, dx, dy in content.label:
        parts.append(f'<text x="{x + dx}" y="{y + dy}"{_fill(ink)}>{escape(text)}</text>')
    for text, dx, dy in content.lines:
        parts.append(
            f'<text x="{x + dx}" y="{y + dy}" font-size="{LINE_SIZE:g}" fill="{MUTED}">'
            f"{escape(text)}</text>"
        )
    parts += [_pill(pill, x, y) for pill in content.pills]
    for tag in box.tags:
        anchor = ' text-anchor="end"' if tag.at_end else ""
        weight_of = ' font-weight="600"' if tag.is_group else ""
        parts.append(
            f'<text x="{tag.x}" y="{tag.y}" font-size="{TAG_SIZE:g}" fill="{MUTED}"{anchor}'
            f"{weight_of}>{escape(tag.text)}</text>"
        )
    if states is not None and node.members:
        parts.append(_shares(_counts(node, states), x, y + content.height, content.width))
    if look is not None:
        parts.append(_mark(state, x + content.width - 2, y + 1))
    parts.append("</g>")
    return "".join(parts)


def _fill(color: str) -> str:
    return "" if color == INK else f' fill="{color}"'


def _icon(path: str, color: str, x: float, y: float) -> str:
    return (
        f'<path transform="translate({x:g} {y:g})" d="{path}" fill="none" stroke="{color}" '
        'stroke-width="1.3" stroke-linejoin="round" stroke-linecap="round"/>'
    )


def _pill(pill: Pill, x: int, y: int) -> str:
    look = kind_look(pill.badge.kind) if pill.badge.kind else None
    color = look.color if look else MUTED
    left, top = x + pill.x, y + pill.y
    parts = [
        f'<rect x="{left}" y="{top}" width="{pill.width}" height="{pill.height}" rx="7" '
        f'fill="{color}" fill-opacity=".16"/>'
    ]
    text_x = left + 5
    if look:
        parts.append(
            f'<path transform="translate({left + 4} {top + 3}) scale(.65)" d="{look.icon}" '
            f'fill="none" stroke="{color}" stroke-width="1.6"/>'
        )
        text_x += 12
    parts.append(
        f'<text x="{text_x}" y="{top + 11}" font-size="{BADGE_SIZE:g}" fill="{INK}">'
        f"{escape(pill.text)}</text>"
    )
    return "".join(parts)


def _mark(state: str, x: float, y: float) -> str:
    """Return the round mark of a state, centred at the point."""
    look = state_look(state)
    disc, ink = (look.color, "#fff") if look.is_solid else (CARD, look.color)
    return (
        f'<g transform="translate({x:g} {y:g})"><circle r="7.5" fill="{disc}" stroke="'
        f'{CARD if look.is_solid else look.color}"/><path d="{look.mark}" fill="none" stroke="{ink}" '
        'stroke-width="1.7" stroke-linecap="round" stroke-linejoin="round"/></g>'
    )


def _shares(counts: Counter[str], x: int, bottom: int, width: int) -> str:
    """Return a thin bar along the lower edge that says how many members are in which state."""
    if len(counts) < 2:
        return ""
    ordered = sorted(counts, key=lambda s: list(STATES).index(s) if s in STATES else 99)
    room, at, parts = width - 12, float(x + 6), []
    for state in ordered:
        share = room * counts[state] / counts.total()
        parts.append(
            f'<rect x="{at:.1f}" y="{bottom - 4}" width="{share:.1f}" height="3" '
            f'fill="{state_look(state).color}"/>'
        )
        at += share
    return "".join(parts)


# --------------------------------------------------------------------------------------- legend


def _legend(
    layout: Layout, states: Mapping[str, str] | None, note: str
) -> tuple[list[str], int, int]:
    """Return the legend and the size of the whole picture."""
    entries: list[tuple[str, str]] = []
    nodes = [box.node for box in (*layout.boxes, *layout.chips)]
    present = {node.kind for node in nodes} | {
        badge.kind for node in nodes for badge in node.badges if badge.kind
    }
    for kind, look in KINDS.items():
        if kind in present:
            entries.append((_icon(look.icon, look.color, 0, -11), look.word))
    if states is not None:
        counts: Counter[str] = Counter()
        for node in nodes:
            counts += _counts(node, states)
        known = [state for state in STATES if state in counts]
        for state in known + sorted(counts.keys() - set(known)):
            mark = _mark(state, 7, -4)
            entries.append((mark, f"{counts[state]} {clean(state)}"))
    n_boxes = len(layout.boxes) + len(layout.chips)
    if layout.n_nodes > n_boxes:
        entries.append(("", f"{layout.n_nodes} steps in {n_boxes} boxes"))
    if note:
        entries.append(("", clean(note)))
    width = max(layout.width, 240)
    x, y = MARGIN, layout.height + _LEGEND_HEIGHT - 8
    parts = [f'<g font-size="{LINE_SIZE:g}" fill="{MUTED}">']
    for sign, words in entries:
        text_x = ICON_SIZE + 5 if sign else 0
        wide = text_x + round(width_px(words, LINE_SIZE)) + 16
        if x > MARGIN and x + wide > width - MARGIN + 16:
            x, y = MARGIN, y + _LEGEND_HEIGHT
        parts.append(
            f'<g transform="translate({x} {y})">{sign}<text x="{text_x}">{escape(words)}</text></g>'
        )
        x += wide
    parts.append("</g>")
    return parts, width, y + 14 if entries else layout.height
