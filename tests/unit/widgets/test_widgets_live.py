"""The widgets of the live view: what a reader asks for on one thread is shown by the next frame of another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import ipywidgets
import pytest

from depotlab.progress import Fold, LogWritten, VertexUpdated
from depotlab.widgets import Ticker, hears_while_busy
from depotlab.widgets._live import Live, _hear


@pytest.fixture(autouse=True)
def no_widgets_left() -> Iterator[None]:
    yield
    ipywidgets.Widget.close_all()


def elsewhere(act: Callable[[], object]) -> None:
    """Do as the kernel does: handlers run beside the thread that paints."""
    thread = threading.Thread(target=act)
    thread.start()
    thread.join()


class Shown:
    """A live view of a build with two steps, and its widgets by what they say."""

    def __init__(self, on_cancel: Callable[[], None] | None = None) -> None:
        self.build = Fold()
        self.build.feed([VertexUpdated("a", "[app 1/1] RUN make", started_ns=1)])
        self.build.feed([VertexUpdated("b", "[lib 1/1] RUN ls", started_ns=2)])
        lines = "".join(f"line {k}\n" for k in range(9_000))
        self.build.feed([LogWritten("a", 3, 1, lines.encode())])
        self.build.feed([LogWritten("b", 4, 1, b"other words\n")])
        self.live = Live(on_cancel)
        self.at_ns = 5_000_000_000
        self.paint()

    def paint(self) -> None:
        self.at_ns += 200_000_000
        self.live.paint(self.build.snapshot(at_ns=self.at_ns), max_rows=10)

    @property
    def log(self) -> str:
        return str(self.live._log.value)

    @property
    def about(self) -> str:
        return str(self.live._about.value)

    def pick(self, digest: str) -> None:
        def choose() -> None:
            self.live._list.value = digest

        elsewhere(choose)
        assert self.live.is_stale
        self.paint()
        assert not self.live.is_stale


def test_at_first_the_newest_output_of_all_steps_is_shown() -> None:
    shown = Shown()
    assert "other words" in shown.log
    assert "line 8999" in shown.log
    assert "all steps" in shown.about


def test_a_step_that_is_picked_is_shown_alone_and_its_row_is_marked() -> None:
    shown = Shown()
    shown.pick("b")
    assert "other words" in shown.log
    assert "line 8999" not in shown.log
    assert shown.live._main.value.count("#1c7ed61f") == 1


def test_pages_are_turned_and_the_last_one_leads_back_to_the_newest_output() -> None:
    shown = Shown()
    shown.pick("a")
    assert shown.live._newer.disabled
    elsewhere(shown.live._older.click)
    shown.paint()
    assert "page 2 of 2" in shown.about
    assert shown.live._follow.value is False
    elsewhere(shown.live._older.click)
    shown.paint()
    assert "page 1 of 2" in shown.about
    assert shown.live._older.disabled
    elsewhere(shown.live._newer.click)
    elsewhere(shown.live._newer.click)
    shown.paint()
    assert shown.live._follow.value is True
    assert "line 8999" in shown.log


def test_without_follow_new_lines_wait() -> None:
    shown = Shown()

    def set_follow(is_on: bool) -> Callable[[], None]:
        return lambda: setattr(shown.live._follow, "value", is_on)

    elsewhere(set_follow(False))
    shown.paint()
    shown.build.feed([LogWritten("b", 9, 1, b"fresh\n")])
    shown.paint()
    assert "fresh" not in shown.log
    elsewhere(set_follow(True))
    shown.paint()
    assert "fresh" in shown.log


def test_finds_are_marked_and_unwrapped_lines_scroll() -> None:
    shown = Shown()
    elsewhere(lambda: setattr(shown.live._search, "value", "WORDS"))
    shown.paint()
    assert '<b style="background:#fab00566;border-radius:2px">words</b>' in shown.log
    assert "line 8999" not in shown.log
    elsewhere(lambda: setattr(shown.live._wrap, "value", False))
    shown.paint()
    assert 'white-space:pre"' in shown.log


def test_the_graph_is_drawn_when_asked_for_and_not_more_often_than_once_a_second() -> None:
    shown = Shown()
    assert shown.live._graph.layout.display == "none"
    elsewhere(lambda: setattr(shown.live._draw, "value", True))
    shown.paint()
    assert shown.live._graph.layout.display == "block"
    first = shown.live._graph.value
    assert "<svg" in first
    shown.build.feed([VertexUpdated("b", "[lib 1/1] RUN ls", (), 2, 9)])
    shown.paint()
    assert shown.live._graph.value == first
    for _ in range(5):
        shown.paint()
    assert shown.live._graph.value != first
    elsewhere(lambda: setattr(shown.live._draw, "value", False))
    shown.paint()
    assert shown.live._graph.layout.display == "none"


def test_picking_another_step_leaves_the_page_and_keeps_the_search() -> None:
    shown = Shown()
    shown.pick("a")
    elsewhere(lambda: setattr(shown.live._search, "value", "words"))
    shown.paint()
    assert "0 lines with" in shown.about
    shown.pick("b")
    assert "1 line with" in shown.about


def test_the_list_does_not_change_more_often_than_every_two_seconds() -> None:
    shown = Shown()
    shown.build.feed([VertexUpdated("c", "late", started_ns=9)])
    shown.paint()
    assert len(shown.live._list.options) == 3
    for _ in range(11):
        shown.paint()
    assert len(shown.live._list.options) == 4


def test_what_the_painting_thread_sets_is_no_wish() -> None:
    shown = Shown()
    shown.pick("b")
    shown.build.feed([VertexUpdated("c", "late", started_ns=9)])
    for _ in range(12):
        shown.paint()
    assert shown.live._list.value == "b"
    assert not shown.live.is_stale


def test_a_ticker_draws_what_was_asked_for_while_nothing_moves() -> None:
    class Asked:
        is_stale = False
        n_shown = 0
        drawn = threading.Event()

        def open(self, snapshot: object) -> None:
            self.is_stale = True

        def show(self, snapshot: object) -> None:
            self.is_stale = False
            self.drawn.set()

        def close(self, snapshot: object) -> None:
            self.drawn.set()

    view = Asked()
    with Ticker(Fold(), view, frames_per_s=10):
        assert view.drawn.wait(0.8)
        assert not view.is_stale


class Comm:
    """What ipykernel 7.4 asks where a message belongs."""

    def _reply_subshell_for(self, data: Any, default: Any) -> Any:
        return "the busy one"


def test_a_click_is_heard_on_its_way_to_a_busy_kernel_and_goes_where_the_page_sent_it() -> None:
    class Button:
        comm = Comm()

    heard: list[bool] = []
    _hear(Button, lambda: heard.append(True))
    route = Button.comm._reply_subshell_for
    assert route({"method": "custom", "content": {"event": "click"}}, "asked") == "asked"
    assert heard == [True]
    for other in ({"method": "update", "state": {}}, {"content": "click"}, None, {"content": {}}):
        assert route(other, None) is None
    assert heard == [True]


def test_outside_of_a_kernel_no_button_is_heard() -> None:
    assert hears_while_busy() is False
