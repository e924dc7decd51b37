"""gRPC: the outer channel and the inner server. The only room that knows the gRPC library."""

from depotlab._rpc.call import Call, Handler, RpcFault, Status
from depotlab._rpc.channel import Channel, RpcFailed, Stream, call_once
from depotlab._rpc.endpoint import DEFAULT_ADDRESS, TLS, Endpoint

__all__ = [
    "DEFAULT_ADDRESS",
    "TLS",
    "Call",
    "Channel",
    "Endpoint",
    "Handler",
    "RpcFailed",
    "RpcFault",
    "Status",
    "Stream",
    "call_once",
]
