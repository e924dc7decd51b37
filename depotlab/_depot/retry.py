"""When a call is tried again, and after how long. No clock, no network.

Only calls that may be obeyed twice are tried again: whether a lost one was obeyed is never known.
"""

from __future__ import annotations

from dataclasses import dataclass

from depotlab._depot.errors import DepotError, ResourceExhausted, TlsFailed, Unavailable

__all__ = ["Retry"]


@dataclass(frozen=True, slots=True)
class Retry:
    """How patient a client is.

    Attributes:
        n_tries: The most, the first included.
        first_s: The longest pause after the first try; it doubles with each one.
        most_s: The longest pause of ours.
        most_asked_s: The longest pause that the server may ask for; for a longer one the error is raised at once.
    """

    n_tries: int = 4
    first_s: float = 0.2
    most_s: float = 5.0
    most_asked_s: float = 30.0

    def pause_s(
        self, error: DepotError, *, n_tried: int, idempotent: bool, draw: float
    ) -> float | None:
        """Return the pause before the next try, in seconds, or None to give up.

        Args:
            error: How the last try failed.
            n_tried: Tries so far, at least 1.
            idempotent: Whether the call may be obeyed twice.
            draw: A random number from 0 to 1. Half of the pause is left to it, so that many clients
                do not come back at the same moment.
        """
        if not idempotent or n_tried >= self.n_tries:
            return None
        asked_s = error.retry_after_s
        if isinstance(error, ResourceExhausted):
            # Without a time to wait it is a quota, which waiting does not refill.
            if asked_s is None or error.http_status != 429:
                return None
        elif not isinstance(error, Unavailable) or isinstance(error, TlsFailed):
            return None
        if asked_s is not None and asked_s > self.most_asked_s:
            return None
        ours_s = min(self.first_s * 2.0 ** (n_tried - 1), self.most_s) * (0.5 + draw / 2)
        return max(ours_s, asked_s or 0.0)
