"""Connections of our own: unix sockets, TCP, TLS, proxies, and why they cannot be made."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import sys
from base64 import b64decode
from pathlib import Path

import pytest

from depotlab._rpc import TLS, Endpoint
from depotlab._rpc import dial as dial_module
from depotlab._rpc.dial import dial
from depotlab.errors import ConnectionLost, LinkError, Unreachable
from tests.support.certificates import Authority
from tests.support.ports import held_port
from tests.support.rpc_peers import moment, run
from tests.support.secure_peers import echo, listening, server_context

PROXY_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def server(authority: Authority, tmp_path_factory) -> Path:
    return authority.write(tmp_path_factory.mktemp("tls") / "server", "server")


@pytest.fixture(scope="module")
def client(authority: Authority, tmp_path_factory) -> Path:
    return authority.write(tmp_path_factory.mktemp("tls") / "client", "client")


def tls(folder: Path, **changes) -> TLS:
    given = {"ca": folder / "ca.pem", "cert": folder / "cert.pem", "key": folder / "key.pem"}
    return TLS(**{**given, **changes})


async def read_exactly(transport, n_bytes: int) -> bytes:
    data = b""
    while len(data) < n_bytes:
        data += await transport.read() or pytest.fail("the peer closed")
    assert len(data) == n_bytes
    return data


async def read_once(endpoint: Endpoint) -> bytes | None:
    transport = await dial(endpoint)
    try:
        return await transport.read()
    finally:
        await transport.close()


async def read_to_the_end(transport) -> None:
    while await transport.read() is not None:
        pass


async def write_until_it_waits(transport) -> int:
    """Write numbered MiB until that takes long; return how many were taken."""
    n_written = 0
    try:
        async with asyncio.timeout(0.5):
            while True:
                await transport.write([n_written.to_bytes(4, "big") * (1 << 18)])
                n_written += 1
    except TimeoutError:
        return n_written


async def check_echo(endpoint: Endpoint, n_bytes: int = 3 << 20) -> None:
    """Send and receive at the same time, in pieces of many sizes."""
    transport = await dial(endpoint)
    body = os.urandom(n_bytes)
    try:

        async def send() -> None:
            at, size = 0, 1
            while at < len(body):
                middle = at + size // 2
                await transport.write([memoryview(body)[at:middle], body[middle : at + size]])
                at += size
                size = size * 2 % 300_007

        sending = asyncio.create_task(send())
        got = await read_exactly(transport, n_bytes)
        await sending
        assert hashlib.sha256(got).digest() == hashlib.sha256(body).digest()
    finally:
        await transport.close()
        await transport.close()


def test_bytes_come_back_over_tcp_and_over_tls(server, client):
    async def main():
        async with listening(echo) as address:
            await check_echo(Endpoint(address))
        async with listening(echo, server_context(server)) as address:
            await check_echo(Endpoint(address, tls(client)))

    run(main)


def test_bytes_come_back_over_a_unix_socket(tmp_path):
    async def main():
        async with listening(echo, path=tmp_path / "s") as address:
            await check_echo(Endpoint(address))

    run(main)


def test_a_dialer_is_asked_instead():
    made = object()

    async def dialer():
        return made

    async def main():
        assert await dial(Endpoint("docker-container://x", dialer=dialer)) is made

    run(main)


def test_a_server_without_client_certificates_needs_none(server, client):
    async def main():
        context = server_context(server, asks=False)
        async with listening(echo, context) as address:
            await check_echo(Endpoint(address, TLS(ca=client / "ca.pem")), 1000)

    run(main)


def test_another_name_than_that_of_the_address_can_be_asked_for(server, client):
    async def main():
        async with listening(echo, server_context(server)) as address:
            await check_echo(Endpoint(address, tls(client, server_name="localhost")), 1000)
            with pytest.raises(Unreachable, match="not accepted"):
                await dial(Endpoint(address, tls(client, server_name="elsewhere")))

    run(main)


# ------------------------------------------------------------------------------------ why not


def test_a_certificate_of_an_authority_that_we_do_not_know_is_refused(server, tmp_path):
    stranger = Authority("stranger").write(tmp_path, "stranger")

    async def main():
        async with listening(echo, server_context(server)) as address:
            with pytest.raises(Unreachable, match=r"certificate .* is not accepted") as caught:
                await dial(Endpoint(address, tls(stranger)))
            assert "TLS(ca=...)" in caught.value.hint

    run(main)


@pytest.mark.parametrize("who", ["a stranger", "nobody"])
def test_a_server_that_refuses_our_certificate_is_unreachable(who, server, client, tmp_path):
    # With TLS 1.3 the server looks at it when our side of the handshake is over already.
    stranger = Authority("stranger").write(tmp_path, "stranger")
    ours = TLS(ca=server / "ca.pem")
    if who == "a stranger":
        ours = tls(stranger, ca=server / "ca.pem")

    async def main():
        async with listening(echo, server_context(server)) as address:
            with pytest.raises(Unreachable, match="certificate") as caught:
                await read_once(Endpoint(address, ours))
            assert caught.value.address == address
            assert caught.value.hint

    run(main)


def test_a_server_that_speaks_another_protocol_over_tls_is_unreachable(server, client):
    async def main():
        context = server_context(server, alpn="http/1.1")
        async with listening(echo, context) as address:
            with pytest.raises(Unreachable, match=r"HTTP/2|alert"):
                await dial(Endpoint(address, tls(client)))

    run(main)


def test_a_server_that_does_not_speak_tls_is_unreachable(client):
    async def main():
        async with listening(echo) as address:
            with pytest.raises(Unreachable, match="TLS with"):
                await dial(Endpoint(address, tls(client)))

    run(main)


def test_a_server_that_never_answers_is_given_up_in_time(client):
    async def main():
        async def silent(reader, writer):
            await asyncio.sleep(3600)

        async with listening(silent) as address:
            with pytest.raises(Unreachable, match=r"within 0\.2 s"):
                await dial(Endpoint(address, tls(client)), timeout_s=0.2)

    run(main)


def test_nobody_at_a_port_and_no_socket_and_no_permission_are_told_apart(tmp_path, monkeypatch):
    async def main():
        with held_port() as nobody, pytest.raises(Unreachable, match="refused"):
            await dial(Endpoint(f"tcp://127.0.0.1:{nobody.getsockname()[1]}"))
        with pytest.raises(Unreachable, match="does not exist"):
            await dial(Endpoint(f"unix://{tmp_path}/nobody"))
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(tmp_path / "s"))
            with pytest.raises(Unreachable, match="nobody listens"):
                await dial(Endpoint(f"unix://{tmp_path}/s"))

            async def refused(*_):
                raise PermissionError(13, "Permission denied")

            monkeypatch.setattr(dial_module, "_connect_one", refused)
            with pytest.raises(Unreachable, match=r"No permission .*owner 0:0|No permission"):
                await dial(Endpoint(f"unix://{tmp_path}/s"))

    run(main)


def test_a_host_that_nobody_knows_is_unreachable(monkeypatch):
    async def unknown(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    async def main():
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
        with pytest.raises(Unreachable, match="cannot be found: Name or service"):
            await dial(Endpoint("tcp://nobody.invalid:1"))

    run(main)


# ------------------------------------------------------------------------- several addresses


def answers(monkeypatch, *hosts_and_ports):
    """Let a host name have these addresses, in this order."""

    async def found(*_, **__):
        return [(socket.AF_INET, 1, 6, "", (host, port)) for host, port in hosts_and_ports]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", found)


def test_the_next_address_is_tried_when_one_refuses_or_keeps_silent(monkeypatch):
    async def main():
        async with listening(echo) as address:
            port = Endpoint(address).port
            with socket.socket() as closed:
                closed.bind(("127.0.0.1", 0))
                answers(monkeypatch, closed.getsockname(), ("127.0.0.1", port))
                transport = await dial(Endpoint("tcp://two.invalid:1"))
                await transport.close()

            connect_one = dial_module._connect_one

            async def silent_first(family, target):
                if target[0] == "192.0.2.1":
                    await asyncio.sleep(3600)
                return await connect_one(family, target)

            monkeypatch.setattr(dial_module, "_connect_one", silent_first)
            answers(monkeypatch, ("192.0.2.1", 1), ("127.0.0.1", port))
            async with asyncio.timeout(60):
                transport = await dial(Endpoint("tcp://two.invalid:1"))
            await transport.close()

    run(main)


def test_when_all_addresses_refuse_the_first_reason_is_told(monkeypatch):
    async def main():
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            answers(monkeypatch, closed.getsockname(), closed.getsockname())
            with pytest.raises(Unreachable, match="refused"):
                await dial(Endpoint("tcp://two.invalid:1"))

    run(main)


# ---------------------------------------------------------------------------------- proxies


def proxy(seen: list[bytes], *, reply: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n"):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        seen.append(head)
        if b" 200 " not in reply:
            writer.write(reply)
            await writer.drain()
            return
        target = head.split()[1].decode()
        host, _, port = target.rpartition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        # The daemon speaks at once: its first bytes come right behind the proxy's head.
        first = await far_reader.read(5)
        writer.write(reply + first)

        async def back() -> None:
            while data := await far_reader.read(1 << 16):
                writer.write(data)

        returning = asyncio.create_task(back())
        try:
            while data := await reader.read(1 << 16):
                far_writer.write(data)
        finally:
            returning.cancel()
            far_writer.transport.abort()

    return serve


async def greeter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello")
    await echo(reader, writer)


def test_a_proxy_is_asked_and_nothing_behind_its_head_is_lost(monkeypatch):
    seen: list[bytes] = []

    async def main():
        async with listening(greeter) as address, listening(proxy(seen)) as proxy_address:
            where = proxy_address.removeprefix("tcp://")
            monkeypatch.setenv("http_proxy", f"http://me:p%40ss@{where}")
            transport = await dial(Endpoint(address))
            await transport.write([b" there"])
            assert await read_exactly(transport, 11) == b"hello there"
            await transport.close()
            assert seen[0].startswith(f"CONNECT {address.removeprefix('tcp://')} HTTP/1.1".encode())
            secret = seen[0].split(b"Basic ")[1].split()[0]
            assert b64decode(secret) == b"me:p@ss"

            monkeypatch.setenv("no_proxy", "127.0.0.0/8")
            transport = await dial(Endpoint(address))
            await transport.close()
            assert len(seen) == 1

    run(main)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "refused: HTTP/1.1 403 Forbidden"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "refused: SSH-2.0"),
        (b"", "does not answer as a proxy does"),
    ],
)
def test_a_proxy_that_refuses_is_named_and_its_password_is_not(monkeypatch, reply, words):
    async def main():
        async with listening(proxy([], reply=reply)) as address:
            where = address.removeprefix("tcp://")
            monkeypatch.setenv("http_proxy", f"http://me:planted-secret@{where}")
            with pytest.raises(Unreachable, match=words) as caught:
                await dial(Endpoint("tcp://10.0.0.1:1"))
            assert "planted-secret" not in str(caught.value)
            assert where in caught.value.message

    run(main)


# ------------------------------------------------------------------------------ back-pressure


@pytest.mark.parametrize("secure", [False, True], ids=["tcp", "tls"])
def test_a_peer_that_does_not_read_stops_the_writer_and_cancelling_it_loses_no_order(
    secure, server, client
):
    async def main():
        read_on = asyncio.Event()
        heard = asyncio.Queue()

        async def lazy(reader, writer):
            await read_on.wait()
            while data := await reader.read(1 << 16):
                await heard.put(data)

        async with listening(lazy, server_context(server) if secure else None) as address:
            transport = await dial(Endpoint(address, tls(client) if secure else None))
            n_written = await write_until_it_waits(transport)
            assert n_written < 64, "what nobody reads must not be taken"
            read_on.set()
            data = b""
            while len(data) < n_written << 20:
                data += await heard.get()
            for number in range(n_written):
                assert data[number << 20 : (number << 20) + 4] == number.to_bytes(4, "big")
            await transport.close()

    run(main)


def test_a_reader_that_does_not_read_stops_the_peer():
    async def main():
        sent = 0

        async def flood(reader, writer):
            nonlocal sent
            while True:
                writer.write(bytes(1 << 16))
                await writer.drain()
                sent += 1 << 16

        async with listening(flood) as address:
            transport = await dial(Endpoint(address))
            await transport.read()
            before = -1
            while sent != before:  # the kernel is full at some time, and so are we
                before = sent
                await moment(0.2)
            assert sent < 64 << 20
            assert sum(map(len, transport._chunks)) <= 1 << 20
            await transport.close()

    run(main)


def test_a_read_that_is_cancelled_loses_nothing(server, client):
    async def main():
        async def slowly(reader, writer):
            for number in range(50):
                writer.write(bytes([number]) * 1000)
                await writer.drain()
                await asyncio.sleep(0.002)
            await asyncio.sleep(3600)

        for context, ours in ((None, None), (server_context(server), tls(client))):
            async with listening(slowly, context) as address:
                transport = await dial(Endpoint(address, ours))
                data = b""
                while len(data) < 50_000:
                    try:
                        async with asyncio.timeout(0.001):
                            data += await transport.read() or b""
                    except TimeoutError:
                        continue
                assert data == b"".join(bytes([number]) * 1000 for number in range(50))
                await transport.close()

    run(main)


def test_a_peer_that_resets_is_a_lost_connection_for_reader_and_writer():
    async def main():
        async def reset(reader, writer):
            await reader.read(1)
            plain = writer.get_extra_info("socket")
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

        async with listening(reset) as address:
            transport = await dial(Endpoint(address))
            await transport.write([b"xx"])
            with pytest.raises(ConnectionLost) as caught:
                await read_to_the_end(transport)
            assert caught.value.address == address
            with pytest.raises(ConnectionLost):
                await write_until_it_waits(transport)
            await transport.close()

    run(main)


def test_after_close_reading_ends_and_writing_is_refused():
    async def main():
        async with listening(echo) as address:
            transport = await dial(Endpoint(address))
            reading = asyncio.create_task(transport.read())
            await asyncio.sleep(0)
            await transport.close()
            assert await reading is None
            with pytest.raises(LinkError):
                await transport.write([b"x"])

    run(main)


def test_closing_sends_what_is_left(server, client):
    async def main():
        for context, ours in ((None, None), (server_context(server), tls(client))):
            got = asyncio.get_running_loop().create_future()

            async def count(reader, writer, got=got):
                n_bytes = 0
                while data := await reader.read(1 << 16):
                    n_bytes += len(data)
                got.set_result(n_bytes)

            async with listening(count, context) as address:
                transport = await dial(Endpoint(address, ours))
                await transport.write([bytes(8 << 20)])
                await transport.close()
                assert await got == 8 << 20

    run(main)


@pytest.mark.skipif(sys.platform != "linux", reason="macOS does not tell a peer from the network")
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_peer_that_does_not_read_is_no_slow_network(tmp_path, kind):
    async def main():
        async def silent(reader, writer):
            await asyncio.sleep(3600)

        where = {} if kind == "tcp" else {"path": tmp_path / "s"}
        async with listening(silent, **where) as address:
            transport = await dial(Endpoint(address))
            assert not transport.is_link_full()
            await transport.write([bytes(32 << 20)])
            await asyncio.sleep(0.1)
            assert not transport.is_link_full()
            await asyncio.sleep(0.1)
            assert not transport.is_link_full()
            await transport.close()
            assert not transport.is_link_full()

    run(main)


def test_a_peer_that_says_goodbye_ends_the_reading(tmp_path):
    folder = Authority().write(tmp_path, "localhost")

    async def goodbye(reader, writer):
        writer.close()  # with TLS's close_notify, as Go's `tls.Conn.Close` sends it
        await writer.wait_closed()

    async def main():
        async with listening(goodbye, server_context(folder)) as address:
            tls = TLS(ca=folder / "ca.pem", cert=folder / "cert.pem", key=folder / "key.pem")
            transport = await dial(Endpoint(address, tls=tls))
            with pytest.raises(LinkError):
                async with asyncio.timeout(60):
                    await transport.read()
            await transport.close()

    run(main)
