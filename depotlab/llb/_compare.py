"""What differs between two graphs, op by op and field by field, and what therefore runs again."""

# ruff: noqa: SLF001  (a State hides its pieces from users, not from the files of its room)
from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from depotlab._values import Tabular, Value, safe_html
from depotlab.llb._check import refuse
from depotlab.llb._config import ImageConfig
from depotlab.llb._definition import Definition
from depotlab.llb._facts import facts_of, short_hashes
from depotlab.llb._fields import metadata_fields, op_fields
from depotlab.llb._match import Graph, match_ops, read_graphs
from depotlab.llb._state import State
from depotlab.llb._tables import as_html, as_text, shortened
from depotlab.llb._view import OpView

__all__ = ["Change", "Comparison", "Field", "compare"]

_MAX_SHOWN = 60
_MAX_VALUE = 100
_NO_CONFIG = ImageConfig()


class Field(NamedTuple):
    """One difference. None means: not there.

    Attributes:
        name: Such as `command`, `env PATH`, `mount /src`, `platform`, `reads`.
        a: In the first graph.
        b: In the second.
    """

    name: str
    a: str | None
    b: str | None

    def __str__(self) -> str:
        sides = [_value(side) for side in (self.a, self.b)]
        return f"{self.name}: {sides[0]} → {sides[1]}"


@dataclass(frozen=True, slots=True, repr=False)
class Change(Value):
    """One op that differs.

    Attributes:
        op_a: In the first graph; None if it was added.
        op_b: In the second graph; None if it was removed.
        fields: What differs in it; empty for one that was added or removed.
    """

    op_a: OpView | None
    op_b: OpView | None
    fields: tuple[Field, ...] = ()

    @property
    def what(self) -> str:
        """`changed`, `added` or `removed`."""
        return "added" if self.op_a is None else "removed" if self.op_b is None else "changed"

    def __repr__(self) -> str:
        view = self.op_b or self.op_a
        words = "" if view is None else facts_of(view).sentence
        details = f": {'; '.join(map(str, self.fields))}" if self.fields else ""
        return f"Change({shortened(f'{self.what} {words}{details}', 180)})"


class Comparison(Tabular):
    """What differs between graph a and graph b.

    Attributes:
        changes: Ops that differ by themselves, inputs first. An op that only reads something changed is not among them.
        config: Differences of the image configs, which rerun nothing.
        reruns: The ops of b that are not in a: a build of b after one of a runs these at most. Where files come
            out equal, BuildKit finds later steps in its cache all the same.
    """

    _columns = ("what", "op", "field", "a", "b", "digest")

    def __init__(
        self,
        changes: Sequence[Change],
        config: Sequence[Field],
        reruns: Sequence[OpView],
        n_ops: int,
    ) -> None:
        self.changes = tuple(changes)
        self.config = tuple(config)
        self.reruns = tuple(reruns)
        self._n_ops = n_ops

    @property
    def same(self) -> bool:
        """Whether nothing differs: the ops, what is said beside them, and the image config."""
        return not self.changes and not self.config and not self.reruns

    def __bool__(self) -> bool:
        raise TypeError("write comparison.same: whether a comparison is true says nothing")

    def rows(self) -> list[dict[str, Any]]:
        """Return a dictionary for each field that differs, and each op that only one has, for tables of any kind."""
        rows = []
        for change in self.changes:
            view = change.op_b or change.op_a
            op, digest = (facts_of(view).sentence, view.digest) if view else ("", "")
            fields = change.fields or (Field("", None, None),)
            rows += [(change.what, op, *field, digest) for field in fields]
        rows += [("config", "of the image", *field, "") for field in self.config]
        return [dict(zip(self._columns, row, strict=True)) for row in rows]

    @functools.cached_property
    def _text(self) -> str:
        lines = [self._title()]
        rows = [*self._rows()]
        lines += as_text(("", "", ""), rows, widths=(9, 44, 64))
        if self.reruns:
            lines.append(self._rerun_words())
        return "\n".join(lines)

    def _title(self) -> str:
        if self.same:
            return f"Comparison(same: {_n(self._n_ops, 'op')}, nothing differs)"
        counts = [
            f"{number} {what}"
            for what in ("changed", "added", "removed")
            if (number := sum(change.what == what for change in self.changes))
        ]
        if self.config:
            counts.append("config differs")
        return (
            f"Comparison({', '.join(counts)}; {len(self.reruns)} of {_n(self._n_ops, 'op')} rerun)"
        )

    def _rows(self) -> list[tuple[str, str, str]]:
        rows = []
        for change in self.changes[:_MAX_SHOWN]:
            view = change.op_b or change.op_a
            words = "" if view is None else shortened(facts_of(view).sentence, _MAX_VALUE)
            what = change.what
            for field in change.fields or (None,):
                rows.append((what, words, "" if field is None else str(field)))
                what = words = ""
        if len(self.changes) > _MAX_SHOWN:
            rows.append(("", f"… {len(self.changes) - _MAX_SHOWN} more changes …", ""))
        rows += [("config", "of the image", str(field)) for field in self.config]
        return rows

    def _rerun_words(self) -> str:
        names = [shortened(facts_of(view).label, 40) for view in self.reruns[:6]]
        more = f", … {len(self.reruns) - 6} more" if len(self.reruns) > 6 else ""
        return f"reruns at most: {', '.join(names)}{more}"

    def __repr__(self) -> str:
        return self._title()

    def __str__(self) -> str:
        return self._text

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, str]:
        html = f"<div><b>{safe_html(self._title())}</b></div>"
        if rows := self._rows():
            html += as_html(("", "op", "what differs"), rows)
        if self.reruns:
            html += f"<div>{safe_html(self._rerun_words())}</div>"
        return {"text/plain": self._text, "text/html": html}


