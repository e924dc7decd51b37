"""Places in the user's code are left out of recordings: whoever plays one has the code at hand, perhaps elsewhere.

A daemon repeats, in the details of a failure, the places that came with the graph. In a recording they are left out,
and put back from the graph that is built now.
Source: moby/buildkit `solver/errdefs/source.go`, `client/llb/sourcemap.go`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError

from depotlab._proto import control_pb2, gateway_pb2, ops_pb2, rpcstatus_pb2

__all__ = ["kept_answer", "kept_details", "with_sources"]

_SOURCE = "errdefs.Source+json"
_STACK = "stack.Stack+json"
_TYPE_URL = "github.com/moby/buildkit/errdefs.Source+json"


def kept_details(details: bytes, *, of_graph: bool) -> bytes:
    """Return what is kept of the details of a failure.

    Left out are the daemon's own stack traces, which name files of its machine, and of graphs the places in sources.
    """
    status = _read(details)
    if status is None:
        return b""
    _clean(status, of_graph=of_graph)
    return status.SerializeToString()


def kept_answer(method: str, *, of_graph: bool) -> Callable[[bytes], bytes]:
    """Return what makes of an answer what is kept of it."""
    if of_graph:
        return _without_code
    if method.endswith("LLBBridge/ExecProcess"):
        return _without_trace
    if method.endswith("Control/ListenBuildHistory"):
        return _without_traces
    return bytes


def _clean(status: rpcstatus_pb2.Status, *, of_graph: bool) -> None:
    dropped = (_STACK, _SOURCE) if of_graph else (_STACK,)
    kept = [one for one in status.details if not one.type_url.endswith(dropped)]
    del status.details[:]
    status.details.extend(kept)


def _without_code(answer: bytes) -> bytes:
    """The answer to a solve repeats the graph that was asked for, with the places in sources."""
    found = gateway_pb2.SolveResponse.FromString(answer)
    for ref in (found.result.ref, *found.result.refs.refs.values()):
        if ref.HasField("def"):
            getattr(ref, "def").ClearField("Source")
    return found.SerializeToString()


def _without_trace(answer: bytes) -> bytes:
    found = gateway_pb2.ExecMessage.FromString(answer)
    if found.WhichOneof("Input") == "Exit" and found.Exit.HasField("Error"):
        _clean(found.Exit.Error, of_graph=False)
        return found.SerializeToString()
    return answer


def _without_traces(answer: bytes) -> bytes:
    found = control_pb2.BuildHistoryEvent.FromString(answer)
    if found.record.HasField("error"):
        _clean(found.record.error, of_graph=False)
        return found.SerializeToString()
    return answer


def with_sources(details: bytes, definition: ops_pb2.Definition) -> bytes:
    """Return the details of a failure with the places that the graph has for the step that failed."""
    status = _read(details)
    if status is None:
        return details
    vertex = ""
    for one in status.details:
        if one.type_url.endswith("errdefs.Vertex+json"):
            vertex = str(json.loads(one.value).get("digest", ""))
    source = definition.Source
    if vertex not in source.locations:
        return details
    for location in source.locations[vertex].locations:
        if 0 <= location.sourceIndex < len(source.infos):
            added = status.details.add()
            added.type_url = _TYPE_URL
            added.value = json.dumps(_place(source.infos[location.sourceIndex], location)).encode()
    return status.SerializeToString()


def _place(info: ops_pb2.SourceInfo, location: ops_pb2.Location) -> dict[str, Any]:
    return {
        "info": {
            "filename": info.filename,
            "data": base64.b64encode(info.data).decode(),
            "language": info.language,
        },
        "ranges": [
            {"start": {"line": one.start.line}, "end": {"line": one.end.line}}
            for one in location.ranges
        ],
    }


def _read(details: bytes) -> rpcstatus_pb2.Status | None:
    status = rpcstatus_pb2.Status()
    try:
        status.ParseFromString(details)
    except DecodeError:
        return None
    return status
