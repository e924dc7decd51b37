"""From a graph to positions: sizes, layers, order, places, ports and paths. Paints nothing.

The result is a value that can be painted many times, with other states each time. All lengths are px,
y grows downward. Edges run strictly downward: vertical where they pass a row of boxes, and bent only
between rows, so that none runs through a box.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from depotlab._graph.layers import Net, assign_layers, make_net, order_layers
from depotlab._graph.model import Graph, Node, inputs_of, users_of
from depotlab._graph.place import place_x
from depotlab._graph.sizes import Content, content_of
from depotlab._graph.spaces import row_widths
from depotlab._graph.text import clean, fit

__all__ = ["TAG_SIZE", "Box", "Layout", "Link", "Tag", "layout"]

TAG_SIZE = 9.5
MARGIN = 16
PILE = 3
"""How far the second card of a box that stands for several nodes sticks out."""

_TAG_HEIGHT = 19
_TAG_Y = 9  # above the mark of a state, which sits on the corner of the box
_BOLD = (
    1.16  # how much wider the bold letters of DejaVu Sans are, at most, on the average of a word
)
_MIN_ROW_GAP = 26
_MAX_ROW_GAP = 60
_BOX_GAP = 22
_CHIP_GAP = 10
_TEXT_WIDTHS = (210.0, 172.0, 142.0, 118.0)
_PART_GAP = 36
_MAX_PORT_STEP = 32
_ONE_PAGE = 150
_FEW_BOXES = 60
"""Up to here labels may take two lines and edges show their labels."""


class Tag(NamedTuple):
    """Small text above a box: the name of its group, or how an input comes in. `y` is a baseline."""

    text: str
    x: int
    y: int
    is_group: bool
    at_end: bool = False


@dataclass(frozen=True, slots=True)
class Box:
    """A node with its place. `x`, `y`: the upper left corner."""

    node: Node
    x: int
    y: int
    content: Content
    tags: tuple[Tag, ...] = ()

    @property
    def width(self) -> int:
        return self.content.width

    @property
    def height(self) -> int:
        return self.content.height


@dataclass(frozen=True, slots=True)
class Link:
    """All edges between two nodes, as one path.

    Attributes:
        source, target: Positions in `Layout.boxes`.
        label: The labels of the edges, each once, joined by commas.
        is_main: It is the first input of its target.
        points: (x, y) from the lower edge of the source to the upper edge of the target.
    """

    source: int
    target: int
    label: str
    is_main: bool
    points: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, repr=False)
class Layout:
    """A picture before it is painted.

    Attributes:
        boxes: In the order of `Graph.nodes`.
        links: Sorted by target and input.
        chips: The shared sources, in a strip above the boxes.
        width, height: Of everything, with margins, without a legend.
        n_nodes: How many original nodes the boxes and chips stand for.
    """

    boxes: tuple[Box, ...]
    links: tuple[Link, ...]
    chips: tuple[Box, ...]
    width: int
    height: int
    n_nodes: int

    def __repr__(self) -> str:
        return f"Layout({len(self.boxes)} boxes, {len(self.links)} links, {self.width}×{self.height} px)"


def layout(graph: Graph, *, max_width_px: int = 980) -> Layout:
    """Return where everything in the graph stands.

    Linear in practice: 15 nodes take about a millisecond, 1500 about a second. Parts that hang
    together stand side by side or, where the page ends, below each other.

    Args:
        graph: Of any size; more than about 100 nodes are better condensed first.
        max_width_px: How wide the picture may get; one of more than 150 boxes grows in both directions.
    """
    # A large picture has to be moved about anyway.
    room = round(max_width_px * max(1.0, len(graph.nodes) / _ONE_PAGE) ** 0.5) - 2 * MARGIN
    inputs = inputs_of(graph)
    contents = _contents(graph, inputs, room)
    labels = _labels(graph)
    parts = [
        _Part(graph, members, inputs, contents, labels, room) for members in _connected(inputs)
    ]
    chips, top = _chips(graph, room)
    corners, width, bottom = _packed(parts, room, top)
    width = max([width] + [chip.x + chip.width - MARGIN for chip in chips])
    boxes: dict[int, Box] = {}
    links: list[Link] = []
    for part, (x, y) in zip(parts, corners, strict=True):
        if len(parts) == 1:
            x += (width - part.width) // 2
        part.draw(x, y, boxes, links)
    return Layout(
        boxes=tuple(boxes[i] for i in range(len(graph.nodes))),
        links=tuple(sorted(links, key=lambda link: link.target)),
        chips=chips,
        width=width + 2 * MARGIN,
        height=bottom + MARGIN,
        n_nodes=sum(max(1, len(node.members)) for node in (*graph.nodes, *graph.shared)),
    )


def _connected(inputs: list[list[int]]) -> list[list[int]]:
    """Return the positions of the nodes that hang together, part by part, each ascending."""
    users = users_of(inputs)
    seen = [False] * len(inputs)
    parts = []
    for start in range(len(inputs)):
        if seen[start]:
            continue
        seen[start] = True
        part = [start]
        for node in part:  # grows while it is walked
            for other in (*inputs[node], *users[node]):
                if not seen[other]:
                    seen[other] = True
                    part.append(other)
        parts.append(sorted(part))
    return parts


def _packed(parts: list[_Part], room: int, top: int) -> tuple[list[tuple[int, int]], int, int]:
    """Return the upper left corner of each part, the width and the bottom of all: tall parts first."""
    corners = [(0, 0)] * len(parts)
    x, y, height, width = 0, top, 0, 0
    for i in sorted(range(len(parts)), key=lambda i: (-parts[i].height, i)):
        if x and x + parts[i].width > room:
            x, y, height = 0, y + height + _PART_GAP, 0
        corners[i] = (MARGIN + x, y)
        x += parts[i].width + _PART_GAP
        width = max(width, x - _PART_GAP)
        height = max(height, parts[i].height)
    return corners, width, y + height


def _labels(graph: Graph) -> dict[tuple[int, int], str]:
    """Return the labels of all edges between two nodes, each once."""
    index = {node.id: i for i, node in enumerate(graph.nodes)}
    found: dict[tuple[int, int], dict[str, None]] = {}
    for edge in graph.edges:
        words = found.setdefault((index[edge.source], index[edge.target]), {})
        if edge.label:
            words[clean(edge.label)] = None
    return {ends: ", ".join(words) for ends, words in found.items()}


def _net_within(
    inputs: list[list[int]], users: list[list[int]], widths: list[int], room: float
) -> Net:
    """Return the net with rows that fit; how many trunks pass a row is known only afterwards."""
    limit = room
    while True:
        layer = assign_layers(inputs, users, widths, max_width=limit, gap=_BOX_GAP)
        if max(row_widths(inputs, users, layer, widths), default=0) <= room or limit < room / 2:
            return make_net(inputs, users, layer)
        limit *= 0.88


def _contents(graph: Graph, inputs: list[list[int]], room: float) -> list[Content]:
    """Return the contents with the widest text at which no row has to be wrapped, else the narrowest."""
    users = users_of(inputs)
    is_small = len(graph.nodes) <= _FEW_BOXES
    contents: list[Content] = []
    for text_px in _TEXT_WIDTHS if is_small else _TEXT_WIDTHS[1:]:
        contents = [
            content_of(node, max_text_px=text_px, max_label_lines=2 if is_small else 1)
            for node in graph.nodes
        ]
        widths = [c.width for c in contents]
        layer = assign_layers(inputs, users, widths, max_width=float("inf"), gap=_BOX_GAP)
        rows: Counter[int] = Counter()
        for at, width in zip(layer, widths, strict=True):
            rows[at] += width + _BOX_GAP
        if max(rows.values(), default=0) <= room:
            break
    return contents


def _chips(graph: Graph, room: int) -> tuple[tuple[Box, ...], int]:
    """Return the strip of shared sources and the y under it."""
    if not graph.shared:
        return (), MARGIN
    uses = Counter(badge.source for node in graph.nodes for badge in node.badges if badge.source)
    x, y, height = 0, MARGIN + 14, 0
    chips = []
    for node in graph.shared:
        n = uses[node.id]
        shown = Node(node.id, node.label, node.kind, lines=(f"used by {n} boxes",))
        content = content_of(shown, max_text_px=_TEXT_WIDTHS[1], max_label_lines=1)
        if x and x + content.width > room:
            x, y = 0, y + height + _CHIP_GAP
            height = 0
        chips.append(Box(node, MARGIN + x, y, content))
        x += content.width + _CHIP_GAP
        height = max(height, content.height)
    return tuple(chips), y + height + 22


class _Part:
    """What hangs together: turns rows into heights, centres into boxes, and edges into paths.

    Positions of nodes are those in the part; all lengths count from its upper left corner.
    """

    def __init__(
        self,
        graph: Graph,
        members: list[int],
        inputs: list[list[int]],
        contents: list[Content],
        labels: dict[tuple[int, int], str],
        room: int,
    ) -> None:
        local = {node: i for i, node in enumerate(members)}
        self.members = members
        self.nodes = [graph.nodes[i] for i in members]
        self.inputs = [[local[s] for s in inputs[i]] for i in members]
        self.contents = [contents[i] for i in members]
        self.labels = labels
        self.shows_labels = len(graph.nodes) <= _FEW_BOXES
        widths = [c.width + 2 * self._pile(i) for i, c in enumerate(self.contents)]
        self.net = _net_within(self.inputs, users_of(self.inputs), widths, room)
        order_layers(self.net)
        widths += [0] * (len(self.net.layer) - len(widths))
        self.x = [round(at) for at in place_x(self.net, widths, max_width=room)]
        self.width = max(x + width // 2 for x, width in zip(self.x, widths, strict=True))
        self.ports = [self._ports(target) for target in range(len(members))]
        self.tags = [self._tags(target) for target in range(len(members))]
        self.height = self._set_rows()

    def draw(self, x: int, y: int, boxes: dict[int, Box], links: list[Link]) -> None:
        """Add everything, moved to a corner, by positions in the whole graph."""
        for i, node in enumerate(self.members):
            boxes[node] = self._box(i, x, y)
            links += [self._link(source, i, x, y) for source in self.inputs[i]]

    def _ports(self, target: int) -> dict[int, int]:
        """Return the x at which each input meets the box: the main one in the middle of it."""
        sources = self.inputs[target]
        if not sources:
            return {}
        centre = self.x[target]
        # What comes down together comes in together.
        above = {s: (self.net.between(s, target) or [s])[-1] for s in sources}
        main = above[sources[0]]
        place = {item: (self.x[item], i) for i, item in enumerate(dict.fromkeys(above.values()))}
        others = sorted(place.keys() - {main}, key=place.__getitem__)
        left = [item for item in others if self.x[item] < self.x[main]]
        right = others[len(left) :]
        ports = {main: centre}
        half = self.contents[target].width / 2 - 8
        for side, nearest_first in ((-1, left[::-1]), (1, right)):
            step = min(_MAX_PORT_STEP, half / (len(nearest_first) + 1))
            for i, item in enumerate(nearest_first):
                ports[item] = centre + round(side * step * (i + 1))
        return {s: ports[item] for s, item in above.items()}

    def _tags(self, target: int) -> list[Tag]:
        """Return the small text above a box, with y still 0."""
        node, ports = self.nodes[target], self.ports[target]
        half = self.contents[target].width // 2
        left, right = self.x[target] - half, self.x[target] + half
        tags = []
        opens = node.group and all(self.nodes[s].group != node.group for s in self.inputs[target])
        if opens:
            until = min(ports.values(), default=right + 8)
            text = fit(clean(node.group), until - left - 6, TAG_SIZE * _BOLD)
            if len(text) > 2:
                tags.append(Tag(text, left + 1, 0, is_group=True))
        if self.shows_labels and not node.members:
            taken = sorted(set(ports.values()))
            for source, at in ports.items():
                label = self._label(source, target)
                if not label:
                    continue
                i = taken.index(at)
                at_end = at < self.x[target]
                if at_end and tags and tags[0].is_group:
                    continue
                if at_end:
                    space = at - (taken[i - 1] if i else left - 8) - 8
                else:
                    space = (taken[i + 1] if i + 1 < len(taken) else right + 8) - at - 8
                text = fit(label, space, TAG_SIZE)
                # A path of which most is lost tells less than none.
                if len(text) > 2 and 2 * len(text) > len(label):
                    tags.append(Tag(text, at - 5 if at_end else at + 5, 0, False, at_end))
        return tags

    def _label(self, source: int, target: int) -> str:
        return self.labels[self.members[source], self.members[target]]

    def _pile(self, i: int) -> int:
        return PILE if self.nodes[i].members else 0

    def _set_rows(self) -> int:
        """Set top, upper edge of boxes and bottom of each row; return the height of all.

        Gaps grow with what has to bend in them.
        """
        self.tops: list[int] = []
        self.box_tops: list[int] = []
        self.bottoms: list[int] = []
        y = 0
        for row in self.net.rows:
            boxes = [i for i in row if i < self.net.n_boxes]
            y_boxes = y + (_TAG_HEIGHT if any(self.tags[i] for i in boxes) else 0)
            height = max([self.contents[i].height + self._pile(i) for i in boxes], default=0)
            self.tops.append(y)
            self.box_tops.append(y_boxes)
            self.bottoms.append(y_boxes + height)
            bend = max(
                [abs(self.x[a] - self.x[b]) for a in row for b in self.net.down[a]], default=0
            )
            y = self.bottoms[-1] + min(_MAX_ROW_GAP, _MIN_ROW_GAP + bend // 12)
        return self.bottoms[-1]

    def _box(self, i: int, dx: int, dy: int) -> Box:
        y = self.box_tops[self.net.layer[i]] + dy
        content = self.contents[i]
        tags = tuple(tag._replace(x=tag.x + dx, y=y - _TAG_Y) for tag in self.tags[i])
        return Box(self.nodes[i], self.x[i] - content.width // 2 + dx, y, content, tags)

    def _link(self, source: int, target: int, dx: int, dy: int) -> Link:
        layer, x = self.net.layer, self.x
        first, last = layer[source], layer[target]
        bottom = self.box_tops[first] + self.contents[source].height + self._pile(source)
        points = [(x[source], bottom), (x[source], self.bottoms[first])]
        for dummy in self.net.between(source, target):
            at = layer[dummy]
            points += [(x[dummy], self.tops[at]), (x[dummy], self.bottoms[at])]
        port = self.ports[target][source]
        points += [(port, self.tops[last]), (port, self.box_tops[last])]
        return Link(
            self.members[source],
            self.members[target],
            self._label(source, target),
            source == self.inputs[target][0],
            _without_steps_of_nothing([(x + dx, y + dy) for x, y in points]),
        )


def _without_steps_of_nothing(points: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Drop points that repeat the one before, and those in the middle of a vertical line."""
    kept: list[tuple[int, int]] = []
    for point in points:
        if kept and kept[-1] == point:
            continue
        if len(kept) > 1 and kept[-1][0] == kept[-2][0] == point[0]:
            kept[-1] = point
        else:
            kept.append(point)
    return tuple(kept)
