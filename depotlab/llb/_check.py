"""Arguments are checked where the call is made, and the error says what would be right."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NoReturn

from depotlab.errors import GraphError
from depotlab.llb._where import caller, locate


def refuse(message: str, *, hint: str = "") -> NoReturn:
    """Raise a GraphError that knows the user's line."""
    where = caller()
    raise GraphError(message, hint=hint, location=None if where is None else locate(where))


def nearest(word: str, legal: Iterable[str]) -> str:
    """Return a hint that names the legal word closest to `word`, or all of them."""
    words = list(legal)
    close = difflib.get_close_matches(str(word).lower(), words, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return "use " + " or ".join(repr(w) for w in words) if words else ""


def choice(argument: str, value: Any, legal: Collection[str]) -> str:
    """Return `value` if it is one of the legal words."""
    if isinstance(value, str) and value in legal:
        return value
    listed = ", ".join(repr(word) for word in legal)
    refuse(f"{argument}={value!r} is not one of {listed}.", hint=nearest(value, legal))


def unknown_option(call: str, option: str, legal: Collection[str]) -> NoReturn:
    close = difflib.get_close_matches(option, legal, n=1, cutoff=0.6)
    hint = (
        f"did you mean {close[0]!r}?" if close else f"its options are: {', '.join(sorted(legal))}"
    )
    refuse(f"{call}() has no option {option!r}.", hint=hint)


def string(argument: str, value: Any) -> str:
    """Return `value` if it is text that can be written in UTF-8 and has no NUL."""
    if not isinstance(value, str):
        refuse(f"{argument}={value!r} is not text but {type(value).__name__}.")
    if value.isascii():
        if "\0" in value:
            refuse(f"{argument}={value!r} contains a NUL character.")
        return value
    return _unicode(argument, value)


def _unicode(argument: str, value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        refuse(
            f"{argument}={value!r} cannot be written in UTF-8.",
            hint="a file name that is not UTF-8 was decoded with surrogates; BuildKit has no way to name it",
        )
    if "\0" in value:
        refuse(f"{argument}={value!r} contains a NUL character.")
    return value


def some(argument: str, value: Any) -> str:
    """Return `value` if it is text and not empty."""
    if not string(argument, value):
        refuse(f"{argument} is empty.")
    return str(value)


def guest(argument: str, value: Any) -> str:
    """Return a path inside the build as text; `pathlib` paths are welcome."""
    if isinstance(value, os.PathLike):
        value = value.__fspath__()
    return string(argument, value)


def strings(argument: str, values: Any) -> tuple[str, ...]:
    """Return several texts; one string alone is a usual slip and refused."""
    if isinstance(values, str):
        refuse(f"{argument}={values!r} is one string.", hint=f"write {argument}=[{values!r}]")
    try:
        items = tuple(values)
    except TypeError:
        refuse(f"{argument}={values!r} is not a list of strings.")
    return tuple(string(f"{argument}[{i}]", item) for i, item in enumerate(items))


def integer(argument: str, value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        refuse(f"{argument}={value!r} is not a whole number.")
    if not low <= value <= high:
        refuse(f"{argument}={value} is not between {low} and {high}.")
    return value


def boolean(argument: str, value: Any) -> bool:
    if not isinstance(value, bool):
        refuse(f"{argument}={value!r} is neither True nor False.")
    return value


def mode(argument: str, value: Any) -> int:
    """Return permission bits. `755` for `0o755` is caught where it cannot be meant."""
    bits = integer(argument, value, 0, 0o7777)
    digits = str(bits)
    if bits >= 0o1000 and len(digits) == 3 and max(digits) <= "7":
        refuse(
            f"{argument}={bits} is {bits:#o}, written in decimal.", hint=f"did you mean 0o{digits}?"
        )
    return bits


def unique_id(argument: str, value: Any) -> int:
    """Return a user or group number."""
    return integer(argument, value, 0, 2**32 - 1)


def pairs(argument: str, values: Any) -> list[tuple[Any, ...]]:
    """Return the items of a mapping or of a list of tuples."""
    if isinstance(values, Mapping):
        return list(values.items())
    if isinstance(values, str):
        refuse(f"{argument}={values!r} is one string, not a mapping.")
    try:
        items = [tuple(item) for item in values]
    except TypeError:
        refuse(f"{argument}={values!r} is neither a mapping nor a list of tuples.")
    return items
