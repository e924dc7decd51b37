"""Our bytes against those of protobuf, which is what the daemon reads them with."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depotlab._proto.fsutil_stat_pb2 import Stat
from depotlab._proto.fsutil_wire_pb2 import Packet
from depotlab._transfer import packets
from depotlab._transfer.packets import Entry, Kind, MalformedPacket

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
UINT32 = st.integers(0, (1 << 32) - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SIZES = st.one_of(st.integers(0, 20_000), st.integers(0, (1 << 63) - 1))
TIMES = st.one_of(INT64, st.integers(0, 1 << 30), st.integers(1 << 60, 1 << 61))


@st.composite
def entries(draw: st.DrawFn, names: st.SearchStrategy[bytes]) -> Entry:
    device = (draw(INT64), draw(INT64))
    return Entry(
        path=draw(names),
        mode=draw(UINT32),
        size_bytes=draw(SIZES),
        modified_ns=draw(TIMES),
        link=draw(names),
        device=device if any(device) else None,
        xattrs=draw(st.dictionaries(TEXT.filter(len), st.binary(), max_size=3)) or None,
    )


@settings(deadline=None)
@given(entries(TEXT.map(str.encode)))
def test_protobuf_reads_the_stat_that_we_write(entry: Entry) -> None:
    packet = Packet.FromString(packets.encode_stat(entry))
    assert packet.type == Packet.PACKET_STAT
    assert packet.HasField("stat")
    device = entry.device or (0, 0)
    assert packet.stat == Stat(
        path=entry.path.decode(),
        mode=entry.mode,
        size=entry.size_bytes,
        modTime=entry.modified_ns,
        linkname=entry.link.decode(),
        devmajor=device[0],
        devminor=device[1],
        xattrs=entry.xattrs or {},
    )


@settings(deadline=None)
@given(entries(st.binary(max_size=2000)))
def test_names_that_are_not_utf8_and_long_ones_come_back_as_they_were(entry: Entry) -> None:
    packet = packets.decode_packet(packets.encode_stat(entry))
    assert packet.kind is Kind.STAT
    assert packet.stat is not None
    assert packets.decode_stat(packet.stat) == entry


@settings(deadline=None)
@given(st.integers(0, 4), UINT32, st.binary(max_size=300))
def test_we_read_the_packet_that_protobuf_writes(kind: int, entry_id: int, data: bytes) -> None:
    written = Packet(type=kind, ID=entry_id, data=data).SerializeToString()
    assert packets.decode_packet(written) == (Kind(kind), entry_id, data, None)


@settings(deadline=None)
@given(UINT32, st.binary(min_size=1, max_size=70_000))
def test_a_head_and_its_content_are_a_data_packet(entry_id: int, content: bytes) -> None:
    packet = Packet.FromString(packets.data_head(entry_id, len(content)) + content)
    assert (packet.type, packet.ID, packet.data) == (Packet.PACKET_DATA, entry_id, content)


def test_the_end_of_a_file_is_a_data_packet_without_data() -> None:
    packet = Packet.FromString(packets.data_head(7, 0))
    assert (packet.type, packet.ID, packet.data) == (Packet.PACKET_DATA, 7, b"")


def test_the_end_of_the_list_is_a_stat_packet_without_a_stat() -> None:
    packet = Packet.FromString(packets.END_OF_LIST)
    assert packet.type == Packet.PACKET_STAT
    assert not packet.HasField("stat")
    assert packets.decode_packet(packets.END_OF_LIST).stat is None


def test_fin_requests_and_errors_are_what_protobuf_says_they_are() -> None:
    assert Packet.FromString(packets.FIN).type == Packet.PACKET_FIN
    request = Packet.FromString(packets.encode_request(300))
    assert (request.type, request.ID) == (Packet.PACKET_REQ, 300)
    error = Packet.FromString(packets.encode_error("gone: \udcff"))
    assert (error.type, error.data) == (Packet.PACKET_ERR, b"gone: \\udcff")


def test_fields_that_we_do_not_know_are_passed_over() -> None:
    unknown = b"\x78\x05" + b"\x7a\x02hi" + b"\x79" + bytes(8) + b"\x7d" + bytes(4)
    assert packets.decode_packet(unknown + packets.FIN).kind is Kind.FIN


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x08", id="ends inside a number"),
        pytest.param(b"\x22\x05abc", id="ends inside a field"),
        pytest.param(b"\x08\x05", id="unknown type"),
        pytest.param(b"\x0b", id="unknown wire type"),
        pytest.param(b"\x08" + b"\xff" * 10 + b"\x01", id="a number of eleven bytes"),
    ],
)
def test_what_is_no_packet_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedPacket):
        packets.decode_packet(data)
