"""The upload service, pulled from as the daemon does: it takes what comes and says nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depotlab._proto import upload_pb2
from depotlab._rpc import RpcFault, Status
from depotlab._session import Session, Uploads
from depotlab.errors import ContextError, DepotlabError, SessionError
from tests.support.calls import MemoryCall

METHOD = "/moby.upload.v1.Upload/Pull"
MIB = 1 << 20


class Service(Uploads):
    """The service, and what it reports."""

    def __init__(self, **sources: Callable[[], Iterator[bytes]]) -> None:
        self.problems: list[DepotlabError] = []
        super().__init__(sources, report=self.problems.append)


async def pull(
    service: Uploads, path: str = "/ctx", *, high_water_bytes: int = 1 << 40
) -> tuple[list[bytes], RpcFault | None, MemoryCall]:
    """Take all that is uploaded; the daemon's side is never half-closed."""
    call = MemoryCall(
        {"urlpath": [path], "urlhost": ["buildkit-session"]}, high_water_bytes=high_water_bytes
    )
    serving = asyncio.create_task(call.serve(service.methods[METHOD]))
    messages = []
    while (message := await call.take()) is not None:
        messages.append(upload_pb2.BytesMessage.FromString(message).data)
    return messages, await serving, call


def run(main: Any) -> Any:
    async def limited() -> Any:
        async with asyncio.timeout(60):
            return await main

    return asyncio.run(limited())


def test_the_call_ends_by_itself_when_everything_is_sent() -> None:
    service = Service(ctx=lambda: iter([b"one", b"two"]))
    messages, fault, _ = run(pull(service))
    assert (b"".join(messages), fault) == (b"onetwo", None)
    assert service.sent_bytes == {"ctx": 6}


@given(st.lists(st.binary(max_size=100)))
def test_what_arrives_does_not_depend_on_the_chunks(chunks: list[bytes]) -> None:
    messages, fault, _ = run(pull(Service(ctx=lambda: iter(chunks))))
    assert (b"".join(messages), fault) == (b"".join(chunks), None)
    assert all(messages), "an empty message"


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([bytes(range(256)) * 40_000], id="one huge chunk"),
        pytest.param([bytes([n % 256]) * 1000 for n in range(10_000)], id="many small ones"),
        pytest.param([b"x" * (MIB - 1)] * 7, id="just below a batch"),
        pytest.param([b"x", b"y" * 3 * MIB, b"", b"z"], id="mixed"),
    ],
)
def test_messages_are_neither_tiny_nor_longer_than_three_mebibytes(chunks: list[bytes]) -> None:
    messages, fault, _ = run(pull(Service(ctx=lambda: iter(chunks))))
    assert fault is None
    assert b"".join(messages) == b"".join(chunks)
    assert max(map(len, messages)) <= 3 * MIB
    assert len(messages) <= sum(map(len, chunks)) // MIB + 2


def test_a_buffer_that_its_owner_fills_again_is_sent_as_it_was() -> None:
    def refill() -> Iterator[Any]:
        buffer = bytearray(3)
        for letter in b"abc":
            buffer[:] = bytes((letter,)) * 3
            yield buffer
            yield memoryview(buffer)[:1]

    messages, fault, _ = run(pull(Service(ctx=refill)))
    assert (b"".join(messages), fault) == (b"aaaabbbbcccc", None)


def test_a_source_can_be_pulled_again_from_its_beginning() -> None:
    service = Service(ctx=lambda: iter([b"again"]))
    for n_times in (1, 2):
        messages, fault, _ = run(pull(service))
        assert (messages, fault) == ([b"again"], None)
        assert service.sent_bytes["ctx"] == 5 * n_times


class Once:
    once = True
    label = "of a generator"

    def __call__(self) -> Iterator[bytes]:
        return iter([b"gone"])


def test_a_source_that_can_be_read_once_says_so_the_second_time() -> None:
    service = Service(ctx=Once())
    assert run(pull(service))[:2] == ([b"gone"], None)
    messages, fault, _ = run(pull(service))
    (problem,) = service.problems
    assert messages == []
    assert fault is not None
    assert isinstance(problem, SessionError)
    assert "'of a generator' can be read only once" in problem.message
    assert problem.hint


@pytest.mark.parametrize("path", ["/other", "", "/", "ctx/ctx", "/CTX"])
def test_an_upload_that_was_not_offered_is_not_found(path: str) -> None:
    service = Service(ctx=lambda: iter([b"x"]))
    messages, fault, _ = run(pull(service, path))
    assert messages == []
    assert fault is not None
    assert fault.status is Status.NOT_FOUND
    assert service.problems == []


# --------------------------------------------------------------------- sources that fail


def failing(error: BaseException, n_chunks: int) -> Callable[[], Iterator[bytes]]:
    def source() -> Iterator[bytes]:
        for _ in range(n_chunks):
            yield b"x" * MIB
        raise error

    return source


@pytest.mark.parametrize("n_chunks", [0, 1, 5])
@pytest.mark.parametrize(
    "error",
    [OSError("disk on fire"), ValueError("bad"), KeyboardInterrupt(), SystemExit(1)],
    ids=repr,
)
def test_an_exception_of_a_source_is_reported_with_its_name(
    error: BaseException, n_chunks: int
) -> None:
    service = Service(ctx=failing(error, n_chunks))
    messages, fault, _ = run(pull(service))
    (problem,) = service.problems
    assert isinstance(problem, SessionError)
    assert "'ctx'" in problem.message
    assert type(error).__name__ in problem.message
    assert str(error) in problem.hint
    assert problem.__cause__ is error
    assert len(b"".join(messages)) == n_chunks * MIB
    assert fault is not None
    assert fault.status is Status.UNKNOWN
    assert fault.message == problem.message
    # The daemon shows it to everybody.
    assert not str(error) or str(error) not in fault.message


