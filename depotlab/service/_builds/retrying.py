"""When a build is tried again, and after how long. No clock, no network."""

from __future__ import annotations

from depotlab.service._settings.limits import Limits

__all__ = ["pause_s"]

_FIRST_S = 1.0
# The usual five tries then reach over 40 to 80 s, as long as a registry or Depot may take to start again. By doubling,
# all that is queued would have used up its tries in some ten seconds.
_GROWTH = 4.0
_MOST_S = 60.0


def pause_s(limits: Limits, *, n_tried: int, since_first_s: float, draw: float) -> float | None:
    """Return the pause before the next try of a build that failed for a passing reason, or None to give up.

    Args:
        limits: `max_attempts` and `max_retry_s` count here.
        n_tried: Tries so far, at least 1.
        since_first_s: How long ago the first began.
        draw: A random number from 0 to 1. Half of the pause is left to it, so that what failed together is not
            tried together.
    """
    pause = min(_FIRST_S * _GROWTH ** (n_tried - 1), _MOST_S) * (0.5 + draw / 2)
    if n_tried >= limits.max_attempts or since_first_s + pause >= limits.max_retry_s:
        return None
    return pause
