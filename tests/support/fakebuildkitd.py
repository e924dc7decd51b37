"""A daemon that only answers what it is asked before a build: for daemons that cannot be had for a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio

from depotlab._proto import apicaps_pb2, control_pb2, gateway_pb2, worker_pb2

CONTROL = "moby.buildkit.v1.Control"
BRIDGE = "moby.buildkit.v1.frontend.LLBBridge"


class FakeBuildkitd:
    """Attributes:
    llb: Capabilities of graphs: a list of names, or each with the reason why it is off.
    gateway: The same of the gateway.
    version: What `Info` says; None has no such call.
    has_bridge: False has no gateway for clients.
    n_asked: Builds that asked what it can do.
    calls: Method and request of every call, in order.
    """

    def __init__(
        self,
        *,
        llb: Sequence[str] | Mapping[str, str] = (),
        gateway: Sequence[str] | Mapping[str, str] = (),
        version: str | None = "v0.12.0",
        has_bridge: bool = True,
    ) -> None:
        self.llb = llb
        self.gateway = gateway
        self.version = version
        self.has_bridge = has_bridge
        self.n_asked = 0
        self.calls: list[tuple[str, bytes]] = []
        self._builds: dict[str, asyncio.Event] = {}

    @asynccontextmanager
    async def serve(self, folder: Path) -> AsyncIterator[str]:
        """Yield the address for as long as it answers."""
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((_Handlers(self),))
        path = folder / "fake.sock"
        server.add_insecure_port(f"unix:{path}")
        await server.start()
        try:
            yield f"unix://{path}"
        finally:
            await server.stop(None)

    async def answer(self, method: str, request: bytes, context) -> bytes:
        self.calls.append((method, request))
        match method.split("/")[1:]:
            case [service, "Info"] if service == CONTROL and self.version is not None:
                version = worker_pb2.BuildkitVersion(version=self.version)
                return control_pb2.InfoResponse(buildkitVersion=version).SerializeToString()
            case [service, "Solve"] if service == CONTROL:
                return await self._solve(control_pb2.SolveRequest.FromString(request))
            case [service, name] if service == BRIDGE and self.has_bridge:
                return self._bridge(name, request, dict(context.invocation_metadata()))
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"unknown {method}")
        raise AssertionError

    async def _solve(self, request: control_pb2.SolveRequest) -> bytes:
        assert request.Internal, "nobody shall see it in the history"
        assert not request.HasField("Definition")
        self.n_asked += 1
        returned = self._builds.setdefault(request.Ref, asyncio.Event())
        await returned.wait()
        return control_pb2.SolveResponse().SerializeToString()

    def _bridge(self, name: str, request: bytes, metadata: Mapping[str, str]) -> bytes:
        ref = metadata["buildkit-controlapi-buildid"]
        match name:
            case "Ping":
                return gateway_pb2.PongResponse(
                    LLBCaps=_caps(self.llb), FrontendAPICaps=_caps(self.gateway)
                ).SerializeToString()
            case "Return":
                self._builds.setdefault(ref, asyncio.Event()).set()
                return b""
            case "Solve":
                result = gateway_pb2.Result(ref=gateway_pb2.Ref(id="the result"))
                return gateway_pb2.SolveResponse(result=result).SerializeToString()
        return b""


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, daemon: FakeBuildkitd) -> None:
        self._daemon = daemon

    def service(self, details):
        async def answer(request, context):
            return await self._daemon.answer(details.method, request, context)

        return grpc.unary_unary_rpc_method_handler(answer)


def _caps(listed: Sequence[str] | Mapping[str, str]) -> list[apicaps_pb2.APICap]:
    reasons = listed if isinstance(listed, Mapping) else dict.fromkeys(listed, "")
    return [
        apicaps_pb2.APICap(ID=name, Enabled=not reason, DisabledReasonMsg=reason)
        for name, reason in reasons.items()
    ]
