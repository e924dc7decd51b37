"""Records of past builds as values: what a daemon remembers of a build, and a table of several.

What may be a secret is covered when a record is read, so that nothing that shows one has to think of it.
Source: moby/buildkit `api/services/control/control.proto`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple, overload

from depotlab._proto import control_pb2
from depotlab._rpc import Status
from depotlab._values import Rows, Value, cut, table_html
from depotlab.buildkit.covered import covered

__all__ = ["STATUSES", "Blob", "BuildRecord", "History", "build_record"]

STATUSES = ("running", "completed", "error", "canceled")
_SHOWN_ROWS = 50
_COLUMNS = (
    "ref",
    "title",
    "status",
    "created_at",
    "completed_at",
    "duration_s",
    "n_steps",
    "n_cached",
    "n_completed",
    "n_warnings",
    "pinned",
    "frontend",
    "repository",
    "error",
)


class Blob(NamedTuple):
    """Bytes that the daemon keeps beside a build, by digest.

    Attributes:
        digest: `sha256:…`.
        media_type: What the bytes are.
        size_bytes: Their number.
        predicate: Of an attestation its predicate type, a URL; else empty.
    """

    digest: str
    media_type: str
    size_bytes: int
    predicate: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class BuildRecord(Value):
    """One build, as its daemon remembers it.

    Attributes:
        ref: The name of the build on the daemon.
        frontend: `dockerfile.v0`, `gateway.v0`, or empty for a graph.
        attrs: Options of the frontend; what may be a secret is covered by `***`.
        status: `running`, `completed`, `error` or `canceled`.
        error: What the daemon said when it failed, or empty.
        created_at: When it began.
        completed_at: When it ended; None while it runs.
        n_steps: How many steps there were.
        n_cached: How many of them came from the cache.
        n_completed: How many of them ended well.
        n_warnings: How many warnings there were.
        pinned: It is kept until it is unpinned.
        outputs: Types of what was made of it, such as `image`.
        names: Names that images were given.
        response: What the frontend said of the result, such as `containerimage.config`.
        results: What was made, by platform (empty for a single one), where the daemon still knows it.
        attestations: What was attested, by platform; see `inspect`.
        logs: The progress with all output, or None.
        trace: OpenTelemetry lines, or None.
        failure: The error with all details, or None.
    """

    ref: str
    frontend: str
    attrs: Mapping[str, str]
    status: str
    error: str
    created_at: datetime
    completed_at: datetime | None
    n_steps: int = 0
    n_cached: int = 0
    n_completed: int = 0
    n_warnings: int = 0
    pinned: bool = False
    outputs: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    response: Mapping[str, str] = field(default_factory=dict)
    results: Mapping[str, tuple[Blob, ...]] = field(default_factory=dict)
    attestations: Mapping[str, tuple[Blob, ...]] = field(default_factory=dict)
    logs: Blob | None = None
    trace: Blob | None = None
    failure: Blob | None = None

    @property
    def duration_s(self) -> float:
        """Seconds from its begin to its end, or to now."""
        end = self.completed_at or datetime.now(UTC)
        return max(0.0, (end - self.created_at).total_seconds())

    @property
    def title(self) -> str:
        """What was built, as far as the record tells: an image, a stage, a Dockerfile, or a graph."""
        if self.names:
            return self.names[0]
        if not self.frontend:
            return "graph"
        where = self.attrs.get("target") or self.attrs.get("filename") or "Dockerfile"
        repository = self.repository
        return f"{where} of {repository}" if repository else where

    @property
    def repository(self) -> str:
        """The Git repository that it was built from, if the record tells; else empty."""
        named = self.attrs.get("vcs:source", "")
        context = self.attrs.get("context", "")
        is_git = context.startswith(("git@", "git://")) or ".git" in context
        return named or (context if is_git else "")

    def __repr__(self) -> str:
        title = cut(self.title, 100)
        return f"<BuildRecord {self.ref} {title}: {self.status}, {self._steps()}>"

    def row(self) -> dict[str, Any]:
        """Return what a table of builds has of it, by name."""
        return {name: getattr(self, name) for name in _COLUMNS}

    def _steps(self) -> str:
        return f"{self.n_cached} of {self.n_steps} steps cached, {self.duration_s:.1f} s"

    def _repr_html_(self) -> str:
        return _table([self], self.title)


class History(Rows[BuildRecord]):
    """Builds that a daemon remembers, the newest first. A notebook shows them as a table."""

    _columns = _COLUMNS

    @overload
    def __getitem__(self, index: int) -> BuildRecord: ...
    @overload
    def __getitem__(self, index: slice) -> History: ...
    def __getitem__(self, index: int | slice) -> BuildRecord | History:
        found = self._items[index]
        return History(found) if isinstance(found, tuple) else found

    def rows(self) -> list[dict[str, Any]]:
        """Return a dictionary for each build, for tables of any kind."""
        return [record.row() for record in self]

    def _headline(self) -> str:
        counts = [
            f"{n} {status}" for status in STATUSES if (n := sum(r.status == status for r in self))
        ]
        builds = "build" if len(self) == 1 else "builds"
        return f"{len(self)} {builds}" + (f": {', '.join(counts)}" if counts else "")

    def __repr__(self) -> str:
        return f"<History {self._headline()}>"

    def __str__(self) -> str:
        lines = [self._headline()]
        lines += [
            f"  {r.created_at:%Y-%m-%d %H:%M:%S}  {r.status:9}  {r.title}  {r._steps()}  {r.ref}"  # noqa: SLF001 - its own row
            for r in self
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return _table(self, self._headline())


def build_record(sent: control_pb2.BuildHistoryRecord) -> BuildRecord:
    """Decode one record."""
    names = [
        name for one in sent.Exporters for name in one.Attrs.get("name", "").split(",") if name
    ]
    results = {"": sent.Result} if sent.HasField("Result") else {}
    results |= dict(sent.Results)
    return BuildRecord(
        ref=sent.Ref,
        frontend=sent.Frontend,
        attrs=covered(sent.FrontendAttrs),
        status=_status(sent),
        error=sent.error.message,
        created_at=sent.CreatedAt.ToDatetime(UTC),
        completed_at=sent.CompletedAt.ToDatetime(UTC) if sent.HasField("CompletedAt") else None,
        n_steps=sent.numTotalSteps,
        n_cached=sent.numCachedSteps,
        n_completed=sent.numCompletedSteps,
        n_warnings=sent.numWarnings,
        pinned=sent.pinned,
        outputs=tuple(one.Type for one in sent.Exporters),
        names=tuple(dict.fromkeys(names)),
        response=dict(sent.ExporterResponse),
        results={
            name: tuple(_blob(one.Results[key]) for key in sorted(one.Results))
            for name, one in results.items()
        },
        attestations={name: tuple(map(_blob, one.Attestations)) for name, one in results.items()},
        logs=_blob(sent.logs) if sent.logs.digest else None,
        trace=_blob(sent.trace) if sent.trace.digest else None,
        failure=_blob(sent.externalError) if sent.externalError.digest else None,
    )


def _status(sent: control_pb2.BuildHistoryRecord) -> str:
    if not sent.HasField("CompletedAt"):
        return "running"
    if not sent.HasField("error"):
        return "completed"
    canceled = sent.error.code == Status.CANCELLED or "context canceled" in sent.error.message
    return "canceled" if canceled else "error"


def _blob(sent: control_pb2.Descriptor) -> Blob:
    predicate = sent.annotations.get("in-toto.io/predicate-type", "")
    return Blob(sent.digest, sent.media_type, sent.size, predicate)


def _table(records: Sequence[BuildRecord], headline: str) -> str:
    rest = len(records) - _SHOWN_ROWS
    return table_html(
        headline,
        ("began", "status", "what", "steps", "s", "ref", ""),
        (
            (
                f"{r.created_at:%Y-%m-%d %H:%M:%S}",
                r.status,
                r.title,
                f"{r.n_cached} of {r.n_steps} cached",
                f"{r.duration_s:.1f}",
                r.ref,
                "pinned" if r.pinned else "",
            )
            for r in records[:_SHOWN_ROWS]
        ),
        notes=[f"and {rest} older ones"] if rest > 0 else (),
        right=frozenset({"s"}),
    )
