"""Where in its row each item stands. Keeps the order of the rows and the distances in them.

Each column of items moves, again and again, to the weighted median of what it is connected to, and
columns that now stand too close are pushed apart: once to the right and once to the left. Both results
keep all distances, so their mean does too.
"""

from __future__ import annotations

import math

from depotlab._graph.columns import cut_to_width, numbered, straight_ties
from depotlab._graph.layers import Net
from depotlab._graph.spaces import Pair, Spaces, neighbours

__all__ = ["place_x"]

# Straightness of what is long or main counts more.
_PLAIN, _MAIN, _TRUNK = 1, 3, 6

_NEAR_PX = 24
_MANY_ITEMS = 5000


def place_x(net: Net, widths: list[int], *, max_width: float = math.inf) -> list[float]:
    """Return the centre of each item, in px from the left edge of the leftmost one.

    Args:
        net: With its rows in order.
        widths: Of all items in px; dummies have none.
        max_width: Straight columns are given up for it, the distances in a row are not.
    """
    pairs = neighbours(net, widths)
    wanted = straight_ties(net)
    above = cut_to_width(net, widths, pairs, wanted, max_width)
    centres = _settled(net, widths, pairs, above, max_width, [0.0] * len(widths))
    if len(above) < len(wanted):
        near = _that_fit(net, widths, pairs, above, _near_misses(wanted, above, centres), max_width)
        if len(near) > len(above):
            centres = _settled(net, widths, pairs, near, max_width, centres)
    left = min([at - width / 2 for at, width in zip(centres, widths, strict=True)], default=0.0)
    return [at - left for at in centres]


def _settled(
    net: Net,
    widths: list[int],
    pairs: list[Pair],
    above: dict[int, int],
    max_width: float,
    start: list[float],
) -> list[float]:
    """Return the centres after all columns have moved until they rest, or often enough."""
    column, n = numbered(net, above)
    spaces = Spaces(pairs, widths, column, n)
    spaces.limit(max_width)
    wires = _wires(net, column, n)
    x = [0.0] * n
    for item, c in enumerate(column):
        x[c] = start[item]
    x = spaces.spread(x)
    movers = [c for c in range(n) if wires[c]]
    for turn in range(12 if len(widths) < _MANY_ITEMS else 4):
        before = x
        x = list(x)
        for c in movers if turn % 2 else reversed(movers):
            x[c] = _weighted_median(wires[c], x)
        x = spaces.spread(x)
        if all(-1 < a - b < 1 for a, b in zip(x, before, strict=True)):
            break
    for turn in range(2):
        for c in movers if turn % 2 else reversed(movers):
            x[c] = spaces.nearest_free(c, _weighted_median(wires[c], x), x)
    return [x[c] for c in column]


def _near_misses(
    wanted: dict[int, int], above: dict[int, int], centres: list[float]
) -> list[tuple[int, int]]:
    """Return ties that were cut but nearly came out straight, the nearest first: they look careless."""
    misses = [
        (abs(centres[lower] - centres[upper]), lower, upper)
        for lower, upper in wanted.items()
        if lower not in above
    ]
    return [(lower, upper) for miss, lower, upper in sorted(misses) if miss <= _NEAR_PX]


def _that_fit(
    net: Net,
    widths: list[int],
    pairs: list[Pair],
    above: dict[int, int],
    more: list[tuple[int, int]],
    max_width: float,
) -> dict[int, int]:
    """Return the ties with as many more, from the first on, as leave the width what it must be."""

    def width_with(count: int) -> float:
        column, n = numbered(net, {**above, **dict(more[:count])})
        return Spaces(pairs, widths, column, n).least_width()

    allowed = max(max_width, width_with(0))
    low, high = 0, len(more)  # the first `low` fit; more ties never make it narrower
    while low < high:
        middle = (low + high + 1) // 2
        if width_with(middle) <= allowed:
            low = middle
        else:
            high = middle - 1
    return {**above, **dict(more[:low])}


def _wires(net: Net, column: list[int], n: int) -> list[list[tuple[int, int]]]:
    """Return for each column the others it is connected to, with weights."""
    found: list[dict[int, int]] = [{} for _ in range(n)]
    for item, above in enumerate(net.up):
        for i, source in enumerate(above):
            a, b = column[source], column[item]
            if a == b:
                continue
            is_trunk = source >= net.n_boxes and item >= net.n_boxes
            weight = _TRUNK if is_trunk else _PLAIN if i else _MAIN
            found[a][b] = found[a].get(b, 0) + weight
            found[b][a] = found[b].get(a, 0) + weight
    return [sorted(wires.items()) for wires in found]


def _weighted_median(wires: list[tuple[int, int]], x: list[float]) -> float:
    """Return the position that has the least weighted sum of distances to the others."""
    if len(wires) == 1:
        return x[wires[0][0]]
    if len(wires) == 2:
        (a, a_weight), (b, b_weight) = wires
        return (x[a] + x[b]) / 2 if a_weight == b_weight else x[a if a_weight > b_weight else b]
    values = sorted([(x[other], weight) for other, weight in wires])
    half = sum([weight for _, weight in wires]) / 2
    at = 0
    while True:
        half -= values[at][1]
        if half < 0:
            return values[at][0]
        at += 1
        if half == 0:
            return (values[at - 1][0] + values[at][0]) / 2
