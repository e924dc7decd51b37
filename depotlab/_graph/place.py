"""Where in its row each item stands. Keeps the order of the rows and the distances in them.

Items that ought to stand straight under each other (a step under its main input, the dummies of a long
edge) are first tied into columns; ties never cross, so columns have an order from left to right
(Brandes and Köpf 2001 align like this). Columns can make a picture wide: the width is a path of distances
that goes along a row, then up or down a column, along another row, and so on. So while it is too wide,
columns on such a path are cut between the rows it uses. In the end each column moves, again and again,
to the weighted median of what it is connected to, and columns that now stand too close are pushed apart:
once to the right and once to the left. Both results keep all distances, so their mean does too.
"""

from __future__ import annotations

import math
from bisect import bisect_left

from depotlab._graph.layers import Net

__all__ = ["place_x", "row_width"]

_BOX_GAP = 22
_SIDE_GAP = 14
_TRUNK_GAP = 8

# Straightness of what is long or main counts more.
_PLAIN, _MAIN, _TRUNK = 1, 3, 6


def place_x(
    net: Net, widths: list[int], *, max_width: float = math.inf, rounds: int = 12
) -> list[float]:
    """Return the centre of each item, in px from the left edge of the leftmost one.

    Args:
        net: With its rows in order.
        widths: Of all items in px; dummies have none.
        max_width: Straight columns are given up for it, the distances in a row are not.
        rounds: How often all columns move.
    """
    column, spaces = _columns(net, widths, max_width)
    wires = _wires(net, column, spaces.n)
    x = spaces.spread([0.0] * spaces.n)
    movers = [c for c in range(spaces.n) if wires[c]]
    edge = max(0.0, max_width / 2 - 90)  # half a usual box less than half a page
    for turn in range(rounds):
        for c in movers if turn % 2 else reversed(movers):
            x[c] = _weighted_median([(x[other], weight) for other, weight in wires[c]])
        x = spaces.spread([max(-edge, min(at, edge)) for at in x])
    for turn in range(4):
        for c in movers if turn % 2 else reversed(movers):
            at = _weighted_median([(x[other], weight) for other, weight in wires[c]])
            x[c] = spaces.nearest_free(c, max(-edge, min(at, edge)), x)
    centres = [x[c] for c in column]
    left = min([at - width / 2 for at, width in zip(centres, widths, strict=True)], default=0.0)
    return [at - left for at in centres]


def row_width(net: Net, row: list[int], box_widths: list[int]) -> int:
    """Return how wide a row is at least, in px."""
    boxes = sum([box_widths[i] for i in row if i < net.n_boxes])
    return boxes + sum([_gap(net, a, b) for a, b in zip(row, row[1:], strict=False)])


def _gap(net: Net, a: int, b: int) -> int:
    n_trunks = (a >= net.n_boxes) + (b >= net.n_boxes)
    return (_BOX_GAP, _SIDE_GAP, _TRUNK_GAP)[n_trunks]


def _columns(net: Net, widths: list[int], max_width: float) -> tuple[list[int], _Spaces]:
    """Return the column of each item, and the distances that leave the columns within the width."""
    above = _ties(net)
    while True:
        column = _numbered(net, above)
        spaces = _Spaces(net, column, widths)
        path = spaces.widest_path(widths)
        if not path or path[-1][1] <= max_width:
            return column, spaces
        cuts = _cuts(net, column, above, path)
        if not cuts:  # the path runs along one row
            return column, spaces
        for item in cuts:
            del above[item]


