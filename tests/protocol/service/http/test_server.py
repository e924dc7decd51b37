"""A service on a port: TLS, who may listen where, and how it stops."""

import asyncio
import json
import socket
import ssl
import threading

import pytest

from depotlab._plane.authority import Authority
from depotlab._portal import portal
from depotlab.errors import EngineError, Unreachable, UsageError
from depotlab.service import BuildService, RemoteBuildService, aio
from depotlab.service._http import server
from depotlab.service._http.server import serving
from depotlab.service._remote.verbs import Remote
from depotlab.service._remote.wire import RemoteWire
from tests.support.fakerunner import FakeStorage
from tests.support.servicehttp import ToldRunner, fetch, running


def test_with_tls_a_client_needs_its_authority(tmp_path):
    async def work(found):
        token = await found.token("shop")
        assert found.url.startswith("https://localhost:")
        trusting = RemoteWire(found.url, token, ca=found.ca)
        assert len(await Remote(trusting).list_builds()) == 0
        trusting.close()
        doubting = RemoteWire(found.url, token, first_pause_s=0)
        with pytest.raises(Unreachable, match="cannot be trusted"):
            await Remote(doubting).list_builds()
        doubting.close()

    running(tmp_path, work, tls=True)


def test_a_certificate_of_ones_own_is_served(tmp_path):
    authority = Authority(tmp_path / "authority")
    leaf = authority.server("localhost")
    (tmp_path / "cert.pem").write_text(leaf.cert_pem)
    (tmp_path / "key.pem").write_text(leaf.key_pem)
    (tmp_path / "ca.pem").write_text(authority.ca_pem)

    async def work(found):
        assert found.ca is None
        trust = ssl.create_default_context(cafile=tmp_path / "ca.pem")
        reader, writer = await asyncio.open_connection(
            "localhost", int(found.url.rpartition(":")[2]), ssl=trust
        )
        writer.write(b"GET /v1/health HTTP/1.0\r\nhost: x\r\n\r\n")
        assert b'"ok"' in await reader.read()
        writer.close()

    running(tmp_path / "state", work, tls=(tmp_path / "cert.pem", tmp_path / "key.pem"))


def test_on_all_interfaces_it_is_called_by_the_name_of_the_computer(tmp_path):
    leaf = Authority(tmp_path / "authority").server(socket.gethostname())
    (tmp_path / "cert.pem").write_text(leaf.cert_pem + leaf.key_pem)

    async def work(found):
        assert found.url.startswith(f"https://{socket.gethostname()}:")

    pem = tmp_path / "cert.pem"
    running(tmp_path / "state", work, host="0.0.0.0", tls=(pem, pem))


def test_tokens_do_not_go_over_a_network_in_plain(tmp_path):
    async def work(found):
        with pytest.raises(UsageError, match="needs TLS"):
            await serving(found.core, found.access, host="192.0.2.1")
        with pytest.raises(UsageError, match="certificate"):
            await serving(found.core, found.access, host="192.0.2.1", tls=True, tls_folder=tmp_path)

    running(tmp_path, work)


def test_a_port_that_is_taken_is_told(tmp_path):
    async def work(found):
        port = int(found.url.rpartition(":")[2])
        with pytest.raises(EngineError, match=f"127.0.0.1:{port}"):
            await serving(found.core, found.access, port=port)

    running(tmp_path, work)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("/v1/uploads", b" 408 ", id="JSON"),
        pytest.param("/depotlab.service.v1.BuildService/GetBuild", b"HTTP/1.1 ", id="Connect"),
    ],
)
def test_a_request_that_never_ends_does_not_keep_its_connection(
    tmp_path, monkeypatch, path, status
):
    monkeypatch.setattr(server, "_ARRIVES_S", 0.05)

    async def work(found):
        host, _, port = found.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = [
            f"POST {path} HTTP/1.1",
            "host: x",
            f"authorization: Bearer {await found.token('shop')}",
            *("content-type: application/json", "content-length: 10", "", "{"),
        ]
        writer.write("\r\n".join(head).encode())
        said = await reader.read()  # it ends when the server closes the connection
        writer.close()
        return said

    assert status in running(tmp_path, work)


def test_closing_twice_is_harmless_and_lets_go_of_the_port(tmp_path):
    async def work(found):
        await found.close()
        await found.close()
        port = int(found.url.rpartition(":")[2])
        again = await serving(found.core, found.access, port=port)
        assert (await fetch(f"{again.url}/v1/health")).status == 200
        await again.close()

    running(tmp_path, work)


