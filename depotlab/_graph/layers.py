"""Which row each box stands in, and in which order the boxes of a row stand.

Theory (Sugiyama, Tagawa and Toda 1981): give every node a layer so that edges lead downward; put a
dummy into each layer that an edge passes; order the layers so that few edges cross. Ours differs in
two points. Layers have a limited width, since a page has: a node goes into the first layer above
its users that has room, stage after stage, so that a wide graph wraps like text. The long
edges of one source share their dummies, so that they run as one trunk with branches. And the long edges
into a node with many inputs share theirs, so that they come together early, as tributaries do.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from itertools import pairwise

__all__ = ["Net", "assign_layers", "make_net", "order_layers", "shared_edges"]

_TRUNK_WIDTH = 12
_MANY_INPUTS = 5


@dataclass(slots=True)
class Net:
    """Boxes and dummies, by position: first the boxes, in the order of the graph, then the dummies.

    Attributes:
        n_boxes: How many of the items are boxes.
        layer: The layer of each item; edges lead from one layer to the next.
        up: The items above that each item is connected to; the main one first.
        down: The same edges from the other end.
        rows: The items of each layer from left to right.
        trunks: For each box the dummies of the long edges that leave it, from above.
        streams: For each box the dummies of the long edges that flow into it together, from below.
        shared: The edges (source, target) that use the stream of their target.
    """

    n_boxes: int
    layer: list[int]
    up: list[list[int]]
    down: list[list[int]]
    shared: set[tuple[int, int]]
    rows: list[list[int]] = field(default_factory=list)
    trunks: list[list[int]] = field(default_factory=list)
    streams: list[list[int]] = field(default_factory=list)

    def between(self, source: int, target: int) -> list[int]:
        """Return the dummies that the edge between two boxes passes, from above."""
        span = self.layer[target] - self.layer[source]
        if (source, target) in self.shared:
            return self.streams[target][: span - 1][::-1]
        return self.trunks[source][: span - 1]

    def add(self, layer: int) -> int:
        """Add a dummy, connected to nothing."""
        self.layer.append(layer)
        self.up.append([])
        self.down.append([])
        return len(self.layer) - 1

    def connect(self, above: int, below: int) -> None:
        """Add an edge between items of neighbouring layers."""
        self.up[below].append(above)
        self.down[above].append(below)


def shared_edges(inputs: list[list[int]], users: list[list[int]]) -> set[tuple[int, int]]:
    """Return the edges (source, target) that flow together with others into their target.

    The main input of a box keeps an edge of its own, which may then be straight.
    """
    return {
        (source, target)
        for target, sources in enumerate(inputs)
        if len(sources) >= _MANY_INPUTS
        for source in sources[1:]
        if len(users[source]) < len(sources)
    }


def assign_layers(
    inputs: list[list[int]],
    users: list[list[int]],
    widths: list[int],
    *,
    max_width: float,
    gap: int,
) -> list[int]:
    """Return a layer for each node: under all of its inputs, and no layer wider than allowed.

    Nodes stand as low as they can, next to what uses them: what a long way has to be gone to is then
    mostly a common base, whose edges share one trunk. A node wider than a layer gets one of its own;
    trunks count as far as they are known.
    """
    shared = shared_edges(inputs, users)
    # Heights count from the bottom, where the last users stand.
    height = [0] * len(inputs)
    used: list[float] = []
    for node in reversed(_stage_by_stage(inputs, users)):
        lowest = min([height[i] for i in users[node] if (node, i) not in shared], default=-1)
        at = 1 + max([height[i] for i in users[node]], default=-1)
        while at < len(used) and used[at] and used[at] + widths[node] + gap > max_width:
            at += 1
        while at >= len(used):
            used.append(0.0)
        used[at] += widths[node] + gap
        height[node] = at
        if lowest >= 0:
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
    net = Net(
        n, list(layer), [[] for _ in range(n)], [[] for _ in range(n)], shared_edges(inputs, users)
    )
    for source in range(n):
        alone = [layer[i] for i in users[source] if (source, i) not in net.shared]
        trunk = [net.add(at) for at in range(layer[source] + 1, max(alone, default=0))]
        for above, below in pairwise([source, *trunk]):
            net.connect(above, below)
        net.trunks.append(trunk)
    for target, sources in enumerate(inputs):
        together = [layer[i] for i in sources if (i, target) in net.shared]
        first = min(together, default=layer[target])
        stream = [net.add(at) for at in range(layer[target] - 1, first, -1)]
        for below, above in pairwise(stream):
            net.connect(above, below)
        net.streams.append(stream)
    for target, sources in enumerate(inputs):
        stream = net.streams[target]
        for source in sources:
            span = layer[target] - layer[source]
            if span == 1:
                net.connect(source, target)
            elif (source, target) in net.shared:
                net.connect(source, stream[span - 2])
            else:
                net.connect(net.trunks[source][span - 2], target)
        if stream:
            net.connect(stream[0], target)
    net.rows = [[] for _ in range(max(net.layer, default=-1) + 1)]
    for item in _stage_by_stage(net.up, net.down):
        net.rows[net.layer[item]].append(item)
    return net


def order_layers(net: Net, *, sweeps: int = 8) -> None:
    """Reorder the rows of the net so that few edges cross.

    Sweeps down and up sort each row by the mean place of what its items are connected to. What comes
    out depends on where one begins and on how equal items are ordered, so there are several tries.
    """
    first = [list(row) for row in net.rows]
    best = first
    fewest = crossings(net, _places(net))
    tries = ((True, False), (False, False), (True, True), (False, True))
    for starts_downward, turns in tries[: 4 if len(net.layer) < 600 else 2]:
        net.rows = [list(row) for row in first]
        place = _places(net)
        idle = 0
        for sweep in range(sweeps):
            if not fewest or idle == 7:
                break
            is_even = sweep % 2 == 0
            _sweep(net, place, downward=starts_downward == is_even, turns=turns and not is_even)
            count = crossings(net, place)
            idle = 0 if count < fewest else idle + 1
            if count < fewest:
                fewest = count
                best = [list(row) for row in net.rows]
    net.rows = best
    if fewest and len(net.layer) < 2000:
        _swap_neighbours(net)


def _places(net: Net) -> list[int]:
    place = [0] * len(net.layer)
    for row in net.rows:
        for i, item in enumerate(row):
            place[item] = i
    return place


def _sweep(net: Net, place: list[int], *, downward: bool, turns: bool) -> None:
    near = net.up if downward else net.down
    for row in net.rows if downward else reversed(net.rows):
        key = {}
        for item in row:
            around = near[item]
            key[item] = (
                sum([place[i] for i in around]) / len(around) if around else float(place[item])
            )
        if turns:
            row.reverse()  # sorting is stable: equal ones change places
        row.sort(key=key.__getitem__)
        for i, item in enumerate(row):
            place[item] = i


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
    place = _places(net)

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
