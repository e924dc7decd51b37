"""Arguments of outputs become attributes here, or errors that say what would be right.

BuildKit ignores attributes that it does not know and takes an empty value for true in some places, for a mistake
in others; so a wrong value is found here or not at all. Source: moby/buildkit `exporter/containerimage/opts.go`.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from depotlab.errors import UsageError

__all__ = ["choice", "epoch", "flag", "nearest", "plain_name"]


def nearest(word: object, legal: Sequence[str]) -> str:
    """Return a hint with the legal word that is closest, or with all of them."""
    close = difflib.get_close_matches(str(word).lower(), legal, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"use one of {', '.join(map(repr, legal))}"


def choice(call: str, argument: str, value: Any, legal: Sequence[str]) -> None:
    """Refuse a value that is not one of a few words."""
    if not isinstance(value, str) or value not in legal:
        raise UsageError(
            f"{call}({argument}={value!r}) is not known.",
            hint=nearest(value, legal),
        )


def flag(attrs: dict[str, str], call: str, argument: str, value: Any, attr: str = "") -> None:
    """Write a yes or no; None leaves the choice to the builder."""
    if value is None:
        return
    if not isinstance(value, bool):
        raise UsageError(
            f"{call}({argument}={value!r}) is neither True nor False.",
            hint=f"write {argument}=True or leave it out",
        )
    attrs[attr or argument.replace("_", "-")] = "true" if value else "false"


def plain_name(call: str, argument: str, value: Any) -> None:
    """Refuse what cannot be a part of a file name."""
    if not isinstance(value, str) or "/" in value or "\0" in value:
        raise UsageError(
            f"{call}({argument}={value!r}) is no part of a file name.",
            hint=f"for example {argument}='app-'",
        )


def epoch(attrs: dict[str, str], call: str, value: Any) -> None:
    """Write a time as whole seconds since 1970."""
    if value is None:
        return
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise UsageError(
                f"{call}(source_date_epoch={value!r}) has no time zone.",
                hint="for example datetime(2024, 1, 1, tzinfo=timezone.utc)",
            )
        value = int(value.timestamp())
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UsageError(
            f"{call}(source_date_epoch={value!r}) is not a time.",
            hint="whole seconds since 1970, or an aware datetime",
        )
    attrs["source-date-epoch"] = str(value)
