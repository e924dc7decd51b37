"""Progress of a recorded build, moved to now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from depotlab._proto import control_pb2
from depotlab._recorded.tape import Message

__all__ = ["shift", "skew_ns"]

_SECOND_NS = 1_000_000_000


def skew_ns(messages: Sequence[Message], began_ns: int) -> int:
    """Return how far the daemon's clock was behind ours, as far as the messages tell, in whole seconds.

    A message cannot come before what it tells of; the one that came soonest after it is taken to have come at once.

    Args:
        messages: Of `Control.Status`.
        began_ns: When the recording began, on our clock.
    """
    delays = []
    for message in messages:
        stamps = [
            stamp.ToNanoseconds()
            for stamp in _stamps(control_pb2.StatusResponse.FromString(message.data))
        ]
        if stamps:
            delays.append(began_ns + message.at_ns - max(stamps))
    found = min(delays, default=0)
    if 0 <= found <= _SECOND_NS:
        return 0
    return found // _SECOND_NS * _SECOND_NS


def shift(data: bytes, by_ns: int) -> bytes:
    """Return a status message with all its times moved."""
    status = control_pb2.StatusResponse.FromString(data)
    for stamp in _stamps(status):
        stamp.FromNanoseconds(stamp.ToNanoseconds() + by_ns)
    return status.SerializeToString()


def _stamps(status: control_pb2.StatusResponse) -> Iterator[Timestamp]:
    for step in status.vertexes:
        if step.HasField("started"):
            yield step.started
        if step.HasField("completed"):
            yield step.completed
    for part in status.statuses:
        if part.HasField("started"):
            yield part.started
        if part.HasField("completed"):
            yield part.completed
        if part.HasField("timestamp"):
            yield part.timestamp
    for log in status.logs:
        if log.HasField("timestamp"):
            yield log.timestamp
