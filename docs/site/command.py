"""The page of the command line, from its own help."""

from __future__ import annotations

import argparse
import os

from depotlab import cli


def page() -> str:
    """Return the help of every command, as `depotlab COMMAND --help` prints it on a wide terminal."""
    os.environ["COLUMNS"] = "96"
    parser = cli._parser()  # noqa: SLF001 - there is no command whose help has all of it
    parts = ["# The command", "What `--help` says of each command.", _help(parser)]
    parts += list(_commands(parser))
    return "\n\n".join(parts) + "\n"


def _commands(parser: argparse.ArgumentParser) -> list[str]:
    parts: list[str] = []
    for action in parser._actions:  # noqa: SLF001 - argparse shows its subcommands no other way
        if not isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            continue
        for each in dict.fromkeys(action.choices.values()):
            parts.append(f"## {each.prog}" if each.prog.count(" ") == 1 else f"### {each.prog}")
            parts += [_help(each), *_commands(each)]
    return parts


def _help(parser: argparse.ArgumentParser) -> str:
    return f"```text\n{parser.format_help().rstrip()}\n```"
