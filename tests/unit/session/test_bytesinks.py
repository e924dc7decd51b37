"""Where archives go: files that appear whole, file objects of any kind, memory."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from depotlab._session.bytesinks import FileSink, MemorySink, StreamSink
from depotlab.errors import SessionError
from tests.conftest import unavailable

PIECES = [b"one", memoryview(b"two"), b"", b"three"]
WHOLE = b"onetwothree"


def fill(sink: FileSink | StreamSink | MemorySink) -> None:
    sink.open()
    sink.write(PIECES)
    sink.end()


# ---------------------------------------------------------------------------------------- files


def test_a_file_appears_under_its_name_only_in_the_end(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "out.tar")
    fill(sink)
    assert not (tmp_path / "out.tar").exists()
    assert [path.name.startswith(".depotlab-") for path in tmp_path.iterdir()] == [True]
    sink.commit()
    assert [path.name for path in tmp_path.iterdir()] == ["out.tar"]
    assert (tmp_path / "out.tar").read_bytes() == WHOLE
    assert sink.n_bytes == len(WHOLE)
    sink.clear()
    assert (tmp_path / "out.tar").exists()


def test_what_is_discarded_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "out.tar").write_text("old")
    sink = FileSink(tmp_path / "out.tar")
    fill(sink)
    sink.clear()
    sink.clear()
    assert [path.name for path in tmp_path.iterdir()] == ["out.tar"]
    assert (tmp_path / "out.tar").read_text() == "old"


@pytest.mark.parametrize("step", ["open", "write", "end", "commit"])
def test_nothing_is_begun_after_it_was_discarded(tmp_path: Path, step: str) -> None:
    """A thread may come late: the task that waited for it was cancelled, and all was tidied up."""
    sink = FileSink(tmp_path / "out.tar")
    sink.clear()
    with pytest.raises(SessionError, match="the build is over"):
        getattr(sink, step)(*([PIECES] if step == "write" else []))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("umask", "expected"), [(0o022, 0o644), (0o077, 0o600)])
def test_a_new_file_has_the_permissions_of_the_umask(
    tmp_path: Path, umask: int, expected: int
) -> None:
    before = os.umask(umask)
    try:
        sink = FileSink(tmp_path / "out.tar")
        fill(sink)
        sink.commit()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out.tar").stat().st_mode) == expected


def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path: Path) -> None:
    (tmp_path / "out.tar").touch()
    (tmp_path / "out.tar").chmod(0o600)
    sink = FileSink(tmp_path / "out.tar")
    fill(sink)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    sink.commit()
    assert (tmp_path / "out.tar").read_bytes() == WHOLE


def test_a_link_is_followed_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "link.tar").symlink_to("real.tar")
    sink = FileSink(tmp_path / "link.tar")
    fill(sink)
    sink.commit()
    assert (tmp_path / "link.tar").is_symlink()
    assert (tmp_path / "real.tar").read_bytes() == WHOLE


def test_a_device_is_written_and_stays_a_device() -> None:
    sink = FileSink(Path("/dev/null"))
    sink.check()
    fill(sink)
    sink.commit()
    sink.clear()
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert sink.may_block


def test_a_pipe_without_a_reader_does_not_hold_up_the_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    sink = FileSink(tmp_path / "pipe")
    opening = threading.Thread(target=sink.open)
    opening.start()
    while not sink._lock.locked():  # held for as long as nobody reads
        time.sleep(0.001)
    sink.clear()
    reader = os.open(tmp_path / "pipe", os.O_RDONLY)  # now the thread goes on, and cleans up
    opening.join()
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_a_destination_that_cannot_be_written_is_found_before_the_build(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match="no directory"):
        FileSink(tmp_path / "none/out.tar").check()
    with pytest.raises(SessionError, match="is a directory"):
        FileSink(tmp_path).check()
    FileSink(tmp_path / "out.tar").check()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        unavailable(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk_is_named_with_its_space(small_disk: Path) -> None:
    sink = FileSink(small_disk / "out.tar")
    sink.open()
    with pytest.raises(SessionError, match=r"no space left.* bytes are free on") as caught:
        sink.write([bytes(1000)] * 100)
    assert caught.value.path == str(small_disk / "out.tar")
    sink.clear()
    assert list(small_disk.iterdir()) == []


# --------------------------------------------------------------------------------- file objects


class Slow(io.RawIOBase):
    """Takes one byte at a time, as a raw pipe may."""

    def __init__(self) -> None:
        self.got = b""

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        self.got += bytes(data[:1])
        return 1


class Silent:
    """Says nothing of how much it took, which is all."""

    def __init__(self) -> None:
        self.got = b""
        self.n_flushed = 0

    def write(self, data) -> None:
        self.got += data

    def flush(self) -> None:
        self.n_flushed += 1


class Breaking(Silent):
    def write(self, data) -> None:
        if self.got:
            raise ValueError("I/O operation on closed file")
        super().write(data)


class Nonblocking(Slow):
    def write(self, data) -> None:
        return None


class Lying(Silent):
    def write(self, data) -> int:
        return len(data) + 1


@pytest.mark.parametrize("kind", [io.BytesIO, Slow, Silent])
def test_a_file_object_gets_all_bytes_in_order(kind) -> None:
    stream = kind()
    sink = StreamSink(stream)
    fill(sink)
    got = stream.getvalue() if kind is io.BytesIO else stream.got
    assert got == WHOLE
    assert sink.n_bytes == len(WHOLE)
    assert not getattr(stream, "closed", False)


def test_a_file_object_gets_what_comes_together_in_one_call() -> None:
    stream = Silent()
    calls = []
    stream.write = lambda data: calls.append(bytes(data))  # type: ignore[method-assign]
    StreamSink(stream).write([b"abc", memoryview(b"def")])
    assert calls == [b"abcdef"]


@pytest.mark.parametrize("kind", ["memory", "file", "null", "pipe", "other"])
def test_only_what_waits_for_nobody_is_written_without_a_thread(tmp_path, kind: str) -> None:
    ends = os.pipe()
    streams = {
        "memory": io.BytesIO(),
        "file": (tmp_path / "file").open("wb"),
        "null": Path(os.devnull).open("wb"),  # noqa: SIM115 - closed below
        "pipe": os.fdopen(ends[1], "wb"),
        "other": Silent(),
    }
    try:
        assert StreamSink(streams[kind]).may_block is (kind in ("pipe", "other"))
        streams["file"].close()
        assert StreamSink(streams["file"]).may_block, "the thread finds out that it is closed"
    finally:
        for stream in streams.values():
            if stream is not streams["other"]:
                stream.close()
        os.close(ends[0])


def test_a_file_object_is_flushed_once_in_the_end() -> None:
    stream = Silent()
    fill(StreamSink(stream))
    assert stream.n_flushed == 1


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Breaking, "after 3 bytes, which it keeps: ValueError"),
        (Nonblocking, "after 0 bytes.*does not wait"),
        (Lying, r"returned 4 for 3 bytes"),
    ],
)
def test_a_file_object_that_fails_is_named_with_what_it_has(kind, words: str) -> None:
    sink = StreamSink(kind())
    with pytest.raises(SessionError, match=words):
        [sink.write([piece]) for piece in PIECES]


def test_a_file_object_that_fails_to_flush_is_an_error_too() -> None:
    stream = Silent()
    stream.flush = lambda: 1 / 0  # type: ignore[method-assign]
    with pytest.raises(SessionError, match="ZeroDivisionError"):
        fill(StreamSink(stream))


def test_what_a_file_object_has_got_is_known_after_a_failure() -> None:
    sink = StreamSink(io.BytesIO())
    assert sink.taken() == ""
    sink.write([b"abc"])
    sink.clear()
    assert sink.taken() == "the BytesIO"
    sink.write([b"def"])
    assert sink.n_bytes == 3


# --------------------------------------------------------------------------------------- memory


def test_memory_gives_the_bytes() -> None:
    sink = MemorySink()
    fill(sink)
    assert sink.data() == WHOLE
