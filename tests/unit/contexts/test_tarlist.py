"""The list of an archive, against Python's own reader."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depotlab._contexts import context
from depotlab._contexts.tar import Tar
from depotlab._contexts.tarlist import members
from depotlab.errors import ContextError
from tests.unit.contexts.test_tar import PACKED, archive

KINDS = {
    tarfile.REGTYPE: "file",
    tarfile.DIRTYPE: "directory",
    tarfile.SYMTYPE: "link",
    tarfile.LNKTYPE: "link",
    tarfile.FIFOTYPE: "other",
    tarfile.CHRTYPE: "other",
}


def tar_of(data: bytes) -> Tar:
    where = context(data).where
    assert isinstance(where, Tar)
    return where


def listed(data: bytes) -> list[tuple[bytes, str, int]]:
    return [tuple(member) for member in members(tar_of(data))]


names = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=120).filter(
        lambda part: part not in (".", "..")
    ),
    min_size=1, max_size=4,
).map("/".join)  # fmt: skip


@given(
    st.lists(st.tuples(names, st.sampled_from(list(KINDS)), st.binary(max_size=1500)), min_size=1, max_size=6),
    st.sampled_from(list(PACKED)),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
)  # fmt: skip
def test_names_kinds_and_sizes_are_those_that_python_reads(
    entries: list[tuple[str, bytes, bytes]],
    packing: str,
    form: int,
) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form, encoding="utf-8") as tar:
        for name, kind, content in entries:
            info = tarfile.TarInfo(name)
            info.type, info.mtime = kind, 1.5
            info.linkname = name[::-1] if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            info.size = len(content) if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(content))
    with tarfile.open(
        fileobj=io.BytesIO(out.getvalue()), encoding="utf-8", errors="surrogateescape"
    ) as tar:
        expected = [
            (
                m.name.encode("utf-8", "surrogateescape").strip(b"/"),
                KINDS[m.type],
                m.size if m.isreg() else 0,
            )
            for m in tar
        ]
    clean = [
        (b"/".join(p for p in path.split(b"/") if p), kind, size) for path, kind, size in expected
    ]
    assert listed(PACKED[packing](out.getvalue())) == clean


def test_names_of_old_archives_have_a_prefix_and_directories_a_slash() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo("d" * 90 + "/" + "f" * 90))
    data = bytearray(out.getvalue())
    assert listed(bytes(data)) == [(b"d" * 90 + b"/" + b"f" * 90, "file", 0)]
    old = tarfile.TarInfo("./dir/")
    old.type = tarfile.AREGTYPE
    assert listed(old.tobuf(tarfile.USTAR_FORMAT) + bytes(1024)) == [(b"dir", "directory", 0)]


def test_large_files_are_passed_over_and_not_read() -> None:
    header = tarfile.TarInfo("big")
    header.size = 1 << 33  # more than octal digits have room for
    head = header.tobuf(tarfile.GNU_FORMAT)

    class Sparse(io.RawIOBase):
        """Eight gigabytes that are not there."""

        def __init__(self) -> None:
            self.at = 0
            self.n_read = 0

        def seekable(self) -> bool:
            return True

        def readable(self) -> bool:
            return True

        def seek(self, offset: int, whence: int = 0, /) -> int:
            end = len(head) + header.size + 1024
            self.at = {0: 0, 1: self.at, 2: end}[whence] + offset
            return self.at

        def tell(self) -> int:
            return self.at

        def read(self, size: int = -1, /) -> bytes:
            piece = head[self.at : self.at + size]
            piece += bytes(min(size - len(piece), max(0, len(head) + header.size + 1024 - self.at)))
            self.at += len(piece)
            self.n_read += len(piece)
            return piece

    file = Sparse()
    tar = Tar("x", None, None, False, lambda: file)  # type: ignore[arg-type,return-value]
    assert [tuple(member) for member in members(tar)] == [(b"big", "file", 1 << 33)]
    assert file.n_read < 4 << 20


def test_the_last_of_equal_names_counts_when_a_preview_counts() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for content in (b"1", b"22", b"333"):
            info = tarfile.TarInfo("a")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    preview = context(out.getvalue()).preview()
    assert (preview.kept.n_files, preview.kept.n_bytes) == (1, 3)
    assert list(preview.files()) == [("a", 3)]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        pytest.param(lambda data: data[:1000], "too early", id="cut off in a file"),
        pytest.param(lambda data: data[:512] + b"x" * 512 + data[1024:], "", id="spoilt content is not looked at"),
        pytest.param(lambda data: data[:1024] + b"x" * 512, "checksum", id="no header where one belongs"),
    ],
)  # fmt: skip
def test_a_damaged_archive_is_named(spoil, reason: str) -> None:
    data = spoil(archive("a.txt", format=tarfile.GNU_FORMAT))
    if not reason:
        assert listed(data) == [(b"a.txt", "file", 5)]
        return
    with pytest.raises(ContextError, match=reason):
        listed(data)


@pytest.mark.parametrize(
    "records",
    [b"no length\n", b"99 path=x\n", b"5 x\n\n\n", b"-1 path=x\n"],
)
def test_extended_headers_that_lie_are_refused(records: bytes) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, len(records)
    data = (
        header.tobuf(tarfile.USTAR_FORMAT)
        + records.ljust(512, b"\0")
        + archive("a", format=tarfile.GNU_FORMAT)
    )
    with pytest.raises(ContextError, match="damaged"):
        listed(data)


def test_an_extended_header_that_wants_our_memory_is_refused() -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 1 << 30
    with pytest.raises(ContextError, match="claims to have"):
        listed(header.tobuf(tarfile.USTAR_FORMAT) + bytes(2048))
