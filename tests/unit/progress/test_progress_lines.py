"""Chunks of output become lines, and the log store loses none up to its cap."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depotlab.progress import Fold, LogStore, LogTail, LogWritten, VertexUpdated, split_lines
from depotlab.progress import _logs as logs_module


def texts(*pieces: bytes, stream: int = 1) -> list[str]:
    return [line.text for line in split_lines(LogWritten("a", 1, stream, p) for p in pieces)]


@pytest.mark.parametrize(
    ("written", "lines"),
    [
        pytest.param(b"a\nb\n", ["a", "b"], id="a line end closes a line"),
        pytest.param(b"a\n\nb", ["a", "", "b"], id="the last line may lack its end"),
        pytest.param(b"a\r\nb\r\n", ["a", "b"], id="line ends of terminals"),
        pytest.param(b"10%\r50%\r100%\n", ["100%"], id="a progress bar is its last state"),
        pytest.param(b"10%\r50%\r", ["50%"], id="also while it is still being drawn"),
        pytest.param(b"caf\xc3\xa9 \xff!\n", ["café �!"], id="what is not UTF-8 is replaced"),
        pytest.param(b"a b\x0bc\n", ["a b\x0bc"], id="only \\n ends a line"),
        pytest.param(b"", [], id="nothing"),
    ],
)
def test_lines(written: bytes, lines: list[str]) -> None:
    assert texts(written) == lines


@given(
    st.lists(st.sampled_from([b"ab", b"\n", b"\r", b"\xc3", b"\xa9", b"\xf0\x9f", b"\x90\xb3"])),
    st.data(),
)
def test_lines_do_not_depend_on_chunking(parts: Sequence[bytes], data: st.DataObject) -> None:
    whole = b"".join(parts)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(whole)))))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert texts(*pieces) == texts(whole)


def test_a_character_cut_by_the_other_stream_survives() -> None:
    chunks = [
        LogWritten("a", 1, 1, b"caf\xc3"),
        LogWritten("a", 2, 2, b"oops\n"),
        LogWritten("a", 3, 1, b"\xa9\n"),
    ]
    lines = split_lines(chunks)
    assert [(line.stream, line.text) for line in lines] == [(2, "oops"), (1, "café")]


def write(store: LogStore, digest: str, *pieces: bytes, stream: int = 1) -> None:
    with store.lock:
        for k, piece in enumerate(pieces):
            store.append(store.step_log(digest), LogWritten(digest, k, stream, piece))


def tail(store: LogStore, digest: str) -> LogTail:
    with store.lock:
        return store.step_log(digest).tail()


def numbered(n: int, *, first: int = 0) -> list[bytes]:
    return [b"line %06d\n" % k for k in range(first, first + n)]


def test_the_tail_is_the_newest_lines_and_counts_them_all() -> None:
    store = LogStore()
    write(store, "a", *numbered(1_000))
    assert [line.text for line in tail(store, "a").lines(2)] == ["line 000998", "line 000999"]
    assert len(tail(store, "a").lines()) == 200
    assert tail(store, "a").n_lines == 1_000


@given(st.lists(st.integers(1, 40), min_size=30, max_size=120))
def test_the_tail_never_begins_in_mid_line(sizes: list[int]) -> None:
    store = LogStore()
    whole = b"".join(b"%04d%s\n" % (k, b"." * (k % 90)) for k in range(1_200))
    at = 0
    for size in sizes:
        write(store, "a", whole[at : at + size * 11])
        at += size * 11
    expected = [line for line in whole[:at].decode().split("\n") if line]
    found = [line.text for line in tail(store, "a").lines(10_000)]
    assert found == expected[len(expected) - len(found) :]


def test_one_chunk_larger_than_the_memory_of_a_step_is_clipped_from_its_start() -> None:
    store = LogStore()
    write(store, "a", b"".join(numbered(60_000)))
    lines = tail(store, "a").lines(100_000)
    assert lines[-1].text == "line 059999"
    assert all(len(line.text) == 11 for line in lines)
    assert len(lines) < 60_000
    assert len(store.lines("a")) == 60_000


def test_memory_of_the_tail_is_bounded() -> None:
    store = LogStore()
    write(store, "a", *([b"x" * 1_000 + b"\n"] * 5_000))
    kept = sum(len(chunk.data) for chunk in store.step_log("a").ring.chunks())
    assert kept <= 3 * logs_module.RING_BYTES


def test_the_newest_output_of_all_steps_keeps_their_order() -> None:
    store = LogStore()
    for k in range(5):
        write(store, "ab"[k % 2], b"%d\n" % k)
    with store.lock:
        recent = store.recent()
    assert [(v, line.text) for v, line in recent.lines_by_vertex(3)] == [
        ("a", "2"),
        ("b", "3"),
        ("a", "4"),
    ]


def test_nothing_is_lost_when_output_goes_to_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs_module, "SPILL_AT_BYTES", 4_000)
    store = LogStore()
    for k in range(3_000):
        write(store, f"step{k % 7}", b"line %06d\n" % k)
    for step in range(7):
        expected = [f"line {k:06d}" for k in range(step, 3_000, 7)]
        assert [line.text for line in store.lines(f"step{step}")] == expected
    assert store.lost_bytes == 0
    store.close()


def test_reading_goes_on_where_it_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs_module, "SPILL_AT_BYTES", 500)
    store = LogStore()
    position, found = 0, []
    for k in range(300):
        write(store, "a", b"line %06d\n" % k)
        write(store, "b", b"noise\n" * (k % 5))
        if k % 17 == 0:
            chunks, position = store.read("a", start_byte=position)
            found += chunks
    chunks, position = store.read("a", start_byte=position)
    found += chunks
    assert [line.text for line in split_lines(found)] == [f"line {k:06d}" for k in range(300)]
    assert store.read("a", start_byte=position) == ([], position)
    store.close()


def test_a_small_log_never_touches_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs_module.tempfile, "TemporaryFile", None)
    store = LogStore()
    write(store, "a", *numbered(1_000))
    assert len(store.lines("a")) == 1_000


def test_beyond_the_cap_the_start_and_the_end_stay_and_the_gap_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs_module, "SPILL_AT_BYTES", 4_000)
    store = LogStore(cap_bytes=20_000)
    write(store, "a", *numbered(10_000))
    found = [line.text for line in store.lines("a")]
    gap = next(k for k, text in enumerate(found) if text.startswith("["))
    assert found[:gap] == [f"line {k:06d}" for k in range(gap)]
    rest = found[gap + 1 :]
    assert rest == [f"line {k:06d}" for k in range(10_000 - len(rest), 10_000)]
    missing = int(found[gap].split()[0].removeprefix("["))
    assert missing == 12 * (10_000 - gap - len(rest))
    assert store.lost_bytes == 12 * (10_000 - gap)
    assert store.spill_error == ""
    store.close()


def test_a_full_disk_is_noted_and_does_not_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs_module, "SPILL_AT_BYTES", 1_000)

    class Full:
        def write(self, data: bytes) -> int:
            raise OSError(28, "No space left on device")

        def close(self) -> None: ...

    monkeypatch.setattr(logs_module.tempfile, "TemporaryFile", lambda **_: Full())
    store = LogStore()
    write(store, "a", *numbered(5_000))
    assert store.spill_error == "No space left on device"
    assert store.lines("a")[-1].text == "line 004999"
    assert store.lost_bytes == 12 * 5_000


def test_a_file_that_takes_less_than_was_given_is_written_to_the_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]
) -> None:
    monkeypatch.setattr(logs_module, "SPILL_AT_BYTES", 1_000)
    real = open(os.path.join(tmp_path, "spill"), "w+b", buffering=0)  # noqa: SIM115

    class Slow:
        fileno, close = real.fileno, real.close

        def write(self, data: memoryview) -> int:
            return real.write(data[:100])

    monkeypatch.setattr(logs_module.tempfile, "TemporaryFile", lambda **_: Slow())
    store = LogStore()
    write(store, "a", *numbered(1_000))
    assert len(store.lines("a")) == 1_000
    store.close()


def test_the_file_is_private_and_gone_with_its_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs_module, "SPILL_AT_BYTES", 1_000)
    store = LogStore()
    write(store, "a", *numbered(1_000))
    assert store._file is not None
    handle = store._file
    status = os.fstat(handle.fileno())
    assert status.st_mode & 0o077 == 0
    assert status.st_nlink == 0
    del store
    gc.collect()
    assert handle.closed


def test_a_closed_store_still_has_the_newest_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs_module, "SPILL_AT_BYTES", 1_000)
    build = Fold()
    build.feed([VertexUpdated("a", started_ns=1)])
    build.feed([LogWritten("a", 1, 1, line) for line in numbered(1_000)])
    build.close()
    snapshot = build.snapshot(at_ns=2)
    assert snapshot.step("a").log_tail[-1].text == "line 000999"
    assert snapshot.log_text("a").endswith("line 000999")
    assert "not kept" in snapshot.log_text("a").splitlines()[0]


@given(
    st.lists(st.sampled_from([1, 7, 300, 5_000, 70_000, 150_000]), min_size=1, max_size=25),
    st.sampled_from([0, 20_000, 10**9]),
    st.integers(1, 5),
)
def test_every_byte_is_read_or_told_as_missing(sizes: list[int], cap: int, every: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs_module, "SPILL_AT_BYTES", 6_000)
        store = LogStore(cap_bytes=cap)
        written, read, position = b"", b"", 0
        for k, size in enumerate(sizes):
            data = bytes([65 + k % 26]) * (size - 1) + b"\n"
            write(store, "a", data)
            written += data
            if k % every and k + 1 < len(sizes):
                continue
            chunks, position = store.read("a", start_byte=position)
            for chunk in chunks:
                if chunk.stream:
                    read += chunk.data
                    continue
                n_missing = int(chunk.data.split()[0].removeprefix(b"["))
                read += written[len(read) : len(read) + n_missing]
        store.close()
    assert read == written
    assert position == len(written)


def test_a_slow_disk_does_not_hold_up_whoever_feeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs_module, "SPILL_AT_BYTES", 1_000)
    store = LogStore()
    write(store, "a", *numbered(500))
    reading, release = threading.Event(), threading.Event()
    real = os.pread

    def slow(*arguments: int) -> bytes:
        reading.set()
        assert release.wait(10)
        return real(*arguments)

    monkeypatch.setattr(logs_module.os, "pread", slow)
    found: list[int] = []
    reader = threading.Thread(target=lambda: found.append(len(store.lines("a"))))
    reader.start()
    assert reading.wait(10)
    write(store, "a", *numbered(10))  # would never return if the reader had the lock
    release.set()
    reader.join()
    assert found == [500]
    store.close()
