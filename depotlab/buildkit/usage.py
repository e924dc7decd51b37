"""What a daemon's cache holds: one record for each snapshot, as a table.

A record is what one step, image layer, local source or cache mount takes on the daemon's disk. Records
have parents: a layer lies on the layer below it, and cannot go before those above it are gone.
Source: moby/buildkit `client/diskusage.go`, `cache/manager.go`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from depotlab._proto import control_pb2
from depotlab._rpc import Channel, RpcFailed
from depotlab._values import Rows, Value, bytes_text, table_html
from depotlab.buildkit.control import CONTROL
from depotlab.buildkit.faults import from_failure
from depotlab.errors import UsageError

__all__ = ["DiskUsage", "UsageRecord", "UsageTable", "check_filters", "disk_usage", "usage_record"]

RECORD_TYPES = (
    "regular",
    "source.local",
    "source.git.checkout",
    "exec.cachemount",
    "frontend",
    "internal",
)

_FIELDS = ("id", "description", "type", "mutable", "immutable", "shared", "private")
_FIELDS_OF_DISK_USAGE = (*_FIELDS, "inuse", "parents")
_FLAGS = ("mutable", "immutable", "shared", "private", "inuse")
_SHOWN_ROWS = 30
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_TERM = re.compile(r"(?P<field>[A-Za-z0-9_.]+)(?:(?P<operator>==|!=|~=)(?P<value>.+))?", re.DOTALL)


@dataclass(frozen=True, slots=True, repr=False)
class UsageRecord(Value):
    """One record of a daemon's cache.

    Attributes:
        id: As the daemon calls it.
        type: `regular`, `source.local`, `source.git.checkout`, `exec.cachemount`, `frontend` or `internal`;
            empty in the answer of a prune, which does not say.
        size_bytes: On the daemon's disk, without its parents. 0 while a running step writes to it.
        in_use: A build uses it now, or something that is in use lies on it.
        shared: An image of the daemon's image store has it too, so deleting it frees nothing.
        mutable: It can still be written to, as cache mounts and local sources can.
        created_at: When it was made.
        last_used_at: When a build last used it, None if none has.
        n_used: How many builds have used it.
        description: What made it, in the daemon's words.
        parents: Ids of the records that it lies on.
    """

    id: str
    type: str
    size_bytes: int
    in_use: bool
    shared: bool
    mutable: bool
    created_at: datetime
    last_used_at: datetime | None
    n_used: int
    description: str
    parents: tuple[str, ...] = ()

    def __repr__(self) -> str:
        state = "in use" if self.in_use else f"used {self.n_used} times"
        what = " ".join(self.description.split())
        what = what if len(what) <= 60 else what[:59] + "…"
        return f"<{self.type or 'record'} {bytes_text(self.size_bytes)}, {state}: {what}>"

    def row(self) -> dict[str, Any]:
        """Return the fields by name, for tables."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


class UsageTable(Rows[UsageRecord]):
    """Records as a sequence that notebooks show as a table, the largest first."""

    _columns = tuple(field.name for field in fields(UsageRecord))

    @property
    def total_bytes(self) -> int:
        """Of all records together."""
        return sum(record.size_bytes for record in self)

    def rows(self) -> list[dict[str, Any]]:
        """Return a dictionary for each record, for tables of any kind."""
        return [record.row() for record in self]

    def _headline(self) -> str:
        records = "record" if len(self) == 1 else "records"
        return f"{len(self)} {records}, {bytes_text(self.total_bytes)}"

    def _notes(self) -> Iterable[str]:
        return ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._headline()}>"

    def _repr_html_(self) -> str:
        largest = sorted(self, key=lambda record: (-record.size_bytes, record.id))
        rest = len(largest) - _SHOWN_ROWS
        under = [f"and {rest} smaller ones"] if rest > 0 else []
        return table_html(
            self._headline(),
            ("type", "size", "state", "last used", "description"),
            map(_cells, largest[:_SHOWN_ROWS]),
            notes=[*under, *self._notes()],
            right=frozenset({"size"}),
        )


class DiskUsage(UsageTable):
    """What a daemon's cache holds, as `disk_usage` found it.

    A sequence of `UsageRecord`; a notebook shows it as a table.
    """

    @property
    def in_use_bytes(self) -> int:
        """Of records that builds use now; a prune leaves them."""
        return sum(record.size_bytes for record in self if record.in_use)

    @property
    def shared_bytes(self) -> int:
        """Of records that images of the daemon's image store have too."""
        return sum(record.size_bytes for record in self if record.shared)

    @property
    def reclaimable_bytes(self) -> int:
        """What `prune(all=True)` could free: neither in use nor shared with an image."""
        return sum(r.size_bytes for r in self if not r.in_use and not r.shared)

    @property
    def by_type(self) -> dict[str, int]:
        """Bytes by type of record, the largest first."""
        sums: dict[str, int] = {}
        for record in self:
            sums[record.type] = sums.get(record.type, 0) + record.size_bytes
        return dict(sorted(sums.items(), key=lambda item: -item[1]))

    def _headline(self) -> str:
        return f"{super()._headline()}, {bytes_text(self.reclaimable_bytes)} reclaimable"

    def _notes(self) -> Iterable[str]:
        return [f"{kind}: {bytes_text(size)}" for kind, size in self.by_type.items()]


