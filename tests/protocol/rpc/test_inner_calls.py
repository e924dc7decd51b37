"""Calls through the inner server, with a client on the `h2` package at the other end of a stream in memory."""

import asyncio
import gzip
import logging
import time
import zlib
from collections.abc import Iterable
from struct import pack

import h2.errors
import pytest

from depotlab._rpc.call import RpcFault, Status
from depotlab._rpc.frames import frame
from depotlab._rpc.handlers import unary
from depotlab._rpc.health import HEALTH, HEALTH_CHECK
from depotlab._rpc.inner import HIGH_WATER_BYTES, InnerServer
from depotlab._rpc.streams import Limits
from depotlab.errors import ProtocolError
from tests.support.rpc_peers import H2Client, MemoryLink, message, run, served

MIB = 1 << 20


async def upper(call, request):
    return request.upper()


async def echo(call):
    while messages := await call.receive_many():
        call.queue(*messages)
        await call.drain()


async def count(call):
    n_bytes = 0
    while (body := await call.receive()) is not None:
        n_bytes += len(body)
    await call.send(str(n_bytes).encode())


async def numbers(call):
    last = int(await call.receive() or b"0")
    for number in range(last):
        await call.send(b"%d" % number)


async def forever(call):
    await asyncio.Event().wait()


HANDLERS = {
    "/t.S/Upper": unary(upper),
    "/t.S/Echo": echo,
    "/t.S/Count": count,
    "/t.S/Numbers": numbers,
    "/t.S/Forever": forever,
    **HEALTH,
}


def test_one_request_and_one_answer():
    async def main():
        async with served(HANDLERS) as s:
            answer = await s.client.call("/t.S/Upper", b"hello")
        assert answer.headers == {":status": "200", "content-type": "application/grpc"}
        assert answer.messages == [b"HELLO"]
        assert (answer.status, answer.text) == (0, "")

    run(main)


def test_a_stream_of_requests_and_a_stream_of_answers():
    async def main():
        async with served(HANDLERS) as s:
            assert (await s.client.call("/t.S/Count", b"ab", b"", b"c")).messages == [b"3"]
            answer = await s.client.call("/t.S/Numbers", b"1000")
            assert answer.messages == [b"%d" % n for n in range(1000)]

    run(main)


def test_a_conversation_goes_back_and_forth():
    async def main():
        async with served(HANDLERS) as s:
            stream_id = s.client.open("/t.S/Echo")
            for number in range(50):
                await s.client.send(stream_id, message(b"%d" % number))
                while len(s.client.answers[stream_id].messages) <= number:
                    await s.client.changed()
            await s.client.send(stream_id, b"", ends=True)
            answer = await s.client.answer(stream_id)
        assert answer.messages == [b"%d" % n for n in range(50)]
        assert answer.status == 0

    run(main)


def test_a_success_without_messages_has_headers_and_trailers():
    async def nothing(call):
        assert await call.receive_many() == []
        assert await call.receive() is None

    async def main():
        async with served({"/t.S/Nothing": nothing}) as s:
            answer = await s.client.call("/t.S/Nothing")
        assert answer.headers[":status"] == "200"
        assert answer.trailers["grpc-status"] == "0"

    run(main)


def test_large_messages_in_both_directions():
    async def main():
        bodies = [bytes([number]) * (7 * MIB + number) for number in range(5)]
        async with served(HANDLERS) as s:
            answer = await s.client.call("/t.S/Echo", *bodies)
        assert answer.messages == bodies

    run(main)


def test_methods_match_in_any_case_and_the_handler_sees_the_registered_name():
    async def name(call, request):
        return call.method.encode()

    async def main():
        async with served({"/moby.S/DiffCopy": unary(name)}) as s:
            answer = await s.client.call("/MOBY.s/diffcopy", b"")
        assert answer.messages == [b"/moby.S/DiffCopy"]

    run(main)


def test_a_handler_sees_metadata_with_all_values():
    seen = {}

    async def look(call, request):
        seen.update(call.metadata)
        seen["binary"] = call.binary_metadata
        return b""

    async def main():
        metadata = [
            ("followpaths", "a"),
            ("dir-name", "context"),
            ("followpaths", "b"),
            ("x-bin", "AAE"),
        ]
        async with served({"/t.S/Look": unary(look)}) as s:
            await s.client.call("/t.S/Look", b"", metadata=metadata)

    run(main)
    assert seen == {
        "followpaths": ["a", "b"],
        "dir-name": ["context"],
        "binary": {"x-bin": [b"\0\1"]},
    }


