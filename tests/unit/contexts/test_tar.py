"""Archives as contexts: what is accepted, what is refused and how, and what is sent."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from depotlab._contexts import Tar, context
from depotlab._contexts.tar import is_header
from depotlab._contexts.zstd import ZstdReader
from depotlab.errors import ContextError, UsageError


def archive(*names: str, format: int = tarfile.PAX_FORMAT) -> bytes:  # noqa: A002
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as tar:
        for name in names or ("a.txt",):
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(name), 1.5  # a fraction needs an extended header in front
            tar.addfile(info, io.BytesIO(name.encode()))
    return out.getvalue()


TAR = archive("a.txt", "b/c.txt")
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.compress,
}


def sent(source: object) -> bytes:
    where = context(source).where  # type: ignore[arg-type]
    assert isinstance(where, Tar)
    return b"".join(where())


class Pipe(io.RawIOBase):
    """A file that cannot be wound back, and gives less than it is asked for."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        return self._data.read(min(size, 100) if size > 0 else size)


@pytest.mark.parametrize("packing", PACKED)
def test_archives_are_sent_as_they_are_but_for_zstd(packing: str, tmp_path: Path) -> None:
    data = PACKED[packing](TAR)
    expected = TAR if packing == "zstd" else data
    path = tmp_path / "context.any"  # no suffix decides
    path.write_bytes(data)
    pieces = [data[at : at + 37] for at in range(0, len(data), 37)]
    assert sent(path) == expected
    assert sent(str(path)) == expected
    assert sent(data) == expected
    assert sent(bytearray(data)) == expected
    assert sent(memoryview(data)) == expected
    assert sent(io.BytesIO(data)) == expected
    assert sent(Pipe(data)) == expected
    assert sent(iter(pieces)) == expected
    assert sent(bytearray(piece) for piece in pieces) == expected
    assert sent(lambda: iter(pieces)) == expected
    with path.open("rb") as file:
        assert sent(file) == expected


def test_what_is_there_of_an_archive_is_sent_before_its_source_is_asked_for_more() -> None:
    given: list[int] = []

    def pieces() -> Iterator[bytes]:
        for at in range(0, len(TAR), 512):
            given.append(at)
            yield TAR[at : at + 512]

    where = context(pieces()).where
    assert isinstance(where, Tar)
    sending = where()
    for n_pieces in range(1, 5):
        next(sending)
        assert len(given) == n_pieces


def test_zstd_of_several_frames_is_unpacked_whole() -> None:
    half = len(TAR) // 2
    skipped = b"\x50\x2a\x4d\x18\x03\0\0\0abc"
    data = skipped + zstandard.compress(TAR[:half]) + zstandard.compress(TAR[half:])
    assert sent(data) == TAR


def test_zstd_that_expands_enormously_is_unpacked_in_pieces() -> None:
    data = zstandard.compress(TAR[:10240] + bytes(64 << 20))
    where = context(data).where
    assert isinstance(where, Tar)
    assert max(map(len, where())) <= 1 << 20


def test_a_file_object_is_read_from_where_it_stands_and_left_open() -> None:
    file = io.BytesIO(b"in front" + TAR)
    file.seek(8)
    found = context(file)
    assert file.tell() == 8
    assert isinstance(found.where, Tar)
    assert found.where.size_bytes == len(TAR)
    for _ in range(2):  # as often as it is wanted
        assert b"".join(found.where()) == TAR
    assert not file.closed


def test_a_file_object_serves_one_build_at_a_time() -> None:
    where = context(io.BytesIO(TAR)).where
    assert isinstance(where, Tar)
    first = where()
    next(first)
    with pytest.raises(UsageError, match="being read by another build"):
        next(where())
    first.close()  # type: ignore[attr-defined]
    assert b"".join(where()) == TAR


@pytest.mark.parametrize("make", [lambda: iter([TAR]), lambda: Pipe(TAR)])
def test_what_can_be_read_only_once_says_so_the_second_time(make: Callable[[], object]) -> None:
    where = context(make()).where  # type: ignore[arg-type]
    assert isinstance(where, Tar)
    assert where.once
    assert b"".join(where()) == TAR
    with pytest.raises(UsageError, match="only once, and was") as caught:
        next(where())
    assert "a function" in caught.value.hint


def test_a_function_starts_anew_for_every_build() -> None:
    where = context(lambda: iter([TAR])).where
    assert isinstance(where, Tar)
    assert not where.once
    assert [b"".join(where()) for _ in range(2)] == [TAR, TAR]


def test_a_generator_is_not_started_before_it_is_sent() -> None:
    started = []

    def pieces():
        started.append(1)
        yield TAR

    where = context(pieces()).where
    assert started == []
    assert isinstance(where, Tar)
    assert b"".join(where()) == TAR
    assert started == [1]


