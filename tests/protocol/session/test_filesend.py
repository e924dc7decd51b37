"""Outputs received by the service, with a daemon of the test's own at the other end."""

from __future__ import annotations

import asyncio
import io
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depotlab._proto import filesync_pb2
from depotlab._rpc import RpcFault, Status
from depotlab._session.filesend import FileSend
from depotlab._transfer import Entry, filemode
from depotlab._transfer.packets import FIN, Kind, decode_packet, encode_error
from depotlab.errors import DepotlabError, ProtocolError, SessionError
from depotlab.export import Artifact, Destination, ToDirectory, ToFile, ToLayout, ToMemory, ToStream
from tests.support.calls import MemoryCall
from tests.support.trees import every_kind, snapshot
from tests.support.treesend import content, end_of, listing, send_tree

METHOD = "/moby.filesync.v1.FileSend/DiffCopy"
MULTI = {"buildkit-exporter-multi-platform": ["1"]}


async def until(ready: Callable[[], bool]) -> None:
    """Wait for what a thread does."""
    async with asyncio.timeout(100):
        while not ready():  # noqa: ASYNC110 - nothing tells us
            await asyncio.sleep(0.001)


class Outputs:
    """The service, and what it reported."""

    def __init__(self, *destinations: Destination) -> None:
        self.reported: list[DepotlabError] = []
        self.service = FileSend(dict(enumerate(destinations)), report=self.reported.append)

    async def send(
        self,
        index: int,
        daemon: Callable[[MemoryCall], Awaitable[None]],
        metadata: dict[str, list[str]] | None = None,
        *,
        keeps_pieces: bool = True,
    ) -> RpcFault | None:
        """Make one call as the daemon; return how it ended."""
        call = MemoryCall({"buildkit-attachable-exporter-id": [str(index)], **(metadata or {})})
        call.keeps_pieces = keeps_pieces
        serving = asyncio.create_task(call.serve(self.service.methods[METHOD]))
        await daemon(call)
        return await serving


def archive(*pieces: bytes) -> Callable[[MemoryCall], Awaitable[None]]:
    """Send an archive as the daemon does."""

    async def send(call: MemoryCall) -> None:
        for piece in pieces:
            call.deliver(filesync_pb2.BytesMessage(data=piece).SerializeToString())
            await asyncio.sleep(0)
        call.half_close()

    return send


def packets(*messages: bytes, then_close: bool = True) -> Callable[[MemoryCall], Awaitable[None]]:
    """Send packets whatever is answered."""

    async def send(call: MemoryCall) -> None:
        for message in messages:
            call.deliver(message)
        if then_close:
            call.half_close()

    return send


def complete(*messages: bytes) -> Callable[[MemoryCall], Awaitable[None]]:
    """Send packets that are a whole tree without content."""

    async def send(call: MemoryCall) -> None:
        call.deliver(*messages)
        assert await call.take() == FIN
        call.deliver(FIN)

    return send


def tree(root: Path) -> Callable[[MemoryCall], Awaitable[None]]:
    return lambda call: send_tree(call, root)


# -------------------------------------------------------------------------------------- archives


async def _round_trip(destination: Destination, pieces: list[bytes]) -> Artifact:
    outputs = Outputs(destination)
    metadata = {
        "exporter-md-containerimage.digest": ["sha256:aa"],
        "exporter-md-image.name": ["a", "b"],
    }
    assert await outputs.send(0, archive(*pieces), metadata) is None
    assert outputs.reported == []
    return (await outputs.service.commit())[0]


@given(st.lists(st.binary(max_size=40), max_size=12))
def test_an_archive_arrives_in_memory_however_it_is_cut(pieces: list[bytes]) -> None:
    made = asyncio.run(_round_trip(ToMemory(), pieces))
    assert made.data == b"".join(pieces)
    assert made.size_bytes == len(made.data)
    assert made.digest == "sha256:aa"
    assert made.names == ("a", "b")


@pytest.mark.parametrize("n_bytes", [0, 127, 128, 16_383, 16_384, 3 << 20])
def test_pieces_of_any_length_are_read(tmp_path: Path, n_bytes: int) -> None:
    data = os.urandom(n_bytes)
    made = asyncio.run(_round_trip(ToFile(tmp_path / "x"), [data, b"end"]))
    assert made.read() == data + b"end"
    assert made.path == tmp_path / "x"
    assert made.data is None


