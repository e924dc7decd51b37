"""Which row each box stands in, and in which order the boxes of a row stand.

Theory (Sugiyama, Tagawa and Toda 1981): give every node a layer so that edges lead downward; put a
dummy into each layer that an edge passes; order the layers so that few edges cross. Ours differs in
two points. Layers have a limited width, since a page has: a node goes into the first layer above
its users that has room, stage after stage, so that a wide graph wraps like text. And the long edges of
one source share their dummies, so that they run as one trunk with branches.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field

_TRUNK_WIDTH = 12

__all__ = ["Net", "assign_layers", "make_net", "order_layers"]


@dataclass(slots=True)
class Net:
    """Boxes and dummies, by position: first the boxes, in the order of the graph, then the dummies.

    Attributes:
        n_boxes: How many of the items are boxes.
        layer: The layer of each item; edges lead from one layer to the next.
        up: The items above that each item is connected to; of a box in the order of its inputs.
        down: The same edges from the other end.
        rows: The items of each layer from left to right.
        trunk: For each box the dummies of its long edges, from above.
    """

    n_boxes: int
    layer: list[int]
    up: list[list[int]]
    down: list[list[int]]
    rows: list[list[int]] = field(default_factory=list)
    trunk: list[list[int]] = field(default_factory=list)


def assign_layers(
    inputs: list[list[int]], users: list[list[int]], widths: list[int], *, max_width: float, gap: int
) -> list[int]:
    """Return a layer for each node: under all of its inputs, and no layer wider than allowed.

    Nodes stand as low as they can, next to what uses them: what a long way has to be gone to is then
    mostly a common base, whose edges share one trunk. A node wider than a layer gets one of its own;
    trunks count as far as they are known.
    """
    # Heights count from the bottom, where the last users stand.
    height = [0] * len(inputs)
    used: list[float] = []
    for node in reversed(_stage_by_stage(inputs, users)):
        lowest = min([height[i] for i in users[node]], default=-1)
        at = 1 + max([height[i] for i in users[node]], default=-1)
        while at < len(used) and used[at] and used[at] + widths[node] + gap > max_width:
            at += 1
        while at >= len(used):
            used.append(0.0)
        used[at] += widths[node] + gap
        height[node] = at
        for passed in range(lowest + 1, at):
            used[passed] += _TRUNK_WIDTH
    _pull_up(height, used, inputs, users, widths, max_width=max_width, gap=gap)
    rank = {at: i for i, at in enumerate(sorted(set(height), reverse=True))}
    return [rank[at] for at in height]


def _stage_by_stage(inputs: list[list[int]], users: list[list[int]]) -> list[int]:
    """Return the nodes with inputs first, branch after branch as the inputs are listed."""
    done = [False] * len(inputs)
    order: list[int] = []
    for sink in (i for i, used_by in enumerate(users) if not used_by):
        stack = [(sink, 0)]
        while stack:
            node, at = stack.pop()
            if done[node]:
                continue
            if at < len(inputs[node]):
                stack.append((node, at + 1))
                if not done[inputs[node][at]]:
                    stack.append((inputs[node][at], 0))
            else:
                done[node] = True
                order.append(node)
    return order


def _pull_up(
    height: list[int],
    used: list[float],
    inputs: list[list[int]],
    users: list[list[int]],
    widths: list[int],
    *,
    max_width: float,
    gap: int,
) -> None:
    """Move nodes up next to their inputs where that makes edges shorter in sum.

    Moving a node stretches the edges to its users, except to those that can follow: a user with no
    other input follows as far as that stretches less below it.
    """
    by_height = sorted(range(len(height)), key=lambda i: height[i])
    stretched = [0] * len(height)
    for node in by_height:
        for i in users[node]:
            stretched[node] += min(1, stretched[i]) if len(inputs[i]) == 1 else 1
    for node in reversed(by_height):
        if stretched[node] < len(inputs[node]):
            room = max_width - widths[node] - gap
            highest = min([height[i] for i in inputs[node]]) - 1
            for at in range(highest, height[node], -1):
                if used[at] <= room:
                    used[height[node]] -= widths[node] + gap
                    used[at] += widths[node] + gap
                    height[node] = at
                    break


def make_net(inputs: list[list[int]], users: list[list[int]], layer: list[int]) -> Net:
    """Add the dummies and an order to begin with: branches side by side, as they are listed."""
    n = len(inputs)
    net = Net(n, list(layer), [[] for _ in range(n)], [[] for _ in range(n)])
    for source in range(n):
        dummies: list[int] = []
        last = max([layer[i] for i in users[source]], default=0)
        for at in range(layer[source] + 1, last):
            above = dummies[-1] if dummies else source
            dummy = len(net.layer)
            net.layer.append(at)
            net.up.append([above])
            net.down.append([])
            net.down[above].append(dummy)
            dummies.append(dummy)
        net.trunk.append(dummies)
    for target in range(n):
        for source in inputs[target]:
            span = layer[target] - layer[source]
            above = source if span == 1 else net.trunk[source][span - 2]
            net.up[target].append(above)
            net.down[above].append(target)
    net.rows = [[] for _ in range(max(net.layer, default=-1) + 1)]
    for item in _stage_by_stage(net.up, net.down):
        net.rows[net.layer[item]].append(item)
    return net


def order_layers(net: Net, *, sweeps: int = 8) -> None:
    """Reorder the rows of the net so that few edges cross."""
    place = [0] * len(net.layer)
    for row in net.rows:
        for i, item in enumerate(row):
            place[item] = i
    best = [list(row) for row in net.rows]
    fewest = crossings(net, place)
    for sweep in range(sweeps):
        if not fewest:
            break
        downward = sweep % 2 == 0
        near = net.up if downward else net.down
        for row in net.rows if downward else reversed(net.rows):
            key = {}
            for item in row:
                around = near[item]
                key[item] = (
                    sum([place[i] for i in around]) / len(around) if around else float(place[item])
                )
            row.sort(key=key.__getitem__)
            for i, item in enumerate(row):
                place[item] = i
        count = crossings(net, place)
        if count < fewest:
            fewest = count
            best = [list(row) for row in net.rows]
    net.rows = best
    if fewest and len(net.layer) <= 2000:
        _swap_neighbours(net)


def crossings(net: Net, place: list[int]) -> int:
    """Return how many pairs of edges cross, for the given places in the rows."""
    total = 0
    for row in net.rows:
        seen: list[int] = []
        for item in row:
            ends = sorted([place[i] for i in net.down[item]])
            if seen and ends and ends[0] < seen[-1]:
                for end in ends:
                    after = len(seen) - bisect_left(seen, end + 1)
                    if not after:
                        break  # the ends ascend: the others cross nothing either
                    total += after
            for end in ends:
                insort(seen, end)
    return total


def _swap_neighbours(net: Net, *, rounds: int = 4) -> None:
    """Swap neighbours in a row while that removes crossings."""
    place = {item: i for row in net.rows for i, item in enumerate(row)}

    def crossed(left: list[int], right: list[int]) -> int:
        return sum([place[a] > place[b] for a in left for b in right])

    for _ in range(rounds):
        is_better = False
        for row in net.rows:
            for i in range(len(row) - 1):
                a, b = row[i], row[i + 1]
                now = crossed(net.up[a], net.up[b]) + crossed(net.down[a], net.down[b])
                if not now:
                    continue
                swapped = crossed(net.up[b], net.up[a]) + crossed(net.down[b], net.down[a])
                if swapped < now:
                    row[i], row[i + 1] = b, a
                    place[a], place[b] = i + 1, i
                    is_better = True
        if not is_better:
            break
