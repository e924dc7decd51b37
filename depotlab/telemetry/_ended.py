"""Who is told when a build of this process has ended. `_verbs` tells, `recording` listens."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from depotlab.progress import Fold

__all__ = ["EndedBuild", "Listener", "ended_builds_heard", "is_anybody_listening", "tell_ended"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EndedBuild:
    """A build that has ended, well or badly.

    Attributes:
        fold: Its progress; the end is in it.
        ref: Its name on the daemon; empty for one that failed.
        digest: Of its image, or empty.
        names: That its image was given.
        hide: Texts that were given to it as secrets.
    """

    fold: Fold
    ref: str = ""
    digest: str = ""
    names: tuple[str, ...] = ()
    hide: Sequence[str] = field(default=(), repr=False)


Listener = Callable[[EndedBuild], None]
"""Is called on the I/O thread, between the end of a build and its answer: it notes, and works elsewhere."""

_listeners: list[Listener] = []


@contextmanager
def ended_builds_heard(listener: Listener) -> Iterator[None]:
    """Tell somebody of every build that ends within the block."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def is_anybody_listening() -> bool:
    """Whether there is any use in telling."""
    return bool(_listeners)


def tell_ended(build: EndedBuild) -> None:
    """Tell all who listen. What one of them raises is logged: no build fails because somebody looks on."""
    for listener in tuple(_listeners):
        try:
            listener(build)
        except Exception:  # noqa: BLE001 - whatever it is, the build goes on
            _log.exception("a listener for builds that end has failed")
