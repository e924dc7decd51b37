"""Status messages of BuildKit, folded into the steps and logs of a build, whoever ran it.

The gate sees every build's own steps; the official CLI adds those that only it knows (launching,
connecting, pulling). The same word may come from both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from depotlab._plane.history import History, Log, Seen
from depotlab._proto import control_pb2 as control
from depotlab._proto import depot_cli_pb2 as cli
from depotlab._serving import Fault

__all__ = ["fold", "fold_bytes", "timings"]


def fold(history: History, build_id: str, statuses: Iterable[control.StatusResponse]) -> None:
    """Record what some status messages say about a build."""
    steps: list[Seen] = []
    logs: list[Log] = []
    for status in statuses:
        steps += [
            Seen(
                vertex.digest,
                vertex.name,
                _ns(vertex.started) if vertex.HasField("started") else None,
                _ns(vertex.completed) if vertex.HasField("completed") else None,
                vertex.cached,
                vertex.error,
            )
            for vertex in status.vertexes
        ]
        logs += [Log(log.vertex, _ns(log.timestamp), log.stream, log.msg) for log in status.logs]
    if steps or logs:
        history.record(build_id, steps, logs)


def fold_bytes(history: History, build_id: str, message: bytes) -> None:
    """Record a serialized status message.

    Raises:
        Fault: invalid_argument: it is not one.
    """
    try:
        status = control.StatusResponse.FromString(message)
    except DecodeError as error:
        raise Fault("invalid_argument", "this is not a status message of BuildKit") from error
    fold(history, build_id, [status])


def timings(build_steps: Iterable[cli.BuildStep]) -> list[Seen]:
    """Return what a report of timings says. A step without a digest gets one of its name."""
    return [
        Seen(
            step.stable_digest or f"sha256:{hashlib.sha256(step.name.encode()).hexdigest()}",
            step.name,
            _ns(step.start_time),
            _ns(step.start_time) + step.duration_ms * 1_000_000,
            step.cached,
            step.error,
        )
        for step in build_steps
    ]


def _ns(at: Timestamp) -> int:
    return at.seconds * 1_000_000_000 + at.nanos
