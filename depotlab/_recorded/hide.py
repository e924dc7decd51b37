"""Secrets are taken out of what is kept: a recording is made to be handed on."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable

__all__ = ["Hider"]

_MIN_LENGTH = 4
"""Shorter values are in everything; nobody keeps a secret with them."""


class Hider:
    """Replaces secrets by stars, as many as they have bytes, so that messages keep their lengths.

    Found are the values, their lines, and how they look in base64 at any place of a text.

    Args:
        values: The secrets.
    """

    def __init__(self, values: Iterable[bytes] = ()) -> None:
        found: set[bytes] = set()
        for value in values:
            for one in (value, value.strip(), *value.splitlines()):
                if len(one) >= _MIN_LENGTH:
                    found |= {one, *_encoded(one)}
        ordered = sorted(found, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, ordered))) if ordered else None

    def hide(self, data: bytes) -> bytes:
        """Return bytes of the same length without the secrets."""
        if self._pattern is None:
            return data
        return self._pattern.sub(lambda found: b"*" * len(found[0]), data)

    def hide_text(self, text: str) -> str:
        """Return text without the secrets."""
        return self.hide(text.encode("utf-8", "surrogateescape")).decode("utf-8", "replace")


def _encoded(value: bytes) -> list[bytes]:
    """Return what of the base64 of a text is always there when the value stands in it, wherever that is."""
    found = []
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + value)
        start = (0, 2, 3)[shift]
        end = len(text) - (0, 4, 4)[(len(value) + shift) % 3 and 1]
        if end - start >= 2 * _MIN_LENGTH:
            found.append(text[start:end])
    return found