def test_a_generator_that_is_given_up_is_closed() -> None:
    ended = []

    def pieces():
        try:
            while True:
                yield TAR
        finally:
            ended.append(1)

    where = context(pieces()).where
    assert isinstance(where, Tar)
    running = where()
    next(running)
    running.close()  # type: ignore[attr-defined]
    assert ended == [1]


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive_:
        archive_.writestr("a", "b")
    return out.getvalue()


BAD = {
    "nothing": (b"", "it is empty"),
    "a zip archive": (zipped(), "it is a zip archive"),
    "a Dockerfile": (b"FROM busybox\nRUN true\n", "looks like a Dockerfile"),
    "a Dockerfile with a syntax line": (b"# syntax=x\nFROM y\n", "looks like a Dockerfile"),
    "other bytes": (b"\x01\x02" * 1000, "first bytes"),
    "zeros": (bytes(10240), "no files in it"),
    "packed zeros": (gzip.compress(bytes(10240)), "no files in it"),
    "a packed text": (gzip.compress(b"hello" * 500), "packed with gzip in it is no tar"),
    "a packed nothing": (bz2.compress(b""), "packed with bzip2 in it is no tar"),
    "a damaged pack": (gzip.compress(TAR)[:12] + b"\xff" * 50, "damaged"),
    "a cut off pack": (lzma.compress(TAR)[:40], "no tar|damaged"),
    "a damaged zstd": (zstandard.compress(TAR)[:6] + b"\xff" * 50, "damaged"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_archive_is_refused_where_it_is_named(what: str, tmp_path: Path) -> None:
    data, reason = BAD[what]
    path = tmp_path / "x.tar"
    path.write_bytes(data)
    for source in (path, data, io.BytesIO(data)):
        with pytest.raises(ContextError, match=reason) as caught:
            context(source)
        assert caught.value.hint


@pytest.mark.parametrize("what", BAD)
def test_what_can_be_read_only_once_is_refused_when_it_is_sent(what: str) -> None:
    data, reason = BAD[what]
    where = context(iter([data])).where
    assert isinstance(where, Tar)
    with pytest.raises(ContextError, match=reason):
        list(where())


def test_zstd_that_breaks_off_is_an_error_and_not_half_an_archive() -> None:
    data = zstandard.compress(TAR + os.urandom(1 << 20))
    for n_bytes in (len(data) // 2, len(data) - 1, len(data) - 5):
        where = context(data[:n_bytes]).where
        assert isinstance(where, Tar)
        with pytest.raises(ContextError, match="damaged: it ends too early"):
            list(where())


@given(
    st.lists(st.tuples(st.binary(max_size=3000), st.integers(1, 60)), max_size=4),
    st.booleans(), st.booleans(), st.integers(1, 19),
)  # fmt: skip
def test_zstd_is_unpacked_whatever_its_frames_are(
    parts: list[tuple[bytes, int]], checksum: bool, size: bool, level: int
) -> None:
    packer = zstandard.ZstdCompressor(level=level, write_checksum=checksum, write_content_size=size)
    plain = [piece * times for piece, times in parts]
    reader = ZstdReader(io.BytesIO(b"".join(map(packer.compress, plain))))
    out = b""
    while piece := reader.read(1000):
        out += piece
    assert out == b"".join(plain)


@pytest.mark.parametrize("piece", ["text", 7, None, [b"x"]])
def test_pieces_that_are_no_bytes_are_named(piece: object) -> None:
    where = context(iter([TAR[:100], piece])).where  # type: ignore[arg-type]
    assert isinstance(where, Tar)
    if piece is None:
        with pytest.raises(ContextError, match="no tar archive"):
            list(where())
        return
    with pytest.raises(ContextError, match=f"gave {type(piece).__name__}, not bytes"):
        list(where())


def test_a_file_opened_as_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("x")
    with path.open() as file, pytest.raises(UsageError, match="opened as text"):
        context(file)  # type: ignore[arg-type]


def test_the_file_is_gone_when_it_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(TAR)
    where = context(path).where
    path.unlink()
    assert isinstance(where, Tar)
    with pytest.raises(ContextError) as caught:
        list(where())
    assert caught.value.path == str(path)


def test_headers_are_told_by_their_checksum() -> None:
    for format in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT):  # noqa: A001
        header = tarfile.TarInfo("é" * 20).tobuf(format)[:512]
        assert is_header(header)
        assert not is_header(b"x" + header[1:])
        assert not is_header(header[:511])
    assert not is_header(bytes(512))
    # Old programs summed signed bytes.
    header = bytearray(
        tarfile.TarInfo("caf\udce9").tobuf(tarfile.USTAR_FORMAT, "utf-8", "surrogateescape")[:512]
    )
    total = sum(
        byte - 256 if byte > 127 else byte for byte in header[:148] + b" " * 8 + header[156:]
    )
    header[148:156] = f"{total:06o}\0 ".encode()
    assert is_header(bytes(header))
