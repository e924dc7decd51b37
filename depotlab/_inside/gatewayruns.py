"""Commands that a frontend function runs in what it has solved, inside the build that asks it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from depotlab._inside.commands import Command
from depotlab._inside.completed import Completed
from depotlab._inside.processes import place_of, run_at, with_config
from depotlab._inside.running import prepare_at
from depotlab._verbs import Made, run_commands_with
from depotlab.buildkit import Bridge
from depotlab.llb import ImageConfig, Platform, scratch

__all__ = ["GatewayRuns"]


class GatewayRuns:
    """See `_verbs.CommandRunner`."""

    def prepare(self, command: str | Sequence[str], **options: Any) -> Command:
        """Check a command and its options.

        Raises:
            UsageError: With the argument that is wrong.
        """
        return prepare_at(command, **options)

    async def run(
        self, bridge: Bridge, made: Made, platform: Platform, prepared: Command
    ) -> Completed:
        """Run it and wait for its end.

        Raises:
            CommandFailed: It could not be started.
            CommandTimeout: It took too long and was killed.
        """
        base = made.state or scratch()
        # A state of the user's has its settings; those of what a frontend made are in the image's config alone.
        if made.config:
            base = with_config(base, ImageConfig.from_json(made.config))
        return await run_at(await place_of(bridge, platform, base, made.ref, prepared), prepared)


run_commands_with(GatewayRuns())
