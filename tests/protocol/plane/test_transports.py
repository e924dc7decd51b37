"""One port, every way to speak: Connect and JSON over HTTP/1.1, gRPC and Connect over HTTP/2, TLS."""

import asyncio
import base64
import contextlib
import http.client
import ssl
import struct
import time

import grpc
import h2.config
import h2.connection
import h2.events
import pytest

from depotlab._plane.authority import Authority
from depotlab._proto import control_pb2 as control
from depotlab._proto import depot_buildkit_pb2 as buildkit
from depotlab._proto import depot_cli_pb2 as cli
from depotlab._proto import depot_clibeta_pb2 as beta
from depotlab._proto import depot_core_pb2 as core
from depotlab.errors import UsageError
from tests.support.planeparts import FakeMachines, FakeRegistry, call, fetch, plane, until

CLI = "/depot.cli.v1.BuildService"


def running(work, **options):
    async def run():
        async with plane(**options) as found:
            return await work(found)

    return asyncio.run(run())


def bearer(plane):
    return {"authorization": f"Bearer {plane.environment['DEPOT_TOKEN']}"}


async def http2(plane, path, headers, body=b""):
    """Ask over HTTP/2 without asking first whether the port speaks it; return headers and body."""
    host, _, port = plane.url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    connection = h2.connection.H2Connection(
        h2.config.H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False)
    )
    connection.initiate_connection()
    fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": f"{host}:{port}"}
    connection.send_headers(1, [*fields.items(), *headers.items()], end_stream=not body)
    if body:
        connection.send_data(1, body, end_stream=True)
    answer, got = {}, b""
    try:
        while True:
            writer.write(connection.data_to_send())
            data = await reader.read(65536)
            assert data, "the connection was cut"
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    answer = {k.decode(): v.decode() for k, v in event.headers}
                elif isinstance(event, h2.events.DataReceived):
                    got += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    return answer, got
                elif isinstance(event, h2.events.ConnectionTerminated):
                    pytest.fail(f"GOAWAY {event.error_code}")
    finally:
        writer.close()


def test_json_over_http1():
    async def work(plane):
        answer = await fetch(
            f"{plane.url}/depot.core.v1.ProjectService/ListProjects",
            data=b'{"pageSize": 5, "aFieldOfTheFuture": {"x": [1]}}',
            headers={**bearer(plane), "content-type": "application/json"},
        )
        assert answer.status == 200
        assert [p["name"] for p in answer.json()["projects"]] == ["default"]

    running(work)


def test_connect_over_http2_without_asking_first():
    async def work(plane):
        headers = {**bearer(plane), "content-type": "application/proto"}
        answer, body = await http2(
            plane, "/depot.cli.v1beta1.ProjectsService/ListProjects", headers
        )
        assert answer[":status"] == "200"
        assert [p.name for p in beta.ListProjectsResponse.FromString(body).projects] == ["default"]

    running(work)


@pytest.mark.parametrize("value", ["Bearer ", "Bearer", ""])
def test_an_empty_bearer_over_http2_is_unauthenticated_and_the_connection_lives(value):
    async def work(plane):
        headers = {"authorization": value, "content-type": "application/proto"}
        answer, body = await http2(
            plane, "/depot.core.v1.OrganizationService/ListOrganizations", headers
        )
        assert answer[":status"] == "401"
        assert b'"unauthenticated"' in body

    running(work)


def test_gzip_is_answered_to_clients_that_ask_for_it():
    async def work(plane):
        answer = await fetch(
            f"{plane.url}/depot.core.v1.ProjectService/ListProjects",
            data=b"{}",
            headers={
                **bearer(plane),
                "content-type": "application/json",
                "accept-encoding": "gzip",
            },
        )
        assert answer.headers["content-encoding"] == "gzip"

    running(work)


def test_answers_are_not_held_back_on_a_connection_that_stays():
    async def work(plane):
        def ask():
            host = http.client.HTTPConnection(plane.url.removeprefix("http://"), timeout=10)
            headers = {**bearer(plane), "content-type": "application/json"}
            times = []
            with contextlib.closing(host):
                for _ in range(40):
                    started = time.perf_counter()
                    host.request(
                        "POST", "/depot.core.v1.ProjectService/ListProjects", b"{}", headers
                    )
                    host.getresponse().read()
                    times.append(time.perf_counter() - started)
            return times

        # Nagle's algorithm and a delayed acknowledgement make 40 ms of each, but for the first of a connection, which
        # Linux acknowledges at once. The computer may be busy, and then it is not busy all the time.
        assert min((await asyncio.to_thread(ask))[20:]) < 0.03

    running(work)


