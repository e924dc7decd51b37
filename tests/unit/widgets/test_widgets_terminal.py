"""The terminal view, drawn into a string."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from depotlab.progress import LogWritten, Phase, Snapshot, VertexUpdated, fold
from depotlab.widgets import TerminalView, terminal_frame
from depotlab.widgets._terminal import followed_step
from tests.support import simulate


def drawn(snapshot: Snapshot, *, width: int = 80, height: int = 24) -> list[str]:
    stream = io.StringIO()
    console = Console(file=stream, width=width, height=height, markup=False, highlight=False)
    followed = followed_step(snapshot, "")
    console.print(terminal_frame(snapshot, width=width, height=height, followed=followed))
    return stream.getvalue().splitlines()


def test_a_running_build() -> None:
    lines = drawn(simulate.moment(simulate.typical(), 2.0))
    assert lines[0] == "● Building ghcr.io/me/app:dev · 2 s · local engine"
    assert lines[1].startswith("  6 of 14 steps · 2 running · 4 cached · 2 ran")
    assert set(lines[2].strip()) == {"━"}
    row = next(line for line in lines if "FROM node" in line)
    assert row.strip().endswith("MB of 54.1 MB  0 s")
    assert any("│ Collecting package" in line for line in lines)


@pytest.mark.parametrize(("width", "height"), [(40, 10), (80, 24), (200, 50), (20, 5)])
@pytest.mark.parametrize("at_s", [0.0, 0.3, 2.0, 6.0, 20.0])
def test_it_fits_into_the_window(width: int, height: int, at_s: float) -> None:
    for script in (simulate.typical(), simulate.many(200, n_lines=2_000, n_parallel=40)):
        lines = drawn(simulate.moment(script, at_s), width=width, height=height)
        assert len(lines) <= height
        assert all(len(line.rstrip()) <= width for line in lines)


def test_wide_characters_do_not_push_the_times_out_of_line() -> None:
    events = [VertexUpdated(n, n, (), 1, 2) for n in ("构建容器镜像", "plain", "é" * 100)]
    lines = drawn(fold(events))
    cells = Console(width=80)
    widths = {cells.measure(line).maximum for line in lines[3:]}
    assert widths == {80}


def test_names_and_output_cannot_command_the_terminal() -> None:
    snapshot = fold(
        [
            VertexUpdated("a", "[red]n\x1b[2Jame[/red]", started_ns=1),
            LogWritten("a", 2, 1, b"\x1b]0;title\x07\x1b[2Jhello [bold]x\n"),
        ],
        at_ns=5,
    )
    text = "\n".join(drawn(snapshot))
    assert "\x1b]" not in text
    assert "[2J" not in text
    assert "[red]name[/red]" in text
    assert "hello [bold]x" in text


def test_it_follows_one_step_until_that_ends() -> None:
    events = [VertexUpdated(v, v, started_ns=1) for v in "ab"]
    quiet = fold([*events, LogWritten("a", 5, 1, b"x\n")])
    assert followed_step(quiet, "") == "a"
    louder = fold([*events, LogWritten("a", 5, 1, b"x\n"), LogWritten("b", 9, 1, b"y\n")])
    assert followed_step(louder, "a") == "a"
    ended = fold([*events, VertexUpdated("a", "", (), 1, 6), LogWritten("b", 9, 1, b"y\n")])
    assert followed_step(ended, "a") == "b"
    assert followed_step(fold([]), "a") == ""


def test_the_view_leaves_the_account_and_nothing_of_the_live_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = io.StringIO()
    stream.isatty = lambda: True  # type: ignore[method-assign]
    view = TerminalView(stream)
    script = simulate.typical(Phase.FAILED)
    view.open(simulate.moment(script, 0.1))
    for at_s in (1, 3, 5):
        view.show(simulate.moment(script, at_s))
    drawn_before = len(stream.getvalue())
    view.close(simulate.moment(script, 20))
    end = stream.getvalue()[drawn_before:]
    assert "\x1b[?25h" in end  # the cursor is back
    assert "failed after 7.6 s" in end
    assert "Could not resolve" in end
