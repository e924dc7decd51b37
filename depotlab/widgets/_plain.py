"""Text for logs and CI: every line stands for itself and none is ever taken back.

The form is the one that people know from BuildKit's plain progress: `#N name`, `#N 0.123 a line
of output`, `#N CACHED`. Nothing of the output is left out, however fast it comes: new output is
read from the log store and not from the tails that snapshots carry.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TextIO

from depotlab.progress import LineSplitter, LogLine, Phase, Snapshot, Step, StepState
from depotlab.widgets._ansi import only_colors, plain
from depotlab.widgets._frame import matters
from depotlab.widgets._text import (
    PHASE_SYMBOLS,
    SYMBOLS,
    bytes_text,
    facts_text,
    headline,
    one_line,
    seconds_text,
    transfer_text,
    where_text,
)

__all__ = ["PlainView", "PlainWriter", "final_text"]

_HOLD_NS = 5_000_000_000
_SETTLE_NS = 150_000_000
_KEY_S = 0.01
_TRANSFER_EVERY_NS = 5_000_000_000
_TRANSFER_LEAST_NS = 1_000_000_000
_TRANSFER_FRACTION = 0.05
_WORDS = {
    StepState.CACHED: "CACHED",
    StepState.NOT_NEEDED: "NOT NEEDED",
    StepState.NOT_REACHED: "NOT REACHED",
    StepState.CANCELED: "CANCELED",
}


@dataclass(slots=True)
class _Written:
    """What has been written of one step."""

    step: Step | None = None
    state: StepState | None = None
    next_byte: int = 0
    splitter: LineSplitter = field(default_factory=LineSplitter)
    transfers: dict[str, tuple[int, float, bool]] = field(default_factory=dict)


class PlainWriter:
    """Turns a series of snapshots into text that is only ever appended.

    Args:
        colors: Keep the colours that steps write. Other control sequences never pass.
    """

    def __init__(self, *, colors: bool = False) -> None:
        self._clean = only_colors if colors else plain
        self._written: dict[str, _Written] = {}
        self._current = ""
        self._current_ns = 0
        self._written_ns: dict[str, int] = {}
        self._n_warnings = 0

    def advance(self, snapshot: Snapshot) -> str:
        """Return what is new since the last call, whole lines, or an empty string.

        Output of steps that run side by side is not mixed line by line: while the step that was
        written last still runs, the others wait for up to five seconds, or for the end.
        """
        out: list[str] = []
        started = [step for step in snapshot.steps if step.number]
        current = next((step for step in started if step.digest == self._current), None)
        if current is not None:
            self._write(out, current, snapshot)
        if current is None or not self._is_held(current, snapshot):
            self._write_others(out, started, snapshot)
        return "".join(f"{line}\n" for line in out)

    def _write_others(self, out: list[str], started: list[Step], snapshot: Snapshot) -> None:
        is_over = snapshot.phase is not Phase.RUNNING
        for step in started:
            if is_over or step.state is not StepState.RUNNING:
                self._write(out, step, snapshot)
        for warning in snapshot.warnings[self._n_warnings :]:
            owner = next((s for s in started if warning.step in s.members), None)
            if owner is not None:
                self._section(out, owner, [f"WARN: {one_line(warning.short, 300)}"], snapshot)
        self._n_warnings = len(snapshot.warnings)
        # Then one that runs, to stay with for a while: the one that has waited longest.
        running = [step for step in started if step.state is StepState.RUNNING]
        for step in sorted(running, key=lambda step: self._written_ns.get(step.digest, 0)):
            if self._write(out, step, snapshot):
                break

    def _is_held(self, current: Step, snapshot: Snapshot) -> bool:
        if snapshot.phase is not Phase.RUNNING:
            return False
        if current.state is StepState.RUNNING:
            return snapshot.at_ns - self._current_ns < _HOLD_NS
        return _is_fresh(current, snapshot)

    def _write(self, out: list[str], step: Step, snapshot: Snapshot) -> bool:
        """Write what is new of a step, and say whether there was anything."""
        if step.digest != self._current and _is_fresh(step, snapshot):
            return False
        written = self._written.get(step.digest)
        if written is None:
            offset_ns = snapshot.logs.offset_ns if snapshot.logs else 0
            splitter = LineSplitter(offset_ns=offset_ns)
            written = self._written[step.digest] = _Written(splitter=splitter)
        if written.step is step and written.state is step.state:
            return False
        news = self._news(step, written, snapshot)
        written.step = step
        self._section(out, step, news, snapshot)
        return bool(news)

    def _section(self, out: list[str], step: Step, news: list[str], snapshot: Snapshot) -> None:
        if not news:
            return
        if self._current != step.digest:
            if self._current:
                out.append("")
            out.append(f"#{step.number} {one_line(step.name, 300)}")
            self._current = step.digest
            self._current_ns = snapshot.at_ns
        self._written_ns[step.digest] = snapshot.at_ns
        out += [f"#{step.number} {line}" for line in news if line]

    def _news(self, step: Step, written: _Written, snapshot: Snapshot) -> list[str]:
        # An empty first line brings out the step's name even if there is no more to say yet.
        news = [""] if written.step is None else []
        news += self._transfers(step, written, snapshot.at_ns)
        news += self._output(step, written, snapshot)
        if _is_fresh(step, snapshot):
            return news
        if step.state is not written.state and step.state.is_over:
            seconds = seconds_text(step.duration_s)
            if step.state is StepState.FAILED:
                news.append(f"ERROR: {one_line(step.error, 1000)}")
            else:
                news.append(_WORDS.get(step.state, f"DONE {seconds}"))
        written.state = step.state
        return news

    def _output(self, step: Step, written: _Written, snapshot: Snapshot) -> list[str]:
        lines: list[LogLine] = []
        if snapshot.logs is not None and step.log.n_bytes > written.next_byte:
            chunks, written.next_byte = snapshot.logs.read(
                step.digest, start_byte=written.next_byte
            )
            for chunk in chunks:
                lines += written.splitter.feed(chunk)
        is_over = step.state.is_over and not _is_fresh(step, snapshot)
        if is_over and step.state is not written.state:
            lines += written.splitter.rest()
            written.splitter = LineSplitter()
        began_ns = step.started_ns or 0
        return [f"{_clock(line.at_ns - began_ns)} {self._clean(line.text)}" for line in lines]

    def _transfers(self, step: Step, written: _Written, at_ns: int) -> list[str]:
        news = []
        for transfer in step.transfers:
            unseen = (transfer.started_ns or 0, 0.0, False)  # what takes no time is told once
            last_ns, last_fraction, was_done = written.transfers.get(transfer.id, unseen)
            fraction = transfer.fraction or 0.0
            waited_ns = at_ns - last_ns
            is_due = waited_ns >= _TRANSFER_EVERY_NS or (
                waited_ns >= _TRANSFER_LEAST_NS and fraction - last_fraction >= _TRANSFER_FRACTION
            )
            if was_done or not (is_due or transfer.is_done):
                continue
            written.transfers[transfer.id] = (at_ns, fraction, transfer.is_done)
            text = one_line(transfer.id, 200)
            if transfer.total > 0:
                text += f" {bytes_text(transfer.current)} / {bytes_text(transfer.total)}"
            elif transfer.current > 0:
                text += f" {bytes_text(transfer.current)}"
            if transfer.started_ns is not None:
                end_ns = transfer.completed_ns or at_ns
                text += f" {seconds_text(max(0, end_ns - transfer.started_ns) * 1e-9)}"
            news.append(text + (" done" if transfer.is_done else ""))
        return news


class PlainView:
    """Writes the text of `PlainWriter` to a stream, and `final_text` at the end.

    Args:
        stream: Lines are written whole and flushed once a frame.
        colors: Whether the stream understands colours.
    """

    def __init__(self, stream: TextIO, *, colors: bool = False) -> None:
        self._stream = stream
        self._writer = PlainWriter(colors=colors)

    def open(self, snapshot: Snapshot) -> None:
        """Write what there is already."""
        self.show(snapshot)

    def show(self, snapshot: Snapshot) -> None:
        """Write what is new."""
        text = self._writer.advance(snapshot)
        if text:
            self._stream.write(text)
            self._stream.flush()

    def close(self, snapshot: Snapshot) -> None:
        """Write the rest and a short summary."""
        self.show(snapshot)
        self._stream.write(f"\n{final_text(snapshot)}\n")
        self._stream.flush()


def final_text(snapshot: Snapshot, *, max_steps: int = 5, max_log_lines: int = 10) -> str:
    """Return a short account of a build: how it ended, what was slow, what failed and why.

    This is what a saved notebook keeps as text. At most about 15 lines if all went well.
    """
    lines = [
        f"{PHASE_SYMBOLS[snapshot.phase]} {headline(snapshot)}{where_text(snapshot)}",
        f"  {facts_text(snapshot)}",
    ]
    if snapshot.phase is Phase.RUNNING:
        busy = snapshot.of(StepState.RUNNING)[-max_steps:]
        for step in busy:
            moved, _ = transfer_text(step)
            lines.append(_row(step, snapshot.at_ns) + (f"  ({moved})" if moved else ""))
        return "\n".join(lines)
    for step in snapshot.failed:
        lines += [f"  {SYMBOLS[step.state]} {one_line(step.name, 100)}"]
        lines += [f"      {one_line(step.error, 300)}"]
        lines += [
            f"      | {plain(line.text)[:200]}" for line in step.log.lines(limit=max_log_lines)
        ]
    if snapshot.error and not snapshot.failed:
        lines.append(f"  {one_line(snapshot.error, 500)}")
    if snapshot.phase is Phase.SUCCEEDED:
        ran = [s for s in snapshot.of(StepState.RAN) if matters(s, snapshot)]
        slow = sorted(ran, key=lambda step: -step.duration_s)[:max_steps]
        lines += [_row(step, snapshot.at_ns) for step in slow if step.duration_s >= 0.05]
    for warning in snapshot.warnings[:3]:
        lines.append(f"  ! {one_line(warning.short, 160)}")
    if len(snapshot.warnings) > 3:
        lines.append(f"  ! {len(snapshot.warnings) - 3} more warnings")
    return "\n".join(lines)


def _row(step: Step, at_ns: int) -> str:
    is_open = step.state is StepState.RUNNING
    seconds = seconds_text(step.elapsed_s(at_ns), is_open=is_open)
    return f"  {SYMBOLS[step.state]} {seconds:>8}  {one_line(step.name, 100)}"


def _is_fresh(step: Step, snapshot: Snapshot) -> bool:
    """Say whether a step ended so lately that it may be about to start again.

    The first interval of most steps is the computation of a cache key and takes microseconds; longer ones are
    taken for what they seem to be.
    """
    if step.state is not StepState.RAN or snapshot.phase is not Phase.RUNNING:
        return False
    if step.duration_s > _KEY_S:
        return False
    return snapshot.at_ns - (step.intervals[-1].end_ns or 0) < _SETTLE_NS


def _clock(ns: int) -> str:
    """Return seconds with as many decimals as BuildKit's plain progress gives."""
    seconds = max(0, ns) * 1e-9
    decimals = 3 if seconds < 10 else 2 if seconds < 100 else 1
    return f"{seconds:.{decimals}f}"
