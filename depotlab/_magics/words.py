"""The words of a magic's line, read by argparse: with its help, and with errors that IPython shows in one line."""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import Any, NoReturn

from IPython.core.error import UsageError

__all__ = ["HelpShown", "Words"]


class HelpShown(Exception):
    """`--help` was among the words, and has been answered."""


class Words(argparse.ArgumentParser):
    """The options of one magic. Never ends the process.

    Args:
        name: Of the magic.
        description: A sentence or two for the help.

    Attributes:
        name: Of the magic.
    """

    def __init__(self, name: str, description: str) -> None:
        super().__init__(prog=f"%{name}", description=description, allow_abbrev=False)
        self.name = name

    def read(self, line: str) -> argparse.Namespace:
        """Read a line.

        Raises:
            UsageError: IPython's: there is a mistake in it. Nothing was done.
            HelpShown: The help was asked for.
        """
        try:
            words = shlex.split(line)
        except ValueError as error:
            self.error(f"{error}: quotes come in pairs")
        return self.parse_args(words)

    @property
    def flags(self) -> list[str]:
        """All long options, for completion."""
        options = [text for action in self._actions for text in action.option_strings]
        return sorted(text for text in options if text.startswith("--"))

    def choices(self, option: str) -> list[str]:
        """What an option may have, when that is one of a few words; else nothing."""
        found = (action for action in self._actions if option in action.option_strings)
        return [str(word) for action in found for word in action.choices or ()]

    def error(self, message: str) -> NoReturn:
        """See `argparse`: here it raises."""
        raise UsageError(f"{self.prog}: {message}. See {self.prog} --help")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """See `argparse`: only the help comes here."""
        raise HelpShown

    def print_help(self, file: Any = None) -> None:
        """Print the help into the cell."""
        super().print_help(file or sys.stdout)


def pair(text: str) -> tuple[str, str]:
    """Read `KEY=VALUE`; `KEY` alone takes its value from the environment, as `docker build` does."""
    import os

    key, equals, value = text.partition("=")
    if not key:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    if equals:
        return key, value
    if key not in os.environ:
        raise argparse.ArgumentTypeError(
            f"{key!r} has no value, and the environment has none of that name"
        )
    return key, os.environ[key]


def secret_pair(text: str) -> tuple[str, Any]:
    """Read `id=NAME[,src=PATH | ,env=VARIABLE]` as `docker build --secret` does; the value itself never stands here."""
    from depotlab import secret

    fields = dict(part.partition("=")[::2] for part in text.split(","))
    name = fields.pop("id", "")
    kind = fields.pop("type", "")
    path = fields.pop("src", "") or fields.pop("source", "")
    variable = fields.pop("env", "")
    if not name or fields or (path and variable) or kind not in ("", "file", "env"):
        raise argparse.ArgumentTypeError(f"{text!r} is not id=NAME, with src=PATH or env=VARIABLE")
    return name, secret.file(path) if path else secret.env(variable or name)


def variable(text: str) -> str:
    """Read the name of a Python variable."""
    import keyword

    if not text.isidentifier() or keyword.iskeyword(text):
        raise argparse.ArgumentTypeError(f"{text!r} cannot be the name of a variable")
    return text
