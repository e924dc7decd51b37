"""The live view in a terminal, drawn with rich, which is loaded when the view is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from depotlab.progress import Phase, Snapshot, Step, StepState
from depotlab.widgets._ansi import only_colors
from depotlab.widgets._frame import to_frame
from depotlab.widgets._plain import final_text
from depotlab.widgets._text import (
    PHASE_SYMBOLS,
    SYMBOLS,
    facts_text,
    headline,
    one_line,
    seconds_text,
    transfer_text,
    where_text,
)

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

__all__ = ["TerminalView", "terminal_frame"]

_STYLES = {
    StepState.WAITING: "bright_black",
    StepState.RUNNING: "blue",
    StepState.CACHED: "cyan",
    StepState.RAN: "green",
    StepState.NOT_NEEDED: "bright_black",
    StepState.NOT_REACHED: "bright_black",
    StepState.CANCELED: "yellow",
    StepState.FAILED: "red",
}
_PHASE_STYLES = {
    Phase.RUNNING: "blue",
    Phase.SUCCEEDED: "green",
    Phase.FAILED: "red",
    Phase.CANCELED: "yellow",
}
_BAR = (StepState.CACHED, StepState.RAN, StepState.FAILED, StepState.CANCELED)
_LOG_LINES = 6
_MAX_ROWS = 20


class TerminalView:
    """Draws over its own lines while a build runs, and leaves a short account at the end.

    Args:
        stream: The terminal. Colours follow what it can do, and `NO_COLOR`.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live: Live | None = None
        self._console: Console | None = None
        self._followed = ""

    def open(self, snapshot: Snapshot) -> None:
        """Take the lines under the cursor."""
        from rich.console import Console
        from rich.live import Live

        self._console = Console(file=self._stream, highlight=False, markup=False, emoji=False)
        self._live = Live(
            self._frame(snapshot),
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )
        self._live.start(refresh=True)

    def show(self, snapshot: Snapshot) -> None:
        """Draw this moment."""
        if self._live is not None:
            self._live.update(self._frame(snapshot), refresh=True)

    def close(self, snapshot: Snapshot) -> None:
        """Give the lines back and write the account."""
        if self._live is None or self._console is None:
            return
        self._live.stop()
        self._live = None
        self._console.print(_painted(final_text(snapshot)), soft_wrap=True)

    def _frame(self, snapshot: Snapshot) -> Group:
        assert self._console is not None
        width, height = self._console.size
        self._followed = followed_step(snapshot, self._followed)
        return terminal_frame(snapshot, width=width, height=height, followed=self._followed)


def followed_step(snapshot: Snapshot, followed: str) -> str:
    """Return the step whose output is shown: the one before while it runs, else the loudest."""
    busy = [step for step in snapshot.of(StepState.RUNNING) if step.log.n_bytes]
    if not busy or any(step.digest == followed for step in busy):
        return followed if busy else ""
    return max(busy, key=lambda step: step.log.last_ns).digest


def terminal_frame(snapshot: Snapshot, *, width: int, height: int, followed: str = "") -> Group:
    """Return what is drawn for one moment in so many columns and lines.

    `followed` is the digest of the step whose newest output stands below the rows.
    """
    from rich.console import Group
    from rich.text import Text

    room = max(1, height - 5)  # without the head of three lines, "… more", and the cursor's own
    busy = next((step for step in snapshot.steps if step.digest == followed), None)
    n_log = min(_LOG_LINES, max(0, room - 8)) if busy else 0
    n_rows = room - (n_log + 1 if n_log else 0)
    frame = to_frame(snapshot, max_rows=max(1, min(_MAX_ROWS, n_rows)))
    parts = [
        Text.assemble(
            (f"{PHASE_SYMBOLS[snapshot.phase]} ", _PHASE_STYLES[snapshot.phase]),
            (headline(snapshot), "bold"),
            (where_text(snapshot), "bright_black"),
        ),
        Text(f"  {facts_text(snapshot)}"[:width], "bright_black", no_wrap=True),
        _bar(snapshot, width=min(width, 100)),
        *(_row(step, snapshot.at_ns, width=min(width, 100)) for step in frame.rows),
    ]
    if frame.more:
        parts.append(Text(f"  … {frame.more}"[:width], "bright_black", no_wrap=True))
    if busy and n_log:
        parts.append(Text(f"  #{busy.number} {one_line(busy.name, width)}", "bright_black"))
        parts += [
            Text.assemble(("  │ ", "bright_black"), Text.from_ansi(only_colors(line.text)))
            for line in busy.log.lines(limit=n_log)
        ]
    for part in parts:
        part.no_wrap, part.overflow = True, "ellipsis"
    return Group(*parts)


def _bar(snapshot: Snapshot, *, width: int) -> Text:
    from rich.text import Text

    bar = Text("  ")
    total = snapshot.counts.total
    if not total:
        return bar
    room = max(10, width - 2)
    done = 0
    cells = 0
    for state in _BAR:
        done += snapshot.counts.of(state)
        until = room * done // total
        bar.append("━" * (until - cells), _STYLES[state])
        cells = until
    bar.append("━" * (room - cells), "bright_black")
    return bar


def _row(step: Step, at_ns: int, *, width: int) -> Text:
    from rich.cells import set_cell_size
    from rich.text import Text

    is_open = step.state is StepState.RUNNING
    seconds = seconds_text(step.elapsed_s(at_ns), is_open=is_open)
    moved, _ = transfer_text(step) if is_open else ("", None)
    if step.state in (StepState.RAN, StepState.RUNNING):
        end = seconds
    elif step.state is StepState.FAILED:
        end = f"failed {seconds}"
    else:
        end = str(step.state)
    if moved:
        end = f"{moved}  {end}"
    style = _STYLES[step.state]
    room = max(8, width - len(end) - 5)
    row = Text("  ") + Text(f"{SYMBOLS[step.state]} ", style)
    name = one_line(step.name, room)
    is_quiet = step.state in (StepState.WAITING, StepState.NOT_NEEDED, StepState.NOT_REACHED)
    row.append(set_cell_size(name, room), "bright_black" if is_quiet else "")
    row.append(" " + end, style if step.state is StepState.FAILED else "bright_black")
    return row


def _painted(text: str) -> Text:
    """Return the final account with its symbols coloured."""
    from rich.text import Text

    painted = Text(text)
    symbols = {SYMBOLS[state]: style for state, style in _STYLES.items()}
    start = 0
    for index, line in enumerate(text.split("\n")):
        symbol = line.strip()[:1]
        if symbol in symbols:
            at = start + line.index(symbol)
            painted.stylize(symbols[symbol], at, at + 1)
        if index == 0:
            head, _, where = line.rpartition(" · ")
            painted.stylize("bold", start + 2, start + len(head or where))
        elif index == 1:
            painted.stylize("bright_black", start, start + len(line))
        start += len(line) + 1
    return painted
