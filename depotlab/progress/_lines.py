"""From chunks of output to lines. Pure: chunks in, lines out, in any chunking the same."""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from typing import NamedTuple

from depotlab.progress._events import LogWritten

__all__ = ["STREAM_NOTE", "LineSplitter", "LogLine", "split_lines"]

STREAM_NOTE = 0
"""The stream of lines that are ours and not the step's: "N bytes were not kept"."""


class LogLine(NamedTuple):
    """One line of output, without its end.

    `stream` is 1 for stdout, 2 for stderr and 0 for a note of ours. `at_ns` is when the last
    piece of the line came. Control sequences are still in `text`: it is the step that wrote
    them, so whoever shows the line to a person escapes it.
    """

    at_ns: int
    stream: int
    text: str


class _Half:
    """What one stream has written since its last line end."""

    __slots__ = ("at_ns", "decoder", "parts")

    def __init__(self) -> None:
        # One decoder for each stream: a character may be cut between two chunks of stdout
        # with a chunk of stderr in between.
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.parts: list[str] = []
        self.at_ns = 0


class LineSplitter:
    r"""Joins the chunks of one step and cuts them into lines.

    Only `\n` ends a line. A `\r` begins it again, as a progress bar does; what stood there
    before is dropped.
    """

    def __init__(self, *, offset_ns: int = 0) -> None:
        self._halves: dict[int, _Half] = {}
        self._offset_ns = offset_ns

    def feed(self, chunk: LogWritten) -> list[LogLine]:
        """Return the lines that this chunk completes."""
        half = self._halves.get(chunk.stream)
        if half is None:
            half = self._halves[chunk.stream] = _Half()
        text = half.decoder.decode(chunk.data)
        at_ns = half.at_ns = chunk.at_ns + self._offset_ns
        head, *more = text.split("\n")
        half.parts.append(head)
        if not more:
            if "\r" in head:
                half.parts = [_overwrite("".join(half.parts), is_whole=False)]
            return []
        whole = ["".join(half.parts), *more[:-1]]
        half.parts = [more[-1]]
        stream = chunk.stream
        return [LogLine(at_ns, stream, _overwrite(x) if "\r" in x else x) for x in whole]

    def rest(self) -> list[LogLine]:
        """Return the unfinished line of each stream, if any; the state does not change."""
        rest = []
        for stream, half in self._halves.items():
            cut_character, _ = half.decoder.getstate()
            text = "".join(half.parts) + cut_character.decode("utf-8", "replace")
            if text:
                rest.append(LogLine(half.at_ns, stream, _overwrite(text)))
        return rest


def split_lines(chunks: Iterable[LogWritten], *, offset_ns: int = 0) -> list[LogLine]:
    """Return all lines of one step's chunks, an unfinished last one included."""
    splitter = LineSplitter(offset_ns=offset_ns)
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    return lines + splitter.rest()


def _overwrite(text: str, *, is_whole: bool = True) -> str:
    r"""Return what a terminal would still show of a line with carriage returns in it.

    An unfinished line keeps its last `\r`, since the text after it has yet to come.
    """
    end = "" if is_whole or not text.endswith("\r") else "\r"
    return text.rstrip("\r").rpartition("\r")[2] + end
