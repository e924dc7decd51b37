from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depotlab._transfer import Entry, Receiver, SenderFailed, filemode, receiver
from depotlab._transfer.packets import (
    FIN,
    decode_packet,
    decode_stat,
    encode_error,
    encode_request,
    encode_stat,
)
from depotlab._transfer.receiver import Content
from depotlab._transfer.receiver_packets import entry_in
from depotlab.errors import ProtocolError, SessionError
from tests.support.treesend import content, end_of, listing


def file(path: bytes, size_bytes: int = 3) -> Entry:
    return Entry(path, 0o644, size_bytes, 7)


def folder(path: bytes) -> Entry:
    return Entry(path, filemode.DIR | 0o755, 0, 7)


def link(path: bytes, target: bytes) -> Entry:
    return Entry(path, filemode.SYMLINK | 0o777, len(target), 7, target)


def began(*entries: Entry, limit_bytes: int | None = None) -> Receiver:
    machine = Receiver(limit_bytes=limit_bytes)
    machine.receive(listing(*entries))
    return machine


def written(events: list[Entry | Content]) -> list[object]:
    return [
        (e.file.entry.path, b"".join(e.pieces), e.ended) if isinstance(e, Content) else e.path
        for e in events
    ]


# ------------------------------------------------------------------------------- the dialogue


def test_only_regular_files_are_asked_for_by_their_place_in_the_list() -> None:
    machine = Receiver()
    entries = (
        folder(b"d"),
        file(b"d/f"),
        link(b"l", b"d/f"),
        Entry(b"m", 0o644, 3, 7, b"d/f"),
        file(b"z"),
    )
    events = machine.receive(listing(*entries))
    assert written(events) == [b"d", b"l", b"m"]
    assert machine.requests() == [encode_request(1), encode_request(4)]
    assert not machine.has_all


def test_content_is_taken_in_any_order_and_gathered_by_file() -> None:
    machine = began(file(b"a"), file(b"b", 4))
    machine.requests()
    burst = [content(1, b"12"), content(1, b"34"), content(0, b"abc"), end_of(0), end_of(1)]
    events = machine.receive(burst)
    assert written(events) == [(b"b", b"1234", False), (b"a", b"abc", True), (b"b", b"", True)]
    assert machine.has_all


def test_fin_goes_out_once_when_everything_is_here_and_its_answer_is_the_end() -> None:
    machine = began(file(b"a", 0))
    machine.requests()
    with pytest.raises(RuntimeError):
        machine.fin()
    machine.receive([end_of(0)])
    assert machine.fin() == FIN
    assert not machine.is_over
    machine.receive([FIN])
    assert machine.is_over
    with pytest.raises(RuntimeError):
        machine.fin()


def test_an_empty_tree_is_complete_when_its_list_ends() -> None:
    assert began().has_all


def test_requests_are_held_back_while_many_files_are_on_their_way(monkeypatch) -> None:
    monkeypatch.setattr(receiver, "MOST_ASKED", 2)
    machine = began(*(file(b"%d" % n, 0) for n in range(5)))
    assert machine.requests() == [encode_request(0), encode_request(1)]
    assert machine.requests() == []
    machine.receive([end_of(1)])
    assert machine.requests() == [encode_request(2)]


def test_the_sender_may_give_up_with_a_text() -> None:
    with pytest.raises(SenderFailed, match="no space"):
        Receiver().receive([encode_error("no space left")])


@given(
    st.lists(st.integers(0, 2**40), max_size=3), st.integers(0, 2**32 - 1), st.binary(max_size=40)
)
def test_packets_of_any_shape_mean_the_same(sizes: list[int], mode: int, data: bytes) -> None:
    """Fields may come in any order; Go writes them by number, and those are read in another way."""
    entry = Entry(b"f", mode & 0o777, len(data), 5)
    unusual = b"\x08\x00" + encode_stat(entry)  # with its type, which is left out when it is 0
    usual = Receiver()
    odd = Receiver()
    usual.receive([encode_stat(entry), b""])
    odd.receive([unusual, b""])
    assert usual.requests() == odd.requests()
    turned = b"\x22" + bytes((len(data),)) + data + b"\x08\x02" if data else b"\x08\x02\x18\x00"
    assert written(usual.receive([content(0, data)])) == written(odd.receive([turned]))


_ENTRIES = st.builds(
    Entry,
    path=st.binary(max_size=30),
    mode=st.integers(0, 2**32 - 1),
    size_bytes=st.integers(-(2**63), 2**63 - 1),
    modified_ns=st.integers(-(2**63), 2**63 - 1),
    link=st.binary(max_size=5),
    device=st.none() | st.tuples(st.integers(0, 2**31), st.integers(0, 2**31)),
    xattrs=st.none() | st.dictionaries(st.text("ab.", min_size=1), st.binary(max_size=3)),
)


