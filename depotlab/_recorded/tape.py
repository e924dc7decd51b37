"""What a recording is: the calls of some builds, with what the daemon answered and when. Values only.

Of what the client sent there are only keys (see `canonical`), sizes, and short names of operations; what the daemon
sent is there as it came, but for secrets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from depotlab._recorded.canonical import local_name
from depotlab._recorded.contexts import ContextRequest, read_context_request

__all__ = ["CANCELLED", "Call", "Message", "OpNote", "Tape", "TapedBuild"]

CANCELLED = 1
"""The gRPC status of a call that was given up."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the daemon.

    Attributes:
        at_ns: Since the recording began.
        data: The serialised message.
        n_before: How many bytes of standard input the client had sent, of a process; how many messages else.
    """

    at_ns: int
    data: bytes = field(repr=False)
    n_before: int = 0


@dataclass(frozen=True, slots=True)
class OpNote:
    """An op of a graph that was asked for; see `canonical.AskedOp`."""

    key: str
    digest: str
    label: str


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a recording.

    Attributes:
        number: In the order in which they began, from 0.
        method: Full name, such as `/moby.buildkit.v1.Control/Solve`.
        key: What was asked; empty for calls of the daemon.
        build: Number of the build that it belongs to, -1 for none.
        began_ns: Since the recording began.
        ended_ns: The same; that of the end of the recording when it was still open.
        code: gRPC status.
        text: Of the status.
        details: The serialised `google.rpc.Status` of a failure, or empty.
        messages: Of the daemon, in order.
        ops: Of the graph that was asked for.
        asked: What was asked, for people: short names and, where a value may be confidential, its digest.
        headers: Of a call of the daemon: what it says beside its messages.
        context: Of a `DiffCopy`: the digest of the directory that was asked for.
        stdin: Of a process: the digest of what it was given to read.
    """

    number: int
    method: str
    key: str = ""
    build: int = -1
    began_ns: int = 0
    ended_ns: int = 0
    code: int = 0
    text: str = ""
    details: bytes = field(default=b"", repr=False)
    messages: tuple[Message, ...] = field(default=(), repr=False)
    ops: tuple[OpNote, ...] = field(default=(), repr=False)
    asked: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    context: str = ""
    stdin: str = ""

    @property
    def name(self) -> str:
        """The method without its service."""
        return self.method.rpartition("/")[2]

    @property
    def is_control(self) -> bool:
        """Whether it is a call of the daemon's control service."""
        return self.method.startswith("/moby.buildkit.v1.Control/")

    @property
    def is_of_daemon(self) -> bool:
        """Whether the daemon made it, over a session."""
        return not self.key


@dataclass(frozen=True, slots=True)
class TapedBuild:
    """One build of a recording: its `Control.Solve` and what belongs to it.

    Attributes:
        number: From 0.
        solve: `Control.Solve`.
        ref: The name that it had.
        session_id: Its session.
        calls: Of the client, in the order in which they began.
        session_calls: Of the daemon over the session, in that order.
        status: The progress, or None when nobody asked.
        locals: The names of its local directories by the name without the hash of a path.
        is_internal: The daemon keeps no record of it: a question, or a state that is looked at.
    """

    number: int
    solve: Call
    ref: str
    session_id: str
    calls: tuple[Call, ...] = ()
    session_calls: tuple[Call, ...] = ()
    status: Call | None = None
    locals: tuple[tuple[str, str], ...] = ()
    is_internal: bool = False

    @property
    def contexts(self) -> list[tuple[ContextRequest, str]]:
        """What was asked of local directories, and the digest of each."""
        found: dict[ContextRequest, str] = {}
        for call in self.session_calls:
            if call.method.endswith("FileSync/DiffCopy"):
                headers: dict[str, list[str]] = {}
                for name, value in call.headers:
                    headers.setdefault(name, []).append(value)
                found[read_context_request(headers)] = call.context
        return list(found.items())

    @property
    def files(self) -> frozenset[tuple[object, ...]]:
        """What of which directories it read, with the digests; names are without the hash of a path."""
        return frozenset(
            (local_name(name), *patterns, digest) for (name, *patterns), digest in self.contexts
        )


@dataclass(frozen=True, slots=True)
class Tape:
    """A recording.

    Attributes:
        recorded_at: When it was begun, ISO 8601, UTC.
        began_ns: The same moment in nanoseconds since 1970.
        buildkit: Version of the daemon, such as `v0.32.2`; may be empty.
        registry: `HOST:PORT` of the registry beside it, or empty.
        builds: In the order in which they were asked for.
        calls: All calls.
        keeps_history: The daemon kept records of its builds.
    """

    recorded_at: str
    began_ns: int
    buildkit: str
    registry: str
    builds: Sequence[TapedBuild]
    calls: Sequence[Call]
    keeps_history: bool = True
