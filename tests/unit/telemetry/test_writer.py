"""The writer: batches, tries, and that no row is lost or doubled, whatever happens to the sink."""

import gc
import itertools
import threading

import pytest

from depotlab.errors import TelemetryError, UsageError
from depotlab.telemetry import LogRow, StepRow, Writer
from tests.support.processes import wait_until
from tests.support.telemetryrows import JumpingClock, MemorySink, build_row, log_row, step_row


@pytest.fixture
def spool_dir(tmp_path):
    return tmp_path / "spool"


def files(spool_dir):
    return sorted(path.name for path in spool_dir.glob("*.rows"))


def test_rows_arrive_in_order_in_batches_of_one_table(spool_dir):
    sink = MemorySink()
    rows = [log_row(n) for n in range(25)]
    with Writer(sink, spool_dir=spool_dir, batch_rows=10, clock=JumpingClock()) as writer:
        writer.put([build_row(), *rows[:7], step_row(), *rows[7:]])
        assert writer.flush(30)
        assert [row for row in sink.rows if isinstance(row, LogRow)] == rows
        assert all(len({row.table for row in batch}) == 1 for batch in sink.batches.values())
        assert max(map(len, sink.batches.values())) == 10
        assert writer.stats.written == 27
        assert writer.stats.waiting == writer.stats.in_memory == writer.stats.spooled_bytes == 0
        assert files(spool_dir) == []
    assert sink.n_closed == 1


def test_a_batch_that_is_not_full_is_written_when_it_is_old_enough(spool_dir):
    sink, clock = MemorySink(), JumpingClock()
    with Writer(sink, spool_dir=spool_dir, flush_s=1.5, clock=clock) as writer:
        writer.put([log_row()])
        wait_until(lambda: writer.stats.written == 1, what="the row is written without a flush")
        assert clock.now >= 1.5


def test_nothing_is_lost_or_doubled_when_the_sink_is_down_for_an_hour(spool_dir):
    clock = JumpingClock(is_running=False)
    sink = MemorySink(is_down=lambda: clock.now < 3600)
    rows = [log_row(n) for n in range(500)]
    with Writer(
        sink, spool_dir=spool_dir, batch_rows=50, max_memory_rows=120, clock=clock
    ) as writer:
        for start in range(0, 500, 25):
            writer.put(rows[start : start + 25])
        wait_until(lambda: sink.tries, what="the first try")
        assert writer.stats.waiting == 500
        assert writer.stats.in_memory <= 120
        assert len(files(spool_dir)) == 10
        clock.is_running = True
        wait_until(lambda: writer.stats.written == 500, what="all rows are written after an hour")
        assert sink.rows == rows
        # 1, 2, 4, 8, 16 and then 30 s, each at least by half: not a hundredth of what trying every second would do.
        assert 120 <= writer.stats.retries <= 250
        assert clock.longest_wait_s <= 30
        assert len(set(sink.tries[: writer.stats.retries])) == 1
        assert writer.stats.last_error == ""
        assert files(spool_dir) == []


def test_the_last_error_is_told_while_it_lasts(spool_dir):
    clock = JumpingClock(is_running=False)
    is_down = threading.Event()
    is_down.set()
    sink = MemorySink(is_down=is_down.is_set)
    with Writer(sink, spool_dir=spool_dir, clock=clock) as writer:
        writer.put([log_row()])
        assert not writer.flush(0.01)
        wait_until(lambda: writer.stats.retries, what="a try")
        assert writer.stats.last_error == "The store is down."
        assert "1 waiting" in repr(writer)
        is_down.clear()
        assert writer.flush(30), "a flush tries at once"
        assert writer.stats.last_error == ""


def test_a_flush_may_end_with_the_first_try_that_fails(spool_dir):
    sink = MemorySink(is_down=lambda: True)
    with Writer(sink, spool_dir=spool_dir, clock=JumpingClock(is_running=False)) as writer:
        writer.put([log_row()])
        assert not writer.flush(3600, once=True)
        assert writer.stats.last_error == "The store is down."
        sink.is_down = lambda: False
        assert writer.flush(3600, once=True)


def test_words_of_foreign_exceptions_are_not_told(spool_dir):
    class Broken(MemorySink):
        def open(self):
            raise OSError("https://user:secret@host refused")

    with Writer(Broken(), spool_dir=spool_dir, clock=JumpingClock(is_running=False)) as writer:
        wait_until(lambda: writer.stats.retries, what="a try")
        assert writer.stats.last_error == "OSError"
        writer.close(0.05)


def test_a_batch_whose_answer_was_lost_is_written_again_under_its_id(spool_dir):
    sink = MemorySink()
    sink.n_answers_to_lose = 3
    rows = [step_row(n) for n in range(30)]
    with Writer(sink, spool_dir=spool_dir, batch_rows=10, clock=JumpingClock()) as writer:
        writer.put(rows)
        assert writer.flush(30)
        assert sink.rows == rows
        assert len(sink.tries) == 6
        assert len(set(sink.tries)) == 3


