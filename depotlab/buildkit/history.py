"""The builds that a daemon remembers: list them, read what it keeps beside them, keep or delete their records.

A daemon keeps the newest builds (by default the last 50, for two days) until it needs the room. Records hold what was
asked for word for word, build arguments and the settings of caches included, for every client to read.
Source: moby/buildkit `control/control.go`, `solver/llbsolver/history.go`.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence

from depotlab._proto import content_pb2, control_pb2, rpcstatus_pb2
from depotlab._rpc import Channel, RpcFailed, Status
from depotlab.buildkit.control import CONTROL
from depotlab.buildkit.faults import from_failure
from depotlab.buildkit.records import STATUSES, Blob, BuildRecord, History, build_record
from depotlab.buildkit.trace import Trace, decode_trace
from depotlab.errors import DaemonTooOld, DepotlabError, ProtocolError, UsageError
from depotlab.progress import Event, decode

__all__ = [
    "find_record",
    "list_history",
    "read_blob",
    "read_error",
    "read_events",
    "read_trace",
    "update_record",
]

CONTENT = "/containerd.services.content.v1.Content/"
_MAX_BLOB_BYTES = 256 << 20


async def list_history(
    channel: Channel,
    *,
    status: str | Sequence[str] | None = None,
    ref: str | None = None,
    repository: str | None = None,
    max_age_s: float | None = None,
    limit: int | None = None,
) -> History:
    """List the builds that a daemon remembers, the newest first. Builds that run are among them.

    What is filtered is filtered here, so that it works with daemons of every age.

    Args:
        channel: A connection to the daemon.
        status: Only these: `running`, `completed`, `error`, `canceled`.
        ref: Only the build of this name, or those whose name begins so.
        repository: Only builds of this Git repository; a part of its address is enough.
        max_age_s: Only builds that began within so many seconds.
        limit: At most so many.

    Raises:
        UsageError: An argument that cannot work, or a daemon that keeps no history.
        LinkError: The daemon cannot be reached.
    """
    wanted = _statuses(status)
    if max_age_s is not None and not max_age_s > 0:
        raise UsageError(f"max_age_s={max_age_s!r} must be above zero.", hint="in seconds")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise UsageError(
            f"limit={limit!r} is no number of builds.", hint="from 1; leave it out for all"
        )
    for name, value in (("ref", ref), ("repository", repository)):
        if value is not None and not isinstance(value, str):
            raise UsageError(f"{name}={value!r} must be text.", hint="see the records of history()")
    records = [
        record
        for record in await _listen(channel, "")
        if record.status in wanted
        and record.ref.startswith(ref or "")
        and (repository or "") in record.repository
        and (max_age_s is None or time.time() - record.created_at.timestamp() <= max_age_s)
    ]
    records.sort(key=lambda record: record.created_at, reverse=True)
    return History(records[:limit])


def _statuses(given: str | Sequence[str] | None) -> Sequence[str]:
    wanted = STATUSES if given is None else [given] if isinstance(given, str) else list(given)
    for one in wanted:
        if one not in STATUSES:
            raise UsageError(
                f"history(status={given!r}): {one!r} is no status of a build.",
                hint=f"use {', '.join(map(repr, STATUSES))}",
            )
    return wanted


async def find_record(channel: Channel, ref: str) -> BuildRecord:
    """Return the record of one build.

    Raises:
        UsageError: The daemon has none of this name.
    """
    try:
        found = await _listen(channel, ref)
    except UsageError:
        raise
    except DepotlabError as error:
        if "is deleted" in str(error):
            found = []
        else:
            raise
    if not found:
        raise UsageError(
            f"The daemon remembers no build {ref!r}.",
            hint="see history(); old records go when the daemon needs the room",
        )
    return found[0]


async def _listen(channel: Channel, ref: str) -> list[BuildRecord]:
    request = control_pb2.BuildHistoryRequest(Ref=ref, EarlyExit=True).SerializeToString()
    found: dict[str, BuildRecord] = {}
    try:
        await channel.ready()
        async for message in channel.stream(CONTROL + "ListenBuildHistory", request):
            event = control_pb2.BuildHistoryEvent.FromString(message)
            if event.type == control_pb2.DELETED:
                found.pop(event.record.Ref, None)
            else:
                found[event.record.Ref] = build_record(event.record)
    except RpcFailed as failure:
        raise _no_history(failure, channel) from failure
    return list(found.values())


async def update_record(
    channel: Channel, ref: str, *, pinned: bool | None = None, delete: bool = False
) -> None:
    """Pin, unpin or delete the record of a build; its result and the cache stay as they are.

    Raises:
        UsageError: The daemon has no record of this name.
    """
    request = control_pb2.UpdateBuildHistoryRequest(Ref=ref, Pinned=bool(pinned), Delete=delete)
    try:
        await channel.unary(CONTROL + "UpdateBuildHistory", request.SerializeToString())
    except RpcFailed as failure:
        if "failed to retrieve ref" in failure.message or failure.status is Status.NOT_FOUND:
            raise UsageError(
                f"The daemon remembers no build {ref!r}.", hint="see history()"
            ) from failure
        raise _no_history(failure, channel) from failure


async def read_trace(channel: Channel, ref: str) -> Trace:
    """Return the spans that the daemon has recorded of a build.

    Raises:
        UsageError: The daemon has no such build, the build runs, or its trace is not kept.
        ProtocolError: What is kept is no trace.
    """
    record = await find_record(channel, ref)
    if record.status == "running":
        raise UsageError(f"Build {ref} still runs.", hint="its trace is there when it has ended")
    if record.trace is None:  # else it is written some seconds later
        request = control_pb2.UpdateBuildHistoryRequest(Ref=ref, Finalize=True)
        try:
            await channel.unary(CONTROL + "UpdateBuildHistory", request.SerializeToString())
        except RpcFailed as failure:
            raise _no_history(failure, channel) from failure
        record = await find_record(channel, ref)
    if record.trace is None:
        raise UsageError(
            f"The daemon keeps no trace of build {ref}.",
            hint="inspect() has its steps and when they ran",
        )
    return decode_trace(ref, await read_blob(channel, record.trace))


def _no_history(failure: RpcFailed, channel: Channel) -> DepotlabError:
    if failure.status is Status.UNIMPLEMENTED:
        return DaemonTooOld(
            f"The daemon at {channel.endpoint.address} keeps no history of builds.",
            needs="0.11",
            features=("history",),
            hint="BuildKit does from 0.11 on; the one inside a Docker Engine is older",
        )
    return from_failure(failure, address=channel.endpoint.address)


async def read_blob(channel: Channel, blob: Blob) -> bytes:
    """Read bytes that the daemon keeps beside a build.

    Raises:
        UsageError: They are gone, or too many to be held in memory.
    """
    if blob.size_bytes > _MAX_BLOB_BYTES:
        raise UsageError(
            f"{blob.digest} has {blob.size_bytes} bytes, more than are read at once.",
            hint=f"the limit is {_MAX_BLOB_BYTES} bytes",
        )
    request = content_pb2.ReadContentRequest(digest=blob.digest).SerializeToString()
    pieces = bytearray()
    try:
        async for message in channel.stream(CONTENT + "Read", request):
            pieces += content_pb2.ReadContentResponse.FromString(message).data
    except RpcFailed as failure:
        if failure.status is Status.NOT_FOUND:
            raise UsageError(
                f"The daemon no longer has {blob.digest}.",
                hint="it deletes what belongs to old builds; pin those that are to stay",
            ) from failure
        raise from_failure(failure, address=channel.endpoint.address) from failure
    return bytes(pieces)


async def read_events(channel: Channel, blob: Blob) -> list[tuple[int, list[Event]]]:
    """Read the progress of a build: what was told together, and when, ns since 1970 UTC by the daemon's clock.

    Raises:
        ProtocolError: The blob is not what it should be.
    """
    data = memoryview(await read_blob(channel, blob))
    found: list[tuple[int, list[Event]]] = []
    at, now_ns = 0, 0
    while at < len(data):
        if len(data) - at < 4:
            raise ProtocolError("The log of the build is cut off.", hint="build once more")
        (length,) = struct.unpack_from("<I", data, at)
        at += 4
        if length > len(data) - at:
            raise ProtocolError("The log of the build is cut off.", hint="build once more")
        message = control_pb2.StatusResponse.FromString(bytes(data[at : at + length]))
        at += length
        now_ns = max(now_ns, _newest_ns(message))
        found.append((now_ns, decode(message)))
    return found


def _newest_ns(message: control_pb2.StatusResponse) -> int:
    stamps = [stamp for v in message.vertexes for stamp in (v.started, v.completed)]
    stamps += [status.timestamp for status in message.statuses]
    stamps += [log.timestamp for log in message.logs]
    return max((stamp.seconds * 10**9 + stamp.nanos for stamp in stamps), default=0)


async def read_error(channel: Channel, record: BuildRecord) -> DepotlabError | None:
    """Return how a build failed, with the exit code and the place in the source; None if it did not."""
    if not record.error:
        return None
    if record.failure is None:
        failure = RpcFailed(Status.UNKNOWN, record.error)
    else:
        details = await read_blob(channel, record.failure)
        told = rpcstatus_pb2.Status.FromString(details)
        failure = RpcFailed(Status(told.code), told.message, details)
    return from_failure(failure, address=channel.endpoint.address, building=True)