def _ties(net: Net) -> dict[int, int]:
    """Return for items the one above that they stand straight under."""
    place = [0] * len(net.layer)
    for row in net.rows:
        for i, item in enumerate(row):
            place[item] = i
    above: dict[int, int] = {}
    for row in net.rows:
        wishes = []
        for item in row:
            below = [i for i in net.down[item] if net.up[i][0] == item]
            if not below:
                continue
            boxes = [i for i in below if i < net.n_boxes]
            # A box goes on with a step rather than with the trunk to other users; of several steps
            # the one in the middle. A trunk goes on as a trunk.
            if item >= net.n_boxes and len(boxes) < len(below):
                chosen, rank = next(i for i in below if i >= net.n_boxes), 0
            else:
                candidates = sorted(boxes or below, key=place.__getitem__)
                chosen, rank = candidates[(len(candidates) - 1) // 2], 1 if len(below) == 1 else 2
            wishes.append((rank, place[item], place[chosen], item, chosen))
        uppers: list[int] = []
        lowers: list[int] = []
        for _, upper, lower, item, chosen in sorted(wishes):
            at = bisect_left(uppers, upper)
            if at == bisect_left(lowers, lower):  # as many ties on its left above as below
                uppers.insert(at, upper)
                lowers.insert(at, lower)
                above[chosen] = item
    return above


def _numbered(net: Net, above: dict[int, int]) -> list[int]:
    """Return the column of each item; numbers grow from the top row downward."""
    column = [0] * len(net.layer)
    n = 0
    for row in net.rows:
        for item in row:
            tied = above.get(item)
            if tied is None:
                column[item] = n
                n += 1
            else:
                column[item] = column[tied]
    return column


def _cuts(
    net: Net, column: list[int], above: dict[int, int], path: list[tuple[int, float, int]]
) -> list[int]:
    """Return the items to untie: one in each column that leads the path from one row to another.

    Long edges are cut before chains of boxes, and in the middle, where a bend has most room.
    """
    spans = {}
    for (c, _, row_in), (_, _, row_out) in zip(path, path[1:], strict=False):
        if row_in >= 0 and row_in != row_out:
            spans[c] = (min(row_in, row_out), max(row_in, row_out))
    items: dict[int, list[int]] = {c: [] for c in spans}
    for item in above:
        span = spans.get(column[item])
        if span and span[0] < net.layer[item] <= span[1]:
            items[column[item]].append(item)
    n = net.n_boxes
    cuts = []
    for c, tied in items.items():
        middle = sum(spans[c]) / 2
        # Best where the trunk begins or ends, then inside of it, last between two boxes.
        rank = {i: 2 - (i >= n) - (above[i] >= n) for i in tied}
        cuts.append(min((rank[i] , abs(net.layer[i] - middle), i) for i in tied))
    trunks = [i for rank, _, i in cuts if rank < 2]
    return trunks or [i for _, _, i in cuts]


def _wires(net: Net, column: list[int], n: int) -> list[list[tuple[int, int]]]:
    """Return for each column the others it is connected to, with weights."""
    found: list[dict[int, int]] = [{} for _ in range(n)]
    for item, above in enumerate(net.up):
        for i, source in enumerate(above):
            a, b = column[source], column[item]
            if a == b:
                continue
            if source >= net.n_boxes and item >= net.n_boxes:
                weight = _TRUNK
            else:
                weight = _PLAIN if i else _MAIN
            found[a][b] = found[a].get(b, 0) + weight
            found[b][a] = found[b].get(a, 0) + weight
    return [sorted(wires.items()) for wires in found]


def _weighted_median(values: list[tuple[float, int]]) -> float:
    if len(values) == 1:
        return values[0][0]
    values.sort()
    half = sum([weight for _, weight in values]) / 2
    for i, (value, weight) in enumerate(values):
        half -= weight
        if half < 0:
            return value
        if half == 0:
            return (value + values[i + 1][0]) / 2
    return values[-1][0]


class _Spaces:
    """The least distances between columns that are neighbours in some row."""

    def __init__(self, net: Net, column: list[int], widths: list[int]) -> None:
        self.n = n = max(column, default=-1) + 1
        self.right: list[dict[int, float]] = [{} for _ in range(n)]
        self.left: list[dict[int, float]] = [{} for _ in range(n)]
        self.row: dict[tuple[int, int], int] = {}
        self.ends = [0.0] * n
        self.column = column
        for number, row in enumerate(net.rows):
            for a, b in zip(row, row[1:], strict=False):
                space = (widths[a] + widths[b]) / 2 + _gap(net, a, b)
                one, other = column[a], column[b]
                if space > self.right[one].get(other, 0.0):
                    self.right[one][other] = self.left[other][one] = space
                    self.row[one, other] = number
        missing = [len(left) for left in self.left]
        self.order = [c for c in range(n) if not missing[c]]
        for c in self.order:  # grows while it is walked
            for other in self.right[c]:
                missing[other] -= 1
                if not missing[other]:
                    self.order.append(other)

    def widest_path(self, widths: list[int]) -> list[tuple[int, float, int]]:
        """Return the path that makes the picture as wide as it is, from the left.

        Each part is a column, the least distance of its right edge from the left edge of the
        picture, and the row of the distance that sets it (-1 for the first).
        """
        half = [0.0] * self.n
        for item, c in enumerate(self.column):
            half[c] = max(half[c], widths[item] / 2)
        at = list(half)
        before = [-1] * self.n
        for c in self.order:
            for other, space in self.right[c].items():
                if at[c] + space > at[other]:
                    at[other] = at[c] + space
                    before[other] = c
        c = max(range(self.n), key=lambda c: at[c] + half[c], default=-1)
        path: list[tuple[int, float, int]] = []
        while c >= 0:
            path.append((c, at[c] + half[c], self.row.get((before[c], c), -1)))
            c = before[c]
        return path[::-1]

    def spread(self, wanted: list[float]) -> list[float]:
        """Return positions near the wanted ones that keep all distances."""
        rightward, leftward = list(wanted), list(wanted)
        for c in self.order:
            at = rightward[c]
            for other, space in self.right[c].items():
                if rightward[other] < at + space:
                    rightward[other] = at + space
        for c in reversed(self.order):
            at = leftward[c]
            for other, space in self.left[c].items():
                if leftward[other] > at - space:
                    leftward[other] = at - space
        return [(a + b) / 2 for a, b in zip(rightward, leftward, strict=True)]

    def nearest_free(self, c: int, wanted: float, x: list[float]) -> float:
        """Return the position nearest to the wanted one that keeps the distances of column `c`."""
        low = max([x[other] + space for other, space in self.left[c].items()], default=-math.inf)
        high = min([x[other] - space for other, space in self.right[c].items()], default=math.inf)
        return max(low, min(wanted, high))
