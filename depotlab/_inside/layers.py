"""What each step made of the files, and what differs between two states: found in the builder, without an export."""

from __future__ import annotations

import asyncio
import heapq
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from depotlab._inside.opened import Opened
from depotlab._rpc import RpcFailed
from depotlab._values import Rows, Value
from depotlab.buildkit import (
    FileChange,
    Files,
    bar,
    bytes_text,
    cut,
    file_changes,
    from_failure,
    table_html,
)
from depotlab.errors import UsageError
from depotlab.llb import Definition, Stage, State, diff, lineage, load

__all__ = ["Differences", "LayerInfo", "Layers", "difference_of", "layers_of"]

_LARGEST = 20
"""Changes of a step that are kept, the largest. A base image alone may have a hundred thousand."""

_AT_ONCE = 4
_SHOWN_ROWS = 60
_LAYER_COLUMNS = (
    "number",
    "name",
    "kind",
    "size_bytes",
    "added",
    "changed",
    "removed",
    "removed_bytes",
)
_SIGNS = {"added": "+", "changed": "~", "removed": "-"}


def _largest(layer: LayerInfo) -> str:
    first = next((change for change in layer.largest if change.size_bytes), None)
    return "" if first is None else f"{_SIGNS[first.kind]} {cut(first.path, 60)}"


def _plain(name: str) -> str:
    """Return the name of a step without what nobody reads: the scheme and the digest of an image."""
    return re.sub(r"@sha256:[0-9a-f]{64}", "", name.removeprefix("docker-image://"))


@dataclass(frozen=True, slots=True, repr=False)
class LayerInfo(Value):
    """What one step did to the files.

    Attributes:
        name: Of the step, as the progress shows it.
        digest: Of the step.
        kind: `source`, `exec`, `file`, `merge`, `diff` or `build`.
        number: Its place on the way, from 1.
        added: Files and directories that it added.
        changed: Those that it changed.
        removed: Those that it removed; a directory with all that was in it counts once.
        size_bytes: Of the files that it added and changed: what its layer takes before compression.
        removed_bytes: Of what it removed. That makes no image smaller: the layers below keep it.
        largest: The changes that take most, the largest first; at most 20.
    """

    name: str
    digest: str
    kind: str
    number: int
    added: int
    changed: int
    removed: int
    size_bytes: int
    removed_bytes: int
    largest: tuple[FileChange, ...]

    def __repr__(self) -> str:
        counts = f"+{self.added} ~{self.changed} -{self.removed}"
        return f"<LayerInfo {self.number} {bytes_text(self.size_bytes)} {counts}: {cut(_plain(self.name), 80)}>"

    def row(self) -> dict[str, Any]:
        """Return the fields by name, for tables."""
        return {name: getattr(self, name) for name in _LAYER_COLUMNS}


class Layers(Rows[LayerInfo]):
    """What the steps of a target did to its files, the largest first. `.in_order` has them as they came."""

    _columns = _LAYER_COLUMNS

    def __init__(self, layers: Sequence[LayerInfo]) -> None:
        self.in_order = tuple(layers)
        super().__init__(sorted(layers, key=lambda one: (-one.size_bytes, one.number)))

    @property
    def total_bytes(self) -> int:
        """Of all layers together, before compression."""
        return sum(layer.size_bytes for layer in self)

    def rows(self) -> list[dict[str, Any]]:
        """Return a dictionary for each layer, for tables of any kind."""
        return [layer.row() for layer in self]

    def _headline(self) -> str:
        steps = "step" if len(self) == 1 else "steps"
        return f"{len(self)} {steps}, {bytes_text(self.total_bytes)}"

    def __repr__(self) -> str:
        first = (
            f"; largest: {cut(_plain(self[0].name), 60)}, {bytes_text(self[0].size_bytes)}"
            if self
            else ""
        )
        return f"<Layers {self._headline()}{first}>"

    def __str__(self) -> str:
        return "\n".join(
            f"{bytes_text(one.size_bytes):>9}  +{one.added} ~{one.changed} -{one.removed}  {cut(_plain(one.name), 100)}"
            for one in self
        )

    def _repr_html_(self) -> str:
        most = max((one.size_bytes for one in self), default=0) or 1
        rows = [
            (
                str(one.number),
                cut(_plain(one.name), 80),
                bytes_text(one.size_bytes),
                bar(one.size_bytes / most),
                f"+{one.added} ~{one.changed} -{one.removed}",
                _largest(one),
            )
            for one in self[:_SHOWN_ROWS]
        ]
        rest = len(self) - _SHOWN_ROWS
        wasted = sum(one.removed_bytes for one in self)
        notes = [f"and {rest} smaller ones"] if rest > 0 else []
        if wasted:
            notes.append(
                f"{bytes_text(wasted)} were removed by later steps and are in the layers below all the same"
            )
        return table_html(
            self._headline(),
            ("step", "what", "size", "", "files", "largest file"),
            rows,
            notes=notes,
            raw=frozenset({""}),
            right=frozenset({"step", "size"}),
        )