def compare(a: State | Definition, b: State | Definition) -> Comparison:
    """Return what differs between two graphs, and which steps of `b` would therefore run again.

    States are marshalled for this computer's processor; give definitions to compare other platforms.

    Example:
        >>> from depotlab import llb
        >>> base = llb.image("busybox")
        >>> found = llb.compare(base.run("make").run("test"), base.run("make -j8").run("test"))
        >>> found
        Comparison(1 changed; 2 of 3 ops rerun)
        >>> found.changes[0].fields
        (Field(name='command', a='make', b='make -j8'),)
    """
    first, second = _definition("a", a), _definition("b", b)
    graph_a, graph_b = read_graphs(first.ops[:-1], second.ops[:-1])
    config = _config_fields(
        a._config if isinstance(a, State) else _NO_CONFIG,
        b._config if isinstance(b, State) else _NO_CONFIG,
    )
    known = set(graph_a.contents)
    reruns = [
        view
        for view, content in zip(graph_b.views, graph_b.contents, strict=True)
        if content not in known
    ]
    return Comparison(_changes(graph_a, graph_b), config, reruns, len(graph_b.views))


def _definition(argument: str, value: Any) -> Definition:
    if isinstance(value, Definition):
        return value
    if not isinstance(value, State):
        refuse(f"compare() {argument} is {value!r}, neither a state nor a definition.")
    return value.marshal(local_unique_id="")


def _changes(a: Graph, b: Graph) -> list[Change]:
    pairs = match_ops(a, b)
    back = {j: i for i, j in pairs.items()}
    changes = []
    gone = [i for i in range(len(a.views)) if i not in pairs]
    for j, view in enumerate(b.views):
        i = back.get(j)
        if i is None:
            changes.append(Change(None, view))
            continue
        fields = _differences(a, b, i, j, pairs)
        if fields:
            changes.append(Change(a.views[i], view, fields))
    return [*changes, *(Change(a.views[i], None) for i in gone)]


def _differences(a: Graph, b: Graph, i: int, j: int, pairs: Mapping[int, int]) -> tuple[Field, ...]:
    one, other = a.views[i], b.views[j]
    found: list[Field] = []
    if a.bodies[i] != b.bodies[j]:
        found += _unequal(op_fields(one.data), op_fields(other.data))
    if a.contents[i] != b.contents[j]:
        became = [(pairs.get(n, -1), output) for n, output in a.inputs[i]]
        if became != b.inputs[j]:
            found += _reads(i, j, a, b, pairs)
    if one.metadata is not other.metadata and one.metadata != other.metadata:
        found += _unequal(metadata_fields(one.metadata), metadata_fields(other.metadata))
    return tuple(found)


def _unequal(before: Mapping[str, str], after: Mapping[str, str]) -> list[Field]:
    names = dict.fromkeys((*before, *after))
    return [
        Field(name, before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name) and name != "local.unique"
    ]


def _reads(i: int, j: int, a: Graph, b: Graph, pairs: Mapping[int, int]) -> list[Field]:
    """Return the inputs that are other ops than before, by how they come in."""
    before, after = _by_role(a, i), _by_role(b, j)
    found = []
    for role in dict.fromkeys((*before, *after)):
        ours, theirs = before.get(role, []), after.get(role, [])
        if [(pairs.get(n, -1), output) for n, output in ours] != theirs:
            sides = (_named(a, ours), _named(b, theirs))
            found.append(Field(f"reads {role}".rstrip(), *sides))
    return found


def _by_role(graph: Graph, position: int) -> dict[str, list[tuple[int, int]]]:
    found: dict[str, list[tuple[int, int]]] = {}
    for read in facts_of(graph.views[position]).reads:
        found.setdefault(read.role, []).append((graph.positions[read.digest], read.output))
    return found


def _named(graph: Graph, reads: Sequence[tuple[int, int]]) -> str | None:
    labels = [
        facts_of(graph.views[n]).sentence + (f" output {output}" if output else "")
        for n, output in reads[:20]
    ]
    return ", ".join(labels) or None


def _config_fields(a: ImageConfig, b: ImageConfig) -> list[Field]:
    if a == b:
        return []
    found = []
    for field in dataclasses.fields(ImageConfig):
        before, after = getattr(a, field.name), getattr(b, field.name)
        if before == after:
            continue
        if isinstance(before, Mapping):
            named = [{f"{field.name} {k}": v for k, v in side.items()} for side in (before, after)]
            found += _unequal(*named)
        else:
            found.append(Field(field.name, _config_value(before), _config_value(after)))
    return found


def _config_value(value: Any) -> str | None:
    if value is None or value == ():
        return None
    return repr(list(value) if isinstance(value, tuple) else value)


def _value(side: str | None) -> str:
    return "(none)" if side is None else shortened(short_hashes(side), _MAX_VALUE) or "(empty)"


def _n(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