def test_a_method_that_is_not_there_is_unimplemented():
    async def work(plane):
        answer = await fetch(
            f"{plane.url}/depot.core.v1.ProjectService/Nothing",
            data=b"{}",
            headers={**bearer(plane), "content-type": "application/json"},
        )
        assert answer.status == 404  # which Connect and gRPC clients take for unimplemented

    running(work)


async def grpc_unary(channel, path, request, reply, token):
    ask = channel.unary_unary(
        path,
        request_serializer=lambda m: m.SerializeToString(),
        response_deserializer=reply.FromString,
    )
    return await ask(request, metadata=(("authorization", f"Bearer {token}"),), timeout=10)


@contextlib.asynccontextmanager
async def channel_to(plane):
    if plane.tls_url:
        credentials = grpc.ssl_channel_credentials((plane.state / "tls" / "ca.pem").read_bytes())
        made = grpc.aio.secure_channel(plane.tls_url.removeprefix("https://"), credentials)
    else:
        made = grpc.aio.insecure_channel(plane.url.removeprefix("http://"))
    async with made as channel:
        yield channel


@pytest.mark.parametrize("tls", [None, True], ids=["cleartext", "tls"])
def test_grpc_with_streams_both_ways(tls):
    async def work(plane):
        token = plane.environment["DEPOT_TOKEN"]
        async with channel_to(plane) as channel:
            made = await grpc_unary(
                channel,
                f"{CLI}/CreateBuild",
                cli.CreateBuildRequest(),
                cli.CreateBuildResponse,
                token,
            )
            login = (("authorization", f"Bearer {made.build_token}"),)
            ask = channel.unary_stream(
                "/depot.buildkit.v1.BuildKitService/GetEndpoint",
                request_serializer=lambda m: m.SerializeToString(),
                response_deserializer=buildkit.GetEndpointResponse.FromString,
            )
            request = buildkit.GetEndpointRequest(
                build_id=made.build_id, platform=buildkit.PLATFORM_AMD64
            )
            replies = [r async for r in ask(request, metadata=login, timeout=10)]
            assert [r.WhichOneof("connection") for r in replies] == ["pending", "active"]
            assert replies[-1].active.cert.key.key == "key"

            report = channel.stream_unary(
                "/depot.buildkit.v1.BuildKitService/ReportHealth",
                request_serializer=lambda m: m.SerializeToString(),
                response_deserializer=buildkit.ReportHealthResponse.FromString,
            )
            health = buildkit.ReportHealthRequest(
                build_id=made.build_id, platform=buildkit.PLATFORM_AMD64
            )
            await report(iter([health, health]), metadata=login, timeout=10)

            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await grpc_unary(
                    channel, f"{CLI}/GetBuild", cli.GetBuildRequest(), cli.GetBuildResponse, "bad"
                )
            assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await grpc_unary(
                    channel, f"{CLI}/GetBuild", cli.GetBuildRequest(), cli.GetBuildResponse, token
                )
            assert caught.value.code() == grpc.StatusCode.NOT_FOUND
            assert "was not found" in caught.value.details()

    running(work, tls=tls, machines=FakeMachines(pending=1))


def test_a_health_stream_of_a_build_that_is_asked_to_stop_ends():
    async def work(plane):
        token = plane.environment["DEPOT_TOKEN"]
        made = await call(
            plane, f"{CLI[1:]}/CreateBuild", cli.CreateBuildRequest(), cli.CreateBuildResponse
        )
        plane.parts.builds.cancel(made.build_id)
        health = buildkit.ReportHealthRequest(
            build_id=made.build_id, platform=buildkit.PLATFORM_AMD64
        )
        async with channel_to(plane) as channel:
            report = channel.stream_unary(
                "/depot.buildkit.v1.BuildKitService/ReportHealth",
                request_serializer=lambda m: m.SerializeToString(),
                response_deserializer=buildkit.ReportHealthResponse.FromString,
            )
            login = (("authorization", f"Bearer {token}"),)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await report(iter([health]), metadata=login, timeout=10)
            assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION

    running(work)


