"""A call as it is heard, before anything is made of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from depotlab._proto import control_pb2, gateway_pb2
from depotlab._recorded.tape import CANCELLED
from depotlab._rpc import Exchange

__all__ = ["BRIDGE", "CONTROL", "Heard"]

CONTROL = "moby.buildkit.v1.Control"
BRIDGE = "moby.buildkit.v1.frontend.LLBBridge"


@dataclass(slots=True)
class Heard:
    """A call as it is told."""

    exchange: Exchange
    requests: list[bytes] = field(default_factory=list)
    answers: list[tuple[int, bytes, int]] = field(
        default_factory=list
    )  # when, what, after how much
    stdin: bytearray = field(default_factory=bytearray)
    n_sent: int = 0
    ended_ns: int = 0
    code: int = CANCELLED
    text: str = "it had not ended when the recording was saved"
    details: bytes = b""
    context: str = ""
    archive: hashlib._Hash | None = None

    @property
    def build_request(self) -> control_pb2.SolveRequest | None:
        """What `Control.Solve` asked for; None for all other calls."""
        if self.exchange.path != f"/{CONTROL}/Solve" or not self.requests:
            return None
        return control_pb2.SolveRequest.FromString(self.requests[0])

    @property
    def graph_request(self) -> gateway_pb2.SolveRequest | None:
        """What `Solve` of the gateway asked for; None for all other calls."""
        if self.exchange.path != f"/{BRIDGE}/Solve" or not self.requests:
            return None
        return gateway_pb2.SolveRequest.FromString(self.requests[0])

    @property
    def is_build(self) -> bool:
        """It is a build that reads or makes something; questions about what a daemon can do have no session."""
        request = self.build_request
        return request is not None and bool(request.Session)

    @property
    def version(self) -> str:
        """What version of BuildKit a daemon's first worker says that it is, if this call asks for it."""
        if self.exchange.method != "ListWorkers" or not self.answers:
            return ""
        answer = control_pb2.ListWorkersResponse.FromString(self.answers[0][1])
        return next((one.BuildkitVersion.version for one in answer.record), "")
