"""What the server is told when a build is registered. It chooses by it where saved images go, and shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from depotlab._proto import depot_cli_pb2 as cli
from depotlab.errors import UsageError
from depotlab.export import Output

__all__ = ["COMMANDS", "BuildOptions", "DaggerEngine"]

COMMANDS: Final = tuple(
    name.removeprefix("COMMAND_").lower() for name, number in cli.Command.items() if number
)
"""What may register a build."""


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """One target of a build.

    Attributes:
        command: One of `COMMANDS`.
        tags: Names of the image.
        outputs: What is made of the result; their attributes are told, where they go on this machine is not.
        push: The image is pushed under its tags.
        load: The image goes to the Docker Engine of this machine.
        target_name: Of the Dockerfile, or of the bake file.
        lint: The Dockerfile is linted.
        save: The image is kept in the registry of Depot.
        save_tags: More names for it there, without registry and project.
    """

    command: str = "build"
    tags: tuple[str, ...] = ()
    outputs: tuple[Output, ...] = ()
    push: bool = False
    load: bool = False
    target_name: str = ""
    lint: bool = False
    save: bool = False
    save_tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.command not in COMMANDS:
            raise UsageError(
                f"BuildOptions(command={self.command!r}) is no command that Depot knows.",
                hint=f"use one of {', '.join(COMMANDS)}",
            )
        for name in ("tags", "save_tags", "outputs"):
            value = getattr(self, name)
            if isinstance(value, str) or not isinstance(value, Sequence):
                raise UsageError(
                    f"BuildOptions({name}={value!r}) is no list.", hint=f"write {name}=(...,)"
                )
            object.__setattr__(self, name, tuple(value))
        if self.save_tags and not self.save:
            raise UsageError(
                "BuildOptions(save_tags=...) needs save=True.",
                hint="pass save=True, or leave save_tags= out",
            )

    def message(self) -> cli.BuildOptions:
        """Return it as the wire has it."""
        message = cli.BuildOptions(
            command=f"COMMAND_{self.command.upper()}",
            tags=self.tags,
            outputs=[cli.BuildOutput(kind=o.type, attributes=dict(o.attrs)) for o in self.outputs],
            push=self.push,
            load=self.load,
            lint=self.lint,
            save=self.save,
            save_tags=self.save_tags,
        )
        if self.target_name:
            message.target_name = self.target_name
        return message


@dataclass(frozen=True, slots=True)
class DaggerEngine:
    """Asks for machines that run a Dagger engine, in place of BuildKit.

    Attributes:
        version: Of Dagger, such as `0.18.4`; a `v` before it does no harm.
    """

    version: str

    def __post_init__(self) -> None:
        if not isinstance(self.version, str) or not self.version.removeprefix("v").strip():
            raise UsageError(
                f"DaggerEngine({self.version!r}) names no version.",
                hint="for example DaggerEngine('0.18.4')",
            )

    def message(self) -> cli.RequiredEngine:
        """Return it as the wire has it."""
        version = self.version.strip().removeprefix("v")
        return cli.RequiredEngine(dagger=cli.RequiredEngine.Dagger(version=version))