def test_an_error_of_ours_is_reported_as_it_is() -> None:
    error = ContextError("gone", path="/x", hint="look")
    service = Service(ctx=failing(error, 1))
    run(pull(service))
    assert service.problems == [error]


def test_a_source_that_cannot_even_begin_is_reported() -> None:
    def source() -> Iterator[bytes]:
        raise FileNotFoundError("no.tar")

    service = Service(ctx=source)
    run(pull(service))
    assert "no.tar" in service.problems[0].hint


@pytest.mark.parametrize("chunk", ["text", None, 5, [b"x"]])
def test_a_source_that_gives_no_bytes_is_reported(chunk: Any) -> None:
    service = Service(ctx=lambda: iter([b"x", chunk]))
    run(pull(service))
    assert f"{type(chunk).__name__} where bytes are expected" in service.problems[0].hint


# ------------------------------------------------------------- back-pressure, threads, ends


def test_what_the_daemon_does_not_take_is_not_read() -> None:
    n_read = 0

    def source() -> Iterator[bytes]:
        nonlocal n_read
        for _ in range(200):
            n_read += 1
            yield b"x" * MIB

    async def main() -> None:
        service = Service(ctx=source)
        call = MemoryCall({"urlpath": ["/ctx"]}, high_water_bytes=100_000)
        serving = asyncio.create_task(call.serve(service.methods[METHOD]))
        n_taken = 0
        while (await call.take()) is not None:
            n_taken += 1
            if n_taken == 20:
                # One is queued, one waits to be, one is being read ahead, one may just have been taken.
                await asyncio.sleep(0.2)
                assert n_read <= n_taken + 4
        assert await serving is None
        assert n_taken == 200
        assert call.peak_bytes < 2 * MIB

    run(main())


def test_a_source_that_blocks_holds_up_nobody_else() -> None:
    gate = threading.Event()

    def slow() -> Iterator[bytes]:
        assert threading.current_thread().daemon, "it would hold up the end of the program"
        yield b"first"
        assert gate.wait(60), "others waited for it"
        yield b"last"

    async def main() -> None:
        service = Service(**{f"slow{n}": slow for n in range(40)}, ctx=lambda: iter([b"quick"]))
        waiting = [asyncio.create_task(pull(service, f"/slow{n}")) for n in range(40)]
        assert (await pull(service))[0] == [b"quick"]
        assert await asyncio.to_thread(lambda: "free") == "free"
        gate.set()
        for messages, fault, _ in await asyncio.gather(*waiting):
            assert (b"".join(messages), fault) == (b"firstlast", None)

    run(main())


def test_a_call_that_is_cancelled_closes_its_source() -> None:
    closed = threading.Event()
    began = threading.Event()

    def source() -> Iterator[bytes]:
        try:
            while True:
                began.set()
                yield b"x" * MIB
        finally:
            closed.set()

    async def main() -> None:
        service = Service(ctx=source)
        call = MemoryCall({"urlpath": ["/ctx"]}, high_water_bytes=100_000)
        serving = asyncio.create_task(call.serve(service.methods[METHOD]))
        await asyncio.to_thread(began.wait, 10)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert await asyncio.to_thread(closed.wait, 10)
        assert service.problems == []

    run(main())


def test_a_build_that_is_given_up_ends_its_uploads_and_closes_their_sources() -> None:
    """The daemon does not: it reads on, and until it has everything the build is not over."""
    gate, closed, began = threading.Event(), threading.Event(), threading.Event()

    def source() -> Iterator[bytes]:
        try:
            while True:
                yield b"x"
                began.set()
                gate.wait(0.01)
        finally:
            closed.set()

    async def main() -> None:
        service = Service(ctx=source)
        session = Session(services=[service], problems=service.problems)
        pulling = asyncio.create_task(pull(service))
        await asyncio.to_thread(began.wait, 10)
        session.give_up()
        _, fault, _ = await pulling
        assert fault is not None
        assert fault.status is Status.CANCELLED
        assert await asyncio.to_thread(closed.wait, 10)
        _, fault, _ = await pull(service)  # that the daemon asks for now
        assert fault is not None
        assert service.problems == []

    run(main())


def test_a_source_that_hangs_does_not_hold_up_the_end_of_a_call() -> None:
    gate, closed, began = threading.Event(), threading.Event(), threading.Event()

    def source() -> Iterator[bytes]:
        try:
            began.set()
            gate.wait()
            yield b"too late"
        finally:
            closed.set()

    async def main() -> None:
        service = Service(ctx=source)
        serving = asyncio.create_task(pull(service))
        await asyncio.to_thread(began.wait, 60)
        serving.cancel()
        await asyncio.wait({serving})

    run(main())
    # The loop is closed; the thread has to notice that nobody waits for it.
    gate.set()
    assert closed.wait(10)


def test_the_session_offers_it() -> None:
    problems: list[DepotlabError] = []
    session = Session(services=[Uploads({}, report=problems.append)], problems=problems)
    assert METHOD in session.handlers
    assert session.problems is problems
