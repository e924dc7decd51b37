"""The gateway of a running build: ask about images, solve graphs, return a result.

A build whose Solve names neither a frontend nor a definition is run by its client: we are the frontend.
Every call names the build in its metadata. `Return` is sent exactly once, by `Bridge.finish` or
`Bridge.fail`; without it the outer Solve never ends. Source: moby/buildkit `client/build.go`,
`frontend/gateway/pb/gateway.proto`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from depotlab._proto import gateway_pb2, ops_pb2, rpcstatus_pb2
from depotlab._rpc import Channel, RpcFailed, Status, Stream
from depotlab.errors import ProtocolError

__all__ = [
    "LLB_BRIDGE",
    "Bridge",
    "ResolvedImage",
    "ResolvedSource",
    "SolvedRef",
    "SolvedResult",
    "build_metadata",
]

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


@dataclass(frozen=True, slots=True)
class ResolvedSource:
    """What the builder finds out about a source before it fetches it.

    Attributes:
        identifier: Of the source, such as `https://example.com/app.tar.gz`; a source policy may have changed it.
        digest: Of an image its manifest or index; of a download its content; of git the commit. Empty when unknown.
        config: Of an image its configuration, as JSON; else empty.
        ref: Of git the full name of the branch or tag; else empty.
        filename: Of a download; else empty.
        last_modified_at: Of a download, when its server says so.
    """

    identifier: str
    digest: str = ""
    config: bytes = b""
    ref: str = ""
    filename: str = ""
    last_modified_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SolvedRef:
    """One file system that a solve has made, inside a running build.

    Attributes:
        id: The reference, good until the build ends; empty for scratch.
        definition: The serialised graph that made it, as the daemon says; may be empty.
    """

    id: str
    definition: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class SolvedResult:
    """What a solve has made.

    Attributes:
        refs: By platform, such as `linux/arm64`; the only one of a result for one platform is under "".
        metadata: As the frontend wrote it, such as `containerimage.config`; of several platforms each
            key ends in `/` and the platform.
    """

    refs: Mapping[str, SolvedRef]
    metadata: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    def config(self, platform: str = "") -> bytes:
        """Return the OCI image configuration of a platform as JSON, or empty when there is none."""
        key = "containerimage.config"
        return self.metadata.get(f"{key}/{platform}" if platform else key, b"")


class Bridge:
    """The gateway calls of one build.

    Args:
        channel: The connection on which the build was asked for.
        ref: Name of the build.
        cache_imports: Where our solves look for cached steps, as (type, attributes); the outer Solve's own
            list does not reach them.
        can_evaluate: False for daemons that put a solve off until its result is used.

    Attributes:
        channel: As given.
        ref: As given.
        has_returned: Whether `Return` was accepted; the outer Solve is about to end then.
    """

    def __init__(
        self,
        channel: Channel,
        ref: str,
        *,
        cache_imports: Sequence[tuple[str, Mapping[str, str]]] = (),
        can_evaluate: bool = True,
    ) -> None:
        self.channel = channel
        self.ref = ref
        self.has_returned = False
        self._metadata = build_metadata(ref)
        self._cache_imports = cache_imports
        self._can_evaluate = can_evaluate

    async def call(self, method: str, request: bytes) -> bytes:
        """Make one call of the gateway: bytes of its messages in and out.

        Raises:
            RpcFailed: The daemon refused.
        """
        return await self.channel.unary(LLB_BRIDGE + method, request, metadata=self._metadata)

    def open_stream(self, method: str) -> Stream:
        """Open a call with messages in both directions, such as `ExecProcess`."""
        return self.channel.open_stream(LLB_BRIDGE + method, metadata=self._metadata)

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
            await self.call("ResolveImageConfig", request.SerializeToString())
        )
        return ResolvedImage(answer.Digest, answer.Config, answer.Ref or ref)

    async def resolve_source(
        self, identifier: str, *, attrs: Mapping[str, str] | None = None, platform: str = ""
    ) -> ResolvedSource:
        """Ask about any source, as an op names it: `docker-image://`, `git://`, `https://`.

        Args:
            identifier: Of the source op.
            attrs: Of the source op.
            platform: For images, as `linux/arm64/v8`.
        """
        request = gateway_pb2.ResolveSourceMetaRequest(
            Source=ops_pb2.SourceOp(identifier=identifier, attrs=attrs or {}),
            LogName=f"[internal] load metadata for {identifier}",
        )
        if platform:
            os_name, _, rest = platform.partition("/")
            architecture, _, variant = rest.partition("/")
            request.Platform.MergeFrom(
                ops_pb2.Platform(OS=os_name, Architecture=architecture, Variant=variant)
            )
        answer = gateway_pb2.ResolveSourceMetaResponse.FromString(
            await self.call("ResolveSourceMeta", request.SerializeToString())
        )
        download = answer.HTTP
        stamped = download.HasField("LastModified") and download.LastModified.seconds > 0
        return ResolvedSource(
            identifier=answer.Source.identifier or identifier,
            digest=answer.Image.Digest or download.Checksum or answer.Git.Checksum,
            config=answer.Image.Config,
            ref=answer.Git.Ref,
            filename=download.Filename,
            last_modified_at=download.LastModified.ToDatetime(UTC) if stamped else None,
        )

    async def warn(
        self, digest: str, text: str, *, detail: Sequence[str] = (), url: str = ""
    ) -> None:
        """Attach a remark to a step of the build; the progress shows it.

        Args:
            digest: Of a step that this build has solved.
            text: One sentence.
            detail: More lines.
            url: Where more is said, or empty.
        """
        request = gateway_pb2.WarnRequest(
            digest=digest,
            level=1,
            short=text.encode(),
            detail=[line.encode() for line in detail],
            url=url,
        )
        await self.call("Warn", request.SerializeToString())

    async def solve(self, definition: bytes) -> str:
        """Build a graph now and return the reference of its result, empty for scratch.

        Args:
            definition: A serialised `pb.Definition`.
        """
        request = gateway_pb2.SolveRequest()
        request.Definition.ParseFromString(definition)
        result = await self._solve(request)
        return next((one.id for one in result.refs.values()), "")

    async def solve_frontend(
        self,
        frontend: str,
        options: Mapping[str, str],
        inputs: Mapping[str, bytes] | None = None,
        *,
        evaluate: bool = True,
    ) -> SolvedResult:
        """Let a frontend of the daemon build something, such as a Dockerfile.

        Args:
            frontend: `dockerfile.v0` or `gateway.v0`.
            options: Of the frontend.
            inputs: Serialised definitions by input name.
            evaluate: Run it now; False leaves that to who looks at the result.
        """
        request = gateway_pb2.SolveRequest(Frontend=frontend, FrontendOpt=options)
        for name, definition in (inputs or {}).items():
            request.FrontendInputs[name].ParseFromString(definition)
        return await self._solve(request, evaluate=evaluate)

    async def _solve(
        self, request: gateway_pb2.SolveRequest, *, evaluate: bool = True
    ) -> SolvedResult:
        request.allowResultReturn = True
        request.allowResultArrayRef = True
        request.Evaluate = evaluate and self._can_evaluate
        for kind, attrs in self._cache_imports:
            request.CacheImports.add(Type=kind, Attrs=attrs)
        answer = gateway_pb2.SolveResponse.FromString(
            await self.call("Solve", request.SerializeToString())
        )
        result = _solved(answer.result)
        if evaluate and not self._can_evaluate:
            for one in result.refs.values():
                await self.evaluate(one.id)
        return result

    async def evaluate(self, ref: str) -> None:
        """Make the result that a reference promises, if that is still to be done."""
        if ref:
            # Looking at the result makes it. Source: moby/buildkit `frontend/gateway/grpcclient/client.go`.
            look = gateway_pb2.StatFileRequest(Ref=ref, Path=".")
            await self.call("StatFile", look.SerializeToString())

    async def finish(self, ref: str, metadata: Mapping[str, bytes]) -> None:
        """Return a result: the reference of one platform, and its metadata."""
        result = gateway_pb2.Result(ref=gateway_pb2.Ref(id=ref), metadata=metadata)
        await self._return(gateway_pb2.ReturnRequest(result=result))

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
        await self._return(gateway_pb2.ReturnRequest(result=result))

    async def fail(self, failure: RpcFailed) -> None:
        """Return a failure; its details reappear unchanged in the outer Solve."""
        status = rpcstatus_pb2.Status()
        if failure.details:
            status.ParseFromString(failure.details)
        if status.code == 0:
            status.code = failure.status if failure.status is not Status.OK else Status.UNKNOWN
            status.message = failure.message
        await self._return(gateway_pb2.ReturnRequest(error=status))

    async def _return(self, request: gateway_pb2.ReturnRequest) -> None:
        await self.call("Return", request.SerializeToString())
        self.has_returned = True


def _solved(result: gateway_pb2.Result) -> SolvedResult:
    match result.WhichOneof("result"):
        case "ref":
            refs = {"": result.ref}
        case "refs":
            refs = dict(result.refs.refs)
        case None:
            refs = {"": gateway_pb2.Ref()}
        case other:
            # We ask for the newer forms, which every daemon since 0.8 has.
            raise ProtocolError(
                f"The daemon answered a solve with {other}, which was not asked for."
            )
    return SolvedResult(
        {
            name: SolvedRef(one.id, getattr(one, "def").SerializeToString())
            for name, one in refs.items()
        },
        dict(result.metadata),
    )