def test_a_new_writer_takes_over_what_the_last_one_left_with_the_same_ids(spool_dir):
    before = MemorySink(is_down=lambda: True)
    rows = [log_row(n) for n in range(30)]
    first = Writer(before, spool_dir=spool_dir, batch_rows=10, clock=JumpingClock(is_running=False))
    first.put(rows[:25])
    first.close(0.2)
    assert first.stats.waiting == 25
    after = MemorySink()
    with Writer(after, spool_dir=spool_dir, batch_rows=10, clock=JumpingClock()) as second:
        second.put(rows[25:])
        assert second.flush(30)
        assert after.rows == rows
        assert second.stats.written == 30
    assert before.tries[0] == after.tries[0]


def test_two_writers_do_not_share_a_folder(spool_dir):
    with (
        Writer(MemorySink(), spool_dir=spool_dir),
        pytest.raises(TelemetryError, match="Another writer uses the folder"),
    ):
        Writer(MemorySink(), spool_dir=spool_dir)
    Writer(MemorySink(), spool_dir=spool_dir).close()


def test_a_folder_that_cannot_be_used_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TelemetryError, match="cannot be used"):
        Writer(MemorySink(), spool_dir=tmp_path / "file" / "spool")


def test_only_its_owner_reads_the_spool(spool_dir):
    writer = Writer(MemorySink(is_down=lambda: True), spool_dir=spool_dir)
    writer.put([log_row()])
    assert spool_dir.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in spool_dir.iterdir()} == {0o600}
    writer.close(0.05)


def test_many_rows_take_bounded_memory_while_the_sink_is_down(spool_dir):
    clock = JumpingClock(is_running=False)
    is_down = threading.Event()
    is_down.set()
    sink = MemorySink(is_down=is_down.is_set)
    sink.batches = Counted()
    with Writer(
        sink, spool_dir=spool_dir, batch_rows=100, max_memory_rows=300, clock=clock
    ) as writer:
        writer.put(log_row(n) for n in range(10_000))
        gc.collect()
        n_alive = sum(type(one) is LogRow for one in gc.get_objects())
        assert n_alive <= 300 + 100, "and what is read from the spool for a try"
        assert writer.stats.waiting == 10_000
        is_down.clear()
        assert writer.flush(60)
        assert sink.batches.lines == list(range(10_000))


def test_long_lines_end_a_batch_and_leave_memory_early(spool_dir, monkeypatch):
    monkeypatch.setattr("depotlab.telemetry._backlog._BATCH_BYTES", 10_000)
    monkeypatch.setattr("depotlab.telemetry._backlog._MEMORY_BYTES", 30_000)
    is_down = threading.Event()
    is_down.set()
    sink = MemorySink(is_down=is_down.is_set)
    rows = [log_row(n, message="x" * 4000) for n in range(40)]
    with Writer(sink, spool_dir=spool_dir, clock=JumpingClock(is_running=False)) as writer:
        for row in rows:
            writer.put([row])
        assert writer.stats.in_memory * 4000 <= 40_000
        assert writer.stats.waiting == 40
        is_down.clear()
        assert writer.flush(30)
        assert sink.rows == rows
        assert max(map(len, sink.batches.values())) == 3
        assert writer.stats.in_memory == 0
        writer.put(rows[:2])
        assert writer.stats.in_memory == 2, "there is room again"


class Counted(dict):
    """Keeps the numbers of lines, not the rows."""

    def __init__(self):
        self.lines = []

    def setdefault(self, batch_id, rows):
        self.lines += [row.line for row in rows]


def test_the_writer_is_full_when_the_spool_has_reached_its_limit(spool_dir):
    is_down = threading.Event()
    is_down.set()
    sink = MemorySink(is_down=is_down.is_set)
    with Writer(sink, spool_dir=spool_dir, max_spool_bytes=5000) as writer:
        assert not writer.is_full
        writer.put(log_row(n) for n in range(100))
        assert writer.is_full
        writer.put([log_row(100)])  # what runs ends
        is_down.clear()
        assert writer.flush(30)
        assert not writer.is_full
        assert len(sink.rows) == 101


class FullDisk:
    """`os.write` on a disk with so much room."""

    def __init__(self, write, room_bytes):
        self.write = write
        self.room_bytes = room_bytes

    def __call__(self, handle, data):
        taken = min(len(data), self.room_bytes)
        if not taken:
            raise OSError(28, "No space left on device")
        self.room_bytes -= taken
        return self.write(handle, data[:taken])


@pytest.mark.parametrize("room_bytes", [0, 50, 700], ids=["no room", "a header", "some rows"])
def test_a_full_disk_is_lived_through_in_memory(spool_dir, monkeypatch, room_bytes):
    import os

    disk = FullDisk(os.write, room_bytes)
    monkeypatch.setattr("depotlab.telemetry._spool.os.write", disk)
    clock = JumpingClock(is_running=False)
    is_down = threading.Event()
    is_down.set()
    sink = MemorySink(is_down=is_down.is_set)
    rows = [log_row(n) for n in range(100)]
    with Writer(sink, spool_dir=spool_dir, batch_rows=30, clock=clock) as writer:
        for one in rows:
            writer.put([one])
        assert writer.is_full
        assert writer.stats.waiting == 100
        is_down.clear()
        assert writer.flush(30)
        assert sink.rows == rows
        assert writer.stats.lost == writer.stats.spooled_bytes == writer.stats.in_memory == 0
        assert not writer.is_full, "nothing is in danger, and who waits for it puts nothing"
        disk.room_bytes = 1 << 20
        writer.put([log_row(100)])
        assert not writer.is_full


