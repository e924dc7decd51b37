"""Where the API is and what proves who we are: checked before anything is sent, and never repeated in a message."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from depotlab.errors import UsageError

__all__ = ["DEFAULT_URL", "check_token", "check_url"]

DEFAULT_URL: Final = "https://api.depot.dev"


def check_url(url: str) -> str:
    """Return the URL without a slash at its end.

    Raises:
        UsageError: It is no http or https URL with a host, or has a password in it.
    """
    try:
        parts = urlsplit(url)
        right = parts.scheme in ("http", "https") and bool(parts.hostname)
        right = right and (parts.port is None or parts.port > 0)
        right = right and not (parts.username or parts.password or parts.query or parts.fragment)
    except ValueError:
        right = False
    if not right or not url.isprintable() or " " in url:
        # The URL is not repeated: it may have a password in it.
        raise UsageError(
            "The address of the Depot API is not an http or https URL without user, query and fragment.",
            hint=f"set base_url= or DEPOT_API_URL to an address such as {DEFAULT_URL}",
        )
    return url.rstrip("/")


def check_token(token: str) -> str:
    """Return the token.

    Raises:
        UsageError: It holds a space, a line break or a character that is not ASCII.
    """
    if not isinstance(token, str) or (token and not _looks_sendable(token)):
        raise UsageError(
            "The token for Depot holds a space, a line break or another character that no token has.",
            hint="copy it again, without line breaks and quotes",
        )
    return token


def _looks_sendable(token: str) -> bool:
    return token.isascii() and token.isprintable() and " " not in token