class Differences(Rows[FileChange]):
    """What differs between two states, by path. `.largest` has what takes most first."""

    _columns = ("kind", "path", "size_bytes", "mode_before", "mode_after", "what")

    def __init__(self, changes: Sequence[FileChange]) -> None:
        super().__init__(sorted(changes, key=lambda change: change.path))

    @property
    def added(self) -> tuple[FileChange, ...]:
        """What only the second has."""
        return tuple(change for change in self if change.kind == "added")

    @property
    def changed(self) -> tuple[FileChange, ...]:
        """What both have, and not the same."""
        return tuple(change for change in self if change.kind == "changed")

    @property
    def removed(self) -> tuple[FileChange, ...]:
        """What only the first has; of a directory nothing that was in it."""
        return tuple(change for change in self if change.kind == "removed")

    @property
    def largest(self) -> tuple[FileChange, ...]:
        """All, what takes most first."""
        return tuple(sorted(self, key=lambda change: (-change.size_bytes, change.path)))

    @property
    def size_bytes(self) -> int:
        """Of what was added and changed."""
        return sum(change.size_bytes for change in self if change.kind != "removed")

    def rows(self) -> list[dict[str, Any]]:
        """Return a dictionary for each change, for tables of any kind."""
        return [
            {
                "kind": change.kind,
                "path": change.path,
                "size_bytes": change.size_bytes,
                "mode_before": change.before.mode_text if change.before else "",
                "mode_after": change.after.mode_text if change.after else "",
                "what": change.what,
            }
            for change in self
        ]

    def _headline(self) -> str:
        if not self:
            return "no differences"
        return (
            f"{len(self.added)} added, {len(self.changed)} changed, {len(self.removed)} removed, "
            f"{bytes_text(self.size_bytes)}"
        )

    def __repr__(self) -> str:
        return f"<Differences: {self._headline()}>"

    def __str__(self) -> str:
        return "\n".join(
            f"{_SIGNS[change.kind]} {change.path}{'/' if change.info.is_dir else ''}"
            + (f" ({change.what})" if change.what else "")
            for change in self
        )

    def _repr_html_(self) -> str:
        most = max((change.size_bytes for change in self), default=0) or 1
        colors = {"added": "#2f9e44", "changed": "#4c8bf5", "removed": "#e03131"}
        rows = [
            (
                f"{_SIGNS[change.kind]} {change.kind}",
                cut(change.path, 90) + ("/" if change.info.is_dir else ""),
                bytes_text(change.size_bytes) if change.size_bytes else "",
                bar(change.size_bytes / most, color=colors[change.kind])
                if change.size_bytes
                else "",
                change.info.mode_text,
                change.what,
            )
            for change in self.largest[:_SHOWN_ROWS]
        ]
        rest = len(self) - _SHOWN_ROWS
        return table_html(
            self._headline(),
            ("change", "path", "size", "", "mode", "differs in"),
            rows,
            notes=[f"and {rest} more, see .added, .changed and .removed"] if rest > 0 else (),
            raw=frozenset({""}),
            right=frozenset({"size"}),
        )


async def layers_of(opened: Opened) -> Layers:
    """Find out what each step on the way to a state did to its files.

    Raises:
        UsageError: The frontend that made it does not say how.
    """
    stages = lineage(_definition(opened))
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(number: int, stage: Stage) -> LayerInfo:
        async with gate:
            return await _layer(opened, number, stage)

    return Layers(await asyncio.gather(*(one(n, stage) for n, stage in enumerate(stages, start=1))))


async def _layer(opened: Opened, number: int, stage: Stage) -> LayerInfo:
    counts = dict.fromkeys(("added", "changed", "removed"), 0)
    size = removed = 0
    largest: list[tuple[int, int, FileChange]] = []
    async for change in _changes(opened, stage.before, stage.after):
        counts[change.kind] += 1
        if change.kind == "removed":
            removed += change.size_bytes
        else:
            size += change.size_bytes
        # The number keeps changes of equal size from being compared.
        heapq.heappush(largest, (change.size_bytes, -sum(counts.values()), change))
        if len(largest) > _LARGEST:
            heapq.heappop(largest)
    ordered = tuple(item[2] for item in sorted(largest, key=lambda item: item[:2], reverse=True))
    return LayerInfo(
        name=stage.op.name,
        digest=stage.op.digest,
        kind=stage.op.kind,
        number=number,
        **counts,
        size_bytes=size,
        removed_bytes=removed,
        largest=ordered,
    )


async def difference_of(first: Opened, second: Opened) -> Differences:
    """Find out what differs between two states that are open.

    The second's steps are not run again for it: the daemon shares steps between builds that are open.

    Raises:
        UsageError: The frontend that made one of them does not say how.
    """
    before, after = (load(_definition(each).to_bytes()) for each in (first, second))
    lower, upper = first.files, second.files
    difference = await _solved(first, diff(before, after))
    return Differences([c async for c in file_changes(lower, upper, difference)])


async def _changes(opened: Opened, before: State, after: State) -> AsyncIterator[FileChange]:
    lower, upper, difference = await asyncio.gather(
        _solved(opened, before), _solved(opened, after), _solved(opened, diff(before, after))
    )
    async for change in file_changes(lower, upper, difference):
        yield change


async def _solved(opened: Opened, state: State) -> Files:
    definition = state.marshal(opened.platform)
    try:
        ref = await opened.bridge.solve(definition.to_bytes()) if definition.head else ""
    except RpcFailed as failure:
        raise from_failure(
            failure, address=opened.channel.endpoint.address, building=True
        ) from failure
    return Files(opened.bridge, ref)


def _definition(opened: Opened) -> Definition:
    if opened.definition is None:
        raise UsageError(
            "The frontend of this build does not say which steps it made.",
            hint="build a graph, or a Dockerfile without a `# syntax=` line of another kind",
        )
    return opened.definition
