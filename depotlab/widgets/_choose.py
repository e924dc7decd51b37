"""Picks the view that fits where the program runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Literal, TextIO, get_args

from depotlab.errors import UsageError
from depotlab.widgets._details import Details
from depotlab.widgets._json import JsonView
from depotlab.widgets._notebook import NotebookView, is_in_kernel, notebook_mode
from depotlab.widgets._plain import PlainView
from depotlab.widgets._terminal import TerminalView
from depotlab.widgets._view import QuietView, View

__all__ = ["ProgressMode", "choose"]

ProgressMode = Literal["auto", "plain", "tty", "notebook", "json", "quiet"]


def choose(
    mode: ProgressMode | None = None,
    *,
    stream: TextIO | None = None,
    on_cancel: Callable[[], None] | None = None,
    details: Details | None = None,
) -> View:
    """Return a view that is not open yet.

    Args:
        mode: `auto` and None take the notebook view in a kernel, the terminal view on a
            terminal, else plain text; the variable `BUILDKIT_PROGRESS` decides instead if it
            holds `plain`, `tty`, `quiet` or `rawjson`, outside of notebooks.
        stream: Where text goes: standard error by default, standard output for `json`.
        on_cancel: What the Cancel button of a notebook does; no button without it.
        details: What knows more of the steps than their progress, for the view of a notebook.

    Raises:
        UsageError: There is no such mode.
    """
    if mode is not None and mode not in get_args(ProgressMode):
        raise UsageError(
            f"There is no progress mode {mode!r}.",
            hint=f"use one of {', '.join(get_args(ProgressMode))}",
        )
    if mode in (None, "auto"):
        mode = _found(stream or sys.stderr)
    match mode:
        case "notebook":
            return NotebookView(mode=notebook_mode(), on_cancel=on_cancel, details=details)
        case "tty":
            return TerminalView(stream or sys.stderr)
        case "json":
            return JsonView(stream or sys.stdout)
        case "quiet":
            return QuietView()
        case _:
            stream = stream or sys.stderr
            return PlainView(stream, colors=_is_terminal(stream) and not os.environ.get("NO_COLOR"))


def _found(stream: TextIO) -> ProgressMode:
    if is_in_kernel():
        return "notebook"
    asked: dict[str, ProgressMode] = {
        "plain": "plain",
        "tty": "tty",
        "quiet": "quiet",
        "rawjson": "json",
    }
    by_variable = asked.get(os.environ.get("BUILDKIT_PROGRESS", ""))
    if by_variable is not None:
        return by_variable
    return "tty" if _is_terminal(stream) and os.environ.get("TERM") != "dumb" else "plain"


def _is_terminal(stream: TextIO) -> bool:
    return bool(getattr(stream, "isatty", lambda: False)())
