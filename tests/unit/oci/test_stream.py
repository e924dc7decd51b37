"""Archives that are made while they are read."""

import io
import tarfile

import pytest

from depotlab._oci import Entry, tar_stream


def test_what_is_streamed_is_a_tar_archive():
    def pieces():
        yield b"x" * 600
        yield b""
        yield b"y" * 424

    long_name = "blobs/sha256/" + "a" * 128
    data = b"".join(tar_stream([Entry.of("a", b"hi"), Entry(long_name, 1024, pieces())]))
    assert len(data) % 10240 == 0
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        first, second = tar.getmembers()
        assert (first.name, first.size, first.mtime, first.mode) == ("a", 2, 0, 0o644)
        assert second.name == long_name
        assert tar.extractfile(second).read() == b"x" * 600 + b"y" * 424


def test_nothing_is_read_before_its_turn():
    read = []

    def pieces(name):
        read.append(name)
        yield b"1"

    stream = tar_stream([Entry("a", 1, pieces("a")), Entry("b", 1, pieces("b"))])
    next(stream)
    assert not read
    next(stream)
    assert read == ["a"]


@pytest.mark.parametrize("data", [b"", b"123"])
def test_an_entry_of_another_length_is_refused(data):
    with pytest.raises(ValueError, match="not 2"):
        list(tar_stream([Entry("a", 2, [data])]))