def a_service(tmp_path, kind=BuildService):
    service = kind(storage=FakeStorage(), telemetry=None, state=tmp_path)

    async def told(_):
        return ToldRunner()

    service._core.make_runner = told
    return service


def test_a_notebook_serves_and_is_its_own_client(tmp_path):
    with a_service(tmp_path) as service, service.serve() as server:
        token = service.tokens.create("a notebook", projects=["shop"])
        assert server.url in repr(server)
        with RemoteBuildService(server.url, token.secret) as remote:
            context = remote.generate_upload_url("shop").build_context_path
            build = remote.build(context, project="shop", deployment="d1")
            assert build == service.get_build(build.build_id)
        assert [one.token_id for one in service.tokens.list()] == [token.token_id]
        service.tokens.revoke(token.token_id)


def test_tokens_are_there_when_a_service_is_opened_again(tmp_path):
    service = a_service(tmp_path)
    with service:
        token = service.tokens.create("a notebook", projects="*").secret
    with service, service.serve() as server, RemoteBuildService(server.url, token) as remote:
        assert list(remote.projects()) == []


def test_a_service_that_is_closed_closes_its_port(tmp_path):
    with a_service(tmp_path) as service:
        server = service.serve()
        token = service.tokens.create("x", projects="*").secret
    wire = RemoteWire(server.url, token, first_pause_s=0)
    with pytest.raises(Unreachable):
        portal().run(Remote(wire).list_builds())
    portal().run(_close(wire))
    server.close()


async def _close(wire):
    wire.close()


def test_the_awaitable_face_serves_too(tmp_path):
    async def work():
        async with (
            a_service(tmp_path, aio.BuildService) as service,
            await service.serve() as server,
        ):
            token = await service.tokens.create("x", projects=["shop"], expires_s=60)
            async with aio.RemoteBuildService(server.url, token.secret) as remote:
                upload = await remote.generate_upload_url("shop")
                build = await remote.build(
                    upload.build_context_path, project="shop", deployment="d"
                )
            log = [line.text async for line in service.get_build_logs(build.build_id)]
            assert [one.description for one in await service.tokens.list()] == ["x"]
            await service.tokens.revoke(token.token_id)
            return log

    assert asyncio.run(work()) == ["line 0", "line 1", "line 2"]


def test_ctrl_c_ends_a_followed_log_and_it_goes_on_later(tmp_path):
    """An interrupted iterator gives its place, and the next one begins there."""
    with a_service(tmp_path) as service, service.serve() as server:
        token = service.tokens.create("x", projects="*").secret
        runner = service._core._builds._runner
        with RemoteBuildService(server.url, token) as remote:
            portal().run(_held(runner))
            context = remote.generate_upload_url("shop").build_context_path
            build = remote.create_build(context, project="shop", deployment="held")
            log = remote.get_build_logs(build.build_id)
            assert [next(log).offset for _ in range(3)] == [0, 1, 2]
            log.close()
            later = remote.get_build_logs(build.build_id, offset=log.offset)
            reading = threading.Thread(target=lambda: seen.extend(later))
            seen = []
            reading.start()
            portal().run(_go_on(runner))
            reading.join()
            assert [line.text for line in seen] == ["the end"]


async def _held(runner):
    runner.hold("held")


async def _go_on(runner):
    runner.print("held", "the end")
    runner.gates["held"].set()


def test_over_http2_a_log_says_so_when_the_service_stops(tmp_path):
    async def work(found):
        token = await found.token("shop")
        build = await found.held_build()
        child = await asyncio.create_subprocess_exec(
            *("curl", "-sSN", "--http2", "--max-time", "60", "--cacert", str(found.ca)),
            *("-H", f"Authorization: Bearer {token}", "-w", "%{http_version}"),
            f"{found.url}/v1/builds/{build.build_id}/logs",
            stdout=asyncio.subprocess.PIPE,
        )
        first = await child.stdout.readline()
        await found.close()
        rest = await child.stdout.read()
        assert await child.wait() == 0
        return (first + rest).decode().splitlines()

    *lines, version = running(tmp_path, work, tls=True)
    assert version == "2"
    assert [json.loads(line).get("code") for line in lines] == [None, None, None, "unavailable"]
