"""An HTTP/1.1 connection becomes HTTP/2: not a byte may be lost at the seam."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depotlab._rpc.hijack import upgrade
from depotlab.errors import LinkError, ProtocolError, Unreachable
from tests.support.links import ScriptedTransport, cut, read_all

SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"


def refusal(status, reason, body):
    return b"HTTP/1.1 %d %b\r\nContent-Length: %d\r\n\r\n%b" % (status, reason, len(body), body)


def test_the_request_asks_for_h2c_and_carries_headers_that_repeat():
    link = ScriptedTransport([SWITCHED])
    metadata = [("x-docker-expose-session-uuid", "u"), ("x-m", "/a"), ("x-m", "/b")]
    asyncio.run(upgrade(link, "/session", metadata, address="it"))
    lines = link.written.decode().split("\r\n")
    assert lines[0] == "POST /session HTTP/1.1"
    assert {"Connection: Upgrade", "Upgrade: h2c", "Content-Length: 0"} <= set(lines)
    assert lines[-5:] == ["x-docker-expose-session-uuid: u", "x-m: /a", "x-m: /b", "", ""]


@given(st.binary(), st.lists(st.integers(1, 40)))
def test_what_follows_the_head_is_kept_wherever_it_was_cut(rest, sizes):
    async def main():
        link = ScriptedTransport(cut(SWITCHED + rest, sizes))
        return await read_all(await upgrade(link, "/grpc", address="it"))

    assert asyncio.run(main()) == rest


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        pytest.param(
            refusal(400, b"Bad Request", b'{"message": "session x already exists"}'),
            Unreachable,
            "refused /grpc: session x already exists",
            id="the engine's own words",
        ),
        pytest.param(
            refusal(404, b"Not Found", b'{"message": "page not found"}'),
            Unreachable,
            "has no BuildKit",
            id="podman knows no such path",
        ),
        pytest.param(refusal(500, b"Oh", b""), Unreachable, "HTTP status 500", id="no words"),
        pytest.param(
            refusal(502, b"Bad", b"<html>proxy</html>"), Unreachable, "proxy", id="no JSON"
        ),
        pytest.param(
            b"SSH-2.0-x\r\n\r\n", ProtocolError, "does not speak HTTP", id="another server"
        ),
        pytest.param(SWITCHED[:30], LinkError, "in the middle of an answer", id="it ends"),
        pytest.param(b"", LinkError, "in the middle of an answer", id="it says nothing"),
        pytest.param(b"x" * 70_000, LinkError, "in the middle of an answer", id="it never ends"),
    ],
)
def test_a_refusal_is_explained_and_the_connection_closed(answer, error, words):
    link = ScriptedTransport(cut(answer, [7, 11, 60_000, 10_000]))
    with pytest.raises(error, match=words):
        asyncio.run(upgrade(link, "/grpc", address="the engine"))
    assert link.n_closed == 1


def test_a_value_with_a_line_break_is_never_sent():
    link = ScriptedTransport([])
    with pytest.raises(ProtocolError):
        asyncio.run(upgrade(link, "/session", [("a", "b\r\nX: y")], address="it"))
    assert link.written == b""