def test_a_status_stream_counts_up_to_where_it_was_cut_and_may_be_large():
    async def work(plane):
        made = await call(
            plane, f"{CLI[1:]}/CreateBuild", cli.CreateBuildRequest(), cli.CreateBuildResponse
        )
        status = control.StatusResponse()
        status.vertexes.add(digest="sha256:a", name="big")
        status.logs.add(vertex="sha256:a", msg=b"x" * (6 << 20))
        message = cli.ReportStatusStreamRequest(build_id=made.build_id, statuses=[status])
        data = message.SerializeToString()
        host, _, port = plane.url.removeprefix("http://").rpartition(":")
        _reader, writer = await asyncio.open_connection(host, int(port))
        envelope = struct.pack(">BI", 0, len(data)) + data
        head = (
            f"POST {CLI}/ReportStatusStream HTTP/1.1\r\nhost: {host}\r\n"
            f"authorization: Bearer {made.build_token}\r\n"
            "content-type: application/connect+proto\r\nconnect-protocol-version: 1\r\n"
            "transfer-encoding: chunked\r\n\r\n"
        )
        writer.write(head.encode() + b"%x\r\n%b\r\n" % (len(envelope), envelope))
        await writer.drain()
        await until(lambda: plane.parts.history.last_logs(made.build_id, 1))
        writer.transport.abort()
        (log,) = plane.parts.history.last_logs(made.build_id, 1)
        assert len(log.message) == 6 << 20
        # The second stream that replaces the first one.
        await call(
            plane,
            f"{CLI[1:]}/ReportStatus",
            cli.ReportStatusRequest(build_id=made.build_id, statuses=[status]),
            cli.ReportStatusResponse,
        )
        assert len(plane.parts.history.last_logs(made.build_id, 5)) == 1

    running(work)


def test_a_login_waits_for_whoever_has_the_planes_token():
    async def work(plane):
        path = "/depot.cli.v1beta1.LoginService"
        async with channel_to(plane) as channel:
            start = await channel.unary_unary(
                f"{path}/StartLogin",
                request_serializer=lambda m: m.SerializeToString(),
                response_deserializer=beta.StartLoginResponse.FromString,
            )(beta.StartLoginRequest(), timeout=10)
            assert start.approve_url == f"{plane.url}/login/{start.id}"
            waiting = channel.unary_stream(
                f"{path}/FinishLogin",
                request_serializer=lambda m: m.SerializeToString(),
                response_deserializer=beta.FinishLoginResponse.FromString,
            )(beta.FinishLoginRequest(id=start.id), timeout=20)

            async def approve(token):
                body = f'{{"login_id": "{start.id}", "token": "{token}"}}'.encode()
                headers = {"x-depotlab-page": "1", "content-type": "application/json"}
                return await fetch(f"{plane.url}/page/login", data=body, headers=headers)

            assert (await approve("guess")).status == 403
            assert (await approve(plane.environment["DEPOT_TOKEN"])).status == 200
            replies = [reply async for reply in waiting]
            assert plane.parts.tokens.check(replies[0].token).kind == "user"
            organizations = await call(
                plane,
                "depot.core.v1.OrganizationService/ListOrganizations",
                core.ListOrganizationsRequest(),
                core.ListOrganizationsResponse,
                token=replies[0].token,
            )
            assert organizations.organizations[0].org_id == plane.environment["DEPOT_ORG_ID"]
            assert (await approve(plane.environment["DEPOT_TOKEN"])).status == 404

    running(work)