def test_forty_thousand_header_fields_arrive():
    lines = [f"some/folder-{number % 97}/**/file-{number}.py" for number in range(40_000)]
    seen = []

    async def look(call, request):
        seen.extend(call.metadata["exclude-patterns"])
        return b""

    async def main():
        metadata = [("exclude-patterns", line) for line in lines]
        async with served({"/t.S/Look": unary(look)}) as s:
            answer = await s.client.call("/t.S/Look", b"", metadata=metadata)
        assert answer.status == 0

    run(main)
    assert seen == lines


# -------------------------------------------------------------------------------------- faults


def test_unknown_methods_are_unimplemented():
    async def main():
        async with served(HANDLERS) as s:
            for path in ("/t.S/Other", "/grpc.health.v1.Health/Watch", "t.S/Upper"):
                answer = await s.client.call(path, b"")
                assert answer.status == Status.UNIMPLEMENTED
                assert path in answer.text
                assert not answer.trailers, "one header block is enough"

    run(main)


def test_a_fault_becomes_a_status_before_and_after_messages():
    async def early(call):
        raise RpcFault(Status.NOT_FOUND, 'no access allowed to dir "ü" 100%')

    async def late(call):
        await call.send(b"something")
        raise RpcFault(Status.ABORTED, "changed my mind")

    async def main():
        async with served({"/t.S/Early": early, "/t.S/Late": late}) as s:
            answer = await s.client.call("/t.S/Early", b"")
            assert answer.status == Status.NOT_FOUND
            assert answer.text == 'no access allowed to dir "%C3%BC" 100%25'
            answer = await s.client.call("/t.S/Late", b"")
            assert (answer.messages, answer.status) == ([b"something"], Status.ABORTED)

    run(main)


def test_an_unexpected_exception_is_internal_for_the_peer_and_whole_for_us():
    heard = []

    async def broken(call):
        raise KeyError("planted-secret")

    async def main():
        async with served(
            {"/t.S/Broken": broken}, on_unexpected=lambda *args: heard.append(args)
        ) as s:
            answer = await s.client.call("/t.S/Broken", b"")
        assert answer.status == Status.INTERNAL
        assert "KeyError" in answer.text
        assert "planted-secret" not in answer.text

    run(main)
    ((method, error),) = heard
    assert method == "/t.S/Broken"
    assert repr(error) == "KeyError('planted-secret')"


def test_without_a_listener_unexpected_exceptions_are_logged(caplog):
    async def broken(call):
        raise KeyError("the text")

    async def main():
        async with served({"/t.S/Broken": broken}) as s:
            await s.client.call("/t.S/Broken", b"")

    with caplog.at_level(logging.ERROR, "depotlab.rpc"):
        run(main)
    assert "/t.S/Broken failed" in caplog.text
    assert "the text" in caplog.text


def test_a_fault_out_of_a_task_group_is_that_fault():
    async def grouped(call):
        async def fail():
            raise RpcFault(Status.PERMISSION_DENIED, "from inside")

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fail())

    async def main():
        async with served({"/t.S/Grouped": grouped}) as s:
            answer = await s.client.call("/t.S/Grouped", b"")
        assert (answer.status, answer.text) == (Status.PERMISSION_DENIED, "from inside")

    run(main)


@pytest.mark.parametrize("bodies", [(), (b"a", b"b")])
@pytest.mark.parametrize("path", ["/t.S/Upper", HEALTH_CHECK])
def test_a_unary_method_takes_exactly_one_message(path, bodies):
    async def main():
        async with served(HANDLERS) as s:
            answer = await s.client.call(path, *bodies)
        assert answer.status == Status.INTERNAL
        assert "exactly one" in answer.text

    run(main)


def test_a_message_beyond_the_limit_is_resource_exhausted():
    async def main():
        async with served(HANDLERS, limits=Limits(message_bytes=1000)) as s:
            assert (await s.client.call("/t.S/Count", bytes(1000))).messages == [b"1000"]
            answer = await s.client.call("/t.S/Count", bytes(1001))
            assert answer.status == Status.RESOURCE_EXHAUSTED

    run(main)


def test_a_request_that_is_cut_is_internal():
    async def main():
        async with served(HANDLERS) as s:
            stream_id = s.client.open("/t.S/Count")
            await s.client.send(stream_id, message(b"whole") + message(b"cut")[:-1], ends=True)
            assert (await s.client.answer(stream_id)).status == Status.INTERNAL

    run(main)


