"""When views are called, what happens when they fail, and which one is chosen."""

from __future__ import annotations

import contextvars
import io
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from depotlab.errors import UsageError
from depotlab.progress import (
    BuildEnded,
    BuildStarted,
    Fold,
    LogWritten,
    Phase,
    Snapshot,
    VertexUpdated,
)
from depotlab.widgets import (
    JsonView,
    NotebookView,
    PlainView,
    QuietView,
    TerminalView,
    Ticker,
    View,
    _ticker,
    choose,
)


class Recorder:
    def __init__(self) -> None:
        self.calls: list[tuple[str, Snapshot]] = []
        self.threads: set[threading.Thread] = set()

    def open(self, snapshot: Snapshot) -> None:
        self._note("open", snapshot)

    def show(self, snapshot: Snapshot) -> None:
        self._note("show", snapshot)

    def close(self, snapshot: Snapshot) -> None:
        self._note("close", snapshot)

    def _note(self, call: str, snapshot: Snapshot) -> None:
        self.calls.append((call, snapshot))
        self.threads.add(threading.current_thread())


def wait_for(condition: object, timeout_s: float = 60.0) -> None:
    give_up = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < give_up
        time.sleep(0.005)


def test_nothing_is_drawn_while_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ticker, "_IDLE_S", 3600.0)
    view = Recorder()
    with Ticker(Fold(), view, frames_per_s=10):
        time.sleep(0.5)
    assert [call for call, _ in view.calls] == ["open", "close"]


def test_frames_are_limited_and_the_last_state_is_always_shown() -> None:
    build, view = Fold(), Recorder()
    began = time.monotonic()
    with Ticker(build, view, frames_per_s=1_000):
        while len(view.calls) < 5:
            build.feed([LogWritten("a", 1, 1, b"x\n")])
            time.sleep(0.001)
        build.feed([BuildEnded(5, Phase.SUCCEEDED)])
    took_s = time.monotonic() - began
    calls = [call for call, _ in view.calls]
    assert calls[0] == "open"
    assert calls[-1] == "close"
    assert 4 <= calls.count("show") <= took_s * _ticker.MAX_FRAMES_PER_S
    assert view.calls[-1][1].phase is Phase.SUCCEEDED


def test_times_grow_once_a_second_while_nothing_else_happens() -> None:
    view = Recorder()
    with Ticker(Fold(), view, frames_per_s=10):
        wait_for(lambda: len(view.calls) > 1)
    assert view.calls[1][0] == "show"


def test_one_thread_calls_the_view_in_the_context_of_the_cell() -> None:
    cell = contextvars.ContextVar("cell", default="none")
    cell.set("cell 7")
    seen: list[str] = []

    class Looks(Recorder):
        def _note(self, call: str, snapshot: Snapshot) -> None:
            super()._note(call, snapshot)
            seen.append(cell.get())

    view, build = Looks(), Fold()
    with Ticker(build, view, frames_per_s=10):
        build.feed([VertexUpdated("a")])
        wait_for(lambda: len(view.calls) > 1)
    assert len(view.threads) == 1
    assert threading.current_thread() not in view.threads
    assert set(seen) == {"cell 7"}


@pytest.mark.parametrize("broken", ["open", "show", "close"])
def test_a_view_that_fails_is_turned_off_and_reported_once(broken: str) -> None:
    view, build, errors = Recorder(), Fold(), io.StringIO()

    def fail(snapshot: Snapshot) -> None:
        raise ZeroDivisionError("a bad day")

    setattr(view, broken, fail)
    ticker = Ticker(build, view, frames_per_s=10, errors=errors).start()
    build.feed([BuildStarted(1, "app"), BuildEnded(2, Phase.SUCCEEDED)])
    wait_for(lambda: broken == "close" or not ticker._thread.is_alive())
    ticker.stop()
    ticker.stop()
    assert isinstance(ticker.error, ZeroDivisionError)
    assert errors.getvalue().count("a bad day") == 1
    assert "✔ Built app" in errors.getvalue()


def test_end_returns_at_once_and_stop_waits() -> None:
    release = threading.Event()

    class Slow(Recorder):
        def close(self, snapshot: Snapshot) -> None:
            release.wait()
            super().close(snapshot)

    view = Slow()
    ticker = Ticker(Fold(), view).start()
    ticker.end()
    assert [call for call, _ in view.calls] in ([], ["open"])
    release.set()
    ticker.stop()
    assert view.calls[-1][0] == "close"


def test_a_view_that_hangs_is_left_alone() -> None:
    release = threading.Event()

    class Stuck(Recorder):
        def close(self, snapshot: Snapshot) -> None:
            release.wait()

    ticker = Ticker(Fold(), Stuck()).start()
    ticker.stop(timeout_s=0.2)
    release.set()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("mode", "stream", "environment", "kind"),
    [
        ("plain", io.StringIO(), {}, PlainView),
        ("tty", io.StringIO(), {}, TerminalView),
        ("json", io.StringIO(), {}, JsonView),
        ("quiet", io.StringIO(), {}, QuietView),
        ("notebook", io.StringIO(), {"DEPOTLAB_UI": "off"}, NotebookView),
        (None, io.StringIO(), {}, PlainView),
        ("auto", Terminal(), {"TERM": "xterm"}, TerminalView),
        ("auto", Terminal(), {"TERM": "dumb"}, PlainView),
        ("auto", Terminal(), {"BUILDKIT_PROGRESS": "plain"}, PlainView),
        ("auto", io.StringIO(), {"BUILDKIT_PROGRESS": "quiet"}, QuietView),
        ("auto", io.StringIO(), {"BUILDKIT_PROGRESS": "rawjson"}, JsonView),
        ("plain", Terminal(), {"BUILDKIT_PROGRESS": "tty"}, PlainView),
    ],
)
def test_choice(
    mode: object,
    stream: io.StringIO,
    environment: dict[str, str],
    kind: type[View],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("BUILDKIT_PROGRESS", "DEPOTLAB_UI"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert type(choose(mode, stream=stream)) is kind  # type: ignore[arg-type]


def test_a_kernel_gets_the_notebook_view(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = SimpleNamespace(kernel=object())
    fake = SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython.core.getipython", fake)
    monkeypatch.setenv("DEPOTLAB_UI", "widgets")
    assert type(choose()) is NotebookView


def test_an_unknown_mode_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(UsageError, match="fancy") as refused:
        choose("fancy")  # type: ignore[arg-type]
    assert "plain" in refused.value.hint
