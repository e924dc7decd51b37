"""Which line of the user's code made an op. Cheap to remember, read only when asked.

Kept per op: the code object of the nearest frame outside depotlab, and the offset of the
instruction that was running: two references, and about half a microsecond. Lines and text are
looked up later, through `linecache`, which also knows the cells of a notebook.
"""

from __future__ import annotations

import itertools
import linecache
import os
import re
import sys
from collections.abc import Iterable
from types import CodeType, FrameType

from depotlab._frames import display_name
from depotlab.errors import SourceLocation

# A place not looked up yet, or one that came out of a pickle.
Where = tuple[CodeType, int] | SourceLocation

# What is made on the I/O thread has only these above it.
_NOT_THE_USERS = ("depotlab.", "asyncio.", "concurrent.futures.", "threading")
_capture = not os.environ.get("DEPOTLAB_NO_SOURCE")


class capture_source:  # noqa: N801  (reads as a verb at the call)
    """Switch on or off that ops remember the line that made them.

    As a call it holds from then on, as a context manager until the block ends. The environment
    variable DEPOTLAB_NO_SOURCE, set to anything, switches it off from the start.

    Example:
        >>> with capture_source(False):
        ...     pass
    """

    def __init__(self, enabled: bool) -> None:
        global _capture
        self._before = _capture
        _capture = enabled

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: object) -> None:
        global _capture
        _capture = self._before


def caller() -> Where | None:
    """Return the place in the nearest frame of the user's; None when switched off, or when nobody called for the op."""
    if not _capture:
        return None
    # Not inspect.stack(), which reads sources and costs a thousand times more. Frame 1 is the method
    # that asks, which is ours; frame 2 is nearly always the answer.
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001
    while frame is not None:
        # By module and not by file: initialisers of dataclasses have no file.
        module = frame.f_globals.get("__name__")
        if not isinstance(module, str) or not module.startswith(_NOT_THE_USERS):
            return frame.f_code, frame.f_lasti
        frame = frame.f_back
    return None


_URL_PASSWORD = re.compile(r"(://[^\s/@:'\"]*):[^\s/@'\"]+@")
_MIN_HIDDEN = 4  # shorter ones are found in every text
_DOTS = "•••"


class Locator:
    """Looks places up, each file and each call once. Reads the sources through `linecache`.

    What it returns of a file is shown in errors, and sent to daemons, which keep it in their history. So
    passwords in URLs are left out of it, and what the caller names.

    Args:
        hide: Further texts to leave out, such as a secret that was written in the same cell.
    """

    def __init__(self, hide: Iterable[str] = ()) -> None:
        self._hide = sorted((one for one in hide if len(one) >= _MIN_HIDDEN), key=len)[::-1]
        self._files: dict[str, tuple[str, str]] = {}  # shown name and text, by file name
        self._found: dict[tuple[int, int], SourceLocation] = {}

    def __call__(self, where: Where) -> SourceLocation:
        """Return file or cell, lines and text."""
        if isinstance(where, SourceLocation):
            return where
        code, offset = where
        # By identity: hashing a code object goes through all of its constants.
        key = id(code), offset
        found = self._found.get(key)
        if found is None:
            name, text = self._file(code.co_filename)
            line, end_line = _lines(code, offset)
            found = self._found[key] = SourceLocation(name, line, max(line, end_line), text)
        return found

    def _file(self, filename: str) -> tuple[str, str]:
        found = self._files.get(filename)
        if found is None:
            text = _URL_PASSWORD.sub(rf"\1:{_DOTS}@", "".join(linecache.getlines(filename)))
            for one in self._hide:
                # A line break in it must stay one, or the lines below would move.
                text = text.replace(one, _DOTS + "\n" * one.count("\n"))
            found = self._files[filename] = display_name(filename), text
        return found


def locate(where: Where) -> SourceLocation:
    """Return file or cell, lines and text of one place."""
    return Locator()(where)


def _lines(code: CodeType, offset: int) -> tuple[int, int]:
    position = next(itertools.islice(code.co_positions(), max(offset, 0) // 2, None), None)
    if position is None or position[0] is None:
        return code.co_firstlineno, code.co_firstlineno
    line = position[0]
    return line, position[1] or line
