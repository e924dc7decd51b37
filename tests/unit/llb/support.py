"""Reading our bytes back with generated messages, which the room itself never uses."""

from __future__ import annotations

from typing import Any

from depotlab._proto import ops_pb2 as pb
from depotlab.llb import State


def messages(state: State, **options: Any) -> list[Any]:
    """Return all ops of a marshalled state but the last as messages."""
    definition = state.marshal("linux/amd64", local_unique_id="u", **options)
    found = []
    for data in definition.data[:-1]:
        op = pb.Op()
        op.ParseFromString(data)
        found.append(op)
    return found


def last_op(state: State) -> Any:
    return messages(state)[-1]


def last_exec(state: State) -> Any:
    op = last_op(state)
    assert op.WhichOneof("op") == "exec"
    return op


def exec_meta(state: State) -> Any:
    return last_exec(state).exec.meta


def actions(state: State) -> list[Any]:
    """Return the actions of the file op on top."""
    return [getattr(action, action.WhichOneof("action")) for action in last_op(state).file.actions]
