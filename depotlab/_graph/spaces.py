"""How far apart columns must stand, and what follows from that: how wide a picture gets and why.

A column is a set of items, one in each of some rows, that share their x. Columns that are neighbours in a
row must keep a distance; these distances form a graph without cycles, whose longest path is the least
width of the picture.
"""

from __future__ import annotations

import math
from itertools import pairwise

from depotlab._graph.layers import Net, shared_edges

__all__ = ["Pair", "Spaces", "neighbours", "row_widths"]

_BOX_GAP = 22
_SIDE_GAP = 14
_TRUNK_GAP = 8

Pair = tuple[int, int, float, int]
"""Two neighbouring items, the least distance of their centres in px, the number of their row."""


def neighbours(net: Net, widths: list[int]) -> list[Pair]:
    """Return all pairs of neighbours; `widths` of all items, dummies have none."""
    return [
        (a, b, (widths[a] + widths[b]) / 2 + _gap(net, a, b), number)
        for number, row in enumerate(net.rows)
        for a, b in pairwise(row)
    ]


def _gap(net: Net, a: int, b: int) -> int:
    n_trunks = (a >= net.n_boxes) + (b >= net.n_boxes)
    return (_BOX_GAP, _SIDE_GAP, _TRUNK_GAP)[n_trunks]


def row_widths(
    inputs: list[list[int]], users: list[list[int]], layer: list[int], box_widths: list[int]
) -> list[int]:
    """Return about how wide each row gets with the long edges that pass it, in px."""
    shared = shared_edges(inputs, users)
    n_rows = max(layer, default=-1) + 1
    boxes = [0] * n_rows
    changes = [0] * (n_rows + 1)
    for node, at in enumerate(layer):
        boxes[at] += box_widths[node] + _BOX_GAP
        leaving = [layer[i] for i in users[node] if (node, i) not in shared]
        coming = [layer[i] for i in inputs[node] if (i, node) in shared]
        for first, last in ((at + 1, max(leaving, default=0)), (min(coming, default=at) + 1, at)):
            if first < last:
                changes[first] += 1
                changes[last] -= 1
    widths, passing = [], 0
    for width, change in zip(boxes, changes, strict=False):
        passing += change
        widths.append(width - _BOX_GAP + passing * (_TRUNK_GAP + 4))
    return widths


class Spaces:
    """The least distances between columns."""

    def __init__(self, pairs: list[Pair], widths: list[int], column: list[int], n: int) -> None:
        """Take the column of each item and how many columns there are."""
        self.n = n
        self.right: list[dict[int, float]] = [{} for _ in range(n)]
        self.left: list[dict[int, float]] = [{} for _ in range(n)]
        self.row: dict[tuple[int, int], int] = {}
        for a, b, space, number in pairs:
            one, other = column[a], column[b]
            right = self.right[one]
            if other not in right or space > right[other]:
                right[other] = self.left[other][one] = space
                self.row[one, other] = number
        self.half = [0.0] * n
        for item, c in enumerate(column):
            if widths[item] > 2 * self.half[c]:
                self.half[c] = widths[item] / 2
        self.low = [-math.inf] * n
        self.high = [math.inf] * n
        missing = [len(left) for left in self.left]
        self.order = [c for c in range(n) if not missing[c]]
        for c in self.order:  # grows while it is walked
            for other in self.right[c]:
                missing[other] -= 1
                if not missing[other]:
                    self.order.append(other)

    def wide_paths(self, max_width: float) -> list[list[tuple[int, int]]]:
        """Return paths from left to right that make the picture wider than allowed, widest first.

        No column is on two of them but for their ends. Each part is a column and the row of the
        distance to the column before it, -1 for the first.
        """
        at, before = self._reach(self.order, self.right)
        wide = [c for c in range(self.n) if at[c] + self.half[c] > max_width]
        wide.sort(key=lambda c: -at[c])
        seen = [False] * self.n
        paths = []
        for c in wide:
            path: list[tuple[int, int]] = []
            while c >= 0:
                path.append((c, self.row[before[c], c] if before[c] >= 0 else -1))
                if seen[c]:
                    break
                seen[c] = True
                c = before[c]
            if len(path) > 1:
                paths.append(path[::-1])
        return paths

    def wide_columns(self, max_width: float) -> list[int]:
        """Return all columns that are on a path wider than allowed."""
        from_left, _ = self._reach(self.order, self.right)
        from_right, _ = self._reach(self.order[::-1], self.left)
        return [c for c in range(self.n) if from_left[c] + from_right[c] > max_width]

    def _reach(
        self, order: list[int], after: list[dict[int, float]]
    ) -> tuple[list[float], list[int]]:
        """Return the least distance of each centre from one side, and the column that sets it."""
        at = list(self.half)
        before = [-1] * self.n
        for c in order:
            here = at[c]
            for other, space in after[c].items():
                if here + space > at[other]:
                    at[other] = here + space
                    before[other] = c
        return at, before

    def least_width(self) -> float:
        """Return the width that the columns need, in px."""
        from_left, _ = self._reach(self.order, self.right)
        return max([a + b for a, b in zip(from_left, self.half, strict=True)], default=0.0)

    def limit(self, max_width: float) -> None:
        """Keep all columns within a width around 0, or the least width that they need."""
        from_left, _ = self._reach(self.order, self.right)
        from_right, _ = self._reach(self.order[::-1], self.left)
        edge = max(max_width, self.least_width()) / 2
        self.low = [reach - edge for reach in from_left]
        self.high = [edge - reach for reach in from_right]

    def spread(self, wanted: list[float]) -> list[float]:
        """Return positions near the wanted ones that keep all distances and the limit."""
        # Within the limits, pushing to the right or left cannot lead out of them: the limits of two
        # neighbours are at least as far apart as the neighbours must be.
        rightward = [
            low if at < low else min(at, high)
            for low, at, high in zip(self.low, wanted, self.high, strict=True)
        ]
        leftward = list(rightward)
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
        low = max([x[other] + space for other, space in self.left[c].items()] + [self.low[c]])
        high = min([x[other] - space for other, space in self.right[c].items()] + [self.high[c]])
        return max(low, min(wanted, high))