def test_a_file_object_gets_the_bytes_and_stays_open() -> None:
    stream = io.BytesIO()
    made = asyncio.run(_round_trip(ToStream(stream), [b"one", b"two"]))
    assert stream.getvalue() == b"onetwo"
    assert made.size_bytes == 6
    assert made.path is None


async def send_message(message: bytes, *, keeps_pieces: bool) -> Artifact | RpcFault:
    outputs = Outputs(ToMemory())
    fault = await outputs.send(0, packets(message), keeps_pieces=keeps_pieces)
    return fault or (await outputs.service.commit())[0]


BROKEN = [b"\x0a", b"\x0a\x04abc", b"\x0a\xff\xff\xff\xff\xff\xff", b"\xff"]


@pytest.mark.parametrize("message", BROKEN)
@pytest.mark.parametrize("keeps_pieces", [True, False])
def test_malformed_pieces_are_refused(message: bytes, keeps_pieces: bool) -> None:
    fault = asyncio.run(send_message(message, keeps_pieces=keeps_pieces))
    assert isinstance(fault, RpcFault)
    assert "malformed" in fault.message or "stream of bytes" in fault.message


def test_messages_that_were_compressed_are_read_one_by_one() -> None:
    for message in (b"\x0a\x03abc", b"\x10\x07\x0a\x03abc"):  # also with an unknown field
        made = asyncio.run(send_message(message, keeps_pieces=False))
        assert isinstance(made, Artifact)
        assert made.data == b"abc"


def test_an_output_that_ends_inside_a_message_is_not_complete() -> None:
    async def run() -> RpcFault | None:
        outputs = Outputs(ToMemory())
        call = MemoryCall({"buildkit-attachable-exporter-id": ["0"]})
        serving = asyncio.create_task(call.serve(outputs.service.methods[METHOD]))
        call.deliver(b"")  # says nothing
        call.cut_to = 3
        call.half_close()
        return await serving

    fault = asyncio.run(run())
    assert fault is not None
    assert "inside a message" in fault.message


def test_outputs_are_told_apart_by_their_number(tmp_path: Path) -> None:
    async def run() -> dict[int, Artifact]:
        outputs = Outputs(ToMemory(), ToFile(tmp_path / "x"), ToMemory())
        await asyncio.gather(*(outputs.send(n, archive(f"output {n}".encode())) for n in (2, 0, 1)))
        assert outputs.service.received_bytes == 3 * 8
        return await outputs.service.commit()

    assert [made.read() for made in asyncio.run(run()).values()] == [
        b"output 0",
        b"output 1",
        b"output 2",
    ]


@pytest.mark.parametrize("value", [[], [""], ["x"], ["-1"], ["٣"]])
def test_without_a_number_it_is_the_first(value: list[str]) -> None:
    async def run() -> dict[int, Artifact]:
        outputs = Outputs(ToMemory())
        assert (
            await outputs.send(0, archive(b"x"), {"buildkit-attachable-exporter-id": value}) is None
        )
        return await outputs.service.commit()

    assert asyncio.run(run())[0].data == b"x"


def test_an_output_that_nobody_asked_for_is_refused() -> None:
    async def run() -> RpcFault | None:
        return await Outputs(ToMemory()).send(7, archive(b"x"))

    fault = asyncio.run(run())
    assert fault is not None
    assert fault.message == "exporter 7 not found"


def test_an_image_layout_is_not_served_here(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="content store"):
        Outputs(ToLayout(tmp_path))


def test_an_output_comes_once() -> None:
    async def run() -> Outputs:
        outputs = Outputs(ToMemory())
        await outputs.send(0, archive(b"x"))
        fault = await outputs.send(0, archive(b"y"))
        assert fault is not None
        assert fault.status is Status.UNKNOWN
        return outputs

    outputs = asyncio.run(run())
    assert isinstance(outputs.reported[0], ProtocolError)


