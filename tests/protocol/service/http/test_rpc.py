"""The same operations as Connect, gRPC and Connect's JSON, with grpcio's client and Python's own."""

import asyncio
import json

import grpc
import pytest

from depotlab._proto import build_service_pb2 as messages
from depotlab.service import git
from depotlab.service._http.rpc import build_message
from tests.support.servicehttp import fetch, running

SERVICE = "/depotlab.service.v1.BuildService"


class Client:
    """grpcio's client, in threads."""

    def __init__(self, url, token):
        self._channel = grpc.insecure_channel(url.removeprefix("http://"))
        self._metadata = (("authorization", f"Bearer {token}"),)

    async def ask(self, name, **fields):
        request = getattr(messages, f"{name}Request")(**fields)
        call = self._channel.unary_unary(
            f"{SERVICE}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=getattr(messages, f"{name}Response").FromString,
        )
        return await asyncio.to_thread(call, request, metadata=self._metadata, timeout=30)

    def log(self, **fields):
        call = self._channel.unary_stream(
            f"{SERVICE}/GetBuildLogs",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=messages.GetBuildLogsResponse.FromString,
        )
        request = messages.GetBuildLogsRequest(**fields)
        return call(request, metadata=self._metadata, timeout=30)

    def close(self):
        self._channel.close()


def with_client(tmp_path, work, **options):
    async def run(found):
        client = Client(found.url, await found.token("shop"))
        try:
            return await work(found, client)
        finally:
            client.close()

    return running(tmp_path, run, **options)


def refused(error):
    return error.value.code(), error.value.details()


def test_a_build_from_upload_to_its_log_with_grpc(tmp_path):
    async def work(found, client):
        upload = await client.ask("GenerateUploadURL", project="shop")
        assert upload.expires_in_s == 900
        made = await client.ask(
            "CreateBuild",
            build_context_path=upload.build_context_path,
            project="shop",
            deployment="d1",
            args={"A": "1"},
            env={"K": "hidden"},
        )
        assert made.build.state == messages.BUILD_STATE_QUEUED
        lines = await asyncio.to_thread(list, client.log(build_id=made.build_id))
        assert [(line.offset, line.text) for line in lines] == [
            (0, "line 0"),
            (1, "line 1"),
            (2, "line 2"),
        ]
        assert lines[0].at.ToJsonString() == "2026-01-02T03:04:05.678901Z"
        later = await asyncio.to_thread(list, client.log(build_id=made.build_id, offset=2))
        assert [line.offset for line in later] == [2]
        build = (await client.ask("GetBuild", build_id=made.build_id)).build
        assert build.state == messages.BUILD_STATE_SUCCEEDED
        assert (build.n_log_lines, build.cached_steps, build.total_steps) == (3, 1, 2)
        assert build.build_context_path == upload.build_context_path
        order, secrets = found.runner.ran[0]
        assert (order.args, order.dockerfile_path) == ({"A": "1"}, "Dockerfile")
        assert secrets.env == {"K": "hidden"}
        page = await client.ask("ListBuilds", state=messages.BUILD_STATE_SUCCEEDED)
        assert [one.build_id for one in page.builds] == [made.build_id]

    with_client(tmp_path, work)


def test_a_held_build_is_cancelled_with_grpc(tmp_path):
    async def work(found, client):
        build = await found.held_build()
        answer = await client.ask("CancelBuild", build_id=build.build_id)
        assert answer.build.state == messages.BUILD_STATE_CANCELED

    with_client(tmp_path, work)


def test_without_follow_the_stream_ends_at_what_there_is(tmp_path):
    async def work(found, client):
        build = await found.held_build()
        log = client.log(build_id=build.build_id, follow=False)
        assert len(await asyncio.to_thread(list, log)) == 3

    with_client(tmp_path, work)


def test_a_client_that_leaves_ends_the_stream(tmp_path):
    async def work(found, client):
        build = await found.held_build()
        is_left = asyncio.Event()
        original = found.core.next_lines

        async def next_lines(*asked):
            try:
                return await original(*asked)
            except asyncio.CancelledError:
                is_left.set()
                raise

        found.core.next_lines = next_lines
        log = client.log(build_id=build.build_id)
        assert (await asyncio.to_thread(next, log)).text == "line 0"
        log.cancel()
        await is_left.wait()

    with_client(tmp_path, work)


def test_a_stream_says_so_when_the_service_stops(tmp_path):
    async def work(found, client):
        build = await found.held_build()
        log = client.log(build_id=build.build_id)
        assert [(await asyncio.to_thread(next, log)).offset for _ in range(3)] == [0, 1, 2]
        with pytest.raises(grpc.RpcError) as error:
            await asyncio.gather(found.close(), asyncio.to_thread(next, log))
        return refused(error)

    assert with_client(tmp_path, work) == (
        grpc.StatusCode.UNAVAILABLE,
        "the service stops (ask again later)",
    )