async def disk_usage(
    channel: Channel, *, filters: str | Sequence[str] = (), timeout_s: float | None = None
) -> DiskUsage:
    """List what the daemon's cache holds.

    The daemon measures records that it has not measured yet, which may take a while on a large cache.

    Args:
        channel: A connection to the daemon.
        filters: Keep only what matches one of these. A filter is one or more terms, joined by commas, that
            must all hold: `type==exec.cachemount`, `description~=pip`, `inuse`, `mutable`, `private`.
            Fields: `id`, `parents`, `description`, `type`, compared with `==`, `!=` or `~=` (a regular
            expression); and `inuse`, `mutable`, `immutable`, `shared`, `private`, which stand alone.
        timeout_s: Limit for the answer, or None.

    Raises:
        UsageError: A filter that the daemon would not understand.
        LinkError: The daemon cannot be reached.

    Example:
        >>> usage = await disk_usage(channel)  # doctest: +SKIP
        >>> usage.reclaimable_bytes  # doctest: +SKIP
        730104320
    """
    wanted = check_filters(filters, fields=_FIELDS_OF_DISK_USAGE, call="disk_usage")
    await channel.ready()
    request = control_pb2.DiskUsageRequest(filter=wanted).SerializeToString()
    try:
        answer = await channel.unary(CONTROL + "DiskUsage", request, timeout_s=timeout_s)
    except RpcFailed as failure:
        raise from_failure(failure, address=channel.endpoint.address) from failure
    return DiskUsage(map(usage_record, control_pb2.DiskUsageResponse.FromString(answer).record))


def check_filters(
    filters: str | Sequence[str], *, call: str, fields: Sequence[str] = _FIELDS
) -> list[str]:
    """Return the filters as a list.

    A field that the daemon does not know is no error to it: it matches nothing, silently.

    Args:
        filters: One or several.
        call: The verb, for messages.
        fields: What may be asked for. A prune knows neither `parents` nor `inuse`: it looks at
            records that nothing uses, and not at what they lie on.

    Raises:
        UsageError: With what is wrong, and what the fields and operators are.
    """
    listed = [filters] if isinstance(filters, str) else list(filters)
    for item in listed:
        if not isinstance(item, str) or not item.strip():
            raise UsageError(
                f"{call}(filters=...) takes texts, not {item!r}.",
                hint="for example filters='type==exec.cachemount'",
            )
        for term in _terms(item):
            _check_term(term.strip(), item, call, fields)
    return listed


def _terms(text: str) -> list[str]:
    """Split at the commas that are not inside quotes."""
    hidden = _QUOTED.sub(lambda match: "x" * len(match[0]), text)
    cuts = [-1, *(at for at, letter in enumerate(hidden) if letter == ","), len(text)]
    return [text[a + 1 : b] for a, b in itertools.pairwise(cuts)]


def _check_term(term: str, whole: str, call: str, fields: Sequence[str]) -> None:
    match = _TERM.fullmatch(term)
    if match is None:
        name, equals, value = term.partition("=")
        hint = f"fields are {', '.join(fields)}; operators are ==, != and ~="
        if equals and name.strip() in fields:
            hint = f"two equals signs: {name.strip()}=={value.strip()}"
        raise UsageError(f"{call}(filters={whole!r}): {term!r} is no filter.", hint=hint)
    field = match["field"]
    if field not in fields:
        known = field in _FIELDS_OF_DISK_USAGE
        why = "is not looked at when records are deleted" if known else "is not known"
        raise UsageError(
            f"{call}(filters={whole!r}): the field {field!r} {why}.",
            hint=f"fields are {', '.join(fields)}",
        )
    if field in _FLAGS:
        if match["operator"]:
            opposite = {"mutable": "immutable", "immutable": "mutable", "shared": "private"}
            other = opposite.get(field, "shared" if field == "private" else "")
            raise UsageError(
                f"{call}(filters={whole!r}): {field!r} stands alone, without a value.",
                hint=f"write {field!r}" + (f", or {other!r} for the opposite" if other else ""),
            )
    elif not match["operator"]:
        raise UsageError(
            f"{call}(filters={whole!r}): {field!r} needs a value.",
            hint=f"write {field}==VALUE, {field}!=VALUE or {field}~=EXPRESSION",
        )


def usage_record(sent: control_pb2.UsageRecord) -> UsageRecord:
    """Decode one record of an answer."""
    parents = tuple(sent.Parents) or ((sent.Parent,) if sent.Parent else ())
    return UsageRecord(
        id=sent.ID,
        type=sent.RecordType,
        size_bytes=max(sent.Size, 0),  # -1: not measured
        in_use=sent.InUse,
        shared=sent.Shared,
        mutable=sent.Mutable,
        created_at=sent.CreatedAt.ToDatetime(UTC),
        last_used_at=sent.LastUsedAt.ToDatetime(UTC) if sent.HasField("LastUsedAt") else None,
        n_used=sent.UsageCount,
        description=sent.Description,
        parents=parents,
    )


def _cells(record: UsageRecord) -> tuple[str, ...]:
    words: Mapping[str, bool] = {
        "in use": record.in_use,
        "shared": record.shared,
        "mutable": record.mutable,
    }
    state = ", ".join(word for word, is_so in words.items() if is_so)
    last = record.last_used_at or record.created_at
    what = " ".join(record.description.split())
    return (
        record.type,
        bytes_text(record.size_bytes),
        state,
        f"{last:%Y-%m-%d %H:%M}, {record.n_used}×",
        what if len(what) <= 120 else what[:119] + "…",
    )