@given(_ENTRIES)
def test_an_entry_that_is_read_fast_is_read_right_and_a_rare_one_is_left_to_the_slow(entry) -> None:
    packet = encode_stat(entry)
    fast = entry_in(packet)
    inner = decode_packet(packet).stat
    assert inner is not None
    slow = decode_stat(inner)
    if entry.link or any(entry.device or ()) or entry.xattrs:
        assert fast is None
    else:
        assert fast == slow


@given(st.binary(max_size=40))
def test_bytes_that_are_no_entry_are_never_read_fast(noise: bytes) -> None:
    fast = entry_in(b"\x12" + noise)
    if fast is not None:
        inner = decode_packet(b"\x12" + noise).stat
        assert inner is not None
        assert fast == decode_stat(inner)


# ------------------------------------------------------------------------------------- its lies


@pytest.mark.parametrize(
    "path",
    [
        b"", b"/", b"/x", b"/etc/passwd", b".", b"..", b"../x", b"a/..", b"a/../../x", b"a//b", b"a/", b"./a",
        b"a/./b", b"a\0b",
    ],
)  # fmt: skip
def test_paths_that_are_not_clean_or_lead_out_are_refused(path: bytes) -> None:
    machine = Receiver()
    machine.receive([encode_stat(folder(b"a"))])
    with pytest.raises(ProtocolError):
        machine.receive([encode_stat(file(path))])


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param((file(b"b"), file(b"a")), id="behind the one before"),
        pytest.param((file(b"a"), file(b"a")), id="twice"),
        pytest.param((file(b"d/f"),), id="below a directory that was not listed"),
        pytest.param((file(b"d"), file(b"d/f")), id="below a file"),
        pytest.param((link(b"d", b"/"), file(b"d/f")), id="below a link"),
        pytest.param(
            (folder(b"d"), file(b"e"), file(b"d/f")), id="back in a directory that is over"
        ),
        pytest.param((folder(b"d"), link(b"d", b"/")), id="a link in place of a directory"),
        pytest.param((folder(b"a"), file(b"a.txt"), file(b"a/b")), id="sorted as text"),
    ],
)
def test_entries_out_of_order_are_refused(entries: tuple[Entry, ...]) -> None:
    with pytest.raises(ProtocolError, match="out of order"):
        Receiver().receive([encode_stat(entry) for entry in entries])


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (link(b"l", b""), "without a target"),
        (link(b"l", b"a\0b"), "without a target"),
        (Entry(b"h", 0o644, 3, 7, b"../h"), "not clean"),
        (Entry(b"h", 0o644, 3, 7, b"/etc/passwd"), "not clean"),
        (Entry(b"h", 0o644, 3, 7, b"a/./b"), "not clean"),
        (Entry(b"n", filemode.DEVICE | 0o644, 0, 7, b"", (-1, 3)), "impossible device"),
        (file(b"n", -1), "negative size"),
        (file(b"x" * 5000), "5000 bytes"),
    ],
)
def test_entries_that_make_no_sense_are_refused(entry: Entry, words: str) -> None:
    with pytest.raises(ProtocolError, match=words):
        Receiver().receive([encode_stat(entry)])


@pytest.mark.parametrize(
    ("packets", "words"),
    [
        ([content(0, b"1234")], "more bytes"),
        ([content(0, b"12"), content(0, b"34")], "more bytes"),
        ([content(0, b"12"), end_of(0)], "only 2 bytes"),
        ([end_of(0)], "only 0 bytes"),
        ([content(1, b"1")], "nobody asked for"),
        ([content(0, b"123"), end_of(0), content(0, b"1")], "nobody asked for"),
        ([content(0, b"123"), end_of(0), end_of(0)], "nobody asked for"),
        ([encode_stat(file(b"late"))], "after the end"),
        ([b""], "twice"),
        ([FIN], "before everything"),
        ([encode_request(0)], "REQ packet"),
        ([b"\x08\x07"], "malformed"),
        ([b"\xff\xff"], "malformed"),
        ([b"\x12\x05\x0a"], "malformed"),
        ([b"\x08\x02\x18"], "malformed"),
        ([b"\x08\x02\x22\xff"], "malformed"),
    ],
)
def test_packets_out_of_turn_are_refused(packets: list[bytes], words: str) -> None:
    machine = began(file(b"a"))
    machine.requests()
    with pytest.raises(ProtocolError, match=words):
        machine.receive(packets)


def test_content_that_was_not_asked_for_yet_is_refused() -> None:
    with pytest.raises(ProtocolError, match="nobody asked for"):
        began(file(b"a")).receive([content(0, b"abc")])


def test_a_tree_beyond_the_limit_is_refused_when_it_is_listed() -> None:
    began(file(b"a", 60), file(b"b", 40), limit_bytes=100)
    with pytest.raises(SessionError, match="100 bytes"):
        began(file(b"a", 60), file(b"b", 41), limit_bytes=100)


def test_a_list_without_end_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(receiver, "MOST_ENTRIES", 3)
    began(*(file(b"%d" % n) for n in range(3)))
    with pytest.raises(ProtocolError, match="more than 3"):
        began(*(file(b"%d" % n) for n in range(4)))
