"""gRPC: the outer channel and the inner server. The only room that knows the gRPC library."""

from depotlab._rpc.answers import request_block
from depotlab._rpc.bytesmessages import Unwrapper
from depotlab._rpc.call import Call, Handler, RpcFault, Status
from depotlab._rpc.channel import Channel, Stream, call_once
from depotlab._rpc.docker import docker_endpoint
from depotlab._rpc.doors import endpoint_at
from depotlab._rpc.endpoint import DEFAULT_ADDRESS, TLS, Endpoint, SessionDialer
from depotlab._rpc.failed import RpcFailed
from depotlab._rpc.fields import Malformed, NotGrpc, parse_request
from depotlab._rpc.frames import DATA, END_STREAM, PREFACE, ErrorCode, frame
from depotlab._rpc.framing import Inbox, Tally
from depotlab._rpc.handlers import Instant, unary
from depotlab._rpc.headers import Headers
from depotlab._rpc.health import HEALTH, HEALTH_CHECK
from depotlab._rpc.http2client import ClientConnection
from depotlab._rpc.inner import ByteStream, InnerServer
from depotlab._rpc.outer import OuterCall
from depotlab._rpc.sockets import SocketTransport
from depotlab._rpc.tap import Exchange, OpenTap, Side, Tap, Telling, begin_telling, tapped
from depotlab._rpc.tapcalls import TappedBytes
from depotlab._rpc.tls import TlsTransport, client_context, server_context
from depotlab._rpc.tracing import build_traced
from depotlab._rpc.transport import Dialer, Transport
from depotlab._rpc.wire import FrameReader

__all__ = [
    "DATA",
    "DEFAULT_ADDRESS",
    "END_STREAM",
    "HEALTH",
    "HEALTH_CHECK",
    "PREFACE",
    "TLS",
    "ByteStream",
    "Call",
    "Channel",
    "ClientConnection",
    "Dialer",
    "Endpoint",
    "ErrorCode",
    "Exchange",
    "FrameReader",
    "Handler",
    "Headers",
    "Inbox",
    "InnerServer",
    "Instant",
    "Malformed",
    "NotGrpc",
    "OpenTap",
    "OuterCall",
    "RpcFailed",
    "RpcFault",
    "SessionDialer",
    "Side",
    "SocketTransport",
    "Status",
    "Stream",
    "Tally",
    "Tap",
    "TappedBytes",
    "Telling",
    "TlsTransport",
    "Transport",
    "Unwrapper",
    "begin_telling",
    "build_traced",
    "call_once",
    "client_context",
    "docker_endpoint",
    "endpoint_at",
    "frame",
    "parse_request",
    "request_block",
    "server_context",
    "tapped",
    "unary",
]
