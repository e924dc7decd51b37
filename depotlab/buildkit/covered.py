"""Covers what may be a secret in options that a daemon, or a file of ours, keeps word for word.

Whether a build argument holds a secret only its name can tell. Settings of caches are covered unless they are known to
be harmless: every kind of cache has tokens of its own, and new ones come.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["COVER", "covered", "covered_value", "looks_secret", "without_passwords"]

COVER = "***"
_SECRET_NAME = re.compile(
    r"(?:^|[_.\-])(?:secrets?|tokens?|passwords?|passwd|passphrase|pwd|credentials?|auth|api_?keys?|"
    r"access_?keys?(?:_?id)?|private_?keys?|signing_?keys?|deploy_?keys?|pat)(?:$|[_.\-])",
    re.IGNORECASE,
)
_URL_PASSWORD = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.\-]*://)[^/@\s\"']+@")
_HARMLESS = (
    *("ref", "scope", "mode", "region", "bucket", "name", "prefix", "src", "digest", "tag"),
    *("image-manifest", "oci-mediatypes", "compression", "ignore-error", "timeout", "repository"),
)


def looks_secret(name: str) -> bool:
    """Whether a variable of this name probably holds a secret.

    Example:
        >>> looks_secret("NPM_TOKEN"), looks_secret("VERSION")
        (True, False)
    """
    return _SECRET_NAME.search(name) is not None


def without_passwords(text: str) -> str:
    """Return the text with the user part of URLs covered.

    Example:
        >>> without_passwords("https://me:pw@example.org/a.git")
        'https://***@example.org/a.git'
    """
    return _URL_PASSWORD.sub(rf"\g<scheme>{COVER}@", text)


def covered_value(name: str, value: str) -> str:
    """Return the value of a variable, covered if its name says that it is a secret."""
    return COVER if value and looks_secret(name) else without_passwords(value)


def covered(attrs: Mapping[str, str]) -> dict[str, str]:
    """Return the options of a frontend with what may be a secret covered."""
    found: dict[str, str] = {}
    for key, value in attrs.items():
        kind, colon, name = key.partition(":")
        if key in ("cache-imports", "cache-exports"):
            found[key] = _caches(value)
        elif kind == "input-metadata":
            found[key] = f"({len(value)} characters)"
        elif colon:
            found[key] = covered_value(name, value)
        else:
            found[key] = covered_value(key, value)
    return found


def _caches(value: str) -> str:
    try:
        entries = json.loads(value)
        shown = [{**entry, "Attrs": _settings(entry.get("Attrs") or {})} for entry in entries]
    except (ValueError, TypeError, AttributeError):
        return COVER  # not as clients write it: nobody knows what it holds
    return json.dumps(shown)


def _settings(attrs: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: without_passwords(str(value)) if name in _HARMLESS else COVER
        for name, value in attrs.items()
    }
