"""The real daemon must not send a field that our schemas do not know."""

import asyncio

import pytest
from google.protobuf.unknown_fields import UnknownFieldSet

from depotlab import llb
from depotlab._proto import content_pb2, control_pb2, gateway_pb2
from depotlab._rpc import Channel, Endpoint
from depotlab.buildkit import new_ref

CONTROL = "/moby.buildkit.v1.Control/"
BRIDGE = "/moby.buildkit.v1.frontend.LLBBridge/"


def unknown(message, path=""):
    """Yield the paths of all fields in a message, at any depth, that the schema does not have."""
    for field in UnknownFieldSet(message):
        yield f"{path or message.DESCRIPTOR.name}: field {field.field_number}"
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        here = f"{path or message.DESCRIPTOR.name}.{field.name}"
        if field.message_type.GetOptions().map_entry:
            values = (
                value.values() if field.message_type.fields_by_name["value"].message_type else []
            )
        else:
            values = value if field.is_repeated else [value]
        for item in values:
            yield from unknown(item, here)


def test_unknown_fields_are_found_at_any_depth():
    info = control_pb2.InfoResponse()
    info.buildkitVersion.ParseFromString(b"\xf8\x07\x01")  # field 127
    assert list(unknown(info)) == ["InfoResponse.buildkitVersion: field 127"]


@pytest.fixture(scope="module")
def messages(engine):
    """Messages of every kind that a daemon sends unasked or on request, from a build that fails."""
    return asyncio.run(_collect(engine.address))


async def _collect(address):
    channel = Channel(Endpoint(address))
    found = []

    async def ask(method, kind, request=b"", **options):
        found.append(kind.FromString(await channel.unary(method, request, **options)))
        return found[-1]

    try:
        await channel.ready()
        definition = (
            llb.image("busybox")
            .run("echo out; echo err >&2; head -c 100000 /dev/zero | wc -c", name="talk")
            .marshal("linux/amd64")
        )
        ref = new_ref()
        request = control_pb2.SolveRequest(Ref=ref)
        solving = asyncio.create_task(channel.unary(CONTROL + "Solve", request.SerializeToString()))
        build = (("buildkit-controlapi-buildid", ref),)
        await ask(BRIDGE + "Ping", gateway_pb2.PongResponse, metadata=build)
        await ask(
            BRIDGE + "ResolveImageConfig",
            gateway_pb2.ResolveImageConfigResponse,
            gateway_pb2.ResolveImageConfigRequest(
                Ref="docker.io/library/busybox:latest"
            ).SerializeToString(),
            metadata=build,
        )
        inner = gateway_pb2.SolveRequest(
            allowResultReturn=True, allowResultArrayRef=True, Evaluate=True
        )
        inner.Definition.ParseFromString(definition.to_bytes())
        solved = await ask(
            BRIDGE + "Solve", gateway_pb2.SolveResponse, inner.SerializeToString(), metadata=build
        )
        file = gateway_pb2.StatFileRequest(Ref=solved.result.ref.id, Path="/bin/busybox")
        await ask(
            BRIDGE + "StatFile",
            gateway_pb2.StatFileResponse,
            file.SerializeToString(),
            metadata=build,
        )
        folder = gateway_pb2.ReadDirRequest(Ref=solved.result.ref.id, DirPath="/bin")
        await ask(
            BRIDGE + "ReadDir",
            gateway_pb2.ReadDirResponse,
            folder.SerializeToString(),
            metadata=build,
        )
        back = gateway_pb2.ReturnRequest(result=solved.result)
        await ask(
            BRIDGE + "Return",
            gateway_pb2.ReturnResponse,
            back.SerializeToString(),
            metadata=build,
        )
        found.append(control_pb2.SolveResponse.FromString(await solving))
        status = control_pb2.StatusRequest(Ref=ref).SerializeToString()
        async for data in channel.stream(CONTROL + "Status", status):
            found.append(control_pb2.StatusResponse.FromString(data))
        await ask(CONTROL + "Info", control_pb2.InfoResponse)
        await ask(CONTROL + "ListWorkers", control_pb2.ListWorkersResponse)
        await ask(CONTROL + "DiskUsage", control_pb2.DiskUsageResponse)
        history = control_pb2.BuildHistoryRequest(EarlyExit=True).SerializeToString()
        async for data in channel.stream(CONTROL + "ListenBuildHistory", history):
            found.append(control_pb2.BuildHistoryEvent.FromString(data))
        record = next(
            m.record for m in reversed(found) if isinstance(m, control_pb2.BuildHistoryEvent)
        )
        if record.logs.digest:
            blob = content_pb2.InfoRequest(digest=record.logs.digest).SerializeToString()
            await ask(
                "/containerd.services.content.v1.Content/Info", content_pb2.InfoResponse, blob
            )
    finally:
        await channel.close()
    return found


def test_every_kind_of_message_was_seen(messages):
    kinds = {type(m).__name__ for m in messages}
    assert kinds >= {
        "BuildHistoryEvent",
        "DiskUsageResponse",
        "InfoResponse",
        "ListWorkersResponse",
        "PongResponse",
        "ReadDirResponse",
        "ResolveImageConfigResponse",
        "SolveResponse",
        "StatFileResponse",
        "StatusResponse",
    }


def test_the_daemon_sends_no_field_that_we_do_not_know(messages):
    surprises = sorted({line for m in messages for line in unknown(m)})
    assert not surprises, "\n".join(surprises)
