"""What can happen in a build, as plain values.

Two sources make events: `decode` turns a status message of the daemon into them, and the client
makes the local ones (the build began, a login happened, bytes went through the session). Times are
nanoseconds since 1970 UTC: the daemon's clock in events from the daemon, ours in local ones, and
`ClockRead` says how far the two are apart. Named tuples rather than dataclasses, because a chatty
build makes a hundred thousand of them a second and a tuple costs a quarter as much to make.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from depotlab.errors import SourceLocation

__all__ = [
    "BuildEnded",
    "BuildStarted",
    "BytesMoved",
    "ClockRead",
    "Event",
    "LogWritten",
    "Phase",
    "ProgressGroup",
    "TransferUpdated",
    "VertexUpdated",
    "WarningRaised",
]


class Phase(StrEnum):
    """Where a whole build stands."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


class ProgressGroup(NamedTuple):
    """Vertices with one `id` are shown as one step called `name`.

    A weak member does not make its group visible when it starts.
    """

    id: str
    name: str
    is_weak: bool = False


class VertexUpdated(NamedTuple):
    """Everything the sender knows about one vertex now; an update replaces, it does not add.

    `is_local` marks a vertex of our own making (a login), whose times are of our clock.
    """

    digest: str
    name: str = ""
    inputs: tuple[str, ...] = ()
    started_ns: int | None = None
    completed_ns: int | None = None
    is_cached: bool = False
    error: str = ""
    group: ProgressGroup | None = None
    is_local: bool = False


class TransferUpdated(NamedTuple):
    """How far one labelled piece of work inside a vertex has come. `total` 0 is unknown."""

    vertex: str
    id: str
    name: str
    current: int
    total: int
    at_ns: int
    started_ns: int | None = None
    completed_ns: int | None = None


class LogWritten(NamedTuple):
    """A chunk of output as the process wrote it: not line aligned, not necessarily UTF-8.

    `stream` is 1 for stdout and 2 for stderr.
    """

    vertex: str
    at_ns: int
    stream: int
    data: bytes


class WarningRaised(NamedTuple):
    """A remark of the frontend, such as a linter rule, that does not fail the build."""

    vertex: str
    level: int
    short: str
    detail: tuple[str, ...] = ()
    url: str = ""
    locations: tuple[SourceLocation, ...] = ()


class BuildStarted(NamedTuple):
    """Local: the request is about to be sent. `where` says on what machine, in a few words."""

    at_ns: int
    target: str = ""
    where: str = ""


class BuildEnded(NamedTuple):
    """Local: the daemon has answered, or the build was given up.

    `locations` are the places in the user's sources that asked for what failed, most important first.
    """

    at_ns: int
    phase: Phase
    error: str = ""
    locations: tuple[SourceLocation, ...] = ()


class BytesMoved(NamedTuple):
    """Local: totals of the session so far, to the daemon (`up`) and from it (`down`)."""

    up_bytes: int
    down_bytes: int


class ClockRead(NamedTuple):
    """Local: what the daemon's clock said when ours said `local_ns`."""

    daemon_ns: int
    local_ns: int


Event = (
    VertexUpdated
    | TransferUpdated
    | LogWritten
    | WarningRaised
    | BuildStarted
    | BuildEnded
    | BytesMoved
    | ClockRead
)
