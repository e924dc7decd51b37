"""From the last snapshot of a build to its rows. Pure, but for long logs, which are read from their temporary file."""

from __future__ import annotations

import hashlib
import heapq
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from depotlab.progress import LineSplitter, LogLine, LogStore, Snapshot, Step, StepState
from depotlab.telemetry._rows import NEVER_ENDED, BuildRow, LogRow, StepRow

__all__ = ["BuildIds", "build_row", "cleaned", "id_of", "log_rows", "step_rows"]

_MS = 1_000_000
_PIECE_BYTES = 1 << 20
_MIN_HIDDEN = 4
_HIDDEN = "•••"
_STATES = (StepState.CACHED, StepState.RAN, StepState.FAILED, StepState.CANCELED)
_DEPOT_STEP = "depot:"
# `user:password@` before a host, and what makes a signed address good. Sources: RFC 3986 section 3.2.1; the query
# parameters of AWS Signature Version 4 and of the other stores' signed addresses.
_URL_USER = re.compile(r"(?P<scheme>https?://)[^/\s@]+@")
_URL_SIGNATURE = re.compile(
    r"(?P<name>[?&](?:X-Amz-(?:Signature|Credential|Security-Token)|Signature|sig|token|access_token)=)[^&\s\"']+",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildIds:
    """What all rows of one build have in common.

    Attributes:
        build_id: Unique over all projects.
        project_id: Whose builds are looked at together.
        workspace_id: Whose project it is; may be empty.
        deployment_id: What the build is for; may be empty.
        attempt: Which try of the build, from 1.
        hide: Texts that were given as secrets; three dots stand for each of their lines in every row. Kept as the words
            to look for, the longest first, since one may begin as another does.
    """

    build_id: str
    project_id: str
    workspace_id: str = ""
    deployment_id: str = ""
    attempt: int = 1
    hide: Sequence[str] = ()

    def __post_init__(self) -> None:
        words = {line.strip() for text in self.hide for line in text.splitlines()}
        # A text of one or two letters is everywhere; without it nothing could be read any more.
        words = {word for word in words if len(word) >= _MIN_HIDDEN}
        object.__setattr__(self, "hide", tuple(sorted(words, key=lambda word: (-len(word), word))))

    def __repr__(self) -> str:
        return f"BuildIds({self.build_id!r}, {self.project_id!r}, attempt={self.attempt})"


def step_rows(snapshot: Snapshot, ids: BuildIds) -> list[StepRow]:
    """Return a row for each step that was worked on, or found in the cache, in the order in which they began.

    What Depot does before the build (a machine is started and connected) is no step: see `BuildRow.stages_ms`.
    """
    return [
        StepRow(
            step_id=step.digest,
            started_at=_ms(step.started_ns),
            completed_at=_ms(max((end or 0 for _, end in step.intervals), default=None)),
            workspace_id=ids.workspace_id,
            project_id=ids.project_id,
            deployment_id=ids.deployment_id,
            name=cleaned(step.name, ids.hide),
            cached=step.state is StepState.CACHED,
            error=cleaned(_error(step), ids.hide),
            has_logs=step.log.n_bytes > 0,
            build_id=ids.build_id,
            attempt=ids.attempt,
        )
        for step in _worked_on(snapshot)
    ]


def log_rows(snapshot: Snapshot, ids: BuildIds) -> Iterator[LogRow]:
    """Yield a row for each line that any step printed, in order of time. May read a temporary file.

    At most a MiB of each step's output is in memory at a time.
    """
    each = [_lines(snapshot.logs, step) for step in _worked_on(snapshot) if step.log.n_bytes]
    for number, (digest, line) in enumerate(heapq.merge(*each, key=lambda found: found[1].at_ns)):
        yield LogRow(
            time=_ms(line.at_ns),
            workspace_id=ids.workspace_id,
            project_id=ids.project_id,
            deployment_id=ids.deployment_id,
            message=cleaned(line.text, ids.hide),
            step_id=digest,
            build_id=ids.build_id,
            stream=line.stream,
            line=number,
        )


def build_row(
    snapshot: Snapshot,
    ids: BuildIds,
    *,
    image: str = "",
    digest: str = "",
    log_lines: int | None = None,
) -> BuildRow:
    """Return the row of a build that has ended.

    Args:
        snapshot: Its last.
        ids: As for its other rows.
        image: Name that was pushed.
        digest: Of the image.
        log_lines: How many rows `log_rows` gave; None counts the line ends.
    """
    steps = _worked_on(snapshot)
    failed = next((step.error for step in steps if step.state is StepState.FAILED), "")
    ended_ns = snapshot.ended_ns or snapshot.at_ns
    return BuildRow(
        build_id=ids.build_id,
        workspace_id=ids.workspace_id,
        project_id=ids.project_id,
        deployment_id=ids.deployment_id,
        status=snapshot.phase.value,
        image=image,
        digest=digest,
        error=cleaned(snapshot.error or failed, ids.hide),
        created_at=_ms(snapshot.started_ns),
        started_at=_ms(snapshot.started_ns),
        completed_at=_ms(ended_ns),
        attempts=ids.attempt,
        cached_steps=sum(step.state is StepState.CACHED for step in steps),
        total_steps=len(steps),
        log_lines=sum(step.n_log_lines for step in steps) if log_lines is None else log_lines,
        stages_ms=_stages_ms(snapshot, ended_ns),
    )


def cleaned(text: str, hide: Iterable[str] = ()) -> str:
    """Return a text without the words of `BuildIds.hide`, logins in addresses, signatures of signed addresses."""
    for word in hide:
        if word in text:
            text = text.replace(word, _HIDDEN)
    if "://" not in text:
        return text
    text = _URL_USER.sub(rf"\g<scheme>{_HIDDEN}@", text)
    return _URL_SIGNATURE.sub(rf"\g<name>{_HIDDEN}", text)


def id_of(snapshot: Snapshot, *, ref: str = "") -> str:
    """Return the build id of a build that has none of a service: its name on the daemon, or one made of what it was."""
    if ref:
        return ref
    what = f"{snapshot.target}\0{snapshot.where}\0{snapshot.started_ns}\0{snapshot.ended_ns}"
    return hashlib.sha256(what.encode()).hexdigest()[:25]


def _worked_on(snapshot: Snapshot) -> list[Step]:
    return [
        step
        for step in snapshot.steps
        if step.intervals and step.state in _STATES and not step.digest.startswith(_DEPOT_STEP)
    ]


def _lines(logs: LogStore | None, step: Step) -> Iterator[tuple[str, LogLine]]:
    digest = step.digest
    if logs is None:
        yield from ((digest, line) for line in step.log_tail)
        return
    splitter = LineSplitter(offset_ns=logs.offset_ns)
    at_byte = 0
    while True:
        chunks, at_byte = logs.read(digest, start_byte=at_byte, max_bytes=_PIECE_BYTES)
        if not chunks:
            break
        for chunk in chunks:
            for line in splitter.feed(chunk):
                yield digest, line
    for line in splitter.rest():
        yield digest, line


def _error(step: Step) -> str:
    if step.state is StepState.CANCELED:
        return step.error or NEVER_ENDED
    return step.error if step.state is StepState.FAILED else ""


def _stages_ms(snapshot: Snapshot, ended_ns: int) -> dict[str, int]:
    """Return how long a machine was waited for, when the build was at Depot, and how long it was built."""
    depot = [step for step in snapshot.steps if step.digest.startswith(_DEPOT_STEP)]
    starts = [step.started_ns for step in depot if step.started_ns is not None]
    if not starts:
        return {"solve": max(0, ended_ns - snapshot.started_ns) // _MS}
    ready_ns = max(end or ended_ns for step in depot for _, end in step.intervals)
    return {
        "machine": max(0, ready_ns - snapshot.started_ns) // _MS,
        "solve": max(0, ended_ns - ready_ns) // _MS,
    }


def _ms(at_ns: int | None) -> int:
    return (at_ns or 0) // _MS