def test_a_request_that_is_not_grpc_gets_an_http_status():
    async def main():
        async with served(HANDLERS) as s:
            stream_id = s.client.open("/t.S/Upper", content_type="text/html", ends=True)
            await s.client.flush()
            assert (await s.client.answer(stream_id)).headers == {":status": "415"}

    run(main)


def test_a_malformed_request_is_reset_and_the_others_go_on():
    async def main():
        async with served(HANDLERS) as s:
            s.client.h2.config.validate_outbound_headers = False
            s.client.h2.config.normalize_outbound_headers = False
            stream_id = s.client.open("/t.S/Upper", metadata=[("Upper-Case", "x")])
            await s.client.flush()
            answer = await s.client.answer(stream_id)
            assert answer.reset == h2.errors.ErrorCodes.PROTOCOL_ERROR
            assert (await s.client.call("/t.S/Upper", b"a")).messages == [b"A"]

    run(main)


def test_gzip_requests_are_understood_and_answers_are_plain():
    async def main():
        async with served(HANDLERS) as s:
            stream_id = s.client.open("/t.S/Echo", metadata=[("grpc-encoding", "gzip")])
            data = message(gzip.compress(b"a" * 9999), flag=1) + message(b"plain")
            await s.client.send(stream_id, data, ends=True)
            assert (await s.client.answer(stream_id)).messages == [b"a" * 9999, b"plain"]

    run(main)


ACCEPTS = [("grpc-accept-encoding", "identity,gzip")]


def test_compressed_answers_are_announced_and_marked_one_by_one():
    async def handler(call):
        assert call.use_gzip()
        call.queue(b"plain")
        call.queue_gzip(zlib.compress(b"squeezed", 1, 31))
        await call.drain()

    async def main():
        async with served({"/t.S/Some": handler}) as peer:
            answer = await peer.client.call("/t.S/Some", metadata=ACCEPTS)
        assert answer.status == 0
        assert answer.headers["grpc-encoding"] == "gzip"
        body = bytes(answer.body)
        assert body.startswith(message(b"plain"))
        rest = body[len(message(b"plain")) :]
        assert rest[0] == 1
        assert int.from_bytes(rest[1:5], "big") == len(rest) - 5
        assert zlib.decompress(rest[5:], 31) == b"squeezed"

    run(main)


@pytest.mark.parametrize("accepts", [[], [("grpc-accept-encoding", "identity,deflate")]])
def test_a_peer_that_does_not_understand_gzip_gets_none(accepts):
    async def handler(call):
        assert not call.use_gzip()
        with pytest.raises(RuntimeError, match="has not been told"):
            call.queue_gzip(zlib.compress(b"squeezed", 1, 31))
        call.queue(b"plain")

    async def main():
        async with served({"/t.S/Some": handler}) as peer:
            answer = await peer.client.call("/t.S/Some", metadata=accepts)
        assert answer.messages == [b"plain"]
        assert "grpc-encoding" not in answer.headers

    run(main)


def test_compression_that_is_thought_of_too_late_is_refused():
    async def handler(call):
        call.queue(b"first")
        while not call._stream.answered:  # noqa: ASYNC110 - nothing tells that the header fields are out
            await asyncio.sleep(0)
        assert not call.use_gzip()

    async def main():
        async with served({"/t.S/Some": handler}) as peer:
            answer = await peer.client.call("/t.S/Some", metadata=ACCEPTS)
        assert answer.status == 0
        assert "grpc-encoding" not in answer.headers

    run(main)


def test_another_encoding_is_unimplemented_and_says_what_is_not():
    async def main():
        async with served(HANDLERS) as s:
            stream_id = s.client.open("/t.S/Echo", metadata=[("grpc-encoding", "zstd")])
            await s.client.send(stream_id, message(b"x", flag=1), ends=True)
            answer = await s.client.answer(stream_id)
        assert answer.status == Status.UNIMPLEMENTED
        assert answer.headers["grpc-accept-encoding"] == "identity,gzip"

    run(main)


def test_two_tasks_that_receive_at_once_are_told_so():
    heard = []

    async def twice(call):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(call.receive())
            tasks.create_task(call.receive())

    async def main():
        async with served({"/t.S/Twice": twice}, on_unexpected=lambda _, e: heard.append(e)) as s:
            stream_id = s.client.open("/t.S/Twice")
            await s.client.flush()
            assert (await s.client.answer(stream_id)).status == Status.INTERNAL

    run(main)
    assert "two tasks receive" in repr(heard[0])


