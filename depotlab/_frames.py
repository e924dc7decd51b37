"""What a notebook shows of an error: the lines of the user's own code that led to it, in colour, or all when asked for.

IPython is looked up among the modules that are loaded, never imported. Imports nothing of ours.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Any

__all__ = ["colored", "display_name", "shorten", "user_lines", "whole_traceback"]

_MOST_FRAMES = 3
_OTHERS = sys.stdlib_module_names | {"depotlab", "IPython", "ipykernel", "traitlets", "tornado"}
_RED, _BLUE, _BOLD, _OFF = "\x1b[31m", "\x1b[34m", "\x1b[1m", "\x1b[0m"


def display_name(filename: str) -> str:
    """Return a file name as a reader would say it: `cell [3]`, or a path, relative if it is below."""
    number = _cell_number(filename)
    if number is not None:
        return f"cell [{number}]"
    if filename.startswith("<"):
        return filename
    try:
        below = os.path.relpath(filename)
    except (ValueError, OSError):  # another drive, or the working directory is gone
        return filename
    return filename if below.startswith("..") else below


def _cell_number(filename: str) -> int | None:
    """Return the execution count of the cell that `filename` stands for.

    IPython's compiler keeps a map from its made-up file names to execution counts
    (IPython core/compilerop.py, CachingCompiler).
    """
    numbers = getattr(getattr(_shell(), "compile", None), "_filename_map", None)
    number = numbers.get(filename) if isinstance(numbers, dict) else None
    return number if isinstance(number, int) else None


def _shell() -> Any:
    ipython = sys.modules.get("IPython")
    return getattr(ipython, "get_ipython", lambda: None)() if ipython is not None else None


def user_lines(trace: TracebackType | None) -> list[str]:
    """Return where the user's own code was, as `cell [5], line 2`, the caller first; without the source text.

    A cell may hold a secret in plain sight, and it is there to be looked at anyway.
    """
    found = []
    for frame, line in traceback.walk_tb(trace):
        module = str(frame.f_globals.get("__name__") or "")
        if module.partition(".")[0] not in _OTHERS:
            found.append(f"{display_name(frame.f_code.co_filename)}, line {line}")
    return found[-_MOST_FRAMES:]


def whole_traceback(error: BaseException) -> list[str] | None:
    """Return what IPython itself would show, when the user has asked for it: `%tb Plain`, `%xmode Verbose`.

    Returns:
        None in the modes `Context`, which is the usual one, and `Minimal`.
    """
    shown = getattr(_shell(), "InteractiveTB", None)
    if shown is None or shown.mode in ("Context", "Minimal"):
        return None
    lines: list[str] = shown.structured_traceback(type(error), error, error.__traceback__)
    return lines


def shorten(interruption: BaseException) -> None:
    """Let IPython show an interruption as it shows our errors: where the user's code was, and no frame of ours."""
    vars(interruption)["_render_traceback_"] = partial(_short, interruption)


def _short(interruption: BaseException) -> list[str]:
    places = [f"  in {place}" for place in user_lines(interruption.__traceback__)]
    lines = [type(interruption).__name__, *places]
    return whole_traceback(interruption) or ["\n".join(colored(lines))]


def colored(lines: Sequence[str]) -> list[str]:
    """Return the lines of an error in colour: its name, the lines blamed, the hint; plain if colours are off."""
    shell = _shell()
    if shell is None or str(getattr(shell, "colors", "")).lower() == "nocolor":
        return list(lines)
    name, colon, rest = lines[0].partition(":")
    return [f"{_RED}{name}{_OFF}{colon}{rest}", *map(_colored, lines[1:])]


def _colored(line: str) -> str:
    bare = line.lstrip()
    if bare.startswith("> ") and " | " in bare:
        return f"{_BOLD}{line}{_OFF}"
    if bare.startswith("hint: "):
        return line.replace("hint:", f"{_BLUE}hint:{_OFF}", 1)
    return line
