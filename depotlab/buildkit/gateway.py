"""The gateway of a running build: ask about images, solve graphs, return a result.

A build whose Solve names neither a frontend nor a definition is run by its client: we are the frontend.
Every call names the build in its metadata. `Return` is sent exactly once, by `Bridge.finish` or
`Bridge.fail`; without it the outer Solve never ends. Source: moby/buildkit `client/build.go`,
`frontend/gateway/pb/gateway.proto`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from depotlab._proto import gateway_pb2, ops_pb2, rpcstatus_pb2
from depotlab._rpc import Channel, RpcFailed, Status

__all__ = ["Bridge", "ResolvedImage"]

LLB_BRIDGE = "/moby.buildkit.v1.frontend.LLBBridge/"


@dataclass(frozen=True, slots=True)
class ResolvedImage:
    """What a registry says of an image for one platform.

    Attributes:
        digest: Of the manifest or index.
        config: The OCI image configuration, as JSON.
        ref: The reference that was resolved; a source policy may have changed it.
    """

    digest: str
    config: bytes
    ref: str


class Bridge:
    """The gateway calls of one build."""

    def __init__(self, channel: Channel, ref: str) -> None:
        self._channel = channel
        self._metadata = (("buildkit-controlapi-buildid", ref),)

    async def _call(self, method: str, request: bytes) -> bytes:
        return await self._channel.unary(LLB_BRIDGE + method, request, metadata=self._metadata)

    async def resolve_image(self, ref: str, platform: str) -> ResolvedImage:
        """Look up an image on the builder's side, with the builder's mirrors and our credentials.

        Args:
            ref: Full reference, such as `docker.io/library/busybox:latest`.
            platform: As `linux/arm64/v8`.
        """
        os_name, _, rest = platform.partition("/")
        architecture, _, variant = rest.partition("/")
        request = gateway_pb2.ResolveImageConfigRequest(
            Ref=ref,
            Platform=ops_pb2.Platform(OS=os_name, Architecture=architecture, Variant=variant),
            ResolveMode="default",
            LogName=f"[internal] load metadata for {ref}",
        )
        answer = gateway_pb2.ResolveImageConfigResponse.FromString(
            await self._call("ResolveImageConfig", request.SerializeToString())
        )
        return ResolvedImage(answer.Digest, answer.Config, answer.Ref or ref)

    async def solve(self, definition: bytes) -> str:
        """Build a graph now and return the reference of its result, empty for scratch.

        Args:
            definition: A serialised `pb.Definition`.
        """
        request = gateway_pb2.SolveRequest(
            allowResultReturn=True, allowResultArrayRef=True, Evaluate=True
        )
        request.Definition.ParseFromString(definition)
        answer = gateway_pb2.SolveResponse.FromString(
            await self._call("Solve", request.SerializeToString())
        )
        return answer.result.ref.id

    async def finish(self, ref: str, metadata: Mapping[str, bytes]) -> None:
        """Return a result: the reference of one platform, and its metadata."""
        result = gateway_pb2.Result(ref=gateway_pb2.Ref(id=ref), metadata=metadata)
        await self._call("Return", gateway_pb2.ReturnRequest(result=result).SerializeToString())

    async def fail(self, failure: RpcFailed) -> None:
        """Return a failure; its details reappear unchanged in the outer Solve."""
        status = rpcstatus_pb2.Status()
        if failure.details:
            status.ParseFromString(failure.details)
        if status.code == 0:
            status.code = failure.status if failure.status is not Status.OK else Status.UNKNOWN
            status.message = failure.message
        await self._call("Return", gateway_pb2.ReturnRequest(error=status).SerializeToString())