@pytest.mark.parametrize("kind", ["file", "memory", "stream"])
def test_an_archive_beyond_the_limit_ends_the_build(tmp_path: Path, kind: str) -> None:
    stream = io.BytesIO()
    place = {
        "file": ToFile(tmp_path / "x", 5),
        "memory": ToMemory(5),
        "stream": ToStream(stream, 5),
    }[kind]

    async def run() -> Outputs:
        outputs = Outputs(place)
        fault = await outputs.send(0, archive(b"abc", b"def"))
        assert fault is not None
        await outputs.service.discard()
        return outputs

    outputs = asyncio.run(run())
    assert "longer than 5 bytes" in outputs.reported[0].message
    assert "limit_bytes" in outputs.reported[0].hint
    assert len(stream.getvalue()) <= 5
    assert list(tmp_path.iterdir()) == []


def test_a_build_that_succeeds_without_sending_everything_is_not_a_success(tmp_path: Path) -> None:
    async def run() -> None:
        outputs = Outputs(ToFile(tmp_path / "x"), ToMemory())
        await outputs.send(0, archive(b"x"))
        try:
            await outputs.service.commit()
        finally:
            await outputs.service.discard()

    with pytest.raises(ProtocolError, match="has not sent output 1"):
        asyncio.run(run())
    assert list(tmp_path.iterdir()) == []


def test_what_is_in_place_is_said_when_another_output_fails(tmp_path: Path) -> None:
    async def run() -> None:
        outputs = Outputs(ToFile(tmp_path / "first"), ToFile(tmp_path / "second"))
        for n in range(2):
            await outputs.send(n, archive(b"x"))
        (tmp_path / "second").mkdir()
        (tmp_path / "second/mine").touch()
        try:
            await outputs.service.commit()
        except DepotlabError as error:
            await outputs.service.discard(error)
            raise

    with pytest.raises(
        SessionError, match=r"second could not be written.*in place: .*first"
    ) as caught:
        asyncio.run(run())
    assert caught.value.path == str(tmp_path / "second")
    assert caught.value.written == (str(tmp_path / "first"),)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"]


def test_a_failed_build_notes_what_a_file_object_has_got() -> None:
    async def run() -> KeyboardInterrupt:
        outputs = Outputs(ToStream(io.BytesIO()), ToMemory())
        call = MemoryCall()
        serving = asyncio.create_task(call.serve(outputs.service.methods[METHOD]))
        call.deliver(b"\x0a\x03abc")
        await until(lambda: outputs.service.received_bytes == 3)
        serving.cancel()
        await asyncio.wait([serving])
        error = KeyboardInterrupt()
        await outputs.service.discard(error)
        await outputs.service.discard()
        return error

    assert asyncio.run(run()).__notes__ == ["3 bytes of an output went to the BytesIO."]


