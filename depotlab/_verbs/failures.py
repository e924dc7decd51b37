"""Which build a failed step belongs to, so that somebody can look at what the step left behind.

Errors go between processes by pickling, and must take neither a connection nor secrets along: so the build is no
attribute of its error, but is kept beside it for as long as the error lives in this process.
"""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from depotlab._verbs.request import BuildRequest
from depotlab.errors import StepFailed
from depotlab.progress import Snapshot

if TYPE_CHECKING:
    from depotlab._verbs.open import AnyBuilder

__all__ = [
    "FailedBuild",
    "Keeper",
    "failed_build",
    "failed_steps",
    "keep_failures_with",
    "keeper",
    "remember_failure",
    "remember_steps",
]

Keeper = Callable[["AnyBuilder", BuildRequest], Awaitable[object]]
"""Holds on to a step that has just failed, while its build is still there; returns what holds it, or None."""

_keepers: list[Keeper] = []


@dataclass(frozen=True, slots=True)
class FailedBuild:
    """What a failed step was part of.

    Attributes:
        builder: Where it was built.
        request: What was built.
        kept: What holds on to the step, None when nothing does.
    """

    builder: AnyBuilder
    request: BuildRequest
    kept: object = None


_builds: weakref.WeakKeyDictionary[StepFailed, FailedBuild] = weakref.WeakKeyDictionary()
_steps: weakref.WeakKeyDictionary[StepFailed, Snapshot] = weakref.WeakKeyDictionary()


def remember_failure(
    error: StepFailed, builder: AnyBuilder, request: BuildRequest, kept: object = None
) -> None:
    """Keep what the step was part of."""
    _builds[error] = FailedBuild(builder, request, kept)


def failed_build(error: StepFailed) -> FailedBuild | None:
    """Return what the step was part of; None for an error of another process."""
    return _builds.get(error)


def remember_steps(error: StepFailed, snapshot: Snapshot) -> None:
    """Keep what all steps of the build came to."""
    _steps[error] = snapshot


def failed_steps(error: StepFailed) -> Snapshot | None:
    """Return what all steps of the build came to; None for an error of another process."""
    return _steps.get(error)


def keep_failures_with(one: Keeper) -> None:
    """Say who holds on to failed steps: the room that looks into them, which lies above this one."""
    _keepers[:] = [one]


def keeper() -> Keeper | None:
    """Return who holds on to failed steps, None when nobody does."""
    return _keepers[0] if _keepers else None
