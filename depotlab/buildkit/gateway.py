"""The gateway of a running build: ask about images, solve graphs, return a result.

A build whose Solve names neither a frontend nor a definition is run by its client: we are the frontend.
Every call names the build in its metadata. `Return` is sent exactly once, by `Bridge.finish` or
`Bridge.fail`; without it the outer Solve never ends. Source: moby/buildkit `client/build.go`,
`frontend/gateway/pb/gateway.proto`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from depotlab._proto import gateway_pb2, ops_pb2, rpcstatus_pb2
from depotlab._rpc import Channel, RpcFailed, Status

__all__ = ["LLB_BRIDGE", "Bridge", "ResolvedImage", "build_metadata"]

LLB_BRIDGE = "/moby.buildkit.v1.frontend.LLBBridge/"


def build_metadata(ref: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata that names the build a gateway call is for."""
    return (("buildkit-controlapi-buildid", ref),)


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
    """The gateway calls of one build.

    Args:
        channel: The connection on which the build was asked for.
        ref: Name of the build.
        cache_imports: Where our solves look for cached steps, as (type, attributes); the outer Solve's own
            list does not reach them.
        can_evaluate: False for daemons that put a solve off until its result is used.
    """

    def __init__(
        self,
        channel: Channel,
        ref: str,
        *,
        cache_imports: Sequence[tuple[str, Mapping[str, str]]] = (),
        can_evaluate: bool = True,
    ) -> None:
        self._channel = channel
        self._metadata = build_metadata(ref)
        self._cache_imports = cache_imports
        self._can_evaluate = can_evaluate

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
            allowResultReturn=True, allowResultArrayRef=True, Evaluate=self._can_evaluate
        )
        request.Definition.ParseFromString(definition)
        for kind, attrs in self._cache_imports:
            request.CacheImports.add(Type=kind, Attrs=attrs)
        answer = gateway_pb2.SolveResponse.FromString(
            await self._call("Solve", request.SerializeToString())
        )
        ref = answer.result.ref.id
        if ref and not self._can_evaluate:
            # Looking at the result makes it. Source: moby/buildkit `frontend/gateway/grpcclient/client.go`.
            look = gateway_pb2.StatFileRequest(Ref=ref, Path=".")
            await self._call("StatFile", look.SerializeToString())
        return ref

    async def finish(self, ref: str, metadata: Mapping[str, bytes]) -> None:
        """Return a result: the reference of one platform, and its metadata."""
        result = gateway_pb2.Result(ref=gateway_pb2.Ref(id=ref), metadata=metadata)
        await self._call("Return", gateway_pb2.ReturnRequest(result=result).SerializeToString())

    async def finish_all(self, refs: Mapping[str, str], metadata: Mapping[str, bytes]) -> None:
        """Return a result for several platforms.

        Args:
            refs: References by platform, such as `linux/arm64`.
            metadata: Keys that are one platform's end in `/` and its name.
        """
        platforms = []
        for name in refs:
            os_name, _, rest = name.partition("/")
            architecture, _, variant = rest.partition("/")
            platform = {"architecture": architecture, "os": os_name}
            if variant:
                platform["variant"] = variant
            platforms.append({"ID": name, "Platform": platform})
        # Source: moby/buildkit `exporter/containerimage/exptypes/types.go`.
        listed = json.dumps({"Platforms": platforms}, separators=(",", ":")).encode()
        result = gateway_pb2.Result(metadata={**metadata, "refs.platforms": listed})
        for name, ref in refs.items():
            result.refs.refs[name].id = ref
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
