"""The API behind an HTTP proxy, and certificates that do not fit."""

import asyncio
import ssl
from base64 import b64encode
from urllib.parse import urlsplit

import pytest

from depotlab._depot import Connect, Retry, TlsFailed, Unavailable, methods
from depotlab._proto import depot_core_pb2 as core
from tests.support.depotmachine import Authority
from tests.support.fakeplane import message, serving
from tests.support.httpproxy import proxying
from tests.support.secure_peers import listening

PROJECT = core.GetProjectResponse(project=core.Project(project_id="abc", name="one"))
QUICK = Retry(first_s=0.001, most_s=0.002)
HOST = "plane.test"


def contexts(folder, authority, leaf):
    """A server with this certificate, and a client that trusts the authority."""
    path = folder / "leaf.pem"
    path.write_text(leaf.cert + leaf.key)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(cadata=authority.pem)
    return server, client


async def ask(connect):
    try:
        return await connect.unary(methods.GET_PROJECT, core.GetProjectRequest(project_id="abc"))
    finally:
        connect.close()


@pytest.mark.parametrize("secure", [True, False])
def test_calls_go_through_the_proxy_that_the_environment_names(secure, tmp_path, monkeypatch):
    authority = Authority()
    server, trust = contexts(tmp_path, authority, authority.leaf(HOST))

    async def run():
        async with serving(
            {"GetProject": message(PROJECT)}, tls=server if secure else None
        ) as plane:
            port = urlsplit(plane.url).port
            async with proxying(port) as proxy:
                monkeypatch.setenv(
                    "HTTPS_PROXY" if secure else "HTTP_PROXY", f"http://me:pw@{proxy.address}"
                )
                url = f"{'https' if secure else 'http'}://{HOST}:{port}"
                reply = await ask(Connect(url, token="t", trust=trust, retry=QUICK))
                assert reply.project.name == "one"
                return proxy.heads, plane.asked, port

    (head,), (asked,), port = asyncio.run(run())
    if secure:
        assert head.startswith(f"CONNECT {HOST}:{port} HTTP/1.1\r\n")
        assert "Bearer" not in head, "the token is for the API, inside of the tunnel"
    else:
        assert head.startswith(f"POST http://{HOST}:{port}/depot.core.v1.ProjectService/")
    assert f"proxy-authorization: Basic {b64encode(b'me:pw').decode()}\r\n" in head
    assert asked.headers["host"] == f"{HOST}:{port}"
    assert asked.headers["authorization"] == "Bearer t"
    assert ("proxy-authorization" in asked.headers) != secure


@pytest.mark.parametrize(
    ("refuses", "said"),
    [
        (b"HTTP/1.1 407 Who\r\nproxy-authenticate: Basic\r\n\r\n", "refused: HTTP 407"),
        (b"SSH-2.0\r\n\r\n", "does not answer as one"),
    ],
)
def test_a_proxy_that_refuses_is_named(refuses, said, monkeypatch):
    async def run():
        async with proxying(1) as proxy:
            proxy.refuses = refuses
            monkeypatch.setenv("HTTPS_PROXY", f"http://me:planted@{proxy.address}")
            with pytest.raises(Unavailable, match=said) as caught:
                await ask(Connect(f"https://{HOST}", token="t", retry=QUICK))
            assert proxy.address in str(caught.value)
            assert "planted" not in str(caught.value)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        pytest.param(
            lambda a: Authority().leaf("localhost"), "not accepted", id="another authority"
        ),
        pytest.param(
            lambda a: a.leaf("localhost", from_days=-3, to_days=-1), "expired", id="expired"
        ),
        pytest.param(lambda a: a.leaf("other.test"), "Hostname mismatch", id="another name"),
    ],
)
def test_an_api_that_cannot_be_trusted_is_asked_once(make, said, tmp_path):
    authority = Authority()
    server, trust = contexts(tmp_path, authority, make(authority))

    async def run():
        async with serving({"GetProject": message(PROJECT)}, tls=server) as plane:
            with pytest.raises(TlsFailed, match=said) as caught:
                await ask(Connect(plane.url, token="t", trust=trust, retry=QUICK))
            assert isinstance(caught.value, Unavailable)
            assert caught.value.blame == "link"
            assert plane.n_connections <= 1
            assert not plane.asked

    asyncio.run(run())


def test_what_does_not_speak_tls_is_said_to():
    async def greet(reader, writer):
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
        await reader.read(1)

    async def run():
        async with listening(greet) as address:
            with pytest.raises(TlsFailed, match="TLS failed"):
                await ask(Connect(address.replace("tcp", "https"), token="t"))

    asyncio.run(run())


def test_a_client_with_connections_of_its_own_is_made_of_another():
    async def run():
        async with serving({"GetProject": message(PROJECT)}) as plane:
            first = Connect(plane.url, token="one", retry=QUICK)
            second = first.another(token="two")
            try:
                for connect in (first, second, first, second):
                    await connect.unary(methods.GET_PROJECT, core.GetProjectRequest())
            finally:
                first.close()
                second.close()
            assert [(a.connection, a.headers["authorization"]) for a in plane.asked] == [
                (0, "Bearer one"),
                (1, "Bearer two"),
            ] * 2

    asyncio.run(run())


def test_a_client_with_another_token_shares_the_connections():
    async def run():
        async with serving({"GetProject": message(PROJECT)}) as plane:
            first = Connect(plane.url, token="one", retry=QUICK)
            second = first.with_token("two")
            for connect in (first, second, first):
                await connect.unary(methods.GET_PROJECT, core.GetProjectRequest())
                second.close()  # they are not its own
            tokens = [asked.headers["authorization"] for asked in plane.asked]
            assert tokens == ["Bearer one", "Bearer two", "Bearer one"]
            assert plane.n_connections == 1
            first.close()
            await second.unary(methods.GET_PROJECT, core.GetProjectRequest())
            await plane.until(lambda: plane.n_open == 0)

    asyncio.run(run())


def test_a_connection_in_use_when_its_client_is_closed_is_not_kept():
    async def run():
        async def slow(_):
            await asyncio.sleep(0.05)
            return message(PROJECT)

        async with serving({"GetProject": slow}) as plane:
            connect = Connect(plane.url, retry=QUICK)
            task = asyncio.create_task(connect.unary(methods.GET_PROJECT, core.GetProjectRequest()))
            await plane.until(lambda: plane.asked)
            connect.close()
            assert (await task).project.name == "one"
            await plane.until(lambda: plane.n_open == 0)

    asyncio.run(run())
