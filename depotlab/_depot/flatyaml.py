"""The few keys that Depot's configuration files hold, without a YAML library.

Both files are flat: `api_token` and `org_id` in `depot.yaml`, `id` in a project's `depot.json`. JSON is read as
JSON. Of YAML, plain and quoted texts at the top level are read; what is nested is passed over, and another form
of value for a key that we want is refused rather than guessed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection

__all__ = ["NotFlat", "read_flat"]

_LINE = re.compile(r"""(?P<key>[A-Za-z_][\w.-]*|"[^"]*"|'[^']*')\s*:(?:\s+(?P<value>.*)|$)""")
_QUOTED = re.compile(r"""(?:"(?P<double>[^"\\]*)"|'(?P<single>(?:[^']|'')*)')\s*(?:#.*)?""")


class NotFlat(ValueError):
    """The text is of a form that is not read here. The message never repeats values."""


def read_flat(text: str, keys: Collection[str]) -> dict[str, str]:
    """Return the texts of these keys; what is missing, empty or null is left out.

    Raises:
        NotFlat: The text is no mapping, or the value of one of these keys is no text.

    Example:
        >>> read_flat("id: abc # ours", ["id"])
        {'id': 'abc'}
    """
    text = text.removeprefix("\ufeff")
    if text.lstrip().startswith(("{", "[")):
        return _of_json(text, keys)
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line[0] in "# \t" or line.startswith(("---", "...", "%")):
            continue
        match = _LINE.fullmatch(line.rstrip())
        if match is None:
            raise NotFlat(f"line {number} is not 'key: value'")
        key = match["key"].strip("'\"")
        if key in keys:
            found[key] = _scalar(match["value"] or "", number)
    return {key: value for key, value in found.items() if value}


def _scalar(text: str, number: int) -> str:
    text = text.strip()
    if text[:1] in ("'", '"'):
        match = _QUOTED.fullmatch(text)
        if match is None:
            raise NotFlat(f"the value in line {number} is no simple text")
        double = match["double"]
        return double if double is not None else match["single"].replace("''", "'")
    text = re.split(r"(?:^|\s)#", text, maxsplit=1)[0].strip()
    if text[:1] in tuple("|>&*![{%@`"):
        raise NotFlat(f"the value in line {number} is no simple text")
    return "" if text in ("~", "null", "Null", "NULL") else text


def _of_json(text: str, keys: Collection[str]) -> dict[str, str]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise NotFlat("it is no JSON object")
    found = {}
    for key in keys:
        value = data.get(key)
        if isinstance(value, bool | dict | list | float):
            raise NotFlat(f"{key} is no text")
        if value not in (None, ""):
            found[key] = str(value)
    return found
