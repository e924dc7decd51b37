"""What a failed step leaves behind in a build that stays open: enough to look at it and to run things in it.

Only solves of the gateway tell; their failure has a detail `errdefs.Solve`, the JSON form of a protobuf message.
The ids are gateway references, good until the build ends.
Source: moby/buildkit `solver/errdefs/solve.go`, `solver/errdefs/errdefs.proto`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import json_format

from depotlab._proto import errdefs_pb2

__all__ = ["FailedOp", "read_failed_op"]


@dataclass(frozen=True, slots=True)
class FailedOp:
    """The op that failed.

    Attributes:
        op: The serialised `pb.Op`.
        input_ids: References of what it read, in the order of its inputs; empty text for scratch.
        mount_ids: References of what its mounts (of an exec) or actions (of a file op) had become when it
            failed, in their order; empty text where there is nothing to look at, such as for a secret.
        action: Of a file op, which of its actions failed; else None.
        cache_input: The input whose content could not be digested, when that is what failed; else None.
        description: What the graph says beside the op, by key.
    """

    op: bytes = field(repr=False)
    input_ids: tuple[str, ...]
    mount_ids: tuple[str, ...]
    action: int | None = None
    cache_input: int | None = None
    description: Mapping[str, str] = field(default_factory=dict, repr=False)


def read_failed_op(value: dict[str, Any]) -> FailedOp | None:
    """Read the detail; None when it is not what it should be, as other unknown details are skipped."""
    try:
        found = json_format.ParseDict(value, errdefs_pb2.Solve(), ignore_unknown_fields=True)
    except json_format.ParseError:
        return None
    subject = found.WhichOneof("subject")
    return FailedOp(
        op=found.op.SerializeToString(),
        input_ids=tuple(found.inputIDs),
        mount_ids=tuple(found.mountIDs),
        action=found.file.index if subject == "file" else None,
        cache_input=found.cache.index if subject == "cache" else None,
        description=dict(found.description),
    )
