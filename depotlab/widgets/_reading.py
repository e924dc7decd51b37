"""What a reader of logs sees: the newest lines, a page of what came before, or what was searched for.

A log may have half a million lines. Following reads only what the snapshot carries; a page is a
stretch of `PAGE_BYTES` read from the log store; a search reads on for `SCAN_BYTES` a frame, so that
neither the view nor the build waits for it, and keeps the newest lines that it found. No widgets here.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from depotlab.progress import (
    LineSplitter,
    LogLine,
    LogStore,
    LogWritten,
    Snapshot,
    Step,
    split_lines,
)
from depotlab.widgets._ansi import plain
from depotlab.widgets._output import LABEL_CH
from depotlab.widgets._picking import FILES_OF
from depotlab.widgets._text import bytes_text, label_text, one_line

__all__ = ["FILES", "LogPage", "LogReader", "Wish", "choices", "recent_lines"]

FILES = "files:"
"""Before the digest of a step: the option that asks for its files."""

NEWEST_LINES = 200
FOUND_LINES = 300
PAGE_BYTES = 64 * 1024
SCAN_BYTES = 2 * 1024 * 1024
_LINE_BYTES = 2_000
_MAX_CHOICES = 100

Turn = Literal["older", "newer"]


@dataclass(frozen=True, slots=True)
class Wish:
    """What the reader asked for.

    Attributes:
        step: Digest of a step, or empty for all.
        needle: What is searched for, or empty.
        is_following: New lines are shown as they come.
        page: Counted from 0, the oldest; None is the newest output.
        has_files: The files of the step are shown.
        has_graph: The graph is shown.
        has_timeline: The timeline is shown.
    """

    step: str = ""
    needle: str = ""
    is_following: bool = True
    page: int | None = None
    has_files: bool = False
    has_graph: bool = False
    has_timeline: bool = False

    @property
    def option(self) -> str:
        """The value of the list's option that asks for this."""
        return FILES + self.step if self.has_files else self.step

    def turned(self, turn: Turn, n_pages: int) -> Wish:
        """Return the wish after a press of Older or Newer; the newest output comes after the last page."""
        at = n_pages if self.page is None else self.page
        at = max(0, at - 1) if turn == "older" else at + 1
        is_newest = at >= n_pages
        return replace(self, page=None if is_newest else at, is_following=is_newest, needle="")


@dataclass(frozen=True, slots=True)
class LogPage:
    """Lines to show.

    Attributes:
        lines: Each with a label: its step, or its number.
        about: What they are, in a few words.
        n_pages: How many pages the step's log has.
        is_whole: False while a search has not come to the end.
    """

    lines: tuple[tuple[str, LogLine], ...]
    about: str = ""
    n_pages: int = 0
    is_whole: bool = True


