"""A daemon that only listens: it notes what a client asks for, and refuses to build it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc

from depotlab._proto import control_pb2

__all__ = ["Recorder", "recording_daemon"]

_CONTROL = "moby.buildkit.v1.Control"


class Recorder:
    """What was asked for.

    Attributes:
        address: Where it listens.
        requests: Each Solve, in order.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.requests: list[control_pb2.SolveRequest] = []

    def solve(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self.requests.append(control_pb2.SolveRequest.FromString(request))
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "this daemon only listens")
        return b""

    def list_workers(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        return control_pb2.ListWorkersResponse(record=[{"ID": "w"}]).SerializeToString()

    def session(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        with contextlib.suppress(grpc.RpcError):  # the client hangs up
            for _ in requests:
                pass
        yield from ()

    def status(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        yield from ()


@contextlib.contextmanager
def recording_daemon(host_dir: Path) -> Iterator[Recorder]:
    """Listen on a socket in a directory for as long as a block lasts."""
    recorder = Recorder(f"unix://{host_dir}/d.sock")
    server = grpc.server(futures.ThreadPoolExecutor(8))
    handlers = {
        "Solve": grpc.unary_unary_rpc_method_handler(recorder.solve),
        "ListWorkers": grpc.unary_unary_rpc_method_handler(recorder.list_workers),
        "Session": grpc.stream_stream_rpc_method_handler(recorder.session),
        "Status": grpc.unary_stream_rpc_method_handler(recorder.status),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_CONTROL, handlers),))
    server.add_insecure_port(recorder.address.replace("unix://", "unix:"))
    server.start()
    try:
        yield recorder
    finally:
        server.stop(None).wait()
