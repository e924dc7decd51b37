"""A build from its first event to its last, whatever happens between them."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from depotlab._contexts import Files
from depotlab._verbs.failures import remember_steps
from depotlab._verbs.request import BuildRequest
from depotlab.errors import (
    BuildCanceled,
    BuildTimeout,
    DepotlabError,
    SourceLocation,
    StepFailed,
)
from depotlab.frontend import Dockerfile
from depotlab.progress import BuildEnded, BuildStarted, Event, Fold, Phase

__all__ = ["Feed", "watched"]

Feed = Callable[[Sequence[Event]], None]
"""Takes in events of a build, in the order they came."""

T = TypeVar("T")

# What runc and crun say of a program that the image does not have; the daemon makes exit code 1 of it.
_NO_PROGRAM = re.compile(r'exec: "([^"]+)": (?:stat \S+: no such|executable file not found)')


async def watched(work: Awaitable[T], request: BuildRequest, fold: Fold, *, where: str) -> T:
    """Run one build, feeding `fold`; the fold always gets its end event.

    Raises:
        BuildTimeout: `timeout_s` is over; the build was cancelled on the daemon.
        DepotlabError: The build failed.
    """
    fold.feed([BuildStarted(time.time_ns(), request.title, where)])
    try:
        async with asyncio.timeout(request.timeout_s) as limit:
            answer = await work
    except TimeoutError:
        if not limit.expired():
            raise
        assert request.timeout_s is not None
        error = BuildTimeout(
            f"The build took longer than {request.timeout_s:g} s and was cancelled.",
            timeout_s=request.timeout_s,
            hint="finished steps are in the cache; raise timeout_s= and build again",
        )
        _end(fold, Phase.CANCELED, error.message)
        raise error from None
    except asyncio.CancelledError:
        _end(fold, Phase.CANCELED)
        raise
    except BuildCanceled as error:
        _end(fold, Phase.CANCELED, error.message)
        raise
    except StepFailed as error:
        _complete(error, fold)
        fold.feed([BuildEnded(time.time_ns(), Phase.FAILED, "", error.locations)])
        remember_steps(error, fold.snapshot(at_ns=time.time_ns()))
        raise
    except Exception as error:
        if isinstance(error, DepotlabError) and "where the step copies it from" in error.message:
            error.hint = _context_hint(request) or error.hint
        words = str(error).splitlines()[0] if str(error) else repr(error)
        places: tuple[SourceLocation, ...] = getattr(error, "locations", ())
        fold.feed([BuildEnded(time.time_ns(), Phase.FAILED, words, places)])
        raise
    _end(fold, Phase.SUCCEEDED)
    return answer


def _end(fold: Fold, phase: Phase, error: str = "") -> None:
    fold.feed([BuildEnded(time.time_ns(), phase, error)])


def _complete(error: StepFailed, fold: Fold) -> None:
    """Add what the progress knows to what the daemon said: the step's name and its last lines."""
    snapshot = fold.snapshot(at_ns=time.time_ns())
    step = next((s for s in snapshot.steps if error.vertex in (s.digest, *s.members)), None)
    if step is None and len(snapshot.failed) == 1:
        # Daemons rename a vertex when its op also occurs with ignore-cache.
        step = snapshot.failed[0]
    if step is not None:
        error.step = step.name
        error.log_tail = tuple(line.text for line in step.log.lines(20))
        error.message = f"The step {step.name!r} failed with exit code {error.exit_code}."
    if found := _NO_PROGRAM.search("\n".join(error.log_tail)):
        error.hint = f"there is no {found[1]} in this image"
        if found[1].endswith("/sh"):
            error.hint += (
                ": run a list of words instead of one text, or begin with an image that has a shell"
            )


def _context_hint(request: BuildRequest) -> str:
    """Say that there is nothing to copy from, when that is so: a Dockerfile as text has no context by itself."""
    target = request.target
    if not isinstance(target, Dockerfile) or target.text is None:
        return ""
    where = target.main.where
    if not isinstance(where, Files) or where.files:
        return ""
    return (
        "this Dockerfile has no files to copy: name a directory, dockerfile('.', text=...), in a cell "
        "%%dockerfile and a dot"
    )