class LogReader:
    """Answers wishes, one after another. Used by one thread; reads the temporary file of long logs."""

    def __init__(self) -> None:
        self._search: _Search | None = None

    def page(self, snapshot: Snapshot, wish: Wish) -> LogPage:
        """Return what to show of this moment."""
        step = next((s for s in snapshot.steps if wish.step and s.digest == wish.step), None)
        n_pages = -(-step.log.n_bytes // PAGE_BYTES) if step is not None else 0
        if wish.needle and snapshot.logs is not None:
            return replace(self._found(snapshot, snapshot.logs, wish, step), n_pages=n_pages)
        self._search = None
        if step is None:
            lines = recent_lines(snapshot, limit=NEWEST_LINES)
            return LogPage(tuple(lines), "Newest output of all steps")
        about = f"#{step.number} {one_line(step.name, 80)}"
        if not step.log.n_bytes:
            return LogPage((), f"{about}: no output{'' if step.state.is_over else ' yet'}")
        newest = step.log.lines(NEWEST_LINES)  # none when a line is longer than what is kept
        if snapshot.logs is None or (wish.page is None and newest):
            first = step.n_log_lines - len(newest) + 1
            plural = "" if step.n_log_lines == 1 else "s"
            about += f": {step.n_log_lines} line{plural}, {bytes_text(step.log.n_bytes)}"
            if first > 1:
                about += f", the newest {len(newest)} shown"
            return LogPage(_unlabelled(newest), about, n_pages)
        page = n_pages - 1 if wish.page is None else min(wish.page, n_pages - 1)
        lines_of_page = _page_lines(snapshot.logs, step.digest, page)
        about += f": page {page + 1} of {n_pages}, from the oldest"
        return LogPage(_unlabelled(lines_of_page), about, n_pages)

    def _found(self, snapshot: Snapshot, logs: LogStore, wish: Wish, step: Step | None) -> LogPage:
        if self._search is None or self._search.asked != (wish.step, wish.needle):
            self._search = _Search(wish)
        steps = snapshot.steps if step is None else (step,)
        is_whole = self._search.advance(logs, steps)
        n = self._search.n_found
        about = f"{n} line{'' if n == 1 else 's'} with “{one_line(wish.needle, 40)}”"
        about += f" in #{step.number}" if step is not None else " in all steps"
        if n > FOUND_LINES:
            about += f", the newest {FOUND_LINES} shown"
        if not is_whole:
            about += ", still searching…"
        return LogPage(tuple(self._search.lines), about, is_whole=is_whole)


class _Search:
    """One search, as far as it has come."""

    def __init__(self, wish: Wish) -> None:
        self.asked = wish.step, wish.needle
        self.lines: deque[tuple[str, LogLine]] = deque(maxlen=FOUND_LINES)
        self.n_found = 0
        self._needle = re.compile(re.escape(wish.needle), re.IGNORECASE)
        self._read: dict[str, tuple[int, int, LineSplitter]] = {}

    def advance(self, logs: LogStore, steps: Iterable[Step]) -> bool:
        """Read on, at most `SCAN_BYTES`, and say whether that was all there is."""
        room = SCAN_BYTES
        for step in steps:
            if not step.log.n_bytes:
                continue
            known = self._read.get(step.digest)
            at_byte, n_lines, splitter = known or (0, 0, LineSplitter(offset_ns=logs.offset_ns))
            while at_byte < step.log.n_bytes:
                if room <= 0:
                    return False
                chunks, end_byte = logs.read(step.digest, start_byte=at_byte, max_bytes=room)
                room -= end_byte - at_byte
                at_byte = end_byte
                for chunk in chunks:
                    for line in splitter.feed(chunk):
                        n_lines += 1
                        self._look(step, n_lines, line)
                self._read[step.digest] = (at_byte, n_lines, splitter)
        return True

    def _look(self, step: Step, number: int, line: LogLine) -> None:
        if self._needle.search(line.text if "\x1b" not in line.text else plain(line.text)):
            self.n_found += 1
            label = str(number) if self.asked[0] else label_text(step, LABEL_CH - 1)
            self.lines.append((label, line))


def recent_lines(snapshot: Snapshot, *, limit: int) -> list[tuple[str, LogLine]]:
    """Return the newest lines of all steps, each with a label of its step."""
    lines = snapshot.recent.lines_by_vertex(limit)
    wanted = {vertex for vertex, _ in lines}
    labels = {
        member: label_text(step, LABEL_CH - 1)
        for step in snapshot.steps
        for member in step.members
        if member in wanted
    }
    return [(labels.get(vertex, ""), line) for vertex, line in lines]


def choices(
    snapshot: Snapshot, shown: Iterable[Step], picked: str, *, has_files: bool = False
) -> list[tuple[str, str]]:
    """Return what the list of logs offers: a text and a digest, all output first.

    The steps that have a row, the one that is picked, and of the others the newest that wrote something; with
    `has_files` also the files of the one that is picked.
    """
    rows = {step.digest for step in shown} | {picked}
    offered = [s for s in snapshot.steps if s.number and (s.digest in rows or s.log.n_bytes)]
    if len(offered) > _MAX_CHOICES:
        newest = {step.digest for step in offered[-_MAX_CHOICES + len(rows) :]}
        offered = [step for step in offered if step.digest in rows | newest]
    named = [(f"#{step.number} {one_line(step.name, 70)}", step.digest) for step in offered]
    if has_files:
        at = next(index for index, (_, digest) in enumerate(named) if digest == picked)
        named.insert(at + 1, (FILES_OF + named[at][0], FILES + picked))
    return [("All output", ""), *named]


def _page_lines(logs: LogStore, digest: str, page: int) -> list[LogLine]:
    """Return the lines that begin in this page, whole."""
    start = page * PAGE_BYTES
    # One byte more at the front says whether a line begins with the page.
    chunks, end = logs.read(
        digest, start_byte=max(0, start - 1), max_bytes=PAGE_BYTES + (start > 0)
    )
    data = b"".join(chunk.data for chunk in chunks)
    if start:
        _, line_end, rest = data.partition(b"\n")
        data = rest if line_end else data  # a line longer than a page has no beginning here
    if not data.endswith(b"\n"):
        more, _ = logs.read(digest, start_byte=end, max_bytes=_LINE_BYTES)
        data += b"".join(chunk.data for chunk in more).partition(b"\n")[0]
    at_ns = chunks[0].at_ns if chunks else 0
    return split_lines([LogWritten(digest, at_ns, 1, data)], offset_ns=logs.offset_ns)


def _unlabelled(lines: Iterable[LogLine]) -> tuple[tuple[str, LogLine], ...]:
    return tuple(("", line) for line in lines)
