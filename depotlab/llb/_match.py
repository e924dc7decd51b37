"""Which op of one graph is which op of another. Both are walked a few times, whatever their size.

Numbers stand for ops: their positions in the two definitions. Ops are matched, in this order, when they are
equal with all that they read; when they say the same and read what is matched; when they say the same; when
matched ops read them at the same place, or they read matched ops; when their names are equal; when their words are
alike.
"""

from __future__ import annotations

import difflib
from collections import deque
from collections.abc import Hashable, Iterable, Sequence

from depotlab.llb._decode import as_bytes, fields
from depotlab.llb._facts import facts_of
from depotlab.llb._meta import CUSTOM_NAME
from depotlab.llb._view import OpView

__all__ = ["Graph", "match_ops", "read_graphs"]

# Comparing the words of all with all is quadratic; beyond this many ops they are told apart by position.
_MAX_ALIKE = 60
_ALIKE = 0.5
_LOCAL = b"\x0a"
_UNIQUE = b"local.unique"


class Graph:
    """One definition, taken apart as far as matching needs.

    Attributes:
        views: The ops, without the last one that only points at the result.
        bodies: Each op without its inputs; equal bodies are one number.
        inputs: For each op the position and output of what it reads.
        positions: Of the ops, by digest.
        contents: A number per op that is equal for ops that are equal with all that they read.
    """

    def __init__(self, views: Sequence[OpView]) -> None:
        self.views = views
        self.bodies: list[int] = []
        self.inputs: list[list[tuple[int, int]]] = []
        self.contents: list[int] = []
        self.positions = {view.digest: position for position, view in enumerate(views)}


def read_graphs(a: Sequence[OpView], b: Sequence[OpView]) -> tuple[Graph, Graph]:
    """Return both graphs; numbers of bodies and contents hold for the two together."""
    bodies: dict[Hashable, int] = {}
    contents: dict[Hashable, int] = {}
    graphs = (Graph(a), Graph(b))
    for graph in graphs:
        for view in graph.views:
            body = tuple(
                (number, _without_unique(number, value))
                for number, value in fields(view.data)
                if number != 1
            )
            inputs = [(graph.positions[digest], output) for digest, output in view.inputs]
            body_number = bodies.setdefault(body, len(bodies))
            key = body_number, tuple((graph.contents[i], output) for i, output in inputs)
            graph.bodies.append(body_number)
            graph.inputs.append(inputs)
            graph.contents.append(contents.setdefault(key, len(contents)))
    return graphs


def _without_unique(number: int, value: int | bytes) -> int | bytes:
    """Return a source without the id that tells equal local directories of two builds apart."""
    if number != 3 or not isinstance(value, bytes) or _UNIQUE not in value:
        return value
    kept = []
    for inner, entry in fields(value):
        data = as_bytes(entry)
        if inner != 2 or not data.startswith(_LOCAL + bytes([len(_UNIQUE)]) + _UNIQUE):
            kept.append(bytes([inner]) + len(data).to_bytes(4, "little") + data)
    return b"".join(kept)


def match_ops(a: Graph, b: Graph) -> dict[int, int]:
    """Return for ops of `a` the op of `b` that each became, both by position."""
    pairs = _Pairs()
    pairs.by_key(a.contents, b.contents)
    for _ in range(2):
        _by_body(a, b, pairs, loose=False)
        _by_body(a, b, pairs, loose=True)
    _along_edges(a, b, pairs)
    _by_name(a, b, pairs)
    _along_edges(a, b, pairs)
    _by_likeness(a, b, pairs)
    _along_edges(a, b, pairs)
    return pairs.to_b


class _Pairs:
    def __init__(self) -> None:
        self.to_b: dict[int, int] = {}
        self.to_a: dict[int, int] = {}

    def add(self, i: int, j: int) -> None:
        self.to_b[i] = j
        self.to_a[j] = i

    def free(self, i: int, j: int) -> bool:
        return i not in self.to_b and j not in self.to_a

    def by_key(self, keys_a: Sequence[Hashable], keys_b: Sequence[Hashable]) -> None:
        """Match ops with equal keys, first with first; those with the key None stay alone."""
        waiting: dict[Hashable, deque[int]] = {}
        for j, key in enumerate(keys_b):
            if key is not None and j not in self.to_a:
                waiting.setdefault(key, deque()).append(j)
        for i, key in enumerate(keys_a):
            if key is not None and i not in self.to_b and waiting.get(key):
                self.add(i, waiting[key].popleft())


