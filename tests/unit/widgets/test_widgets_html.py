"""The live frame and what stays in a saved notebook, as HTML."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from depotlab.progress import (
    BuildEnded,
    BuildStarted,
    Event,
    LogWritten,
    Phase,
    Snapshot,
    VertexUpdated,
    WarningRaised,
    fold,
)
from depotlab.widgets import final_html, frame_html
from depotlab.widgets._output import log_html
from depotlab.widgets._reading import recent_lines
from tests.support import simulate

EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'\x1b]0;t\x07&"
NESTED = {"div", "b", "table", "tr", "td", "pre", "span", "details", "summary"}


class Reader(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def evil() -> Snapshot:
    events: list[Event] = [
        BuildStarted(1, EVIL, EVIL),
        VertexUpdated("a", EVIL, (), 1, 2, error=EVIL),
        VertexUpdated("b", f"[{EVIL[:20]}] {EVIL}", started_ns=1),
        LogWritten("a", 1, 1, EVIL.encode() + b"\n"),
        WarningRaised("a", 1, EVIL, (EVIL,), f"javascript:{EVIL}"),
        BuildEnded(3, Phase.FAILED, EVIL),
    ]
    return fold(events, at_ns=5)


SNAPSHOTS = [
    pytest.param(simulate.moment(simulate.typical(), 2), id="running"),
    pytest.param(simulate.moment(simulate.typical(), 20), id="done"),
    pytest.param(simulate.moment(simulate.typical(Phase.FAILED), 20), id="failed"),
    pytest.param(simulate.moment(simulate.typical(Phase.CANCELED), 20), id="canceled"),
    pytest.param(evil(), id="hostile names"),
    pytest.param(fold([]), id="nothing yet"),
]


@pytest.mark.parametrize("snapshot", SNAPSHOTS)
@pytest.mark.parametrize("page", [frame_html, final_html])
def test_only_tags_and_attributes_that_sanitisers_leave(snapshot: Snapshot, page: object) -> None:
    read = Reader(page(snapshot))  # type: ignore[operator]
    assert read.open == []
    assert {tag for tag, _ in read.tags} <= NESTED | {"img"}
    allowed = {"style", "title", "role"}
    for tag, attributes in read.tags:
        more = {"src", "alt"} if tag == "img" else set()
        assert {name for name in attributes if not name.startswith("aria-")} <= allowed | more
        assert (attributes.get("src") or "data:image/svg+xml;base64,").startswith("data:image/svg")
        assert "url(" not in (attributes.get("style") or "")


@pytest.mark.parametrize("snapshot", SNAPSHOTS)
def test_the_log_pane_is_clean_too(snapshot: Snapshot) -> None:
    read = Reader(log_html(recent_lines(snapshot, limit=50)))
    assert read.open == []
    assert {tag for tag, _ in read.tags} <= NESTED


def test_what_a_build_wrote_is_shown_and_not_run() -> None:
    words = Reader(final_html(evil())).words
    assert "<script>alert(1)</script>" in words
    assert "javascript:" not in words


def test_shell_variables_are_not_typeset_as_formulas() -> None:
    name = r"RUN for i in $(seq 4); do echo $i \(x\) \[y\]; done"
    snapshot = fold(
        [
            BuildStarted(1, "$a$", "$b$"),
            VertexUpdated("a", name, (), 1, 2, error=name),
            LogWritten("a", 1, 1, b"$c$\n"),
            WarningRaised("a", 1, "$d$"),
            BuildEnded(3, Phase.FAILED),
        ]
    )

    class Pieces(Reader):
        def handle_data(self, data: str) -> None:
            super().handle_data(data)
            if "pre" not in self.open:
                assert data in ("$", "\\") or not {"$", "\\"} & set(data)

    words = Pieces(final_html(snapshot)).words
    assert name in words


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Phase.SUCCEEDED, ["✔ Built ghcr.io/me/app:dev in 9.7 s", "⊙", "cached", "not needed"]),
        (
            Phase.FAILED,
            ["✖ ghcr.io/me/app:dev failed", "exit code: 2", "failed · 1.8 s", "earlier"],
        ),
        (Phase.CANCELED, ["⊘ ghcr.io/me/app:dev canceled", "canceled · 1.3 s", "not reached"]),
    ],
)
def test_without_styles_it_still_reads(outcome: Phase, words: list[str]) -> None:
    read = Reader(final_html(simulate.moment(simulate.typical(outcome), 20)))
    for word in words:
        assert word in read.words


def test_the_bar_is_full_after_a_good_build() -> None:
    read = Reader(final_html(simulate.moment(simulate.typical(), 20)))
    bar = next(attributes for _, attributes in read.tags if attributes.get("role"))
    assert bar["aria-valuenow"] == bar["aria-valuemax"] == "14"


def test_the_headline_can_be_replaced() -> None:
    html = final_html(fold([]), headline="pushed <x>")
    assert "pushed &lt;x&gt;" in html


@pytest.mark.parametrize("n_steps", [50, 1_500])
def test_saved_html_is_small_whatever_the_size_of_the_build(n_steps: int) -> None:
    script = simulate.many(n_steps, n_lines=20_000, n_parallel=10)
    assert len(final_html(simulate.moment(script, 99)).encode()) < 50_000


def test_a_failure_with_a_huge_log_is_clipped_with_a_note() -> None:
    lines = [LogWritten("a", 2, 1, b"y" * 5_000 + b"\n") for _ in range(500)]
    snapshot = fold(
        [
            VertexUpdated("a", "x" * 10_000, (), 1, 3, error="e" * 10_000),
            *lines,
            BuildEnded(3, Phase.FAILED, "e" * 10_000),
        ]
    )
    html = final_html(snapshot)
    assert len(html) < 40_000
    assert "earlier lines" in html


def test_an_output_that_ends_without_a_line_break_is_kept_in_a_saved_notebook() -> None:
    snapshot = fold(
        [
            BuildStarted(1, "a", "b"),
            VertexUpdated("a", "RUN printf here", (), 1, 2),
            LogWritten("a", 1, 1, b"here"),
            BuildEnded(3, Phase.SUCCEEDED),
        ],
        at_ns=5,
    )
    assert "Output of RUN printf here" in Reader(final_html(snapshot)).words
