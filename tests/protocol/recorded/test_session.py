"""A recorded daemon asks the real session for what the real daemon asked for."""

from __future__ import annotations

import asyncio

import pytest

from depotlab import export
from depotlab._proto import filesync_pb2
from depotlab._recorded.session import PlayedSession
from depotlab._recorded.tape import Call, Message
from depotlab._rpc import HEALTH_CHECK, InnerServer, RpcFailed
from depotlab._session import FileSend, Session
from depotlab._transfer import Entry, MemoryTree, filemode
from depotlab._transfer.packets import END_OF_LIST, FIN, Kind, decode_packet, encode_stat
from depotlab.errors import ConnectionLost

SYNC = "/moby.filesync.v1.FileSync/DiffCopy"
SEND = "/moby.filesync.v1.FileSend/DiffCopy"


def replay(session, *calls, rename=lambda name, value: value):
    """Make calls to a session, one after the other, as a recorded daemon does."""

    async def play():
        played = PlayedSession()
        serving = asyncio.create_task(InnerServer(session.handlers).serve(played.transport))
        try:
            return [await played.replay(call, rename) for call in calls]
        finally:
            await played.close()
            await serving

    return asyncio.run(asyncio.wait_for(play(), 60))


def call(method, *messages, **headers):
    return Call(
        0,
        method,
        messages=tuple(Message(0, data) for data in messages),
        headers=tuple((name.replace("_", "-"), value) for name, value in headers.items()),
    )


def wish(number):
    return b"\x08\x01" + (b"\x18" + bytes([number]) if number else b"")


def test_directories_cross_as_they_did():
    session = Session({"app": MemoryTree({"a": b"one", "b": b"two"})})
    replay(session, call(SYNC, wish(0), wish(1), FIN, dir_name="app"))
    assert (session.moved["app"].n_entries, session.moved["app"].n_bytes) == (2, 6)


def test_only_what_was_asked_for_crosses_and_under_the_name_that_it_has_here():
    session = Session({"app-here": MemoryTree({"a": b"one", "b": b"two"})})
    names = {"app-there": "app-here"}
    replay(
        session,
        call(SYNC, wish(1), FIN, dir_name="app-there"),
        rename=lambda name, value: names.get(value, value),
    )
    assert session.moved["app-here"].n_bytes == 3


def outputs(*places):
    return FileSend(dict(enumerate(places)), report=lambda error: None)


def test_an_archive_arrives(tmp_path):
    service = outputs(export.ToFile(tmp_path / "x.tar"))
    pieces = [
        filesync_pb2.BytesMessage(data=data).SerializeToString()
        for data in (b"first ", b"x" * 300_000)
    ]
    replay(Session(services=[service]), call(SEND, *pieces))
    asyncio.run(service.commit())
    assert (tmp_path / "x.tar").read_bytes() == b"first " + b"x" * 300_000


def test_a_directory_arrives_in_whatever_order_its_files_are_asked_for(tmp_path):
    service = outputs(export.ToDirectory(tmp_path / "out"))
    entries = [
        Entry(b"d", filemode.DIR | 0o755, 0, 10**18),
        Entry(b"d/a", 0o644, 3, 10**18),
        Entry(b"d/b", 0o644, 3, 10**18),
    ]
    data = [
        b"\x08\x02\x18\x02\x22\x03two",
        b"\x08\x02\x18\x02",
        b"\x08\x02\x18\x01\x22\x03one",
        b"\x08\x02\x18\x01",
    ]
    packets = [*map(encode_stat, entries), END_OF_LIST, *data, FIN]
    assert decode_packet(data[0]).kind is Kind.DATA
    replay(Session(services=[service]), call(SEND, *packets))
    asyncio.run(service.commit())
    assert (tmp_path / "out/d/a").read_bytes() == b"one"
    assert (tmp_path / "out/d/b").read_bytes() == b"two"


def test_several_calls_come_one_after_the_other():
    session = Session({"app": MemoryTree({"a": b"one"})})
    sync = call(SYNC, wish(0), FIN, dir_name="app")
    replay(session, sync, call(HEALTH_CHECK, b""), sync)
    assert session.moved["app"].n_transfers == 2


def test_what_our_side_refuses_is_told_with_its_words():
    session = Session({"app": MemoryTree({})})
    with pytest.raises(RpcFailed, match='no access allowed to dir "other"'):
        replay(session, call(SYNC, FIN, dir_name="other"))


def test_a_session_that_has_ended_says_so():
    async def play():
        played = PlayedSession()
        await played.transport.close()
        with pytest.raises(ConnectionLost):
            await played.replay(call(HEALTH_CHECK, b""), lambda name, value: value)
        await played.close()

    asyncio.run(play())
