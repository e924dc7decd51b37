"""Commands inside the build of a frontend function: the room above this one, which looks into builds, runs them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from depotlab._verbs.graphs import Made
from depotlab.buildkit import Bridge
from depotlab.llb import Platform

if TYPE_CHECKING:
    from depotlab._inside import Completed

__all__ = ["CommandRunner", "command_runner", "run_commands_with"]


class CommandRunner(Protocol):
    """Runs commands in states that a frontend function has solved."""

    def prepare(self, command: str | Sequence[str], **options: Any) -> Any:
        """Check a command and its options in the caller's line.

        Raises:
            UsageError: With the argument that is wrong.
        """

    async def run(self, bridge: Bridge, made: Made, platform: Platform, prepared: Any) -> Completed:
        """Run it and wait for its end."""


_runners: list[CommandRunner] = []


def run_commands_with(one: CommandRunner) -> None:
    """Say who runs commands."""
    _runners[:] = [one]


def command_runner() -> CommandRunner:
    """Return who runs commands."""
    return _runners[0]
