"""gRPC: the outer channel and the inner server. The only room that knows the gRPC library."""

from depotlab._rpc.bytesmessages import Unwrapper
from depotlab._rpc.call import Call, Handler, RpcFault, Status
from depotlab._rpc.channel import Channel, Stream, call_once
from depotlab._rpc.docker import docker_endpoint
from depotlab._rpc.doors import endpoint_at
from depotlab._rpc.endpoint import DEFAULT_ADDRESS, TLS, Endpoint, SessionDialer
from depotlab._rpc.failed import RpcFailed
from depotlab._rpc.handlers import Instant, unary
from depotlab._rpc.health import HEALTH, HEALTH_CHECK
from depotlab._rpc.inner import ByteStream, InnerServer
from depotlab._rpc.outer import OuterCall
from depotlab._rpc.transport import Dialer, Transport

__all__ = [
    "DEFAULT_ADDRESS",
    "HEALTH",
    "HEALTH_CHECK",
    "TLS",
    "ByteStream",
    "Call",
    "Channel",
    "Dialer",
    "Endpoint",
    "Handler",
    "InnerServer",
    "Instant",
    "OuterCall",
    "RpcFailed",
    "RpcFault",
    "SessionDialer",
    "Status",
    "Stream",
    "Transport",
    "Unwrapper",
    "call_once",
    "docker_endpoint",
    "endpoint_at",
    "unary",
]
