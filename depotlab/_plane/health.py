"""Which builds are alive: a deadline for every machine that a build reports on. No clock, no tasks.

Clients report each 5 s (the Python client of the vendor each 30 s) for every platform that they
hold. A client that was killed sends nothing more, and that silence is all that tells.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Health", "Limits", "Silent"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How long silence may last, in seconds.

    Attributes:
        first_s: From registering to the first report; a script may register a build long before
            it starts the command that runs it.
        missed_s: Between two reports on one machine: six missed ones.
        stream_s: The same for clients that report by a stream, each 30 s.
        cancel_s: From asking a build to stop to stopping it.
    """

    first_s: float = 300.0
    missed_s: float = 30.0
    stream_s: float = 95.0
    cancel_s: float = 12.0


@dataclass(frozen=True, slots=True)
class Silent:
    """What silence has ended: machines that nobody reports on, and builds of which none is left."""

    machines: tuple[tuple[str, str], ...]
    builds: tuple[str, ...]


@dataclass
class Health:
    """Deadlines of running builds. Times are those of one monotonic clock, in seconds."""

    limits: Limits = field(default_factory=Limits)
    _deadlines: dict[str, dict[str, float]] = field(default_factory=dict)

    def watch(self, build_id: str, now: float) -> None:
        """Expect a first report."""
        self._deadlines[build_id] = {"": now + self.limits.first_s}

    def report(self, build_id: str, platform: str, now: float, *, stream: bool = False) -> None:
        """Take a report: the next one on this machine is due."""
        deadlines = self._deadlines.setdefault(build_id, {})
        deadlines.pop("", None)
        deadlines[platform] = now + (self.limits.stream_s if stream else self.limits.missed_s)

    def leave(self, build_id: str, platform: str, now: float) -> None:
        """Expect no more reports on this machine; the build may ask for another one."""
        deadlines = self._deadlines.get(build_id)
        if deadlines is not None and platform in deadlines:
            del deadlines[platform]
            if not deadlines:
                self.watch(build_id, now)

    def forget(self, build_id: str) -> None:
        """Expect nothing more of this build."""
        self._deadlines.pop(build_id, None)

    def silent(self, now: float) -> Silent:
        """Return what is overdue, and forget it."""
        machines, builds = [], []
        for build_id, deadlines in list(self._deadlines.items()):
            late = [platform for platform, at in deadlines.items() if at < now]
            if len(late) == len(deadlines):
                builds.append(build_id)
                del self._deadlines[build_id]
                continue
            for platform in late:
                machines.append((build_id, platform))
                del deadlines[platform]
        return Silent(tuple(machines), tuple(builds))
