"""Words, numbers, control sequences and rows: what all views share."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depotlab.progress import (
    BuildEnded,
    BuildStarted,
    Event,
    Phase,
    TransferUpdated,
    VertexUpdated,
    fold,
)
from depotlab.widgets._ansi import colored_html, only_colors, plain
from depotlab.widgets._frame import graph_order, to_frame
from depotlab.widgets._text import (
    bytes_text,
    counts_text,
    facts_text,
    headline,
    one_line,
    seconds_text,
    transfer_text,
)
from tests.support import simulate

S = 1_000_000_000


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (99_949, "99.9 kB"),
        (99_950, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (41_200_000, "41.2 MB"),
        (3 * 10**12, "3.0 TB"),
        (10**17, "100000 TB"),
    ],
)
def test_bytes(n_bytes: int, text: str) -> None:
    assert bytes_text(n_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "is_open", "text"),
    [
        (0.04, False, "0.0 s"),
        (12.34, False, "12.3 s"),
        (12.9, True, "12 s"),
        (59.97, False, "1m 00s"),
        (125, False, "2m 05s"),
        (7_380, False, "2h 03m"),
    ],
)
def test_seconds(seconds: float, is_open: bool, text: str) -> None:
    assert seconds_text(seconds, is_open=is_open) == text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        pytest.param("\x1b[31mred\x1b[0m", "red", id="colours"),
        pytest.param("\x1b]0;title\x07x", "x", id="window title"),
        pytest.param("\x1b]52;c;ZXZpbA==\x1b\\x", "x", id="clipboard"),
        pytest.param("a\x1b[2K\x1b[1Ab", "ab", id="cursor"),
        pytest.param("\x1bP1$r\x1b\\ok", "ok", id="device control"),
        pytest.param("\x1b", "", id="a lone escape"),
        pytest.param("a\x00\x08\x9b\tb", "a\tb", id="control characters but the tab"),
        pytest.param("abc\u202e321", "abc321", id="text that turns direction"),
    ],
)
def test_control_sequences_are_dropped(text: str, clean: str) -> None:
    assert plain(text) == clean


@given(st.text(alphabet=st.sampled_from("\x1b[];?0123mKPX\\\x07\x9b\x00ab<>&\u202e"), max_size=60))
def test_no_control_character_survives_any_input(text: str) -> None:
    forbidden = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
    assert not forbidden.search(plain(text))
    assert not forbidden.search(re.sub(r"\x1b\[[0-9;:]*m", "", only_colors(text)))
    assert not forbidden.search(colored_html(text))
    assert _visible(colored_html(text)) == plain(text)


def _visible(html: str) -> str:
    found: list[str] = []
    parser = HTMLParser()
    parser.handle_data = found.append  # type: ignore[method-assign]
    parser.feed(html)
    parser.close()
    return "".join(found)


def test_colours_are_kept_and_switched_off_at_the_end() -> None:
    assert only_colors("\x1b[31mred\x1b[2K") == "\x1b[31mred\x1b[0m"
    assert only_colors("no colour") == "no colour"


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("a < b", "a &lt; b"),
        ("\x1b[31mx\x1b[0my", '<span style="color:#e03131">x</span>y'),
        ("\x1b[1;32mx", '<span style="font-weight:bold;color:#2f9e44">x</span>'),
        ("\x1b[38;5;196mx", '<span style="color:#ff0000">x</span>'),
        ("\x1b[38;2;1;2;3mx\x1b[39my", '<span style="color:#010203">x</span>y'),
        ("\x1b[48;5;1mx", "x"),
        ("\x1b[mx", "x"),
        ("\x1b[38;5mx", "x"),
    ],
)
def test_colours_as_html(text: str, html: str) -> None:
    assert colored_html(text) == html


def test_one_line_is_one_line_and_short() -> None:
    assert one_line("RUN a \\\n   && b\x1b[31m", 100) == "RUN a \\ && b"
    assert one_line("x" * 50, 10) == "x" * 9 + "…"


@pytest.mark.parametrize(
    ("phase", "text"),
    [
        (None, "Building app · 2 s"),
        (Phase.SUCCEEDED, "Built app in 2.5 s"),
        (Phase.FAILED, "app failed after 2.5 s"),
        (Phase.CANCELED, "app canceled after 2.5 s"),
    ],
)
def test_headline(phase: Phase | None, text: str) -> None:
    events: list[Event] = [BuildStarted(S, "app")]
    if phase:
        events.append(BuildEnded(7 * S // 2, phase))
    assert headline(fold(events, at_ns=7 * S // 2)) == text


def test_facts_of_a_finished_build() -> None:
    snapshot = simulate.moment(simulate.typical(), 20)
    assert counts_text(snapshot) == "4 cached · 10 ran · 1 not needed"
    assert facts_text(snapshot) == (
        "15 steps · 4 cached · 10 ran · 1 not needed · ↑ 1.9 MB ↓ 23.5 MB · 1 warning"
    )


def transfers(*updates: tuple[str, int, int, bool]) -> tuple[str, float | None]:
    events: list[Event] = [VertexUpdated("a", started_ns=1)]
    for label, current, total, is_done in updates:
        events.append(TransferUpdated("a", label, "", current, total, 1, 1, 2 if is_done else None))
    return transfer_text(fold(events).steps[0])


def test_layers_of_an_image_are_added_up() -> None:
    text, fraction = transfers(("sha256:1", 100, 100, True), ("sha256:2", 50, 300, False))
    assert (text, fraction) == ("150 B of 400 B", 0.375)


def test_a_transfer_of_unknown_size_shows_what_came() -> None:
    assert transfers(("transferring context:", 1_500, 0, False)) == ("1.5 kB", None)


def test_work_without_bytes_shows_its_name() -> None:
    assert transfers(("exporting layers", 0, 0, False)) == ("exporting layers", None)
    assert transfers(("exporting layers", 0, 0, True)) == ("", None)


class TestRows:
    def test_inputs_stand_above_what_needs_them(self) -> None:
        snapshot = simulate.moment(simulate.typical(), 2)
        place = {step.digest: k for k, step in enumerate(graph_order(snapshot.steps))}
        for step in snapshot.steps:
            assert all(place[i] < place[step.digest] for i in step.inputs if i in place)

    def test_the_order_does_not_change_while_the_same_steps_run(self) -> None:
        script = simulate.typical()
        orders = [
            [step.digest for step in graph_order(simulate.moment(script, at_s).steps)]
            for at_s in (1.5, 3.0, 5.0, 8.3)
        ]
        assert all(order == orders[0] for order in orders)

    def test_a_cycle_does_not_hang(self) -> None:
        snapshot = fold([VertexUpdated("a", "a", ("b",)), VertexUpdated("b", "b", ("a",))])
        assert {step.digest for step in graph_order(snapshot.steps)} == {"a", "b"}

    def test_a_long_chain_does_not_overflow(self) -> None:
        events = [VertexUpdated(f"v{k}", "", (f"v{k - 1}",)) for k in range(5_000)]
        ordered = graph_order(fold(reversed(events)).steps)
        assert [step.digest for step in ordered] == [f"v{k}" for k in range(5_000)]

    def test_everything_is_shown_while_it_fits_but_for_quick_internal_steps(self) -> None:
        frame = to_frame(simulate.moment(simulate.typical(), 2), max_rows=15)
        assert len(frame.rows) == 12
        assert frame.more == "2 internal steps"

    def test_what_failed_and_what_runs_comes_first_when_it_does_not_fit(self) -> None:
        events: list[Event] = [VertexUpdated(f"w{k}", "", (), k + 1, k + 2) for k in range(20)] + [
            VertexUpdated(f"z{k}") for k in range(20)
        ]
        events += [VertexUpdated("bad", "", (), 3, 4, error="no")]
        events += [VertexUpdated(f"r{k}", started_ns=50 + k) for k in range(3)]
        frame = to_frame(fold(events, at_ns=100), max_rows=5)
        assert {step.digest for step in frame.rows} == {"bad", "r0", "r1", "r2", "w19"}
        assert frame.more == "39 more: 20 waiting, 19 ran"

    def test_a_finished_build_shows_its_slowest_steps(self) -> None:
        events: list[Event] = [
            VertexUpdated(f"v{k}", "", (), k * S, k * S + (k % 10) * S) for k in range(1, 50)
        ]
        frame = to_frame(fold([*events, BuildEnded(99 * S, Phase.SUCCEEDED)]), max_rows=4)
        assert [step.duration_s for step in frame.rows] == [9, 9, 9, 9]
        assert frame.more == "45 more ran"
