"""Texts from the wire without what nobody may see: passwords in addresses, values of attributes that are credentials.

What is bytes is never shown, only how much it is: secrets, files and outputs of steps travel as bytes.
"""

from __future__ import annotations

import re
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from depotlab._values import bytes_text

__all__ = ["HIDDEN", "is_secret_name", "message_text", "plain"]

HIDDEN = "•••"
MOST_CHARS = 200
_MOST_ITEMS = 10
_MOST_DEPTH = 6

# What the attributes of frontends, caches and exporters call their credentials, and what users call theirs in
# arguments of a build. `contextkey` and `dockerfilekey` name directories. Source: moby/buildkit `cache/remotecache`,
# `frontend/dockerui/config.go`.
_SECRET_NAME = re.compile(
    r"auth|cookie|credential|passw|pwd|secret|sas|signature|token|(?<!context)(?<!dockerfile)(?<!shared)key",
    re.IGNORECASE,
)
_LOGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/\s@]+)@")
# What is before the @ there is a name, not a login.
_OF_IMAGES = frozenset(("docker-image", "oci-layout"))
_LONGEST_USER = 20  # tokens are given as users without a password, too
_QUERY = re.compile(r"(?<=[?&])([^=&\s]*)=([^&\s\"']*)")
_SINGLE = (str, bytes, int, float, Message)
_ASSIGNED = re.compile(r"\s*[A-Za-z_][A-Za-z0-9_]*=")


def is_secret_name(name: str) -> bool:
    """Whether what has this name may be a credential."""
    return bool(_SECRET_NAME.search(name))


def plain(text: str, most_chars: int = MOST_CHARS) -> str:
    """Return text on one line, cut at its end, without logins in addresses."""
    text = " ".join(text[: 4 * most_chars].split())
    text = _LOGIN.sub(_hide_login, text)
    text = _QUERY.sub(_hide_argument, text)
    return text if len(text) <= most_chars else text[: most_chars - 1] + "…"


def message_text(message: Message, most_chars: int) -> str:
    """Return what is in a message, as protobuf writes it on one line."""
    return plain(_fields(message, 0), most_chars)


def _fields(message: Message, depth: int) -> str:
    if depth > _MOST_DEPTH:
        return "…"
    parts = []
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            kind = field.message_type.fields_by_name["value"]
            items = [
                f"{plain(str(key))}: {_value(str(key), kind, one, depth)}"
                for key, one in sorted(value.items())[:_MOST_ITEMS]
            ]
            parts.append(f"{field.name} {{{', '.join(items)}{_more(value)}}}")
        elif not isinstance(value, _SINGLE):  # `field.label` is going away in newer runtimes
            items = [_value(field.name, field, one, depth) for one in value[:_MOST_ITEMS]]
            parts.append(f"{field.name}: [{', '.join(items)}{_more(value)}]")
        else:
            parts.append(f"{field.name}: {_value(field.name, field, value, depth)}")
    return " ".join(parts)


def _more(items: Any) -> str:
    rest = len(items) - _MOST_ITEMS
    return f", … {rest} more" if rest > 0 else ""


def _value(name: str, field: FieldDescriptor, value: Any, depth: int) -> str:
    if isinstance(value, Message):
        return f"{{{_fields(value, depth + 1)}}}"
    if isinstance(value, bytes):
        return f"<{bytes_text(len(value))}>"
    if isinstance(value, str):
        return _text_value(name, value)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return str(value) if known is None else known.name
    return str(value).lower() if isinstance(value, bool) else str(value)


def _text_value(name: str, value: str) -> str:
    # Attributes may be JSON with attributes in it, and variables have names of their own.
    assigned = _ASSIGNED.match(value)
    inner = value if value.lstrip()[:1] in ("{", "[") else assigned[0] if assigned else ""
    if is_secret_name(name) or is_secret_name(inner):
        return HIDDEN
    return f'"{plain(value)}"'


def _hide_login(found: re.Match[str]) -> str:
    scheme, login = found.groups()
    if scheme in _OF_IMAGES or (":" not in login and len(login) < _LONGEST_USER):
        return found[0]
    return f"{scheme}://{HIDDEN}@"


def _hide_argument(found: re.Match[str]) -> str:
    name, value = found.groups()
    return f"{name}={HIDDEN if is_secret_name(name) else value}"
