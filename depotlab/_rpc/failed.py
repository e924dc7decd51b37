"""How a call of ours ends when it does not end well."""

from __future__ import annotations

from depotlab._rpc.call import Status
from depotlab.errors import LinkError

__all__ = ["RpcFailed"]


class RpcFailed(Exception):
    """The peer ended a call with a status other than OK.

    Attributes:
        status: gRPC status code.
        message: Text of the peer.
        details: The serialised `google.rpc.Status` of `grpc-status-details-bin`, or empty.
        link: Why the connection broke, when it did and what carries it knows more than gRPC says.
    """

    def __init__(
        self, status: Status, message: str, details: bytes = b"", *, link: LinkError | None = None
    ) -> None:
        super().__init__(f"{status.name}: {message}")
        self.status = status
        self.message = message
        self.details = details
        self.link = link
