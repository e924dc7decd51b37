"""What the ids in an answer stand for, so that requests which use them can be told apart by what they mean."""

from __future__ import annotations

import json

from google.protobuf.message import DecodeError

from depotlab._proto import gateway_pb2, rpcstatus_pb2
from depotlab._recorded.canonical import Names
from depotlab._recorded.tape import Call

__all__ = ["learn", "learn_container"]


def learn(names: Names, call: Call, request: bytes = b"") -> None:
    """Take in what a call has brought.

    Args:
        names: Where it goes.
        call: With its answers.
        request: The serialised message; a recording does not have it, and then ids of the client are not learnt.
    """
    if call.is_control:
        return
    if call.name == "NewContainer" and request:
        learn_container(names, call.key, request)
    elif call.name == "Solve":
        meaning = call.key
        for message in call.messages:
            result = gateway_pb2.SolveResponse.FromString(message.data).result
            names.add(result.ref.id, f"result of {meaning}")
            for platform, ref in result.refs.refs.items():
                names.add(ref.id, f"result of {meaning} for {platform}")
        for side, number, left in _left(call.details):
            names.add(left, f"{side} {number} of failed {meaning}")


def learn_container(names: Names, key: str, request: bytes) -> None:
    """Take in the id that a client has made up for a container."""
    names.add(gateway_pb2.NewContainerRequest.FromString(request).ContainerID, f"container {key}")


def _left(details: bytes) -> list[tuple[str, int, str]]:
    """Return the ids of what a failed step has left. Source: moby/buildkit `solver/errdefs/errdefs.proto`."""
    status = rpcstatus_pb2.Status()
    try:
        status.ParseFromString(details)
    except DecodeError:
        return []
    found = []
    for detail in status.details:
        if detail.type_url.endswith("errdefs.Solve+json"):
            value = json.loads(detail.value)
            for side in ("inputIDs", "mountIDs"):
                found += [(side, n, str(one)) for n, one in enumerate(value.get(side) or ())]
    return found