def test_what_an_old_client_sends_means_the_same(tmp_path):
    """The production service's numbers: 1 context, 2 Dockerfile, 3 project, 4 deployment, 5 workspace."""

    async def work(found, client):
        upload = await client.ask("GenerateUploadURL", project="shop")
        old = b"".join(
            bytes([number << 3 | 2, len(text)]) + text.encode()
            for number, text in (
                (1, upload.build_context_path),
                (2, "deploy/Dockerfile"),
                (3, "shop"),
                (4, "d1"),
                (5, "acme"),
            )
        )
        made = await client.ask("CreateBuild", **_fields(old))
        await found.ended(made.build_id)
        order, _ = found.runner.ran[0]
        assert (order.project, order.deployment, order.workspace) == ("shop", "d1", "acme")
        assert order.dockerfile_path == "deploy/Dockerfile"

    with_client(tmp_path, work)


def _fields(data):
    message = messages.CreateBuildRequest.FromString(data)
    return {field.name: value for field, value in message.ListFields()}


def test_connects_json_over_http1(tmp_path):
    async def work(found):
        token = await found.token("shop")
        build = await found.a_build()
        answer = await fetch(
            f"{found.url}{SERVICE}/GetBuild",
            method="POST",
            token=token,
            data={"buildId": build.build_id, "aFieldOfTheFuture": 1},
            headers={"content-type": "application/json"},
        )
        assert answer.status == 200, answer.body
        assert answer.json()["build"]["project"] == "shop"
        missing = await fetch(
            f"{found.url}{SERVICE}/GetBuild",
            method="POST",
            token=token,
            data={"buildId": "nope"},
            headers={"content-type": "application/json"},
        )
        assert (missing.status, missing.json()["code"]) == (404, "not_found")
        nobody = await fetch(
            f"{found.url}{SERVICE}/GetBuild",
            method="POST",
            data={},
            headers={"content-type": "application/json"},
        )
        assert (nobody.status, nobody.json()["code"]) == (401, "unauthenticated")

    running(tmp_path, work)


@pytest.mark.parametrize(
    ("name", "fields", "code", "words"),
    [
        pytest.param("GenerateUploadURL", {}, "INVALID_ARGUMENT", "project", id="no project"),
        pytest.param(
            "CreateBuild", {"project": "shop", "deployment": "d"}, "INVALID_ARGUMENT",
            "build_context_path", id="no context",
        ),
        pytest.param(
            *("CreateBuild",),
            {
                "project": "shop",
                "deployment": "d",
                "git": messages.GitContext(host="github.com", owner="a", repository="-x", ref="m"),
            },
            *("INVALID_ARGUMENT", "repository"),
            id="a repository that is none",
        ),
        pytest.param("GetBuild", {"build_id": "nope"}, "NOT_FOUND", "nope", id="no build"),
        pytest.param("CancelBuild", {"build_id": "nope"}, "NOT_FOUND", "nope", id="cancel none"),
        pytest.param("ListBuilds", {"state": 77}, "INVALID_ARGUMENT", "77", id="no such state"),
        pytest.param(
            "ListBuilds", {"project": "blog"}, "PERMISSION_DENIED", "blog", id="other project"
        ),
    ],
)  # fmt: skip
def test_refusals_over_grpc(tmp_path, name, fields, code, words):
    async def work(_, client):
        with pytest.raises(grpc.RpcError) as error:
            await client.ask(name, **fields)
        return refused(error)

    found, said = with_client(tmp_path, work)
    assert found is grpc.StatusCode[code]
    assert words in said


def test_a_log_of_nothing_is_refused_over_grpc(tmp_path):
    async def work(_, client):
        with pytest.raises(grpc.RpcError) as error:
            await asyncio.to_thread(list, client.log(build_id="nope"))
        return refused(error)

    assert with_client(tmp_path, work)[0] is grpc.StatusCode.NOT_FOUND


def test_a_message_that_is_too_large_is_refused(tmp_path):
    async def work(found):
        return await fetch(
            f"{found.url}{SERVICE}/CreateBuild",
            method="POST",
            token=await found.token("shop"),
            data=json.dumps({"project": "x" * 1_200_000}).encode(),
            headers={"content-type": "application/json"},
        )

    answer = running(tmp_path, work)
    assert (answer.status, answer.json()["code"]) == (429, "resource_exhausted")


def test_a_git_build_is_told_by_its_parts(tmp_path):
    async def work(found):
        build = await found.core.create_build(
            git("https://github.com/acme/shop#main:api"), project="shop", deployment="d"
        )
        return build_message(build)

    made = running(tmp_path, work)
    assert made.WhichOneof("context") == "git"
    assert (made.git.repository, made.git.ref, made.git.subdir) == ("shop", "main", "api")
