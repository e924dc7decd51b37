"""Moments as the service's file keeps them, nanoseconds since 1970, and as values have them."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["moment", "moment_or_none"]


def moment(ns: int) -> datetime:
    """Return nanoseconds since 1970 as a moment in UTC, to the microsecond."""
    return datetime.fromtimestamp(ns // 10**9, UTC).replace(microsecond=ns % 10**9 // 1000)


def moment_or_none(ns: int | None) -> datetime | None:
    """Return nanoseconds since 1970, if there are any, as a moment in UTC."""
    return None if ns is None else moment(ns)
