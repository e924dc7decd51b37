"""A conversation as rows, the way it is drawn: what is alike is folded until there are few enough.

A call during which nothing else begins is one row, with all its messages. Any other has a row for its beginning and one
for its end. Then, until the rows are few: calls that follow each other and are alike become one row, then all that are
alike, and in the end the middle is left out.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from depotlab._values import bytes_text
from depotlab._wire.lanes import DAEMON, NOTEBOOK, REGISTRY, lane_of
from depotlab._wire.values import Exchanges, RegistryTalk, WireExchange, time_span

__all__ = ["Row", "rows_of"]

_HEALTH = "health"
_PACKETS = frozenset(("STAT", "REQ"))  # of file sync, told however few they are
_UNTOLD = frozenset(("DATA", "FIN", "BytesMessage"))  # what they are is said by their sizes


@dataclass(frozen=True, slots=True)
class Row:
    """An arrow, and what stands beside it.

    Attributes:
        at_s: When, since the conversation began.
        source: The lane where it begins; empty is a row that is only text.
        target: The lane where it points to.
        label: On the arrow.
        aside: Beside the picture.
        answers: There is an arrow back, too.
        is_end: It is the end of a call that had a row for its beginning.
        failed: The call ended with a status other than OK and CANCELLED.
        n: How many calls it stands for.
        key: Rows with one key may be folded into one.
        exchanges: Those that it stands for.
    """

    at_s: float
    source: str
    target: str
    label: str
    aside: str = ""
    answers: bool = False
    is_end: bool = False
    failed: bool = False
    n: int = 1
    key: str = ""
    exchanges: tuple[WireExchange, ...] = ()


def rows_of(
    exchanges: Iterable[WireExchange], registries: Iterable[RegistryTalk], *, most: int
) -> list[Row]:
    """Return a conversation as at most so many rows, in order."""
    rows = _health_folded(_all_rows(list(exchanges), registries))
    if len(rows) > most:
        rows = _neighbours_folded(rows)
    if len(rows) > most:
        rows = _alike_folded(rows)
    if len(rows) > most:
        head, tail = most * 2 // 3, most - most * 2 // 3 - 1
        left_out = sum(row.n for row in rows[head : len(rows) - tail])
        between = Row(rows[head].at_s, "", "", f"… {left_out} more")
        rows = [*rows[:head], between, *rows[len(rows) - tail :]]
    return rows


def _all_rows(exchanges: Sequence[WireExchange], registries: Iterable[RegistryTalk]) -> list[Row]:
    begins = sorted(one.began_s for one in exchanges if lane_of(one) != _HEALTH)
    rows = []
    for one in exchanges:
        if _is_long(one, begins):
            rows += _long_rows(one)
        else:
            rows.append(_short_row(one))
    rows += [_registry_row(talk) for talk in registries]
    return sorted(rows, key=lambda row: row.at_s)  # stable: what began first comes first


def _is_long(one: WireExchange, begins: Sequence[float]) -> bool:
    if lane_of(one) == _HEALTH:
        return False
    end_s = float("inf") if one.duration_s is None else one.began_s + one.duration_s
    after = bisect_right(begins, one.began_s)
    return after < len(begins) and begins[after] < end_s


def _long_rows(one: WireExchange) -> list[Row]:
    ours, theirs = NOTEBOOK, lane_of(one)
    source, target = (ours, theirs) if one.asker == "client" else (theirs, ours)
    label = f"{one.method} {one.subject}".strip()
    first = next((m for m in one.messages if m.sender == one.asker), None)
    said = bytes_text(first.size_bytes // first.n) if first is not None and first.n == 1 else ""
    key = f"{one.name} {one.subject}"
    begin = Row(one.began_s, source, target, label, said, key=key, exchanges=(one,))
    if one.duration_s is None:
        return [replace(begin, aside=f"{said} · running".strip(" ·"))]
    end = Row(
        one.began_s + one.duration_s,
        target,
        source,
        label,
        _aside((one,)),
        is_end=True,
        failed=_failed(one),
        key=f"{key} end",
        exchanges=(one,),
    )
    return [begin, end]


def _short_row(one: WireExchange) -> Row:
    ours, theirs = NOTEBOOK, lane_of(one)
    source, target = (ours, theirs) if one.asker == "client" else (theirs, ours)
    return Row(
        one.began_s,
        source,
        target,
        f"{one.method} {one.subject}".strip(),
        " · ".join(filter(None, [_aside((one,)), "running" if one.duration_s is None else ""])),
        answers=one.duration_s is not None,
        failed=_failed(one),
        key=f"{one.name} {_failed(one)}",
        exchanges=(one,),
    )


def _registry_row(talk: RegistryTalk) -> Row:
    way = (DAEMON, REGISTRY) if talk.what != "pull" else (REGISTRY, DAEMON)
    size = f"{bytes_text(talk.size_bytes)} of layers" if talk.size_bytes else ""
    return Row(
        talk.began_s,
        *way,
        f"{talk.what} {talk.ref.partition('@')[0]}",
        " · ".join(filter(None, [size, f"{talk.host}, as Status tells"])),
        answers=talk.what == "resolve",
        key=f"registry {talk.what}",
    )


def _health_folded(rows: list[Row]) -> list[Row]:
    """Fold the questions after our health: one every five seconds says what one says."""
    health = [row for row in rows if row.source == _HEALTH]
    others = [row for row in rows if row.source != _HEALTH]
    return sorted([*others, _together(health)], key=lambda row: row.at_s) if health else rows


def _neighbours_folded(rows: list[Row]) -> list[Row]:
    groups: list[list[Row]] = []
    for row in rows:
        if groups and groups[-1][0].key == row.key and not row.is_end:
            groups[-1].append(row)
        else:
            groups.append([row])
    return [_together(group) for group in groups]


def _alike_folded(rows: list[Row]) -> list[Row]:
    """Fold what is alike, wherever it stands, to where the first of it stands."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        # Of a call that was answered after others had begun, begin and end are one again.
        groups.setdefault(row.key.removesuffix(" end").partition(" ")[0], []).append(row)
    return [_together(group) for group in groups.values()]


