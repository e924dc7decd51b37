"""The notebook view against a page that only takes notes; a real one is in tests/browser."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import IPython.core.getipython
import IPython.display
import ipywidgets
import pytest

from depotlab.progress import Phase
from depotlab.widgets import NotebookView
from depotlab.widgets import _again as again
from depotlab.widgets import _notebook as module
from tests.support import simulate

VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[dict[str, Any], bool]]]:
    calls: list[tuple[dict[str, Any], bool]] = []

    def display(bundle: dict[str, Any], *, raw: bool, display_id: str, update: bool) -> None:
        assert raw
        assert display_id.startswith("depotlab-")
        calls.append((bundle, update))

    monkeypatch.setattr(IPython.display, "display", display)
    yield calls
    ipywidgets.Widget.close_all()


def alive() -> dict[str, Any]:
    return dict(ipywidgets.widgets.widget._instances)


def buttons(text: str) -> list[Any]:
    found = [w for w in alive().values() if isinstance(w, ipywidgets.Button)]
    return [button for button in found if button.description == text]


def run(mode: Any, script: simulate.Script, *moments_s: float, **options: Any) -> NotebookView:
    view = NotebookView(mode=mode, **options)
    view.open(simulate.moment(script, 0.1))
    for at_s in moments_s:
        view.show(simulate.moment(script, at_s))
    view.close(simulate.moment(script, 99))
    return view


@pytest.mark.parametrize("mode", ["widgets", "html", "plain", "static"])
@pytest.mark.parametrize("outcome", [Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELED])
def test_the_end_is_static_text_and_html(mode: Any, outcome: Phase, shown: list[Any]) -> None:
    run(mode, simulate.typical(outcome), 2.0, 5.0)
    bundle, is_update = shown[-1]
    assert is_update
    assert VIEW not in bundle
    assert "ghcr.io/me/app:dev" in bundle["text/plain"]
    assert ("text/html" in bundle) == (mode != "plain")
    assert [update for _, update in shown].count(False) == 1


def test_off_shows_nothing(shown: list[Any]) -> None:
    run("off", simulate.typical(), 2.0)
    assert shown == []


def test_static_sends_one_line_at_the_start_and_the_end(shown: list[Any]) -> None:
    run("static", simulate.typical(), 1.0, 2.0, 3.0, 4.0)
    assert len(shown) == 2


def test_html_replaces_the_output_about_twice_a_second(shown: list[Any]) -> None:
    run("html", simulate.typical(), *(1 + k / 10 for k in range(50)))
    assert 8 <= len(shown) <= 14


@pytest.mark.parametrize("n_steps", [5, 500])
def test_the_number_of_widgets_does_not_depend_on_the_build(n_steps: int, shown: list[Any]) -> None:
    view = NotebookView(mode="widgets", on_cancel=lambda: None)
    script = list(simulate.many(n_steps, n_lines=1_000))
    view.open(simulate.moment(script, 0.1))
    view.show(simulate.moment(script, 5.0))
    panes = [w for w in alive().values() if isinstance(w, ipywidgets.DOMWidget)]
    assert len(panes) == 17
    view.close(simulate.moment(script, 99))


def test_a_frame_that_looks_the_same_sends_nothing(shown: list[Any]) -> None:
    view = NotebookView(mode="widgets")
    script = simulate.typical()
    view.open(simulate.moment(script, 2.0))
    changes: list[str] = []
    for widget in alive().values():
        widget.observe(lambda change: changes.append(change["name"]))
    view.show(simulate.moment(script, 2.0))
    assert changes == []
    view.show(simulate.moment(script, 2.6))
    assert 1 <= len(changes) <= 2
    view.close(simulate.moment(script, 99))


def test_what_stays_after_the_end_refers_to_nothing_that_was_closed(shown: list[Any]) -> None:
    run("widgets", simulate.typical(), 2.0, 8.0, on_cancel=lambda: None)
    left = alive()
    box = left[shown[0][0][VIEW]["model_id"]]
    (static,) = box.children
    assert static.model_id in left
    assert "Built ghcr.io/me/app:dev" in static.value
    referred = {box.model_id, static.model_id}
    for widget in (box, static):
        for name in ("layout", "style"):
            part = getattr(widget, name, None)
            if part is not None:
                referred.add(part.model_id)
    assert set(left) == referred


def test_the_cancel_button_only_sets_a_flag_and_the_next_frame_disables_it(
    shown: list[Any],
) -> None:
    pressed: list[bool] = []
    view = NotebookView(mode="widgets", on_cancel=lambda: pressed.append(True))
    script = simulate.typical()
    view.open(simulate.moment(script, 1.0))
    (button,) = buttons("Cancel")
    button.click()
    assert pressed == [True]
    assert not button.disabled
    view.show(simulate.moment(script, 1.1))
    assert button.disabled
    view.close(simulate.moment(script, 99))


def test_without_someone_to_cancel_there_is_no_button(shown: list[Any]) -> None:
    view = NotebookView(mode="widgets")
    view.open(simulate.moment(simulate.typical(), 1.0))
    assert not buttons("Cancel")
    view.close(simulate.moment(simulate.typical(), 99))


class Kernel:
    def __init__(self, *, allow_stdin: bool | None) -> None:
        content = {} if allow_stdin is None else {"allow_stdin": allow_stdin}
        self._parent = {"content": content}

    def get_parent(self) -> dict[str, Any]:
        return self._parent


@pytest.mark.parametrize(
    ("wanted", "allow_stdin", "has_widgets", "mode"),
    [
        ("", True, True, "widgets"),
        ("", None, True, "widgets"),
        ("", True, False, "html"),
        ("", False, True, "static"),
        ("widgets", False, True, "widgets"),
        ("html", True, True, "html"),
        ("plain", False, True, "plain"),
        ("off", True, True, "off"),
        ("nonsense", True, True, "widgets"),
    ],
)
def test_mode(
    wanted: str,
    allow_stdin: bool | None,
    has_widgets: bool,
    mode: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Shell:
        kernel = Kernel(allow_stdin=allow_stdin)

    monkeypatch.setenv("DEPOTLAB_UI", wanted)
    monkeypatch.setattr(IPython.core.getipython, "get_ipython", Shell)
    monkeypatch.setattr(module, "_has_widgets", lambda: has_widgets)
    assert module.notebook_mode() == mode


@pytest.mark.parametrize(
    ("mode", "kinds"),
    [
        ("widgets", {"text/plain", "text/html", VIEW}),
        ("html", {"text/plain", "text/html"}),
        ("static", {"text/plain", "text/html"}),
        ("plain", {"text/plain"}),
        ("off", None),
    ],
)
def test_a_build_is_opened_again_as_the_notebook_can_show_it(
    mode: Any, kinds: set[str] | None, shown: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(again, "is_in_kernel", lambda: True)
    monkeypatch.setattr(again, "notebook_mode", lambda: mode)
    again.show_again(simulate.moment(simulate.typical(), 99))
    assert [set(bundle) for bundle, _ in shown] == ([kinds] if kinds else [])


def test_closing_it_leaves_static_html_and_no_widgets_but_the_box(
    shown: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(again, "is_in_kernel", lambda: True)
    monkeypatch.setattr(again, "notebook_mode", lambda: "widgets")
    again.show_again(simulate.moment(simulate.typical(), 99))
    (button,) = buttons("Close")
    thread = threading.Thread(target=button.click)
    thread.start()
    thread.join()
    while len(shown) < 2 or any(t.name == "depotlab-view" for t in threading.enumerate()):
        threading.Event().wait(0.005)
    bundle, is_update = shown[-1]
    assert is_update
    assert set(bundle) == {"text/plain", "text/html"}
    left = [w for w in alive().values() if isinstance(w, ipywidgets.DOMWidget)]
    assert len(left) == 2, "the box that the page may still show, and what is in it"
