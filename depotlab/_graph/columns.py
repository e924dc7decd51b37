"""Which items stand straight under each other.

Items that ought to (a step under its main input, the dummies of a long edge) are tied into columns; ties
never cross, so columns have an order from left to right (Brandes and Köpf 2001 align like this). Columns
can make a picture wide: its width is a path of distances that goes along a row, then up or down a column,
along another row, and so on. So while it is too wide, columns on such a path are cut between the rows
that it uses.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise

from depotlab._graph.layers import Net
from depotlab._graph.spaces import Pair, Spaces

__all__ = ["cut_to_width", "numbered", "straight_ties"]

_PATIENCE_ITEMS = 4000
"""How many items are looked at while columns are cut one by one, before they are cut wholesale."""


def cut_to_width(
    net: Net, widths: list[int], pairs: list[Pair], above: dict[int, int], max_width: float
) -> dict[int, int]:
    """Return the ties that can stay: the picture then fits, unless one row alone is wider."""
    above = dict(above)
    patience = 2 + _PATIENCE_ITEMS // (len(widths) + 1)
    while True:
        column, n = numbered(net, above)
        spaces = Spaces(pairs, widths, column, n)
        tied: list[list[int]] = [[] for _ in range(n)]
        for item in above:
            tied[column[item]].append(item)
        if patience:
            patience -= 1
            paths = spaces.wide_paths(max_width)
            cuts = [item for path in paths for item in _cuts(net, tied, above, path)]
        else:
            cuts = [item for c in spaces.wide_columns(max_width) for item in tied[c]]
        if not cuts:
            return above
        for item in cuts:
            above.pop(item, None)


def straight_ties(net: Net) -> dict[int, int]:
    """Return for items the one above that they stand straight under."""
    place = [0] * len(net.layer)
    for row in net.rows:
        for i, item in enumerate(row):
            place[item] = i
    above: dict[int, int] = {}
    for row in net.rows:
        # (rank, place of the upper, place of the lower): the best wishes are heard first.
        wishes: list[tuple[int, int, int]] = []
        for at, item in enumerate(row):
            below = sorted([place[i] for i in net.down[item] if net.up[i][0] == item])
            middle = (len(below) - 1) / 2
            for i, under in enumerate(below):
                is_trunk = net.rows[net.layer[item] + 1][under] >= net.n_boxes
                if item >= net.n_boxes and is_trunk:
                    rank = 0  # a trunk goes on as a trunk
                elif len(below) == 1:
                    rank = 1
                else:  # a box goes on with a step, the one in the middle, rather than with a trunk
                    rank = 2 + (100 if is_trunk else 0) + round(2 * abs(i - middle))
                wishes.append((rank, at, under))
        uppers: list[int] = []
        lowers: list[int] = []
        for _, upper, lower in sorted(wishes):
            at = bisect_left(uppers, upper)
            is_taken = at < len(uppers) and uppers[at] == upper
            # As many ties on its left above as below: it crosses none.
            if not is_taken and at == bisect_left(lowers, lower):
                uppers.insert(at, upper)
                lowers.insert(at, lower)
                above[net.rows[net.layer[row[0]] + 1][lower]] = row[upper]
    return above


def numbered(net: Net, above: dict[int, int]) -> tuple[list[int], int]:
    """Return the column of each item and how many there are; numbers grow from the top downward."""
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
    return column, n


def _cuts(
    net: Net, members: list[list[int]], above: dict[int, int], path: list[tuple[int, int]]
) -> list[int]:
    """Return the items to untie: one in each column that leads the path from one row to another.

    Long edges are cut before chains of boxes, and in the middle, where a bend has most room.
    """
    n = net.n_boxes
    cuts = []
    for (c, row_in), (_, row_out) in pairwise(path):
        if row_in in (-1, row_out):
            continue
        first, last = min(row_in, row_out), max(row_in, row_out)
        middle = (first + last) / 2
        # Best where a trunk begins or ends, then inside of it, last between two boxes.
        cuts.append(
            min(
                (2 - (i >= n) - (above[i] >= n), abs(net.layer[i] - middle), i)
                for i in members[c]
                if first < net.layer[i] <= last
            )
        )
    trunks = [i for rank, _, i in cuts if rank < 2]
    return trunks or [i for _, _, i in cuts]