# ------------------------------------------------------------------------- deadlines, cancels


def test_a_deadline_cancels_the_handler_and_is_reported():
    ended = []

    async def slow(call):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async def main():
        async with served({"/t.S/Slow": slow}) as s:
            started_s = time.monotonic()
            answer = await s.client.call("/t.S/Slow", b"", metadata=[("grpc-timeout", "500m")])
            assert answer.status == Status.DEADLINE_EXCEEDED
            assert time.monotonic() - started_s > 0.4

    run(main)
    assert ended == ["cancelled"]


def test_a_timeout_of_the_handlers_own_is_not_the_deadline():
    async def impatient(call):
        async with asyncio.timeout(0.01):
            await asyncio.sleep(30)

    async def main():
        async with served({"/t.S/Impatient": impatient}, on_unexpected=lambda *_: None) as s:
            answer = await s.client.call("/t.S/Impatient", b"", metadata=[("grpc-timeout", "20S")])
        assert answer.status == Status.INTERNAL
        assert "TimeoutError" in answer.text

    run(main)


@pytest.mark.parametrize("wait", ["receive", "receive_many", "drain", "sleep"])
def test_a_reset_cancels_the_handler_wherever_it_waits(wait):
    ended = []
    begun, finished = asyncio.Event(), asyncio.Event()

    async def handler(call):
        begun.set()
        try:
            if wait == "sleep":
                await asyncio.sleep(30)
            elif wait == "drain":
                call.queue(bytes(2 * HIGH_WATER_BYTES))
                await call.drain()
            else:
                await getattr(call, wait)()
        except asyncio.CancelledError:
            ended.append(wait)
            call.queue(b"too late, and harmless")
            with pytest.raises(RpcFault, match="CANCELLED"):
                await call.drain()
            finished.set()
            raise

    async def main():
        async with served({"/t.S/Handler": handler}) as s:
            s.client.gives_credit = False
            stream_id = s.client.open("/t.S/Handler")
            await s.client.flush()
            await begun.wait()  # and by now it waits itself
            s.client.h2.reset_stream(stream_id, error_code=h2.errors.ErrorCodes.CANCEL)
            await s.client.flush()
            await finished.wait()

    run(main)
    assert ended == [wait]


def test_a_task_that_the_handler_left_waiting_learns_that_the_call_has_ended():
    faults = []

    async def handler(call):
        async def side(wait):
            try:
                await wait()
            except RpcFault as fault:
                faults.append(fault.status)

        call.queue(bytes(2 * HIGH_WATER_BYTES))
        loose.extend(asyncio.create_task(side(wait)) for wait in (call.receive, call.drain))
        await asyncio.sleep(0)
        both_wait.set()
        await asyncio.Event().wait()

    loose = []
    both_wait = asyncio.Event()

    async def main():
        async with served({"/t.S/Handler": handler}) as s:
            s.client.gives_credit = False
            s.client.open("/t.S/Handler")
            await s.client.flush()
            await both_wait.wait()
        await asyncio.gather(*loose)

    run(main)
    assert faults == [Status.CANCELLED] * 2


def test_a_handler_that_ends_early_stops_a_peer_that_still_sends():
    async def first_only(call):
        await call.send(await call.receive() or b"")

    async def main():
        async with served({"/t.S/First": first_only}) as s:
            stream_id = s.client.open("/t.S/First")
            await s.client.send(stream_id, message(b"one"))
            answer = await s.client.answer(stream_id)
            while answer.reset is None:
                await s.client.changed()
        assert (answer.messages, answer.status) == ([b"one"], 0)
        assert answer.reset == h2.errors.ErrorCodes.NO_ERROR

    run(main)


def test_a_handler_cancelled_by_its_own_side_ends_its_call_only():
    async def cancels_itself(call):
        asyncio.current_task().cancel()
        await asyncio.sleep(1)

    async def main():
        async with served({"/t.S/Self": cancels_itself, **HANDLERS}) as s:
            assert (await s.client.call("/t.S/Self", b"")).status == Status.CANCELLED
            assert (await s.client.call("/t.S/Upper", b"a")).status == 0

    run(main)


# ------------------------------------------------------------------------ ends of connections


