"""Addresses that are good for one thing until a moment: one key may be put there once, or got from there.

The query of an address has when it expires, for an upload how large that may be, and a signature over these, the verb
and the key. So the server keeps no list of what it handed out, and addresses outlive it as long as its secret does.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Literal
from urllib.parse import parse_qs, quote, urlencode

__all__ = ["SECRET_BYTES", "Denied", "Signer", "is_key"]

Verb = Literal["PUT", "GET"]
SECRET_BYTES = 32
_MOST_LETTERS = 240


class Denied(Exception):
    """An address is not good, or not any more. The text says why; it has no signature in it."""


def is_key(key: str) -> bool:
    """Whether a text can be a key: segments of visible letters between slashes, none of them `.` or `..`."""
    return (
        key.isprintable()
        and len(quote(key, safe="")) <= _MOST_LETTERS
        and all(part not in ("", ".", "..") for part in key.split("/"))
    )


class Signer:
    """Signs addresses and knows its signatures again.

    Args:
        secret: Who has it can sign.
        now_s: The clock, in seconds since 1970.
    """

    def __init__(self, secret: bytes, *, now_s: Callable[[], float] = time.time) -> None:
        self._secret = secret
        self._now_s = now_s

    def sign(self, verb: Verb, key: str, *, expires_s: int, max_bytes: int = 0) -> str:
        """Return path and query of an address."""
        expires_at = int(self._now_s()) + expires_s
        query = {
            "expires": str(expires_at),
            **({"max-bytes": str(max_bytes)} if verb == "PUT" else {}),
            "signature": self._signature(verb, key, expires_at, max_bytes),
        }
        return f"/{quote(key, safe='/')}?{urlencode(query)}"

    def check(self, verb: Verb, key: str, query: str) -> int:
        """Return how large an upload may be; 0 for a download.

        Raises:
            Denied: The address was not signed here for this, or is too old.
        """
        given = parse_qs(query)
        expires_at = _number(given, "expires")
        max_bytes = _number(given, "max-bytes") if verb == "PUT" else 0
        signature = given.get("signature", [""])[0].encode()
        expected = self._signature(verb, key, expires_at, max_bytes).encode()
        if not hmac.compare_digest(signature, expected):
            raise Denied(f"This address was not given out for {verb} here, or was changed.")
        if self._now_s() >= expires_at:
            raise Denied("This address is not good any more: it has expired. Ask for a new one.")
        return max_bytes

    def _signature(self, verb: Verb, key: str, expires_at: int, max_bytes: int) -> str:
        text = f"{verb}\n{key}\n{expires_at}\n{max_bytes}"
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()


def _number(given: dict[str, list[str]], name: str) -> int:
    text = given.get(name, [""])[0]
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0
