"""Secrets are taken out of messages, also those that are cut in two: logs come in pieces, as they were written."""

from __future__ import annotations

from collections.abc import Sequence

from depotlab._proto import control_pb2, gateway_pb2
from depotlab._recorded.hide import Hider

__all__ = ["cover"]


def cover(method: str, messages: Sequence[bytes], hider: Hider) -> list[bytes]:
    """Return the messages of a call without secrets, each as long as before."""
    found = list(messages)
    if method.endswith("Control/Status"):
        found = _logs(found, hider)
    elif method.endswith("LLBBridge/ExecProcess"):
        found = _outputs(found, hider)
    return [hider.hide(message) for message in found]


def _logs(messages: list[bytes], hider: Hider) -> list[bytes]:
    told = [control_pb2.StatusResponse.FromString(message) for message in messages]
    logs = [log for status in told for log in status.logs]
    pieces = _by_origin([((log.vertex, log.stream), log.msg) for log in logs], hider)
    if pieces is None:
        return messages
    for log, piece in zip(logs, pieces, strict=True):
        log.msg = piece
    return [status.SerializeToString() for status in told]


def _outputs(messages: list[bytes], hider: Hider) -> list[bytes]:
    told = [gateway_pb2.ExecMessage.FromString(message) for message in messages]
    files = [one.File for one in told if one.WhichOneof("Input") == "File"]
    pieces = _by_origin([(file.Fd, file.Data) for file in files], hider)
    if pieces is None:
        return messages
    for file, piece in zip(files, pieces, strict=True):
        file.Data = piece
    return [one.SerializeToString() for one in told]


def _by_origin(pieces: Sequence[tuple[object, bytes]], hider: Hider) -> list[bytes] | None:
    """Cover what pieces of one origin say together; None when there is nothing to cover."""
    gathered: dict[object, list[bytes]] = {}
    for origin, piece in pieces:
        gathered.setdefault(origin, []).append(piece)
    whole = {origin: b"".join(parts) for origin, parts in gathered.items()}
    covered = {origin: hider.hide(text) for origin, text in whole.items()}
    if covered == whole:
        return None
    found, ends = [], dict.fromkeys(whole, 0)
    for origin, piece in pieces:
        start = ends[origin]
        ends[origin] = start + len(piece)
        found.append(covered[origin][start : ends[origin]])
    return found
