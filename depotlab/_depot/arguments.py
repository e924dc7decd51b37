"""Checks of what callers pass and of what servers leave out, for all of the API's subjects."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from depotlab._depot.errors import BadReply
from depotlab.errors import UsageError

__all__ = ["PAGE_SIZE", "check_page_size", "checked", "empty", "timestamp"]

PAGE_SIZE = 100


def checked(name: str, value: str) -> str:
    """Return a text.

    Raises:
        UsageError: It is none, or empty.
    """
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{name}={value!r} must be a text that is not empty.", hint=f"pass {name}")
    return value


def check_page_size(page_size: int) -> None:
    """Check how many items a page has.

    Raises:
        UsageError: It is no whole number from 1.
    """
    if not isinstance(page_size, int) or isinstance(page_size, bool) or page_size < 1:
        raise UsageError(
            f"page_size={page_size!r} must be a whole number from 1.", hint="leave it out"
        )


def timestamp(name: str, moment: datetime) -> Timestamp:
    """Return a moment as the wire has it.

    Raises:
        UsageError: It is no moment with a time zone.
    """
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise UsageError(
            f"{name}={moment!r} must be a datetime with a time zone.",
            hint="for example datetime(2026, 1, 1, tzinfo=timezone.utc)",
        )
    message = Timestamp()
    message.FromDatetime(moment.astimezone(UTC))
    return message


def empty(method: str, what: str) -> BadReply:
    """Return the error for an answer that lacks what it is about."""
    return BadReply(
        f"{method}: the answer cannot be used: there is no {what} in it.",
        hint="report it to who runs the server",
        code="internal",
        method=method,
    )