def _by_body(a: Graph, b: Graph, pairs: _Pairs, *, loose: bool) -> None:
    """Match ops that say the same, and read matched ops if not `loose`; then what reads those, and so on."""
    exact: dict[Hashable, deque[int]] = {}
    alike: dict[int, deque[int]] = {}
    for j, body in enumerate(b.bodies):
        if j not in pairs.to_a:
            exact.setdefault((body, tuple(b.inputs[j])), deque()).append(j)
            alike.setdefault(body, deque()).append(j)
    for i, body in enumerate(a.bodies):
        if i in pairs.to_b or body not in alike:
            continue
        wanted = tuple((pairs.to_b.get(n, -1), output) for n, output in a.inputs[i])
        candidates = [exact.get((body, wanted))]
        if loose:
            candidates.append(alike[body])
        for queue in candidates:
            while queue and queue[0] in pairs.to_a:
                queue.popleft()
            if queue:
                pairs.add(i, queue.popleft())
                break


def _along_edges(a: Graph, b: Graph, pairs: _Pairs) -> None:
    """Match ops that stand at the same place beside matched ones: the results, inputs, users."""
    if a.views and b.views:
        last = len(a.views) - 1, len(b.views) - 1
        if pairs.free(*last) and _kind(a, last[0]) == _kind(b, last[1]):
            pairs.add(*last)
    users_a, users_b = _users(a), _users(b)
    # From the results towards the sources, then back: each pass sees what it has just matched.
    for i in range(len(a.views) - 1, -1, -1):
        j = pairs.to_b.get(i)
        if j is not None:
            for (below, _), (other, _) in zip(a.inputs[i], b.inputs[j], strict=False):
                if pairs.free(below, other) and _kind(a, below) == _kind(b, other):
                    pairs.add(below, other)
    for i in range(len(a.views)):
        j = pairs.to_b.get(i)
        if j is not None:
            over = [n for n in users_a[i] if n not in pairs.to_b]
            others = [n for n in users_b[j] if n not in pairs.to_a]
            # Of several on both sides nothing says which is which.
            if len(over) == len(others) == 1 and _kind(a, over[0]) == _kind(b, others[0]):
                pairs.add(over[0], others[0])


def _by_name(a: Graph, b: Graph, pairs: _Pairs) -> None:
    for name in (_given_name, _subject):
        if len(pairs.to_b) == len(a.views) or len(pairs.to_a) == len(b.views):
            return
        pairs.by_key(
            [None if i in pairs.to_b else name(view) for i, view in enumerate(a.views)],
            [None if j in pairs.to_a else name(view) for j, view in enumerate(b.views)],
        )


def _given_name(view: OpView) -> Hashable:
    name = view.description.get(CUSTOM_NAME)
    return (view.kind, name) if name else None


def _subject(view: OpView) -> Hashable:
    """Return what the op is about, without the version: a repository, a path."""
    if view.kind not in ("source", "file", "passthrough"):
        return None
    facts = facts_of(view)
    words = facts.words
    match facts.kind:
        case "image" | "oci":
            return facts.kind, words.split("@")[0].rpartition(":")[0] or words.split("@")[0]
        case "http" | "git":
            return facts.kind, words.partition("#")[0].rpartition("/")[0]
        case _:
            return facts.kind, words


def _by_likeness(a: Graph, b: Graph, pairs: _Pairs) -> None:
    """Match what is left by kind and words; of too many, first with first."""
    left_a = _by_kind(a, (i for i in range(len(a.views)) if i not in pairs.to_b))
    left_b = _by_kind(b, (j for j in range(len(b.views)) if j not in pairs.to_a))
    for kind, ours in left_a.items():
        theirs = left_b.get(kind, [])
        if len(ours) > _MAX_ALIKE or len(theirs) > _MAX_ALIKE:
            for i, j in zip(ours, theirs, strict=False):
                pairs.add(i, j)
            continue
        words_b = {j: facts_of(b.views[j]).words[:200] for j in theirs}
        scored = []
        for i in ours:
            matcher = difflib.SequenceMatcher(b=facts_of(a.views[i]).words[:200], autojunk=False)
            for j in theirs:
                matcher.set_seq1(words_b[j])
                if matcher.real_quick_ratio() >= _ALIKE and matcher.quick_ratio() >= _ALIKE:
                    scored.append((-matcher.ratio(), i, j))
        for ratio, i, j in sorted(scored):
            if -ratio >= _ALIKE and pairs.free(i, j):
                pairs.add(i, j)


def _by_kind(graph: Graph, positions: Iterable[int]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for position in positions:
        found.setdefault(_kind(graph, position), []).append(position)
    return found


def _kind(graph: Graph, position: int) -> str:
    """Return the kind; sources by their scheme, since an image does not become a directory."""
    view = graph.views[position]
    return view.name.partition("://")[0] if view.kind == "source" else view.kind


def _users(graph: Graph) -> list[list[int]]:
    users: list[list[int]] = [[] for _ in graph.views]
    for position, inputs in enumerate(graph.inputs):
        for below, _ in dict.fromkeys(inputs):
            users[below].append(position)
    return users
