"""Makes a graph small enough to look at, and loses nothing: a box lists the nodes it stands for.

Five steps, each only while there are still too many boxes:
1. a source that many nodes use leaves the graph; a badge on each user stands for the edge;
2. runs of steps of one kind, and siblings that cannot be told apart, become one box each;
3. runs of steps of any kind;
4. one box for each group;
5. boxes join their only user or their only input, small ones first, until the limit is met.
No step can close a cycle. The original nodes are in `members`.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from depotlab._graph.kinds import kind_look
from depotlab._graph.model import Badge, Edge, Graph, Node, inputs_of, topological, users_of

__all__ = ["by_kind", "condense"]

_MIN_RUN = 3
_MIN_TWINS = 4


def condense(
    graph: Graph,
    *,
    max_uses: int = 5,
    calm_boxes: int = 40,
    full_boxes: int = 80,
    max_boxes: int = 120,
) -> Graph:
    """Return the graph with fewer boxes; a small one only gets badges for its shared sources.

    Linear in the size of the graph but for the last step, which sorts. The result has more than
    `max_boxes` nodes only if they hang together in no way that could be drawn as one box.

    Args:
        graph: As it is; boxes that already have members keep them.
        max_uses: A source without text lines that more nodes use becomes a badge.
        calm_boxes: Up to here no steps are joined.
        full_boxes: Up to here only equal steps are joined.
        max_boxes: Up to here stages stay apart.
    """
    graph = _with_badges(graph, max_uses)
    quotient = _Quotient.of(graph)
    rules: tuple[tuple[int, Callable[[_Quotient], list[list[int]]], str], ...] = (
        (calm_boxes, lambda q: _runs(q, is_same_kind=True), "run"),
        (calm_boxes, _twins, "twins"),
        (full_boxes, lambda q: _runs(q, is_same_kind=False), "run"),
        (full_boxes, _twins, "twins"),
        (max_boxes, _groups, "group"),
        (max_boxes, lambda q: _neighbours(q, max_boxes), "around"),
        (max_boxes, _twins, "twins"),
    )
    for limit, rule, how in rules:
        if len(quotient.boxes) > limit:
            quotient = quotient.joined(rule(quotient), how)
    return quotient.graph(graph)


def by_kind(graph: Graph) -> Graph:
    """Return one box for each kind, and no edges: the last resort for what cannot be drawn."""
    boxes: dict[str, list[int]] = {}
    for i in topological(graph):
        boxes.setdefault(graph.nodes[i].kind, []).append(i)
    return Graph(
        tuple(_node(_Box(tuple(members), kind, ""), graph) for kind, members in boxes.items()),
        (),
        graph.shared,
    )


def _with_badges(graph: Graph, max_uses: int) -> Graph:
    inputs = inputs_of(graph)
    users = users_of(inputs)
    shared = {
        node.id: node
        for node, sources, used_by in zip(graph.nodes, inputs, users, strict=True)
        if not sources and not node.members and len(used_by) > max_uses
    }
    if not shared:
        return graph
    badges: dict[str, dict[Badge, None]] = {}
    for edge in graph.edges:
        if edge.source in shared:
            source = shared[edge.source]
            badge = Badge(edge.label or source.label, source.kind, source.id)
            badges.setdefault(edge.target, {})[badge] = None
    nodes = tuple(
        Node(
            node.id,
            node.label,
            node.kind,
            node.title,
            node.lines,
            (*node.badges, *badges.get(node.id, ())),
            node.group,
            node.members,
        )
        for node in graph.nodes
        if node.id not in shared
    )
    edges = tuple(edge for edge in graph.edges if edge.source not in shared)
    return Graph(nodes, edges, (*graph.shared, *shared.values()))


@dataclass(frozen=True, slots=True)
class _Box:
    """Some nodes of the graph, by position, inputs first; `how` says why they are together."""

    nodes: tuple[int, ...]
    kind: str
    group: str
    how: str = ""


class _Quotient:
    """A graph whose nodes are boxes of nodes. Boxes are in an order with inputs first."""

    def __init__(self, boxes: list[_Box], inputs: list[list[int]]) -> None:
        self.boxes = boxes
        self.inputs = inputs
        self.users = users_of(inputs)

    @classmethod
    def of(cls, graph: Graph) -> _Quotient:
        """Return one box for each node."""
        order = topological(graph)
        rank = {node: i for i, node in enumerate(order)}
        inputs = inputs_of(graph)
        boxes = [_Box((i,), graph.nodes[i].kind, graph.nodes[i].group) for i in order]
        return cls(boxes, [[rank[i] for i in inputs[node]] for node in order])

    def joined(self, clusters: list[list[int]], how: str) -> _Quotient:
        """Return the quotient with each cluster of two or more boxes as one.

        Clusters must not overlap, and joining them must not close a cycle.
        """
        cluster_of = {box: first for c in clusters for first in (min(c),) for box in c}
        members: dict[int, list[int]] = {}
        for box in range(len(self.boxes)):
            members.setdefault(cluster_of.get(box, box), []).append(box)
        inputs: dict[int, dict[int, None]] = {}
        for key, boxes in members.items():
            found = inputs[key] = {}
            for box in boxes:
                for source in self.inputs[box]:
                    source_key = cluster_of.get(source, source)
                    if source_key != key:
                        found[source_key] = None
        order = _sorted_keys(inputs)
        rank = {key: i for i, key in enumerate(order)}
        return _Quotient(
            [self._join(members[key], how) for key in order],
            [[rank[source] for source in inputs[key]] for key in order],
        )

    def _join(self, boxes: list[int], how: str) -> _Box:
        if len(boxes) == 1:
            return self.boxes[boxes[0]]
        parts = [self.boxes[i] for i in boxes]
        kinds = {part.kind for part in parts}
        groups = {part.group for part in parts}
        return _Box(
            tuple(node for part in parts for node in part.nodes),
            kinds.pop() if len(kinds) == 1 else "steps",
            groups.pop() if len(groups) == 1 else parts[-1].group,
            how,
        )

    def graph(self, original: Graph) -> Graph:
        """Return the boxes as nodes, in the order in which their first nodes were given."""
        box_of = {original.nodes[i].id: b for b, box in enumerate(self.boxes) for i in box.nodes}
        nodes = [_node(box, original) for box in self.boxes]
        edges: dict[tuple[int, int], list[str]] = {}
        for edge in original.edges:
            source, target = box_of[edge.source], box_of[edge.target]
            if source != target:
                labels = edges.setdefault((source, target), [])
                if edge.label and edge.label not in labels:
                    labels.append(edge.label)
        order = sorted(range(len(nodes)), key=lambda b: min(self.boxes[b].nodes))
        return Graph(
            tuple(nodes[b] for b in order),
            tuple(
                Edge(nodes[source].id, nodes[target].id, ", ".join(labels[:3]))
                for (source, target), labels in edges.items()
            ),
            original.shared,
        )


def _sorted_keys(inputs: dict[int, dict[int, None]]) -> list[int]:
    """Return the keys with inputs before their users."""
    users: dict[int, list[int]] = {key: [] for key in inputs}
    missing = {key: len(sources) for key, sources in inputs.items()}
    for key, sources in inputs.items():
        for source in sources:
            users[source].append(key)
    order = [key for key, n in missing.items() if not n]
    for key in order:  # grows while it is walked
        for user in users[key]:
            missing[user] -= 1
            if not missing[user]:
                order.append(user)
    return order


# ---------------------------------------------------------------------------------------- rules


def _runs(q: _Quotient, *, is_same_kind: bool) -> list[list[int]]:
    """Find chains in which each box is the only user of the one before and uses nothing else."""
    runs: list[list[int]] = []
    taken = [False] * len(q.boxes)
    for start, box in enumerate(q.boxes):
        if taken[start]:
            continue
        run = [start]
        while True:
            users = q.users[run[-1]]
            if len(users) != 1 or len(q.inputs[users[0]]) != 1:
                break
            after = q.boxes[users[0]]
            if after.group != box.group or (is_same_kind and after.kind != box.kind):
                break
            run.append(users[0])
        # The source at the head of a chain says what the chain starts from: it stays apart.
        if not is_same_kind and not q.inputs[start]:
            run = run[1:]
        if len(run) >= _MIN_RUN:
            runs.append(run)
            for i in run:
                taken[i] = True
    return runs


def _twins(q: _Quotient) -> list[list[int]]:
    """Find boxes of one kind and group with the same inputs and the same users."""
    alike: dict[object, list[int]] = {}
    for i, box in enumerate(q.boxes):
        key = (box.kind, box.group, tuple(sorted(q.inputs[i])), tuple(q.users[i]))
        alike.setdefault(key, []).append(i)
    return [twins for twins in alike.values() if len(twins) >= _MIN_TWINS]


def _groups(q: _Quotient) -> list[list[int]]:
    """Find the boxes of each group; groups that use each other in a circle become one."""
    by_group: dict[str, list[int]] = {}
    lone: list[list[int]] = []
    for i, box in enumerate(q.boxes):
        if box.group:
            by_group.setdefault(box.group, []).append(i)
        else:
            lone.append([i])
    clusters = [*by_group.values(), *lone]
    cluster_of = {box: c for c, cluster in enumerate(clusters) for box in cluster}
    users: list[set[int]] = [set() for _ in clusters]
    for i, sources in enumerate(q.inputs):
        for source in sources:
            if cluster_of[source] != cluster_of[i]:
                users[cluster_of[source]].add(cluster_of[i])
    return [
        sorted(box for c in circle for box in clusters[c])
        for circle in _circles([sorted(u) for u in users])
    ]


def _circles(after: list[list[int]]) -> list[list[int]]:
    """Return the strongly connected parts. Source: Tarjan 1972, with a stack of its own."""
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    on_stack: set[int] = set()
    parts: list[list[int]] = []
    for root in range(len(after)):
        work = [] if root in index else [(root, 0)]
        while work:
            node, at = work.pop()
            if at == 0:
                index[node] = low[node] = len(index)
                stack.append(node)
                on_stack.add(node)
            elif (child := after[node][at - 1]) in on_stack:
                low[node] = min(low[node], low[child])
            if at < len(after[node]):
                work.append((node, at + 1))
                if after[node][at] not in index:
                    work.append((after[node][at], 0))
            elif low[node] == index[node]:
                part: list[int] = []
                while not part or part[-1] != node:
                    part.append(stack.pop())
                    on_stack.discard(part[-1])
                parts.append(part)
    return parts


def _neighbours(q: _Quotient, max_boxes: int) -> list[list[int]]:
    """Join boxes with their only user or their only input, smallest results first, to the limit.

    Every path from a box to its only user begins with the edge between them, and every path from its
    only input ends with it; so joining the two closes no cycle.
    """
    users = [set(u) for u in q.users]
    inputs = [set(i) for i in q.inputs]
    clusters = [[i] for i in range(len(q.boxes))]
    size = [len(box.nodes) for box in q.boxes]
    heap: list[tuple[int, int, int]] = []

    def push(box: int) -> None:
        for around in (users[box], inputs[box]):
            if len(around) == 1:
                (other,) = around
                heapq.heappush(heap, (size[box] + size[other], box, other))

    for box in range(len(q.boxes)):
        push(box)
    left = len(q.boxes)
    while heap and left > max_boxes:
        expected, a, b = heapq.heappop(heap)
        if not clusters[a] or not clusters[b] or (users[a] != {b} and inputs[a] != {b}):
            continue  # one of them has joined another box, or they are no longer alone
        if size[a] + size[b] > 2 * expected:
            heapq.heappush(heap, (size[a] + size[b], a, b))  # it has grown: small ones first
            continue
        keep, gone = sorted((a, b), key=lambda i: (-len(users[i]) - len(inputs[i]), i))
        changed = [keep, *users[gone], *inputs[gone]]
        for forth, back in ((users, inputs), (inputs, users)):
            for other in forth[gone]:
                back[other].discard(gone)
                if other != keep:
                    back[other].add(keep)
                    forth[keep].add(other)
        clusters[keep] += clusters[gone]
        clusters[gone] = []
        size[keep] += size[gone]
        left -= 1
        for box in changed:
            push(box)
    return [sorted(cluster) for cluster in clusters if cluster]


# ---------------------------------------------------------------------------------------- words


def _node(box: _Box, graph: Graph) -> Node:
    if len(box.nodes) == 1:
        return graph.nodes[box.nodes[0]]
    parts = [graph.nodes[i] for i in box.nodes]
    members = tuple(member for part in parts for member in (part.members or (part,)))
    first, last = members[0], members[-1]
    n = len(members)
    word = "steps" if box.kind == "steps" else kind_look(box.kind).word
    label = f"{word} ×{n}"
    lines: tuple[str, ...] = (first.label, f"… {last.label}")
    if box.how == "group" and box.group:
        kinds = Counter(kind_look(member.kind).word for member in members)
        label = box.group
        lines = (f"{n} steps", ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(3)))
    elif box.how == "around":
        label, lines = last.label, (f"and {n - 1} {'steps' if n > 2 else 'step'} around it",)
    badges = dict.fromkeys(
        Badge(_name(badge, graph), badge.kind, badge.source)
        for part in parts
        for badge in part.badges
    )
    return Node(
        f"{last.id}+{n - 1}",
        label,
        box.kind,
        lines=lines,
        badges=tuple(badges),
        group="" if box.how == "group" else box.group,
        members=members,
    )


def _name(badge: Badge, graph: Graph) -> str:
    """Return the label of a badge of several nodes: they may use different parts of one source."""
    if not badge.source:
        return badge.label
    return next(node.label for node in graph.shared if node.id == badge.source)
