"""The widgets of the live view: what a reader asks for on one thread is shown by the next frame of another."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import ipywidgets
import pytest

from depotlab._graph import Node
from depotlab.errors import SourceLocation
from depotlab.progress import Fold, LogWritten, Step, StepState, VertexUpdated
from depotlab.widgets import Details, Ticker, _ticker, hears_while_busy
from depotlab.widgets._hearing import hear
from depotlab.widgets._live import Live


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

    def __init__(
        self, on_cancel: Callable[[], None] | None = None, details: Details | None = None
    ) -> None:
        self.build = Fold()
        self.build.feed([VertexUpdated("a", "[app 1/1] RUN make", started_ns=1)])
        self.build.feed([VertexUpdated("b", "[lib 1/1] RUN ls", started_ns=2)])
        lines = "".join(f"line {k}\n" for k in range(9_000))
        self.build.feed([LogWritten("a", 3, 1, lines.encode())])
        self.build.feed([LogWritten("b", 4, 1, b"other words\n")])
        self.live = Live(on_cancel, details)
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
            self.live._tools.list.value = digest

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
    assert shown.live._tools.newer.disabled
    elsewhere(shown.live._tools.older.click)
    shown.paint()
    assert "page 2 of 2" in shown.about
    assert shown.live._tools.follow.value is False
    elsewhere(shown.live._tools.older.click)
    shown.paint()
    assert "page 1 of 2" in shown.about
    assert shown.live._tools.older.disabled
    elsewhere(shown.live._tools.newer.click)
    elsewhere(shown.live._tools.newer.click)
    shown.paint()
    assert shown.live._tools.follow.value is True
    assert "line 8999" in shown.log


def test_without_follow_new_lines_wait() -> None:
    shown = Shown()

    def set_follow(is_on: bool) -> Callable[[], None]:
        return lambda: setattr(shown.live._tools.follow, "value", is_on)

    elsewhere(set_follow(False))
    shown.paint()
    shown.build.feed([LogWritten("b", 9, 1, b"fresh\n")])
    shown.paint()
    assert "fresh" not in shown.log
    elsewhere(set_follow(True))
    shown.paint()
    assert "fresh" in shown.log


def test_finds_are_marked() -> None:
    shown = Shown()
    elsewhere(lambda: setattr(shown.live._tools.search, "value", "WORDS"))
    shown.paint()
    assert '<b style="background:#fab00566;border-radius:2px">words</b>' in shown.log
    assert "line 8999" not in shown.log


def test_the_graph_is_drawn_when_asked_for_and_not_more_often_than_once_a_second() -> None:
    shown = Shown()
    assert shown.live._picture.layout.display == "none"
    elsewhere(lambda: setattr(shown.live._tools.draw, "value", True))
    shown.paint()
    assert shown.live._picture.layout.display == "block"
    first = shown.live._picture.value
    assert "<svg" in first
    shown.build.feed([VertexUpdated("b", "[lib 1/1] RUN ls", (), 2, 9)])
    shown.paint()
    assert shown.live._picture.value == first
    for _ in range(5):
        shown.paint()
    assert shown.live._picture.value != first
    elsewhere(lambda: setattr(shown.live._tools.draw, "value", False))
    shown.paint()
    assert shown.live._picture.layout.display == "none"


def test_picking_another_step_leaves_the_page_and_keeps_the_search() -> None:
    shown = Shown()
    shown.pick("a")
    elsewhere(lambda: setattr(shown.live._tools.search, "value", "words"))
    shown.paint()
    assert "0 lines with" in shown.about
    shown.pick("b")
    assert "1 line with" in shown.about


def test_the_list_does_not_change_more_often_than_every_two_seconds() -> None:
    shown = Shown()
    shown.build.feed([VertexUpdated("c", "late", started_ns=9)])
    shown.paint()
    assert len(shown.live._tools.list.options) == 3
    for _ in range(11):
        shown.paint()
    assert len(shown.live._tools.list.options) == 4


def test_what_the_painting_thread_sets_is_no_wish() -> None:
    shown = Shown()
    shown.pick("b")
    shown.build.feed([VertexUpdated("c", "late", started_ns=9)])
    for _ in range(12):
        shown.paint()
    assert shown.live._tools.list.value == "b"
    assert not shown.live.is_stale


def test_a_ticker_draws_what_was_asked_for_while_nothing_moves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_ticker, "_IDLE_S", 3600.0)

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
        assert view.drawn.wait(60)
        assert not view.is_stale


class Comm:
    """What ipykernel 7.4 asks where a message belongs."""

    def _reply_subshell_for(self, data: Any, default: Any) -> Any:
        return "the busy one"


def test_a_click_is_heard_on_its_way_to_a_busy_kernel_and_goes_where_the_page_sent_it() -> None:
    class Button:
        comm = Comm()

    heard: list[bool] = []
    hear(Button, lambda: heard.append(True))
    route = Button.comm._reply_subshell_for
    assert route({"method": "custom", "content": {"event": "click"}}, "asked") == "asked"
    assert heard == [True]
    for other in ({"method": "update", "state": {}}, {"content": "click"}, None, {"content": {}}):
        assert route(other, None) is None
    assert heard == [True]


def test_outside_of_a_kernel_no_button_is_heard() -> None:
    assert hears_while_busy() is False


class Known:
    """Details of steps as a build would have them."""

    def __init__(self) -> None:
        self.files: Future[str] = Future()
        self.n_asked = 0

    def node(self, step: Step) -> Node | None:
        return Node(step.digest, "make", "exec", title=f"{step.name}\nrun make\nenv MODE: fast")

    def place(self, step: Step) -> SourceLocation | None:
        return SourceLocation("cell [3]", 2, 2, "base = llb.image('x')\napp = base.run('make')\n")

    def code(self, step: Step) -> str:
        return "bk.browse(result.at('make'))" if step.state.is_over else ""

    def has_files(self, step: Step) -> bool:
        return step.state is StepState.RAN

    def list_files(self, step: Step) -> Future[str]:
        self.n_asked += 1
        return self.files


def test_a_step_that_is_picked_shows_its_op_and_the_users_line() -> None:
    shown = Shown(details=Known())
    assert shown.live._panel.layout.display == "none"
    shown.pick("a")
    panel = shown.live._panel.value
    assert "env MODE: fast" in panel
    assert "&gt; 2 | app = base.run(" in panel
    assert "Files" not in panel, "a step that runs has none yet"
    shown.pick("")
    assert shown.live._panel.layout.display == "none"


def test_files_are_listed_when_they_are_asked_for_and_come_when_they_come() -> None:
    known = Known()
    shown = Shown(details=known)
    shown.build.feed([VertexUpdated("a", "[app 1/1] RUN make", (), 1, 9)])
    shown.pick("a")
    assert "Files of #1 [app 1/1] RUN make" in dict(shown.live._tools.list.options)
    assert known.n_asked == 0
    shown.pick("files:a")
    assert "looking…" in shown.live._panel.value
    assert known.n_asked == 1
    known.files.set_result("<pre>/bin/</pre>")
    assert shown.live.is_stale
    shown.paint()
    assert "<pre>/bin/</pre>" in shown.live._panel.value
    assert not shown.live.is_stale
    assert known.n_asked == 1
    assert "9000 lines" in shown.about, "the log stays where it was"


def test_where_files_cannot_be_listed_it_is_said_what_to_type() -> None:
    shown = Shown(details=Known())
    shown.build.feed([VertexUpdated("b", "[lib 1/1] RUN ls", (), 2, 9, error="exit code: 1")])
    shown.pick("b")
    assert "Its files: <span" in shown.live._panel.value
    assert "<button" not in shown.live._panel.value


def test_the_timeline_stands_above_the_graph() -> None:
    shown = Shown()
    elsewhere(lambda: setattr(shown.live._tools.times, "value", True))
    shown.paint()
    assert 'aria-label="timeline"' in shown.live._picture.value
    assert "<svg" not in shown.live._picture.value
    elsewhere(lambda: setattr(shown.live._tools.draw, "value", True))
    shown.paint()
    picture = shown.live._picture.value
    assert picture.index("timeline") < picture.index("<svg")
    assert 'data-n="1"' in picture


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait for another thread; it has as long as the whole test has."""
    while not holds():
        threading.Event().wait(0.005)


def test_a_build_that_is_over_answers_until_it_is_closed() -> None:
    shown = Shown(on_cancel=lambda: None, details=Known())
    end = shown.build.snapshot(at_ns=shown.at_ns)
    closed: list[int] = []
    shown.live.rest(
        end,
        max_rows=10,
        on_close=lambda: closed.append(threading.get_ident()),
        context=contextvars.copy_context(),
    )
    assert shown.live._cancel.description == "Close"
    assert "<svg" in shown.live._picture.value
    elsewhere(lambda: setattr(shown.live._tools.list, "value", "a"))
    wait_until(lambda: "9000 lines" in shown.about)
    elsewhere(shown.live._tools.older.click)
    wait_until(lambda: "page 2 of 2" in shown.about)
    elsewhere(lambda: setattr(shown.live._tools.search, "value", "line 4321"))
    wait_until(lambda: "1 line with" in shown.about)
    elsewhere(shown.live._cancel.click)
    wait_until(lambda: bool(closed))
    assert closed != [threading.get_ident()]
    shown.live.settle("<b>the end</b>")
    wait_until(lambda: not [t for t in threading.enumerate() if t.name == "depotlab-view"])
    (static,) = shown.live._box.children
    assert static.value == "<b>the end</b>"
