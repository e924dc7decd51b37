"""Addresses of servers that users give: checked where they are given, and written in one way."""

from __future__ import annotations

from urllib.parse import urlsplit

from depotlab.errors import UsageError

__all__ = ["base_url"]


def base_url(name: str, given: str | None) -> str:
    """Return an address that paths are put behind, without a slash at its end; empty when none was given.

    Args:
        name: Of the argument, for the message.
        given: What the user said.

    Raises:
        UsageError: It is no address of a server, or has more in it than that. What is in it is not quoted.
    """
    if given is None or given == "":
        return ""
    try:
        parts = urlsplit(given)
        is_good = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        raise _wrong(name) from None
    if not is_good or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
        raise _wrong(name)
    if "@" in parts.netloc:
        raise UsageError(f"{name} holds credentials.", hint="give them with arguments of their own")
    return given.rstrip("/")


def _wrong(name: str) -> UsageError:
    return UsageError(
        f"{name} is not the address of a server.",
        hint=f"{name}='https://NAME[:PORT]', or with http://",
    )
