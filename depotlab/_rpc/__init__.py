"""gRPC: the outer channel and the inner server. The only room that knows the gRPC library."""

from depotlab._rpc.call import Call, Handler, RpcFault, Status
from depotlab._rpc.channel import Channel, RpcFailed, Stream, call_once
from depotlab._rpc.endpoint import DEFAULT_ADDRESS, TLS, Endpoint
from depotlab._rpc.handlers import Instant, unary
from depotlab._rpc.health import HEALTH, HEALTH_CHECK
from depotlab._rpc.inner import ByteStream, InnerServer

__all__ = [
    "DEFAULT_ADDRESS",
    "HEALTH",
    "HEALTH_CHECK",
    "TLS",
    "ByteStream",
    "Call",
    "Channel",
    "Endpoint",
    "Handler",
    "InnerServer",
    "Instant",
    "RpcFailed",
    "RpcFault",
    "Status",
    "Stream",
    "call_once",
    "unary",
]
