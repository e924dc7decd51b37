"""What a reader of logs sees: newest lines, pages, finds."""

from __future__ import annotations

import pytest

from depotlab.progress import Fold, LogStore, LogWritten, Snapshot, VertexUpdated, fold
from depotlab.widgets import _reading as module
from depotlab.widgets._reading import LogReader, Wish, choices
from tests.support import simulate

N_LINES = 20_000


def long_log(n_lines: int = N_LINES) -> Snapshot:
    build = Fold()
    build.feed([VertexUpdated("a", "[app 1/1] RUN make", started_ns=1)])
    build.feed([VertexUpdated("b", "[lib 1/1] RUN ls", started_ns=2)])
    for first in range(0, n_lines, 50):
        text = "".join(f"line {k} of many\n" for k in range(first, first + 50))
        build.feed([LogWritten("a", 3 + first, 1 + first // 50 % 2, text.encode())])
    build.feed([LogWritten("b", 9, 1, b"\x1b[1mli\x1b[0mne of b\n")])
    return build.snapshot(at_ns=10)


def texts(snapshot: Snapshot, wish: Wish) -> list[str]:
    return [line.text for _, line in LogReader().page(snapshot, wish).lines]


def test_the_newest_lines_of_a_step_are_followed() -> None:
    snapshot = long_log()
    page = LogReader().page(snapshot, Wish(step="a"))
    assert len(page.lines) == module.NEWEST_LINES
    assert page.lines[-1][1].text == f"line {N_LINES - 1} of many"
    assert "20000 lines" in page.about
    assert "the newest 200 shown" in page.about


def test_the_pages_together_are_the_whole_log_line_by_line() -> None:
    snapshot = long_log()
    n_pages = LogReader().page(snapshot, Wish(step="a")).n_pages
    assert n_pages > 3
    everything = [text for k in range(n_pages) for text in texts(snapshot, Wish(step="a", page=k))]
    assert everything == [f"line {k} of many" for k in range(N_LINES)]


@pytest.mark.parametrize(
    "n_bytes", [1, module.PAGE_BYTES - 1, module.PAGE_BYTES, 3 * module.PAGE_BYTES]
)
def test_lines_longer_than_a_page_are_shown_in_pieces(n_bytes: int) -> None:
    snapshot = fold([VertexUpdated("a", "a", started_ns=1), LogWritten("a", 1, 1, b"x" * n_bytes)])
    n_pages = LogReader().page(snapshot, Wish(step="a")).n_pages
    shown = sum(len(t) for k in range(n_pages) for t in texts(snapshot, Wish(step="a", page=k)))
    assert n_bytes <= shown <= n_bytes + n_pages * (module._LINE_BYTES + 1)


def test_older_and_newer_walk_through_the_pages_and_end_with_the_newest_output() -> None:
    wish = Wish(step="a").turned("older", 3)
    assert (wish.page, wish.is_following) == (2, False)
    assert wish.turned("older", 3).turned("older", 3).turned("older", 3).page == 0
    assert wish.turned("newer", 3) == Wish(step="a")
    assert Wish(step="a").turned("newer", 3) == Wish(step="a")


def test_a_search_finds_lines_of_one_step_with_their_numbers_in_any_case_of_letters() -> None:
    page = LogReader().page(long_log(), Wish(step="a", needle="LINE 1234 "))
    assert [(label, line.text) for label, line in page.lines] == [("1235", "line 1234 of many")]
    assert page.about == "1 line with “LINE 1234” in #1"


def test_a_search_in_all_steps_sees_through_colours() -> None:
    page = LogReader().page(long_log(), Wish(needle="line of b"))
    assert [label for label, _ in page.lines] == ["lib 1/1"]


def test_a_search_reads_a_bounded_stretch_at_a_time_and_keeps_a_bounded_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SCAN_BYTES", 100_000)
    snapshot, reader, wish = long_log(), LogReader(), Wish(step="a", needle="many")
    rounds = 0
    while not (page := reader.page(snapshot, wish)).is_whole:
        rounds += 1
        assert "still searching" in page.about
    assert rounds == snapshot.steps[0].log.n_bytes // 100_000
    assert page.about.startswith(f"{N_LINES} lines with")
    assert len(page.lines) == module.FOUND_LINES
    assert page.lines[-1][0] == str(N_LINES)


def test_a_search_goes_on_with_what_is_written_after_it_began() -> None:
    build, reader, wish = Fold(), LogReader(), Wish(needle="x")
    build.feed([VertexUpdated("a", "a", started_ns=1), LogWritten("a", 1, 1, b"x\ny\nx")])
    assert len(reader.page(build.snapshot(at_ns=1), wish).lines) == 1
    build.feed([LogWritten("a", 1, 1, b"\n")])
    assert len(reader.page(build.snapshot(at_ns=1), wish).lines) == 2


def test_the_list_of_logs_offers_what_is_shown_and_what_was_picked() -> None:
    snapshot = simulate.moment(simulate.many(500, n_lines=5_000, n_parallel=50), 99)
    picked = snapshot.steps[3]
    offered = choices(snapshot, snapshot.steps[:15], picked.digest)
    assert offered[0] == ("All output", "")
    assert len(offered) <= 120
    assert picked.digest in [digest for _, digest in offered]
    assert offered[1][0].startswith("#1 [stage-0 1/10]")


def test_reading_from_any_byte_gives_as_many_bytes_as_were_asked_for() -> None:
    logs = long_log().logs
    assert isinstance(logs, LogStore)
    whole = b"".join(chunk.data for chunk in logs.read("a")[0])
    for start in (0, 1, 999, 70_000, len(whole) - 5):
        for size in (1, 64, 5_000, 10**9):
            chunks, end = logs.read("a", start_byte=start, max_bytes=size)
            assert b"".join(chunk.data for chunk in chunks) == whole[start : start + size]
            assert end == min(len(whole), start + size)


def test_what_was_not_kept_is_said_in_a_page_too() -> None:
    logs = LogStore(cap_bytes=1)
    build = Fold(logs=logs)
    build.feed([VertexUpdated("a", "a", started_ns=1)])
    for k in range(100):
        build.feed([LogWritten("a", k, 1, b"y" * 50_000 + b"\n")])
    chunks, end = logs.read("a", start_byte=0, max_bytes=1_000)
    assert [chunk.data for chunk in chunks] == [b"[1000 bytes of this log were not kept]\n"]
    assert end == 1_000


def test_a_step_without_output_says_so() -> None:
    snapshot = fold([VertexUpdated("a", "RUN x", started_ns=1)])
    assert LogReader().page(snapshot, Wish(step="a")).about == "#1 RUN x: no output yet"
