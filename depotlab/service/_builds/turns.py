"""Whose turn it is. No clock, no network, no database.

The rule: projects take turns of one build, the one that has waited longest first; when all machines are in use, a
project that has one goes on with a few builds more before it makes room.

A project has a machine while a build of it runs. What follows from the rule: a project with a hundred builds does not
hold up the first of another for longer than a turn, since after each build it goes to the end of the line; builds of
one project run in the order in which they came; and nobody waits for ever, since every project ahead in the line
starts one build, and every machine goes on for `MOST_FAVOURS` builds at most while somebody waits for one. A machine
is kept that long because it is warm: another one has to be started, with a cache to be attached.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from dataclasses import dataclass, field

from depotlab.service._settings.limits import Limits

__all__ = ["MOST_FAVOURS", "Turns"]

MOST_FAVOURS = 4
"""Builds that a project with a machine starts ahead of one that waits for a machine."""


@dataclass(slots=True)
class _Project:
    """What is known of a project that has builds here.

    Attributes:
        queued: Ids of its builds, the next first.
        n_running: Its builds that run.
        place: In the line: lower is earlier. New after each turn.
        n_favours: Builds it has started ahead of others since it has its machine.
    """

    queued: deque[str] = field(default_factory=deque)
    n_running: int = 0
    place: int = 0
    n_favours: int = 0


class Turns:
    """The builds that wait, and how many run. A pick looks at the running projects and the head of the line only.

    Args:
        limits: `max_running`, `max_machines` and `max_per_project` count here.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._projects: dict[str, _Project] = {}
        self._project_of: dict[str, str] = {}
        self._running: set[str] = set()
        # Projects that have no machine, by their place; what no longer holds is dropped when it comes up.
        self._line: list[tuple[int, str]] = []
        self._places = itertools.count()
        self.n_running = 0

    @property
    def n_queued(self) -> int:
        """Builds that wait."""
        return len(self._project_of)

    @property
    def projects(self) -> tuple[str, ...]:
        """Projects that have builds here, by name."""
        return tuple(sorted(self._projects))

    def n_queued_of(self, project: str) -> int:
        """Return how many builds of a project wait."""
        found = self._projects.get(project)
        return 0 if found is None else len(found.queued)

    def add(self, build_id: str, project: str, *, first: bool = False) -> None:
        """Let a build wait.

        Args:
            build_id: Of the build.
            project: Whose it is.
            first: Ahead of the project's other builds, as one that is tried again.
        """
        found = self._projects.get(project)
        if found is None:
            found = self._projects[project] = _Project()
        if not found.queued:
            found.place = next(self._places)
            self._stand_in_line(project, found)
        if first:
            found.queued.appendleft(build_id)
        else:
            found.queued.append(build_id)
        self._project_of[build_id] = project

    def remove(self, build_id: str) -> bool:
        """Let a build wait no longer; return whether it did."""
        project = self._project_of.pop(build_id, None)
        if project is None:
            return False
        self._projects[project].queued.remove(build_id)
        self._forget_if_empty(project)
        return True

    def pick(self) -> str | None:
        """Return the build whose turn it is, which from now on runs; None if none can start now."""
        if self.n_running >= self._limits.max_running:
            return None
        head = self._head()
        machine_is_free = len(self._running) < self._limits.max_machines
        # Somebody waits for a machine: those who have one may go on for a while only.
        is_tight = head is not None and not machine_is_free
        candidates = [
            (found.place, name)
            for name in self._running
            if (found := self._projects[name]).queued
            and found.n_running < self._limits.max_per_project
            and not (is_tight and found.n_favours >= MOST_FAVOURS)
        ]
        if head is not None and machine_is_free:
            candidates.append(head)
        if not candidates:
            return None
        _, project = min(candidates)
        found = self._projects[project]
        found.n_favours = found.n_favours + 1 if is_tight else 0
        build_id = found.queued.popleft()
        del self._project_of[build_id]
        found.n_running += 1
        found.place = next(self._places)
        self._running.add(project)
        self.n_running += 1
        return build_id

    def ended(self, project: str) -> None:
        """A build of a project runs no more."""
        found = self._projects[project]
        found.n_running -= 1
        self.n_running -= 1
        if not found.n_running:
            self._running.discard(project)
            found.n_favours = 0
            self._stand_in_line(project, found)
        self._forget_if_empty(project)

    def _stand_in_line(self, project: str, found: _Project) -> None:
        if not found.n_running:
            heapq.heappush(self._line, (found.place, project))

    def _head(self) -> tuple[int, str] | None:
        """The project that has waited longest of those without a machine."""
        while self._line:
            place, project = self._line[0]
            found = self._projects.get(project)
            if found and found.queued and not found.n_running and found.place == place:
                return self._line[0]
            heapq.heappop(self._line)
        return None

    def _forget_if_empty(self, project: str) -> None:
        found = self._projects[project]
        if not found.queued and not found.n_running:
            del self._projects[project]
