"""A scripted build that is told as far as the reader of a page wants, and then stands still.

A test of a page that looks at a moment of a build must not race against the build: on a slow machine the picture is
taken late. So the test says how far the story may go (`LabPage.go_on`, a number in a file beside the notebook), waits
for what it expects to see, looks as long as it likes, and says go on.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from depotlab.progress import BuildEnded, Event, Fold, Phase, Snapshot

NS = 1_000_000_000
_CALM_S = 2.5
"""How long the clock goes on while the story stands: the rarest parts of a view change every two seconds."""
_LOOK_AGAIN_S = 0.02


class Stop(Protocol):
    def wait(self, timeout: float) -> bool: ...


def limit_file() -> Path:
    """Where the notebook of this kernel is told how far it may go. Source: jupyter_server, `sessionmanager.py`."""
    return Path(os.environ["JPY_SESSION_NAME"]).with_suffix(".until")


def allow(path: Path, until_s: float = math.inf) -> None:
    """Let stories that look at this file go on to this second of theirs."""
    new = path.with_suffix(".until-new")
    new.write_text(str(until_s))
    new.replace(path)  # whoever reads it sees one number or the other


class Story:
    """A script and the build that it is fed to; what a `Ticker` looks at.

    The clock is the story's own. It never goes back, and goes on a little while the story stands, so that a view has
    the time to show all that it shows only now and then.

    Args:
        script: Events and the second at which they come, written with `base_ns` as its beginning.
        build: Takes them in.
        limit: A file with the second up to which it may be told.
    """

    def __init__(
        self,
        script: Iterable[tuple[float, list[Event]]],
        build: Fold,
        *,
        base_ns: int,
        limit: Path,
    ) -> None:
        self._script = script
        self._build = build
        self._base_ns = base_ns
        self._limit = limit
        self._clock: tuple[int, float | None] = base_ns, None

    @property
    def version(self) -> int:
        """Differs from before when something has been told."""
        return self._build.version

    def snapshot(self, *, at_ns: int) -> Snapshot:
        """Return the build as it is now, by the story's clock and not by `at_ns`."""
        return self._build.snapshot(at_ns=self._now_ns())

    def tell(self, *, stop: Stop) -> None:
        """Tell it to its end. Blocks; a set `stop` ends it as a cancellation."""
        for at_s, events in self._script:
            while at_s > float(self._limit.read_text()):
                if self._clock[1] is None:
                    self._clock = self._clock[0], time.monotonic()
                if stop.wait(_LOOK_AGAIN_S):
                    self._build.feed([BuildEnded(self._now_ns(), Phase.CANCELED)])
                    return
            self._clock = max(self._now_ns(), self._base_ns + round(at_s * NS)), None
            self._build.feed(events)

    def _now_ns(self) -> int:
        reached_ns, stands_since_s = self._clock
        if stands_since_s is None:
            return reached_ns
        return reached_ns + round(min(time.monotonic() - stands_since_s, _CALM_S) * NS)