def test_tls_on_other_than_the_loopback_is_the_only_way_and_wants_the_token_for_the_page():
    async def work(plane):
        assert plane.url == plane.tls_url
        assert plane.environment["SSL_CERT_FILE"] == str(plane.state / "tls" / "ca.pem")
        async with channel_to(plane) as channel:
            token = plane.environment["DEPOT_TOKEN"]
            found = await grpc_unary(
                channel,
                "/depot.cli.v1beta1.ProjectsService/ListProjects",
                beta.ListProjectsRequest(),
                beta.ListProjectsResponse,
                token,
            )
            assert found.projects
        port = int(plane.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert not (await reader.read(100)).startswith(b"HTTP"), "cleartext is not spoken"
        writer.close()

    running(work, host=_own_name(), tls=True)


def _own_name():
    import socket

    name = socket.gethostname()
    try:
        socket.getaddrinfo(name, 0)
    except OSError:
        pytest.skip("this computer has no name that resolves")
    return name


@pytest.mark.parametrize(
    ("host", "text"),
    [("10.0.0.7", "needs TLS"), ("0.0.0.0", "no name by which"), ("", "no name by which")],
)
def test_a_host_that_others_can_reach_wants_tls_and_has_to_be_one(host, text):
    with pytest.raises(UsageError, match=text):
        running(lambda _: None, host=host)


def test_a_certificate_of_the_users_own_is_served(tmp_path):
    authority = Authority(tmp_path)
    leaf = authority.server("plane.example")
    files = tmp_path / "cert.pem", tmp_path / "key.pem"
    for file, text in zip(files, (leaf.cert_pem, leaf.key_pem), strict=True):
        file.write_text(text)

    async def work(plane):
        context = ssl.create_default_context(cadata=authority.ca_pem)
        port = int(plane.tls_url.rpartition(":")[2])
        _reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname="plane.example"
        )
        writer.close()
        await writer.wait_closed()

    running(work, tls=files)


def test_a_certificate_that_is_none_is_refused(tmp_path):
    (tmp_path / "cert.pem").write_text("nothing")
    with pytest.raises(UsageError, match="no usable certificate"):
        running(lambda _: None, tls=(tmp_path / "cert.pem", tmp_path / "key.pem"))


def test_a_plane_that_stops_does_not_wait_for_a_client_that_waits():
    async def run():
        async with plane() as found, channel_to(found) as channel:
            start = await channel.unary_unary(
                "/depot.cli.v1beta1.LoginService/StartLogin",
                request_serializer=lambda m: m.SerializeToString(),
                response_deserializer=beta.StartLoginResponse.FromString,
            )(beta.StartLoginRequest(), timeout=10)
            waiting = channel.unary_stream(
                "/depot.cli.v1beta1.LoginService/FinishLogin",
                request_serializer=lambda m: m.SerializeToString(),
                response_deserializer=beta.FinishLoginResponse.FromString,
            )(beta.FinishLoginRequest(id=start.id), timeout=60)
            first = asyncio.ensure_future(waiting.read())
            await call(
                found,
                "depot.core.v1.ProjectService/ListProjects",
                core.ListProjectsRequest(),
                core.ListProjectsResponse,
            )
            async with asyncio.timeout(10):
                await found.__aexit__(None, None, None)
            with pytest.raises(grpc.aio.AioRpcError):
                await first

    asyncio.run(run())


def test_a_client_that_is_gone_in_a_stream_leaves_nothing_behind():
    async def work(plane):
        host, _, port = plane.url.removeprefix("http://").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        connection = h2.connection.H2Connection()
        connection.initiate_connection()
        path = "/depot.cli.v1beta1.LoginService/FinishLogin"
        login = beta.FinishLoginRequest(id=plane.parts.logins.begin()).SerializeToString()
        fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": host}
        headers = [*fields.items(), ("content-type", "application/grpc"), ("te", "trailers")]
        connection.send_headers(1, headers)
        connection.send_data(1, struct.pack(">BI", 0, len(login)) + login, end_stream=True)
        writer.write(connection.data_to_send())
        await reader.read(100)

        def served():
            return [t for t in asyncio.all_tasks() if t.get_coro().__qualname__ == "_handle"]

        await until(served)
        writer.transport.abort()
        await until(lambda: not served())

    running(work)


def test_a_secret_is_in_no_error_log_or_repr(caplog):
    async def work(plane):
        token = plane.environment["DEPOT_TOKEN"]

        async def broken(*_):
            raise RuntimeError("something of ours")

        plane.parts.registry.images = broken
        answer = await fetch(
            f"{plane.url}/depot.build.v1.RegistryService/ListImages",
            data=b"{}",
            headers={**bearer(plane), "content-type": "application/json"},
        )
        assert answer.status == 500
        assert answer.json()["message"].endswith("the log of the server has more")
        basic = base64.b64encode(f"x:{token}".encode()).decode()
        await fetch(f"{plane.url}/page/state", headers={"authorization": f"Basic {basic}"})
        return token, repr(plane)

    token, shown = running(work, registry=FakeRegistry())
    assert "something of ours" in caplog.text
    assert token not in caplog.text
    assert token not in shown
