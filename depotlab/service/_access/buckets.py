"""How often something may happen: so many times at once, and as many again over a while. No clock, no network.

For each key one instant is kept: when it would be at rest if nothing more happened. That is a token bucket without
its level (the generic cell rate algorithm, ITU-T I.371), and a key at rest need not be kept at all.
"""

from __future__ import annotations

from depotlab.errors import UsageError

__all__ = ["Buckets"]

_SWEPT_FROM = 4096


class Buckets:
    """A limit for each key.

    Args:
        most: How often it may happen at once, and in every `per_s` after that.
        per_s: In seconds.
        what: Names the limit in an error, as the argument that gave it.

    Raises:
        UsageError: `most` is less than 1.
    """

    def __init__(self, most: int, *, per_s: float, what: str) -> None:
        if most < 1:
            raise UsageError(
                f"{what}={most!r} allows nothing at all.", hint="give a whole number from 1"
            )
        self._step_s = per_s / most
        self._slack_s = per_s - self._step_s
        self._at_rest: dict[str, float] = {}
        self._swept_from = _SWEPT_FROM

    def take(self, key: str, now_s: float) -> float:
        """Let it happen once more.

        Args:
            key: Whose limit.
            now_s: Of any clock that never goes back.

        Returns:
            0.0 if it may; else after how many seconds it may, and nothing was taken.
        """
        at_rest = max(self._at_rest.get(key, now_s), now_s)
        wait_s = at_rest - now_s - self._slack_s
        # A rounding error is no reason to refuse.
        if wait_s > 1e-9 * max(1.0, now_s):
            return wait_s
        self._at_rest[key] = at_rest + self._step_s
        if len(self._at_rest) > self._swept_from:
            self._sweep(now_s)
        return 0.0

    def give_back(self, key: str) -> None:
        """Let it not have happened, after all."""
        if key in self._at_rest:
            self._at_rest[key] -= self._step_s

    def __len__(self) -> int:
        """How many keys are kept."""
        return len(self._at_rest)

    def _sweep(self, now_s: float) -> None:
        self._at_rest = {key: at for key, at in self._at_rest.items() if at > now_s}
        # Where most are in use, looking at all of them each time would cost more than it frees.
        self._swept_from = max(_SWEPT_FROM, 2 * len(self._at_rest))