def _together(rows: Sequence[Row]) -> Row:
    first = rows[0]
    if len(rows) == 1:
        return first
    exchanges = tuple(dict.fromkeys(one for row in rows for one in row.exchanges))
    n = len(exchanges) or sum(row.n for row in rows)
    subjects = {one.subject for one in exchanges if one.subject}
    name = exchanges[0].method if exchanges else first.label.partition(" ")[0]
    about = f" {subjects.pop()}" if len(subjects) == 1 else ""
    return replace(
        first,
        label=f"{name}{about} ×{n}" if n > 1 else f"{name}{about}",
        aside=_aside(exchanges) if exchanges else first.aside,
        answers=first.answers or any(row.is_end for row in rows),
        failed=any(row.failed for row in rows),
        n=n,
    )


def _aside(exchanges: Sequence[WireExchange]) -> str:
    """Return what the messages of calls were, in few words: kinds that repeat, sizes, time, status."""
    together = Exchanges(exchanges)
    said = [
        f"{n:,} {kind}".replace(",", " ")
        for kind, n in together.counts.items()
        if kind in _PACKETS or (n > len(exchanges) and kind not in _UNTOLD)
    ]
    sizes = []
    if together.sent_bytes:
        sizes.append(f"↑ {bytes_text(together.sent_bytes)}")
    if together.received_bytes:
        sizes.append(f"↓ {bytes_text(together.received_bytes)}")
    parts = [", ".join(said), " ".join(sizes)]
    over = [one.duration_s for one in exchanges if one.duration_s is not None]
    if over:
        parts.append(time_span(sum(over)))
    ends = sorted({one.status for one in exchanges} - {"", "OK"})
    return " · ".join(filter(None, [*parts, *ends]))


def _failed(one: WireExchange) -> bool:
    """Whether a call went wrong; to give one up is how some end well."""
    return one.status not in ("", "OK", "CANCELLED")
