"""How moments and names are read from messages, such that what servers of tomorrow say does no harm."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Protocol

from google.protobuf.timestamp_pb2 import Timestamp

__all__ = ["enum_name", "moment", "moment_in"]


class _Enum(Protocol):
    def Name(self, number: Any) -> str:  # noqa: N802 - protobuf's name
        ...


def enum_name(enum: _Enum, number: int, prefix: str) -> str:
    """Return the name of a number in lower case; empty for 0, `unknown(17)` for one that we do not know."""
    if not number:
        return ""
    try:
        return enum.Name(number).removeprefix(prefix).lower()
    except ValueError:
        return f"unknown({number})"


def moment(message: Timestamp) -> datetime | None:
    """Return a moment in UTC; None for one that no calendar has."""
    try:
        return message.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def moment_in(message: Any, name: str) -> datetime | None:
    """Return the moment in a field, in UTC; None if it is not there."""
    return moment(getattr(message, name)) if message.HasField(name) else None
