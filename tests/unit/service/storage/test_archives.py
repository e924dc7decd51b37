"""What is said of an uploaded archive: what it is, whether all of it came, and what it would unpack to."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from depotlab.errors import ContextRefused
from depotlab.service._boundary import ContextFacts
from depotlab.service._storage import archives, unpacking
from depotlab.service._storage.archives import check_archive
from depotlab.service._storage.unpacking import Stopped
from tests.support.uploadedarchives import ARCHIVE, BLOCK, FILES, PACKINGS, noise, tar

CONTENT_BYTES = sum(len(content) for _, content in FILES)


def check(
    data: bytes, *, max_bytes: int = 1 << 30, max_unpacked_bytes: int = 1 << 30
) -> ContextFacts:
    return check_archive(
        io.BytesIO(data), max_bytes=max_bytes, max_unpacked_bytes=max_unpacked_bytes
    )


def refusal(data: bytes, **limits: int) -> ContextRefused:
    with pytest.raises(ContextRefused) as caught:
        check(data, **limits)
    return caught.value


@pytest.mark.parametrize("compression", PACKINGS)
def test_an_archive_is_known_by_its_content(compression: str) -> None:
    packed = PACKINGS[compression](ARCHIVE)
    assert check(packed) == ContextFacts(len(packed), CONTENT_BYTES, 3, compression)


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(tarfile.USTAR_FORMAT, id="ustar"),
        pytest.param(tarfile.GNU_FORMAT, id="gnu"),
        pytest.param(tarfile.PAX_FORMAT, id="pax"),
    ],
)
def test_every_form_of_tar_is_read(form: int) -> None:
    files = [("n" * 90, b"1"), ("d/" + "m" * 90, noise(700)), ("b", b"")]
    assert check(tar(*files, form=form, filled=True)).n_entries == 3


def test_folders_links_and_devices_are_entries_without_content() -> None:
    out = io.BytesIO()
    kinds = (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)
    with tarfile.open(fileobj=out, mode="w") as archive:
        for n, kind in enumerate(kinds):
            member = tarfile.TarInfo(f"e{n}")
            member.type, member.linkname = kind, "../x"
            archive.addfile(member)
    facts = check(out.getvalue())
    assert (facts.n_entries, facts.unpacked_bytes) == (5, 0)


@given(
    files=st.lists(st.tuples(st.text(min_size=1, max_size=150), st.integers(0, 1100)), max_size=6),
    form=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    filled=st.booleans(),
)
def test_as_much_is_found_as_was_put_in(
    files: list[tuple[str, int]], form: int, filled: bool
) -> None:
    good = [(name, n) for name, n in files if "\0" not in name and name.isprintable()]
    data = tar(*((name, b"x" * n) for name, n in good), form=form, filled=filled)
    if good:
        sums = (len(good), sum(n for _, n in good))
        facts = check(data)
        assert (facts.n_entries, facts.unpacked_bytes) == sums
    else:
        assert "no files" in refusal(data).message


def test_members_of_gzip_follow_each_other_and_may_be_filled_up() -> None:
    packed = gzip.compress(ARCHIVE[:700]) + gzip.compress(ARCHIVE[700:]) + bytes(100)
    assert check(packed).n_entries == 3


def test_frames_of_zstd_follow_each_other() -> None:
    skipped = b"\x50\x2a\x4d\x18" + (3).to_bytes(4, "little") + b"abc"
    packed = (
        skipped + zstandard.compress(ARCHIVE[:700]) + skipped + zstandard.compress(ARCHIVE[700:])
    )
    assert check(packed).compression == "zstd"


# ------------------------------------------------------------------------------ cut off, damaged


@pytest.mark.parametrize("compression", PACKINGS)
def test_an_archive_that_is_cut_off_is_found_wherever_it_was_cut(compression: str) -> None:
    packed = PACKINGS[compression](ARCHIVE)
    # One whole block of zeros is an end too: behind it nothing can be missing.
    last = len(packed) - (BLOCK if compression == "none" else 0)
    for at in range(0, last, 1 if len(packed) < 4000 else 13):
        assert refusal(packed[:at]).reason in ("damaged", "not_an_archive")
    assert refusal(packed[: last - 1]).reason == "damaged"


@given(st.data())
def test_a_cut_between_members_is_found_too(data: st.DataObject) -> None:
    at = data.draw(st.integers(1, len(ARCHIVE) - 2 * BLOCK))
    assert refusal(gzip.compress(ARCHIVE[:at])).reason in ("damaged", "not_an_archive")


@given(st.binary(max_size=3000))
def test_any_bytes_are_an_archive_or_refused(data: bytes) -> None:
    assert refusal(data).reason in ("not_an_archive", "damaged")


@settings(max_examples=150)
@given(
    compression=st.sampled_from(sorted(PACKINGS)),
    at=st.integers(0, 10_000),
    put=st.binary(min_size=1, max_size=40),
)
def test_a_damaged_archive_is_read_or_refused(compression: str, at: int, put: bytes) -> None:
    packed = bytearray(PACKINGS[compression](ARCHIVE))
    at %= len(packed)
    packed[at : at + len(put)] = put
    with contextlib.suppress(ContextRefused):  # and nothing else
        assert check(bytes(packed), max_unpacked_bytes=100_000).unpacked_bytes <= 100_000


@pytest.mark.parametrize("compression", ["gzip", "zstd", "bzip2", "xz"])
def test_a_flipped_bit_in_the_content_is_found_by_the_packing(compression: str) -> None:
    pack: Callable[[bytes], bytes] = PACKINGS[compression]
    if compression == "zstd":  # it writes its checksum only when asked to
        pack = zstandard.ZstdCompressor(write_checksum=True).compress
    packed = bytearray(pack(ARCHIVE))
    packed[len(packed) // 2] ^= 1
    assert refusal(bytes(packed)).reason == "damaged"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(b"", "it is empty", id="nothing"),
        pytest.param(b"PK\x03\x04" + noise(600), "a zip archive", id="zip"),
        pytest.param(b"FROM busybox\nRUN true\n", "looks like a Dockerfile", id="Dockerfile"),
        pytest.param(gzip.compress(b"hello"), "packed with gzip", id="a packed text"),
        pytest.param(tar(filled=True), "no files in it", id="an empty archive"),
        pytest.param(gzip.compress(tar()), "no files in it", id="an empty packed archive"),
    ],
)
def test_what_is_no_archive_is_called_what_it_is(data: bytes, said: str) -> None:
    refused = refusal(data)
    assert refused.reason == "not_an_archive"
    assert said in refused.message
    assert "tar archive" in refused.hint


def test_entries_behind_the_end_mark_are_no_archive_of_anybody() -> None:
    assert refusal(ARCHIVE[:-BLOCK] + ARCHIVE).reason == "damaged"


# ------------------------------------------------------------------------------------- too much


def counted(data: bytes) -> tuple[io.BytesIO, Callable[[], int]]:
    file = io.BytesIO(data)
    return file, file.tell


@pytest.mark.parametrize("compression", PACKINGS)
def test_reading_stops_at_the_limit_of_the_upload(compression: str) -> None:
    packed = PACKINGS[compression](tar(("a", noise(400_000))))
    file, tell = counted(packed)
    with pytest.raises(ContextRefused, match="larger than 100 kB") as caught:
        check_archive(file, max_bytes=100_000, max_unpacked_bytes=1 << 30)
    assert caught.value.reason == "too_large"
    assert tell() <= 100_000 + (64 << 10)
    assert check(packed, max_bytes=len(packed)).size_bytes == len(packed)


@pytest.mark.parametrize("compression", ["gzip", "zstd", "bzip2", "xz"])
def test_a_bomb_is_not_unpacked_beyond_the_limit(compression: str) -> None:
    packed = PACKINGS[compression](tar(("zeros", bytes(24 << 20))))
    refused = refusal(packed, max_unpacked_bytes=1 << 20)
    assert refused.reason == "unpacks_to_too_much"
    assert "more than 1.0 MB" in refused.message


def test_what_is_behind_the_end_mark_counts_as_well() -> None:
    packed = gzip.compress(tar(("a", b"1")) + bytes(4 << 20))
    assert refusal(packed, max_unpacked_bytes=1 << 20).reason == "unpacks_to_too_much"


def header(name: bytes, kind: bytes, size_field: bytes, more: bytes = b"") -> bytes:
    """Return the header of an entry with a right checksum; `more` stands from byte 386."""
    block = bytearray(BLOCK)
    block[: len(name)] = name
    block[124:136] = size_field.ljust(12, b"\0")
    block[148:156] = b" " * 8
    block[156:157] = kind
    block[257:265] = b"ustar  \0"
    block[386 : 386 + len(more)] = more
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


END = bytes(2 * BLOCK)
PAX_LIE = b"20 size=99999999999\n"
HOLES_1 = b"34 GNU.sparse.realsize=9999999999\n"
HOLES_0 = b"30 GNU.sparse.size=9999999999\n"


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(
            header(b"x", b"x", b"%o" % len(HOLES_1)) + HOLES_1.ljust(BLOCK, b"\0") + header(b"a", b"0", b"0"),
            id="a file with holes, as POSIX archives have it",
        ),
        pytest.param(
            header(b"x", b"x", b"%o" % len(HOLES_0)) + HOLES_0.ljust(BLOCK, b"\0") + header(b"a", b"0", b"0"),
            id="the same of an older program",
        ),
        pytest.param(
            header(b"a", b"S", b"0", bytes(97) + b"77777777777\0"),
            id="a file with holes, as GNU archives have it",
        ),
        pytest.param(
            header(b"a", b"S", b"0", bytes(96) + b"\1" + b"77777777777\0") + bytes(BLOCK),
            id="the same, whose list of parts goes on",
        ),
    ],
)  # fmt: skip
def test_holes_count_as_if_they_were_filled(entry: bytes) -> None:
    assert refusal(entry + END).reason == "unpacks_to_too_much"


HIDDEN = header(b"s", b"S", b"0", bytes(97) + b"77777777777\0")
OF_512 = b"1000"


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(header(b"d/", b"\0", OF_512), id="by a folder of the oldest archives"),
        pytest.param(
            header(b"L", b"L", b"2") + b"d/".ljust(BLOCK, b"\0") + header(b"a", b"\0", OF_512),
            id="by one with a long name",
        ),
        pytest.param(
            header(b"x", b"x", b"13") + b"11 path=d/\n".ljust(BLOCK, b"\0") + header(b"a", b"\0", OF_512),
            id="by one with a name in an extended header",
        ),
        pytest.param(
            header(b"x", b"x", b"14") + b"12 size=512\n".ljust(BLOCK, b"\0") + header(b"g", b"g", b"0")
            + header(b"a", b"0", b"0"),
            id="by a size that an extended header for all entries makes forgotten",
        ),
    ],
)  # fmt: skip
def test_what_only_the_daemon_would_see_is_seen(entry: bytes) -> None:
    assert refusal(entry + HIDDEN + END).reason == "unpacks_to_too_much"


def test_an_entry_whose_name_is_not_where_names_are_is_refused() -> None:
    assert "no name" in refusal(header(b"", b"\0", OF_512) + HIDDEN + END).message


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(header(b"a", b"0", b"\x80" + b"\x7f" * 11), id="a size of 80 bits"),
        pytest.param(header(b"a", b"0", b"\xff" * 12), id="a size below nothing"),
        pytest.param(header(b"a", b"0", b"12x"), id="a size that is no number"),
        pytest.param(header(b"a", b"L", b"77777777"), id="a name of 16 MB"),
        pytest.param(
            header(b"x", b"x", b"24") + PAX_LIE.ljust(BLOCK, b"\0") + header(b"a", b"0", b"0"),
            id="a size in the extended header",
        ),
        pytest.param(
            header(b"x", b"x", b"5") + b"9 a=b".ljust(BLOCK, b"\0") + header(b"a", b"0", b"0"),
            id="an extended header without lines",
        ),
        pytest.param(
            header(b"x", b"x", b"5") + b"0 ab\n".ljust(BLOCK, b"\0") + header(b"a", b"0", b"0"),
            id="an extended header that never ends",
        ),
        pytest.param(
            header(b"x", b"x", b"11") + b"9 size=-".ljust(9, b"\n").ljust(BLOCK, b"\0"),
            id="a size with a sign",
        ),
        pytest.param(header(b"a", b"0", b"1") + bytes(BLOCK) + noise(BLOCK), id="noise"),
        pytest.param(
            header(b"a", b"S", b"0", bytes(96) + b"\1") + (bytes(504) + b"\1" + bytes(7)) * 2100,
            id="a list of parts without end",
        ),
    ],
)  # fmt: skip
def test_headers_that_lie_are_refused_at_once(entry: bytes) -> None:
    assert refusal(entry + END).reason in ("damaged", "unpacks_to_too_much")


def test_the_size_in_an_extended_header_counts() -> None:
    said = b"12 size=600\n"
    data = header(b"x", b"x", b"%o" % len(said)) + said.ljust(BLOCK, b"\0")
    data += header(b"a", b"0", b"0") + bytes(2 * BLOCK) + header(b"b", b"0", b"0") + END
    assert check(data) == ContextFacts(len(data), 600, 2, "none")


def test_more_entries_than_anybody_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_MOST_ENTRIES", 2)
    assert "more than 2 entries" in refusal(ARCHIVE).message


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(gzip.compress(ARCHIVE) + gzip.compress(b"") * 50, id="gzip"),
        pytest.param(zstandard.compress(ARCHIVE) + zstandard.compress(b"") * 50, id="zstd"),
        pytest.param(bz2.compress(ARCHIVE) + bz2.compress(b"") * 50, id="bzip2"),
    ],
)
def test_parts_without_content_cost_time_and_are_counted(
    packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check(packed).n_entries == 3
    monkeypatch.setattr(unpacking, "MOST_PARTS", 40)
    assert "parts" in refusal(packed).message


def test_a_packing_that_wants_a_gigabyte_of_memory_is_refused() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 20}]
    packed = bytearray(lzma.compress(ARCHIVE, filters=filters))
    packed[16] = 38  # 2^31 bytes of dictionary; then the header's own checksum
    packed[20:24] = zlib.crc32(packed[12:20]).to_bytes(4, "little")
    assert "memory" in refusal(bytes(packed)).message.lower()


# ---------------------------------------------------------------------------------- the reading


def test_it_stops_when_nobody_wants_to_know() -> None:
    file, tell = counted(tar(("a", noise(1 << 20))))
    with pytest.raises(Stopped):
        check_archive(
            file,
            max_bytes=1 << 30,
            max_unpacked_bytes=1 << 30,
            should_stop=lambda: tell() > 100_000,
        )
    assert tell() < 300_000


@pytest.mark.parametrize("compression", PACKINGS)
def test_a_file_that_cannot_be_read_on_says_nothing_of_the_archive(compression: str) -> None:
    packed = PACKINGS[compression](tar(("a", noise(300_000))))

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 100_000:
                raise ConnectionResetError("gone")
            return super().read(size)

    with pytest.raises(ConnectionResetError):
        check_archive(Broken(packed), max_bytes=1 << 30, max_unpacked_bytes=1 << 30)


@settings(max_examples=20)
@given(sizes=st.lists(st.integers(1, 700), min_size=1, max_size=20))
def test_the_answer_does_not_depend_on_how_the_bytes_come(sizes: list[int]) -> None:
    class Trickle(io.BytesIO):
        turn = 0

        def read(self, size: int | None = -1, /) -> bytes:
            self.turn += 1
            return super().read(min(size or 1, sizes[self.turn % len(sizes)]))

    for pack in PACKINGS.values():
        packed = pack(ARCHIVE)
        found = check_archive(Trickle(packed), max_bytes=1 << 30, max_unpacked_bytes=1 << 30)
        assert found == check(packed)
