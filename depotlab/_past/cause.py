"""Why a step ran, as values: a cause, the steps that ran for it, and the answer that tells it in a few lines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar

from depotlab._past.listing import FileChange
from depotlab._values import Tabular, Value, safe_html
from depotlab.llb import Field

__all__ = ["Cause", "CauseKind", "StepReason", "Why"]

_SHOWN_FILES = 5
_SHOWN_FIELDS = 4
_SHOWN_STEPS = 6
_MAX_NAME = 80


class CauseKind(StrEnum):
    """Why a step was not taken from the cache."""

    FIRST = "first build"
    """Nothing is known here of an earlier build of this name."""
    NO_CACHE = "asked to run again"
    NEW = "new step"
    COMMAND = "command changed"
    VARIABLE = "variable changed"
    ARGUMENT = "build argument changed"
    MOUNTS = "mounts changed"
    PLATFORM = "platform changed"
    SETTINGS = "settings changed"
    """Directory, user, network, limits and the like."""
    FILE_ACTION = "file operation changed"
    IMAGE = "another image"
    IMAGE_MOVED = "image moved"
    """The name is the same, and points at another digest."""
    SOURCE = "source changed"
    """A repository, a download, or how a directory is filtered."""
    FILES = "files changed"
    INPUTS = "reads other steps"
    EVICTED = "no longer in the cache"
    """Nothing changed: the cache was pruned, or collected."""
    OTHER_BUILDER = "another builder"
    """Nothing changed, and this builder has not built it before."""
    IMPORT_MISSED = "not in the imported cache"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, repr=False)
class Cause(Value):
    """Why steps ran.

    Attributes:
        kind: In two or three words.
        step: The step it is about, as progress shows it; empty when it is about the whole build.
        what: One sentence.
        place: Line that made the step, such as `Dockerfile:4`, or empty.
        fields: What changed in the operation: name, before, after.
        files: What changed in the context.
        context: Name of the context, or empty.
    """

    kind: CauseKind
    step: str
    what: str
    place: str = ""
    fields: tuple[Field, ...] = ()
    files: tuple[FileChange, ...] = ()
    context: str = ""

    def __str__(self) -> str:
        where = f" ({self.place})" if self.place else ""
        head = f"{_short(self.step)}{where}: " if self.step else ""
        return f"{head}{self.what}"


@dataclass(frozen=True, slots=True, repr=False)
class StepReason(Value):
    """One step that ran, and why.

    Attributes:
        step: As progress shows it.
        digest: Of the operation.
        causes: What made it run; those of steps that it needs are among them.
        is_consequence: Nothing changed in it: it ran since something that it needs did.
    """

    step: str
    digest: str
    causes: tuple[Cause, ...]
    is_consequence: bool


@dataclass(frozen=True, slots=True, repr=False)
class Why(Tabular):
    """Why steps of a build were not taken from the cache, against the last build of the same name on this computer.

    Attributes:
        causes: Each once, in the order of the steps.
        steps: The steps that ran, in the order of the graph.
        n_steps: How many steps the graph has, sources not counted.
        compared_with: Name (on its daemon) of the build that it is compared with; empty when there is none.
        compared_at: When that was.
        notes: What else is different and makes nothing run, and what could not be found out.
        step: The step that was asked for, or empty for all.
    """

    causes: tuple[Cause, ...]
    steps: tuple[StepReason, ...]
    n_steps: int
    compared_with: str = ""
    compared_at: datetime | None = None
    notes: tuple[str, ...] = ()
    step: str = ""

    _columns: ClassVar = ("kind", "step", "what", "place", "context", "n_fields", "n_files")

    def rows(self) -> list[dict[str, Any]]:
        """Return a dictionary for each cause, for tables of any kind."""
        return [
            {
                "kind": str(cause.kind),
                "step": cause.step,
                "what": cause.what,
                "place": cause.place,
                "context": cause.context,
                "n_fields": len(cause.fields),
                "n_files": len(cause.files),
            }
            for cause in self.causes
        ]

    @property
    def cause(self) -> Cause | None:
        """The first cause; None if everything came from the cache."""
        return self.causes[0] if self.causes else None

    def _headline(self) -> str:
        if self.step and not self.steps:
            return f"{_short(self.step)} was taken from the cache"
        if not self.steps:
            steps = f"all {self.n_steps} steps were" if self.n_steps != 1 else "the only step was"
            return f"{steps} taken from the cache"
        ran = (
            f"{_short(self.step)} ran" if self.step else f"{len(self.steps)} of {self.n_steps} ran"
        )
        first = self.causes[0].what if self.causes else "nobody knows why"
        more = f" (and {len(self.causes) - 1} more)" if len(self.causes) > 1 else ""
        return f"{ran}: {first}{more}"

    def _against(self) -> str:
        if self.compared_at is None:
            return ""
        ago_s = (datetime.now(UTC) - self.compared_at).total_seconds()
        return f"Compared with build {self.compared_with} of {_ago(ago_s)}."

    def _lines(self) -> Iterator[str]:
        for cause in self.causes:
            yield str(cause)
            # One alone is in the sentence already.
            for field in cause.fields[:_SHOWN_FIELDS] if len(cause.fields) > 1 else ():
                yield f"    {field}"
            for file in cause.files[:_SHOWN_FILES] if len(cause.files) > 1 else ():
                yield f"    {file}"
            if len(cause.files) > _SHOWN_FILES:
                yield f"    and {len(cause.files) - _SHOWN_FILES} more files"
        after = [one.step for one in self.steps if one.is_consequence and not self.step]
        if after:
            names = ", ".join(_short(name) for name in after[:_SHOWN_STEPS])
            more = f" and {len(after) - _SHOWN_STEPS} more" if len(after) > _SHOWN_STEPS else ""
            also = " also" if len(after) < len(self.steps) else ""
            yield f"Therefore{also} ran: {names}{more}."
        yield from self.notes

    def __repr__(self) -> str:
        return f"<Why {self._headline()}>"

    def __str__(self) -> str:
        lines = [f"{self._headline()}."]
        if against := self._against():
            lines.append(against)
        return "\n".join([*lines, *(f"  {line}" for line in self._lines())])

    def _repr_html_(self) -> str:
        body = "".join(
            f'<div style="margin-left:{2 if line.startswith(" ") else 1}em">'
            f"{safe_html(line.strip())}</div>"
            for line in self._lines()
        )
        against = self._against()
        under = f'<div style="opacity:.7">{safe_html(against)}</div>' if against else ""
        return f"<div><b>{safe_html(self._headline())}</b>{under}{body}</div>"


def _short(name: str) -> str:
    name = " ".join(name.split())
    return name if len(name) <= _MAX_NAME else name[: _MAX_NAME - 1] + "…"


def _ago(seconds: float) -> str:
    for size_s, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size_s:
            return f"{seconds / size_s:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} seconds ago"
