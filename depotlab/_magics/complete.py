"""Completion on the lines of magics: options, names of builders, choices. IPython asks with what was typed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from depotlab._magics.words import Words
from depotlab.client import Client

__all__ = ["complete_builder", "complete_flags"]


def complete_flags(words: Words) -> Callable[[Any, Any], list[str]]:
    """Return a hook that completes the options of a magic."""

    def complete(shell: Any, event: Any) -> list[str]:
        del shell
        return [flag for flag in words.flags if flag.startswith(event.symbol)]

    return complete


def complete_builder(shell: Any, event: Any) -> list[str]:
    """Complete what `%builder` takes: its words, and variables that hold a client."""
    variables = getattr(shell, "user_ns", {})
    clients = [name for name, value in variables.items() if isinstance(value, Client)]
    known = ["auto", "depot", "local", *clients, "unix://", "tcp://", "docker://", "ssh://"]
    return sorted(word for word in known if word.startswith(event.symbol))