class Scripted:
    """A byte stream that gives what it was told, and keeps what it gets."""

    def __init__(self, chunks: Iterable[bytes | Exception | None]) -> None:
        self.chunks = list(chunks)
        self.written = b""

    async def read(self):
        if not self.chunks:
            await asyncio.Event().wait()
        chunk = self.chunks.pop(0)
        if isinstance(chunk, Exception):
            raise chunk
        return chunk

    async def write(self, pieces):
        self.written += b"".join(pieces)


def opening(path="/t.S/Forever"):
    client = H2Client(MemoryLink())
    client.open(path)
    return client.h2.data_to_send()


def watching(ended, begun=None):
    async def handler(call):
        if begun is not None:
            begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)  # cleaning up takes a moment, and is waited for
            ended.append(call.method)

    return {"/t.S/Forever": handler}


def test_serve_returns_when_the_peer_closes_and_every_handler_has_cleaned_up():
    ended = []
    run(lambda: InnerServer(watching(ended)).serve(Scripted([opening(), None])))
    # A task that is cancelled before its first step never ran, so give this one a step.
    ended.clear()

    async def main():
        link, begun = MemoryLink(), asyncio.Event()
        serving = asyncio.create_task(InnerServer(watching(ended, begun)).serve(link))
        await link.to_server.put(opening())
        await begun.wait()
        await link.to_server.put(None)
        await serving

    run(main)
    assert ended == ["/t.S/Forever"]


def test_serve_can_be_cancelled():
    ended = []

    async def main():
        link, begun = MemoryLink(), asyncio.Event()
        serving = asyncio.create_task(InnerServer(watching(ended, begun)).serve(link))
        await link.to_server.put(opening())
        await begun.wait()
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving

    run(main)
    assert ended == ["/t.S/Forever"]


def test_bytes_that_are_no_http2_end_serve_with_a_typed_error_and_a_goaway():
    ended = []
    stream = Scripted([opening(), b"\xff" * 100])

    async def main():
        with pytest.raises(ProtocolError, match="FRAME_SIZE_ERROR"):
            await InnerServer(watching(ended)).serve(stream)

    run(main)
    assert b"a frame has 16777215 bytes" in stream.written


def test_a_goaway_with_an_error_ends_serve_with_its_text():
    async def main():
        async with served(HANDLERS) as s:
            s.client.open("/t.S/Forever")
            await s.client.flush()
            await s.link.to_server.put(frame(7, 0, 0, pack(">LL", 0, 11) + b"too_many_pings"))
            with pytest.raises(ProtocolError, match="ENHANCE_YOUR_CALM too_many_pings"):
                await s.serving

    run(main)


def test_a_goaway_without_an_error_lets_running_calls_finish():
    async def main():
        async with served(HANDLERS) as s:
            stream_id = s.client.open("/t.S/Upper")
            await s.client.flush()
            await s.link.to_server.put(frame(7, 0, 0, bytes(8)))
            await s.client.send(stream_id, message(b"late"), ends=True)
            assert (await s.client.answer(stream_id)).messages == [b"LATE"]

    run(main)


@pytest.mark.parametrize("where", ["read", "write"])
def test_an_error_of_the_stream_comes_out_of_serve_as_it_is(where):
    cause = OSError("why")
    error = ConnectionResetError("gone")
    error.__cause__ = cause
    ended = []

    class Breaking(Scripted):
        async def write(self, pieces):
            if where == "write" and not self.chunks:
                raise error
            await super().write(pieces)

    async def main():
        stream = Breaking([opening(), *([error] if where == "read" else [])])
        with pytest.raises(ConnectionResetError) as caught:
            await InnerServer(watching(ended)).serve(stream)
        assert caught.value is error
        assert caught.value.__cause__ is cause

    run(main)


def test_a_peer_that_breaks_rules_and_reads_nothing_does_not_hold_serve():
    class Stuck(Scripted):
        async def write(self, pieces):
            await asyncio.Event().wait()

    async def main():
        with pytest.raises(ProtocolError):
            await InnerServer(HANDLERS).serve(Stuck([b"GET / HTTP/1.1\r\n"]))

    run(main)


def test_one_server_serves_many_streams_one_after_the_other_and_at_once():
    async def main():
        server = InnerServer(HANDLERS)

        async def one(number):
            link = MemoryLink()
            serving = asyncio.create_task(server.serve(link))
            client = H2Client(link)
            pump = asyncio.create_task(client.pump())
            assert (await client.call("/t.S/Upper", b"a%d" % number)).messages == [b"A%d" % number]
            await link.to_server.put(None)
            await serving
            pump.cancel()

        await asyncio.gather(*map(one, range(10)))
        await one(11)

    run(main)
