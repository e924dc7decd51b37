"""Builds that have not ended, as the service knows them while it runs: what is not kept on disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from depotlab.service._boundary import Line, Secrets, Stage
from depotlab.service._builds.logs import Logs
from depotlab.service._builds.state import State

__all__ = ["Live", "StageWatch", "TryJournal"]


class StageWatch:
    """How long each stage of a build takes, all tries together.

    Args:
        now_s: The clock.
        took_s: What is known from before, by the stages' names.

    Attributes:
        stage: The one that goes on.
    """

    def __init__(self, now_s: Callable[[], float], took_s: Mapping[str, float]) -> None:
        self._now_s = now_s
        self._took_s = dict(took_s)
        self._since_s = now_s()
        self.stage: Stage = "queued"

    def enter(self, stage: Stage) -> None:
        """A stage begins; the one before is over."""
        self._took_s = self.took_s()
        self._since_s = self._now_s()
        self.stage = stage

    def took_s(self) -> dict[str, float]:
        """Return seconds by stage, up to now."""
        so_far = self._took_s.get(self.stage, 0.0) + self._now_s() - self._since_s
        return self._took_s | {self.stage: round(so_far, 6)}


@dataclass(slots=True)
class Live:
    """A build that waits for its turn, runs, or waits until it is tried again.

    Attributes:
        build_id: Of the build.
        project: Whose it is.
        secrets: Known to this process only.
        watch: Of its stages.
        task: While it runs.
        has_begun: The task has come to its first line: from then on it hears that it is cancelled.
        timer: While it waits until it is tried again.
        is_unwanted: Somebody has cancelled it.
    """

    build_id: str
    project: str
    secrets: Secrets = field(repr=False)
    watch: StageWatch
    task: asyncio.Task[None] | None = None
    has_begun: bool = False
    timer: asyncio.TimerHandle | None = None
    is_unwanted: bool = False

    def stop(self) -> None:
        """Cancel what runs, if it can hear it, and once: a second time would cut off its clean-up.

        While Depot is told how it ended it is too late: both would say another end. That takes seconds at most.
        """
        if self.task is None or not self.has_begun or self.watch.stage == "finish":
            return
        if not self.task.cancelling():
            self.task.cancel()


class TryJournal:
    """What the runner tells of one try; `Journal` for it.

    Args:
        live: The build.
        attempt: Which try it is, from 1.
        state: Where stages and Depot's names go.
        logs: Where lines go.
    """

    def __init__(self, live: Live, attempt: int, state: State, logs: Logs) -> None:
        self._live = live
        self._state = state
        self._logs = logs
        self.attempt = attempt

    def stage(self, stage: Stage) -> None:
        """See `Journal`."""
        self._live.watch.enter(stage)
        self._state.stage(self._live.build_id, stage, self._live.watch.took_s())

    def depot(self, *, project_id: str, build_id: str = "", build_url: str = "") -> None:
        """See `Journal`."""
        self._state.depot(
            self._live.build_id, project_id=project_id, depot_build_id=build_id, url=build_url
        )

    def lines(self, lines: Sequence[Line]) -> int:
        """See `Journal`."""
        return self._logs.write(self._live.build_id, lines)
