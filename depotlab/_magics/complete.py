"""Completion on the lines of magics: options, names of builders, choices. IPython asks with what was typed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from depotlab._magics.words import Words
from depotlab.client import Client

__all__ = ["complete_builder", "complete_flags"]


def complete_flags(words: Words, holding: type | None = None) -> Callable[[Any, Any], list[str]]:
    """Return a hook that completes the options of a magic, and the words that an option may have.

    Args:
        words: Of the magic.
        holding: Variables that hold one of these may stand on its line, too.
    """

    def complete(shell: Any, event: Any) -> list[str]:
        typed = event.text_until_cursor.removesuffix(event.symbol).split()
        known = words.choices(typed[-1]) if typed else []
        if not known:
            known = words.flags
            if holding is not None:
                variables = getattr(shell, "user_ns", {}).items()
                known += [name for name, value in variables if isinstance(value, holding)]
        return [word for word in known if word.startswith(event.symbol)]

    return complete


def complete_builder(shell: Any, event: Any) -> list[str]:
    """Complete what `%builder` takes: its words, and variables that hold a client."""
    variables = getattr(shell, "user_ns", {})
    clients = [name for name, value in variables.items() if isinstance(value, Client)]
    known = ["auto", "depot", "local", *clients, "unix://", "tcp://", "docker://", "ssh://"]
    return sorted(word for word in known if word.startswith(event.symbol))