def test_rows_in_memory_reach_the_disk_at_the_end_when_it_has_room_again(spool_dir, monkeypatch):
    import os

    disk = FullDisk(os.write, 0)
    monkeypatch.setattr("depotlab.telemetry._spool.os.write", disk)
    clock = JumpingClock(is_running=False)
    writer = Writer(MemorySink(is_down=lambda: True), spool_dir=spool_dir, clock=clock)
    writer.put([log_row()])
    disk.room_bytes = 1 << 20
    writer.close(0.05)
    sink = MemorySink()
    with Writer(sink, spool_dir=spool_dir, clock=clock) as after:
        assert after.flush(30)
    assert sink.rows == [log_row()]


def test_what_nothing_can_keep_is_counted(spool_dir, monkeypatch, caplog):
    monkeypatch.setattr("depotlab.telemetry._spool.os.write", FullDisk(None, 0))
    writer = Writer(
        MemorySink(is_down=lambda: True),
        spool_dir=spool_dir,
        max_memory_rows=10,
        clock=JumpingClock(is_running=False),
    )
    writer.put(log_row(n) for n in range(25))
    assert writer.stats.lost == 15
    assert writer.stats.in_memory == writer.stats.waiting == 10
    writer.close(0.05)
    assert writer.stats.lost == 25
    assert "15 rows of telemetry are lost" in caplog.text


def test_a_spool_that_somebody_empties_does_not_stop_the_rest(spool_dir):
    is_down = threading.Event()
    is_down.set()
    sink = MemorySink(is_down=is_down.is_set)
    clock = JumpingClock(is_running=False)
    with Writer(
        sink, spool_dir=spool_dir, batch_rows=10, max_memory_rows=10, clock=clock
    ) as writer:
        writer.put(log_row(n) for n in range(20))
        for path in spool_dir.glob("*.rows"):
            path.unlink()
        writer.put([log_row(20)])
        is_down.clear()
        assert writer.flush(30)
        assert writer.stats.lost == 10
        assert {row.line for row in sink.rows} == {*range(10), 20}


def test_a_file_that_cannot_be_removed_does_not_end_the_writer(spool_dir, monkeypatch, caplog):
    sink = MemorySink()

    def refuses(*_args, **_options):
        raise OSError(30, "Read-only file system")

    with Writer(sink, spool_dir=spool_dir, clock=JumpingClock()) as writer:
        monkeypatch.setattr("depotlab.telemetry._spool.Path.unlink", refuses)
        for n in range(2):
            writer.put([log_row(n)])
            assert writer.flush(30)
        monkeypatch.undo()
    assert sink.rows == [log_row(0), log_row(1)]
    assert "Read-only file system" in caplog.text


def test_a_text_that_no_store_takes_is_mended(spool_dir):
    sink = MemorySink()
    with Writer(sink, spool_dir=spool_dir) as writer:
        writer.put([log_row(message="half \ud83d of it")])
        assert writer.flush(30)
    assert sink.rows == [log_row(message="half ? of it")]


def test_many_threads_may_put(spool_dir):
    sink = MemorySink()
    with Writer(sink, spool_dir=spool_dir, batch_rows=17) as writer:
        threads = [
            threading.Thread(
                target=lambda part=part: [
                    writer.put([log_row(n)]) for n in range(part * 100, part * 100 + 100)
                ]
            )
            for part in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert writer.flush(30)
    assert sorted(row.line for row in sink.rows) == list(range(400))
    for part in range(4):
        own = [row.line for row in sink.rows if row.line // 100 == part]
        assert all(a < b for a, b in itertools.pairwise(own)), "those of one thread in their order"


def test_what_is_no_row_is_refused(spool_dir):
    writer = Writer(MemorySink(), spool_dir=spool_dir)
    with pytest.raises(UsageError, match="was given a str"):
        writer.put(["line"])
    writer.close()
    with pytest.raises(UsageError, match="closed"):
        writer.put([log_row()])


@pytest.mark.parametrize(
    "name", ["batch_rows", "flush_s", "max_memory_rows", "max_spool_bytes"], ids=str
)
def test_numbers_are_checked(spool_dir, name):
    with pytest.raises(UsageError, match=f"{name}=0"):
        Writer(MemorySink(), spool_dir=spool_dir, **{name: 0})


def test_closing_twice_is_harmless(spool_dir):
    sink = MemorySink()
    writer = Writer(sink, spool_dir=spool_dir)
    writer.put([step_row()])
    writer.close()
    writer.close()
    assert sink.rows == [step_row()]
    assert isinstance(sink.rows[0], StepRow)
    assert sink.n_closed == 1
    assert "closed" in repr(writer)
