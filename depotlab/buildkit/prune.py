"""Delete from a daemon's cache, or say what would go.

What the daemon does: records go that no build uses and nothing lies on, then those that are free
thereby. Without `all`, records of kind `internal` and `frontend` and those shared with images stay. With a
bound on bytes the least useful go first, one at a time, until the rest fits; without one all go that match.

A dry run does the same on a list of the records. The daemon has no such mode, so what it
keeps to itself is missing; `Pruned.notes` says what.
Source: moby/buildkit `cache/manager.go`, `control/control.go`.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from depotlab._proto import control_pb2
from depotlab._rpc import Channel, RpcFailed
from depotlab.buildkit.control import CONTROL
from depotlab.buildkit.faults import from_failure
from depotlab.buildkit.needs import Need, require
from depotlab.buildkit.usage import (
    DiskUsage,
    UsageRecord,
    UsageTable,
    check_filters,
    disk_usage,
    usage_record,
)
from depotlab.errors import UsageError

__all__ = ["Pruned", "choose", "prune"]

_KEPT_TYPES = ("internal", "frontend")
_MOST_S = 9e9  # the daemon takes nanoseconds in 64 bits


class Pruned(UsageTable):
    """What a prune deleted, or would delete. A sequence of `UsageRecord`.

    Attributes:
        is_dry_run: Nothing was deleted.
        notes: What a dry run cannot know, sentence by sentence; empty for a real one.
    """

    def __init__(
        self, records: Iterable[UsageRecord], *, is_dry_run: bool, notes: Sequence[str] = ()
    ) -> None:
        super().__init__(records)
        self.is_dry_run = is_dry_run
        self.notes = tuple(notes)

    @property
    def freed_bytes(self) -> int:
        """Bytes that were freed, or would be."""
        return sum(record.size_bytes for record in self if not record.shared)

    def _headline(self) -> str:
        verb = "would be deleted" if self.is_dry_run else "deleted"
        return f"{verb}: {super()._headline()}"

    def _notes(self) -> Iterable[str]:
        return self.notes


async def prune(
    channel: Channel,
    *,
    all: bool = False,  # noqa: A002 - BuildKit's word
    keep_for_s: float | None = None,
    keep_bytes: int | None = None,
    max_used_bytes: int | None = None,
    min_free_bytes: int | None = None,
    filters: str | Sequence[str] = (),
    dry_run: bool = False,
) -> Pruned:
    """Delete from the daemon's cache what no build uses, or only say what would go.

    Args:
        channel: A connection to the daemon.
        all: Also what is kept by default: records of frontends, internal ones, and what images share.
        keep_for_s: Keep what was used within so many seconds.
        keep_bytes: Stop when no more than so many bytes are left. Never goes below.
        max_used_bytes: Delete until the cache takes no more than so many bytes.
        min_free_bytes: Delete until so many bytes of the daemon's disk are free.
        filters: Delete only what matches one of these; see `disk_usage`. `inuse` and `parents` cannot be asked for.
        dry_run: Delete nothing, and return what would go as far as can be told; see `.notes`.

    Returns:
        The records that are gone, in the order in which they went; `.freed_bytes` is their sum.

    Raises:
        UsageError: An argument that cannot work, or that needs a newer daemon (`max_used_bytes` and
            `min_free_bytes` need 0.17).
        LinkError: The daemon cannot be reached, or went away meanwhile.

    Example:
        >>> pruned = await prune(channel, keep_for_s=7 * 86400, dry_run=True)  # doctest: +SKIP
        >>> pruned.freed_bytes  # doctest: +SKIP
        1204355072
    """
    limits = {"keep_bytes": keep_bytes, "max_used_bytes": max_used_bytes}
    limits["min_free_bytes"] = min_free_bytes
    for name, value in limits.items():
        if value is not None and (
            not isinstance(value, int) or isinstance(value, bool) or value < 1
        ):
            raise UsageError(
                f"prune({name}={value!r}) must be a whole number of bytes, 1 or more.",
                hint="leave it out for no such bound; 10 GB is 10_000_000_000",
            )
    is_number = isinstance(keep_for_s, int | float) and not isinstance(keep_for_s, bool)
    if keep_for_s is not None and not (is_number and 0 < keep_for_s < _MOST_S):
        raise UsageError(
            f"prune(keep_for_s={keep_for_s!r}) must be a number above zero.",
            hint="in seconds: a week is 7 * 86400; leave it out to delete what was used lately too",
        )
    wanted = check_filters(filters, call="prune")
    if max_used_bytes is not None or min_free_bytes is not None:
        await require(channel, [Need("gc.freespacefilter")])
    if dry_run:
        return await _dry_run(
            channel, wanted, all_=all, keep_for_s=keep_for_s, keep_bytes=keep_bytes,
            max_used_bytes=max_used_bytes, min_free_bytes=min_free_bytes,
        )  # fmt: skip
    request = control_pb2.PruneRequest(
        filter=wanted,
        all=all,
        keepDuration=int((keep_for_s or 0) * 1e9),
        reservedSpace=keep_bytes or 0,
        maxUsedSpace=max_used_bytes or 0,
        minFreeSpace=min_free_bytes or 0,
    )
    await channel.ready()
    answers = channel.stream(CONTROL + "Prune", request.SerializeToString())
    try:
        gone = [usage_record(control_pb2.UsageRecord.FromString(a)) async for a in answers]
    except RpcFailed as failure:
        raise from_failure(failure, address=channel.endpoint.address) from failure
    return Pruned(gone, is_dry_run=False)


async def _dry_run(
    channel: Channel,
    filters: list[str],
    *,
    all_: bool,
    keep_for_s: float | None,
    keep_bytes: int | None,
    max_used_bytes: int | None,
    min_free_bytes: int | None,
) -> Pruned:
    usage = await disk_usage(channel)
    matching: frozenset[str] | None = None
    if filters:
        matching = frozenset(r.id for r in await disk_usage(channel, filters=filters))
    before = datetime.now(UTC) - timedelta(seconds=keep_for_s) if keep_for_s else None
    notes = ["Builds that begin or end meanwhile change what is in use."]
    bound = max(max_used_bytes or 0, keep_bytes or 0) or None
    if min_free_bytes is not None:
        bound = keep_bytes
        notes.append(
            "A daemon does not tell how much of its disk is free: this is the most that would go, "
            "with no space free at all."
        )
    if bound is not None:
        notes.append(
            "The daemon weighs age and use anew after each record: the sum is right to about the "
            "size of one record, single records may differ."
        )
    chosen = choose(usage, matching=matching, all_=all_, before=before, until_bytes=bound)
    return Pruned(chosen, is_dry_run=True, notes=notes)


def choose(
    usage: DiskUsage,
    *,
    matching: frozenset[str] | None = None,
    all_: bool = False,
    before: datetime | None = None,
    until_bytes: int | None = None,
) -> list[UsageRecord]:
    """Return what a daemon with these records would delete, in order. Pure.

    Args:
        usage: All records.
        matching: Ids that the filters let through; None for no filter.
        all_: As of `prune`.
        before: Keep what was used after this moment.
        until_bytes: Stop when less than this is left; None deletes all that may go.
    """

    def may_go(record: UsageRecord) -> bool:
        if record.in_use or (matching is not None and record.id not in matching):
            return False
        if not all_ and (record.shared or record.type in _KEPT_TYPES):
            return False
        return before is None or record.last_used_at is None or record.last_used_at <= before

    candidates = {record.id: record for record in usage if may_go(record)}
    weight = _weights(candidates.values())
    above: dict[str, int] = defaultdict(int)
    for record in usage:
        for parent in record.parents:
            above[parent] += 1
    free = [(weight[id_], id_) for id_ in candidates if not above[id_]]
    heapq.heapify(free)
    left_bytes = sum(record.size_bytes for record in usage if not record.shared)
    chosen: list[UsageRecord] = []
    while free and (until_bytes is None or left_bytes >= until_bytes):
        record = candidates[heapq.heappop(free)[1]]
        chosen.append(record)
        left_bytes -= 0 if record.shared else record.size_bytes
        for parent in record.parents:
            above[parent] -= 1
            if not above[parent] and parent in candidates:
                heapq.heappush(free, (weight[parent], parent))
    return chosen


def _weights(records: Iterable[UsageRecord]) -> dict[str, float]:
    """How much each record is worth keeping: its rank by last use and its rank by number of uses, added."""
    listed = list(records)
    ages = {
        at: rank
        for rank, at in enumerate(sorted({r.last_used_at for r in listed if r.last_used_at}), 1)
    }
    uses = {n: rank for rank, n in enumerate(sorted({r.n_used for r in listed}), 1)}
    return {
        r.id: (ages[r.last_used_at] / len(ages) if r.last_used_at else 0.0)
        + uses[r.n_used] / len(uses)
        for r in listed
    }