class Gate(io.BytesIO):
    """A file object that takes nothing until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.opened = threading.Event()

    def write(self, data) -> int:
        self.reached.set()
        assert self.opened.wait(30)
        return super().write(data)


def test_a_slow_file_object_holds_up_its_stream_and_nothing_else() -> None:
    async def run() -> tuple[int, int]:
        gate = Gate()
        outputs = Outputs(ToStream(gate), ToMemory())
        slow = asyncio.create_task(outputs.send(0, archive(b"slow", b"er")))
        await asyncio.to_thread(gate.reached.wait, 30)
        assert await outputs.send(1, archive(b"quick")) is None
        assert not slow.done()
        gate.opened.set()
        assert await slow is None
        await outputs.service.commit()
        return len(gate.getvalue()), outputs.service.received_bytes

    assert asyncio.run(run()) == (6, 11)


def test_a_build_that_is_cancelled_does_not_wait_for_a_file_object() -> None:
    async def run() -> bytes:
        gate = Gate()
        outputs = Outputs(ToStream(gate))
        slow = asyncio.create_task(outputs.send(0, archive(*[b"x" * (9 << 20)] * 9)))
        await asyncio.to_thread(gate.reached.wait, 30)
        slow.cancel()
        await asyncio.wait([slow])
        await outputs.service.discard()
        gate.opened.set()  # the write that was under way ends, and no other begins
        await until(lambda: bool(gate.getvalue()))
        await asyncio.get_running_loop().shutdown_default_executor()
        return gate.getvalue()

    assert 0 < len(asyncio.run(run())) < 9 << 20


def test_destinations_are_checked_before_the_build(tmp_path: Path) -> None:
    Outputs(ToFile(tmp_path / "x"), ToDirectory(tmp_path / "new/er"), ToMemory()).service.check()
    with pytest.raises(SessionError, match="there is no directory"):
        Outputs(ToMemory(), ToFile(tmp_path / "none/x")).service.check()
    assert list(tmp_path.iterdir()) == []


# ----------------------------------------------------------------------------------- directories


async def receive(dest: Path, *trees: Path, **options) -> Artifact:
    """Send trees, at the same time, into one directory."""
    outputs = Outputs(ToDirectory(dest, **options))
    metadata = MULTI if options.get("mode") == "delete" else {}
    faults = await asyncio.gather(*(outputs.send(0, tree(root), metadata) for root in trees))
    assert set(faults) == {None}
    assert outputs.reported == []
    return (await outputs.service.commit())[0]


def test_a_tree_of_every_kind_arrives_as_it_is(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    every_kind(source)
    made = asyncio.run(receive(tmp_path / "dest", source))
    assert snapshot(tmp_path / "dest") == snapshot(source)
    assert made.path == tmp_path / "dest"
    assert made.n_files == 10
    assert made.size_bytes == sum(
        len(facts[5][0]) for path, facts in snapshot(source).items()
        if isinstance(facts[5], tuple) and facts[5][1] == path
    )  # fmt: skip
    assert made.warnings == ()


def test_more_files_than_are_asked_for_at_a_time_arrive(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for n in range(5000):
        folder = source / str(n % 50)
        if n < 50:
            folder.mkdir(parents=True)
        (folder / str(n)).write_bytes(b"%d" % n)
    made = asyncio.run(receive(tmp_path / "dest", source))
    assert made.n_files == 5000
    assert snapshot(tmp_path / "dest") == snapshot(source)


def test_several_platforms_arrive_at_the_same_time(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        source = tmp_path / name
        (source / name).mkdir(parents=True)
        (source / "shared").mkdir()
        (source / name / "file").write_text(name)
        (source / "shared" / name).write_bytes(os.urandom(100_000))
    asyncio.run(receive(tmp_path / "dest", *(tmp_path / n for n in ("one", "two", "three"))))
    got = sorted(str(p.relative_to(tmp_path / "dest")) for p in (tmp_path / "dest").rglob("*"))
    assert got == [
        "one", "one/file", "shared", "shared/one", "shared/three", "shared/two",
        "three", "three/file", "two", "two/file",
    ]  # fmt: skip


def test_mode_delete_needs_a_daemon_that_sends_all_platforms_at_once(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "dest").mkdir()
    (tmp_path / "dest/mine").touch()

    async def run() -> Outputs:
        outputs = Outputs(ToDirectory(tmp_path / "dest", mode="delete"))
        fault = await outputs.send(0, packets(b""))
        assert fault is not None
        await outputs.service.discard()
        return outputs

    outputs = asyncio.run(run())
    assert "mode='delete'" in outputs.reported[0].message
    assert (tmp_path / "dest/mine").exists()
    asyncio.run(receive(tmp_path / "dest", tmp_path / "source", mode="delete"))
    assert list((tmp_path / "dest").iterdir()) == []


def test_a_second_stream_for_mode_delete_is_refused(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()

    async def run() -> Outputs:
        outputs = Outputs(ToDirectory(tmp_path / "dest", mode="delete"))
        await outputs.send(0, tree(tmp_path / "source"), MULTI)
        await outputs.send(0, packets(b""), MULTI)
        with pytest.raises(ProtocolError, match="has not sent"):
            await outputs.service.commit()
        await outputs.service.discard()
        return outputs

    assert "twice" in asyncio.run(run()).reported[0].message


def test_device_nodes_left_out_are_warnings_of_the_artifact(tmp_path: Path) -> None:
    null = Entry(b"null", filemode.DEVICE | filemode.CHAR_DEVICE | 0o666, 0, 7, device=(1, 3))

    async def run() -> Artifact:
        outputs = Outputs(ToDirectory(tmp_path / "dest"))
        assert await outputs.send(0, complete(*listing(null))) is None
        return (await outputs.service.commit())[0]

    assert "devices=True" in asyncio.run(run()).warnings[0]


async def _failing(
    dest: Path, *messages: bytes, **options
) -> tuple[Outputs, RpcFault, list[bytes]]:
    """Send packets that end badly; return what was told to whom."""
    outputs = Outputs(ToDirectory(dest, **options))
    call = MemoryCall()
    serving = asyncio.create_task(call.serve(outputs.service.methods[METHOD]))
    call.deliver(*messages)
    call.half_close()
    fault = await serving
    assert fault is not None
    told = []
    while (message := await call.take()) is not None:
        told.append(message)
    await outputs.service.discard()
    return outputs, fault, told


FILE = Entry(b"f", 0o644, 3, 7)


def test_what_fails_on_our_side_is_told_to_the_daemon_and_to_the_build(tmp_path: Path) -> None:
    bad = Entry(b"x" * 300, 0o644, 0, 7)
    outputs, fault, told = asyncio.run(
        _failing(tmp_path / "dest", *listing(bad._replace(mode=filemode.DIR)))
    )
    assert isinstance(outputs.reported[0], SessionError)
    assert fault.message == outputs.reported[0].message
    packet = decode_packet(told[-1])
    assert packet.kind is Kind.ERR
    assert packet.data.decode() == fault.message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("messages", "status", "reported"),
    [
        pytest.param(listing(FILE)[:1], Status.CANCELLED, None, id="the list breaks off"),
        pytest.param(listing(FILE), Status.CANCELLED, None, id="content never comes"),
        pytest.param([encode_error("no luck")], Status.UNKNOWN, None, id="the sender gives up"),
        pytest.param([*listing(), encode_error("no luck")], Status.UNKNOWN, None, id="in the end"),
        pytest.param(
            [*listing(FILE), FIN], Status.UNKNOWN, ProtocolError, id="FIN comes too early"
        ),
        pytest.param([b"\xff"], Status.UNKNOWN, ProtocolError, id="it is no packet"),
    ],
)
def test_a_transfer_that_breaks_off_leaves_nothing(
    tmp_path: Path, messages, status, reported
) -> None:
    outputs, fault, _ = asyncio.run(_failing(tmp_path / "dest", *messages))
    assert fault.status is status
    assert [type(error) for error in outputs.reported] == ([reported] if reported else [])
    assert list(tmp_path.iterdir()) == []


def test_a_tree_beyond_the_limit_ends_the_build(tmp_path: Path) -> None:
    outputs, _, _ = asyncio.run(_failing(tmp_path / "dest", *listing(FILE), limit_bytes=2))
    assert "more than 2 bytes" in outputs.reported[0].message


def test_everything_is_here_when_we_said_so_even_if_the_daemon_hangs_up_on_us(
    tmp_path: Path,
) -> None:
    """It resets the stream after its FIN, and then the call may be cancelled before that is read."""

    async def run() -> Artifact:
        outputs = Outputs(ToDirectory(tmp_path / "dest"))
        call = MemoryCall()
        serving = asyncio.create_task(call.serve(outputs.service.methods[METHOD]))
        call.deliver(*listing(FILE))
        while decode_packet(await call.take()).kind is Kind.REQ:
            call.deliver(content(0, b"abc"), end_of(0))
        serving.cancel()
        await asyncio.wait([serving])
        return (await outputs.service.commit())[0]

    assert asyncio.run(run()).n_files == 1
    assert (tmp_path / "dest/f").read_bytes() == b"abc"


def test_a_transfer_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "dest").mkdir()

    async def run() -> None:
        outputs = Outputs(ToDirectory(tmp_path / "dest"))
        call = MemoryCall()
        serving = asyncio.create_task(call.serve(outputs.service.methods[METHOD]))
        call.deliver(*listing(FILE))
        await call.take()
        call.deliver(content(0, b"a"))
        await until(lambda: outputs.service.received_bytes > 0)
        assert list((tmp_path / "dest").iterdir()) != []
        serving.cancel()
        await asyncio.wait([serving])
        await outputs.service.discard()

    asyncio.run(run())
    assert list((tmp_path / "dest").iterdir()) == []
