"""A value in one line, and as a table of what it holds."""

from __future__ import annotations

import functools
import html
import reprlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import UTC, datetime
from typing import Any, cast

from depotlab._values.texts import bytes_text, cut, safe_html

__all__ = ["Value", "facts_html", "one_line"]

MAX_LINE = 200
_MAX_CELL = 300
_SHOWN_ITEMS = 10
_SHOWN_LINES = 40
_DOTS = "•••"
_UNITS = ("_bytes", "_at", "_s")


class _Short(reprlib.Repr):
    """Texts of values, of which large ones are not even made."""

    def __init__(self, *, most_items: int, most_letters: int) -> None:
        super().__init__()
        self.maxtuple = self.maxlist = self.maxdict = self.maxset = self.maxfrozenset = most_items
        self.maxstring = self.maxother = self.maxlong = most_letters

    def repr_bytes(self, value: bytes, level: int) -> str:
        """Return short ones as they are, and of long ones how much there is."""
        del level
        return repr(value) if len(value) < self.maxstring else f"<{bytes_text(len(value))}>"


_wide = _Short(most_items=20, most_letters=120)
_narrow = _Short(most_items=2, most_letters=40)


class Value:
    """A value that shows itself: one line as `repr`, and in a notebook a table of what it holds.

    A data class says `repr=False` to get it; of fields that no `repr` may show three dots say that they are there. A
    `repr` that a class writes itself is kept to one line, whatever names and texts get into it.
    """

    __slots__ = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = cls.__dict__.get("__repr__")
        if own is not None and not hasattr(own, "__wrapped__"):
            cls.__repr__ = _fitted(own)  # type: ignore[method-assign]

    def _facts(self) -> Iterable[tuple[str, object]]:
        """Names and values for the table; what is empty is left out of it. With none, the table is the `repr`."""
        return [(f.name, getattr(self, f.name)) for f in _shown(self)] + _hidden(self)

    def __repr__(self) -> str:
        return one_line(self)

    def _repr_html_(self) -> str:
        facts = list(self._facts())
        return facts_html(type(self).__name__ if facts else repr(self), facts)


def _fitted(own: Callable[[Any], str]) -> Callable[[Any], str]:
    @functools.wraps(own)
    def fitted(self: Any) -> str:
        text = own(self)
        return text if len(text) <= MAX_LINE and "\n" not in text else cut(text, MAX_LINE)

    return fitted


def one_line(value: Any) -> str:
    """Return a data class or named tuple on one line of at most 200 characters.

    Where there is no room for all, what has its default is left out, and the rest is shortened.
    """
    name = type(value).__name__
    items = [(f.name, getattr(value, f.name), _default(f)) for f in _shown(value)]
    whole = ", ".join(f"{key}={_wide.repr(item)}" for key, item, _ in items)
    if len(whole) + len(name) + 2 > MAX_LINE or "\n" in whole:
        said = [(key, item) for key, item, default in items if not _is_default(item, default)]
        whole = ", ".join(f"{key}={_narrow.repr(item)}" for key, item in said)
        whole = cut(whole, MAX_LINE - len(name) - 2)
    return f"{name}({whole})"


def facts_html(headline: str, facts: Iterable[tuple[str, object]]) -> str:
    """Return names and values as a table of two columns, without those that are empty.

    Args:
        headline: What it is; none when empty.
        facts: Names as attributes have them; a unit at their end says how the value reads.
    """
    rows = "".join(
        '<tr><th style="text-align:left;vertical-align:top;white-space:nowrap">'
        f'{safe_html(_label(name))}</th><td style="text-align:left">{_cell(name, value)}</td></tr>'
        for name, value in facts
        if not _is_empty(value)
    )
    table = f"<table><tbody>{rows}</tbody></table>" if rows else ""
    above = f"<b>{safe_html(headline)}</b>" if headline else ""
    return f"<div>{above}{table}</div>"


class _Named:
    """What `_shown` gives of a named tuple, in the words of a data class."""

    def __init__(self, name: str, default: object) -> None:
        self.name = name
        self.default = default
        self.default_factory = MISSING


def _shown(value: Any) -> list[Field[Any]]:
    if is_dataclass(value):
        return [f for f in fields(value) if f.repr and not f.name.startswith("_")]
    defaults = getattr(value, "_field_defaults", {})
    named = [_Named(name, defaults.get(name, MISSING)) for name in getattr(value, "_fields", ())]
    return cast("list[Field[Any]]", named)


def _hidden(value: Any) -> list[tuple[str, object]]:
    """Return the texts that are there and never shown, such as a token."""
    return [
        (f.name, _DOTS)
        for f in (fields(value) if is_dataclass(value) else ())
        if not f.repr and not f.name.startswith("_")
        if isinstance(getattr(value, f.name), str | bytes) and getattr(value, f.name)
    ]


def _default(one: Field[Any]) -> object:
    return one.default_factory() if one.default_factory is not MISSING else one.default


def _is_default(value: object, default: object) -> bool:
    return _is_empty(value) or (type(value) is type(default) and value == default)


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, str | bytes | tuple | list | Mapping) and not value)


def _label(name: str) -> str:
    for unit in _UNITS:
        name = name.removesuffix(unit)
    return name.removeprefix("n_").replace("_", " ")


def _cell(name: str, value: object) -> str:
    if isinstance(value, Mapping):
        lines = [f"{key}={_text(name, item)}" for key, item in value.items()]
    elif isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        lines = [_text(name, item) for item in value]
    elif isinstance(value, str) and "\n" in value.strip():
        return _several_lines(value)
    else:
        lines = [_text(name, value)]
    rest = len(lines) - _SHOWN_ITEMS
    shown = [safe_html(line) for line in lines[:_SHOWN_ITEMS]]
    return "<br>".join([*shown, *([f"… {rest} more"] if rest > 0 else [])])


def _several_lines(text: str) -> str:
    lines = text.strip("\n").splitlines()
    rest = len(lines) - _SHOWN_LINES
    shown = [line if len(line) <= _MAX_CELL else f"{line[:_MAX_CELL]}…" for line in lines]
    shown = [*shown[:_SHOWN_LINES], *([f"… {rest} more lines"] if rest > 0 else [])]
    return f'<pre style="text-align:left;margin:0">{html.escape(chr(10).join(shown))}</pre>'


def _text(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes_text(len(value))
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(value, int) and name.endswith("_bytes"):
        return bytes_text(value)
    if isinstance(value, int | float) and name.endswith("_s"):
        return f"{value:g} s" if isinstance(value, int) else f"{value:.1f} s"
    return cut(str(value), _MAX_CELL)
