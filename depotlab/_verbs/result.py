"""What a user holds: a build that runs, and the result of one that has ended."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
import weakref
from collections.abc import Generator, Iterable, Mapping
from typing import Any

from depotlab._past import Difference, Why
from depotlab._portal import CANCEL_GRACE_S, Job, wait_awaiting, wait_blocking
from depotlab._values import Value, cut, facts_html, safe_html
from depotlab._verbs.builder import Answer
from depotlab._verbs.depotfacts import DepotFacts
from depotlab._verbs.details import StepDetails
from depotlab._verbs.remember import compare_remembered, recalled
from depotlab._verbs.request import BuildRequest
from depotlab._verbs.steps import BuiltStep, step_at
from depotlab.errors import BuildCanceled, UsageError
from depotlab.export import Artifact
from depotlab.llb import Definition
from depotlab.progress import Fold, Snapshot, Step, Steps, StepState
from depotlab.widgets import StepViews, Ticker

__all__ = ["Build", "BuildResult", "built_step", "compare"]


class BuildResult(StepViews, Value):
    """The result of a build that succeeded.

    Attributes:
        ref: The name of the build on the daemon.
        digest: Of the image manifest (or index), `sha256:…`; empty when no image was made. With several outputs it is
            that of the image that was pushed, and the last one of several that differ; `.outputs` have their own.
        config_digest: Of the image configuration; empty when there is none.
        names: Names that the image was given.
        outputs: What the outputs became that came to this machine, in their order; see `Artifact`.
        loaded: Names, or the id, of the image in the Docker Engine that it was loaded into.
        depot: The build as Depot knows it, when it was built there: its id, its page, what was saved.
        response: The daemon's answer, all keys.
        definition: The graph as it was sent, with base images resolved; None for a Dockerfile.
        snapshot: The final state of all steps.
    """

    def __init__(
        self, request: BuildRequest, answer: Answer, fold: Fold, details: StepDetails | None = None
    ) -> None:
        self.ref = answer.ref
        self.response: Mapping[str, str] = answer.response
        self.digest = answer.response.get("containerimage.digest", "")
        self.config_digest = answer.response.get("containerimage.config.digest", "")
        names = [n for o in request.outputs for n in o.names]
        self.names: tuple[str, ...] = tuple(dict.fromkeys([*names, *request.load_names]))
        self.outputs: tuple[Artifact, ...] = tuple(
            answer.artifacts[index]
            for index in sorted(answer.artifacts)
            if index < len(request.outputs)
        )
        self.loaded: tuple[str, ...] = answer.loaded
        self.depot: DepotFacts | None = answer.depot
        self.definition: Definition | None = answer.definition
        self._request = request
        self._memory = answer.memory
        self._details = details or StepDetails(request)
        self.snapshot: Snapshot = fold.snapshot(at_ns=time.time_ns())
        self._pushed = any(o.push for o in request.outputs)
        self._has_output = bool(request.outputs or request.load or request.save)
        self._saved = answer.depot.saved if answer.depot else ()
        _results.add(self)

    def _steps_now(self) -> Snapshot:
        return self.snapshot

    def _step_details(self) -> StepDetails:
        return self._details

    @property
    def steps(self) -> Steps:
        """All steps, in the order in which they began: a tuple, and a table with `.to_pandas()`."""
        return Steps(self.snapshot.steps)

    @property
    def duration_s(self) -> float:
        """Seconds from the request to the answer."""
        return self.snapshot.duration_s

    def logs(self, step: str | None = None) -> str:
        """Return what steps wrote, as text.

        Args:
            step: Name or digest of a step, or a part of it that no other has. None gives all
                steps that wrote something, one after another.

        Raises:
            UsageError: No step, or several, match.

        Example:
            >>> print(result.logs("pip install"))  # doctest: +SKIP
        """
        return _logs(self.snapshot, step)

    def at(self, step: str | Step) -> BuiltStep:
        """Return one step as a place to look at: `bk.ls(result.at("deps"), "/app")`.

        Args:
            step: One of `.steps`; or its name or digest, or a part of it that no other has.

        Raises:
            UsageError: No step, or several, match; or it has no files, as loading a Dockerfile has none.

        Example:
            >>> bk.ls(result.at("pip install"), "/usr/lib")  # doctest: +SKIP
        """
        found = self.snapshot.step(step) if isinstance(step, str) else step
        return step_at(self._request, found)

    def why(self, step: str | None = None) -> Why:
        """Say why steps ran instead of being taken from the cache.

        Compares with the last build of the same name on this computer: the same `name=`, else the same image names,
        else the same Dockerfile and stage; graphs without a name with the one that has most in common. What is compared
        is kept in the user's cache folder, without secrets; `DEPOTLAB_PAST=off` keeps nothing.

        Args:
            step: Only this one: name or digest of a step, or a part of it that no other has.

        Raises:
            UsageError: No step, or several, match; or nothing was noted of the build.
            PastError: What the build was could not be noted.

        Example:
            >>> print(result.why())  # doctest: +SKIP
            2 of 4 ran: app/main.py (changed, 310 → 342 bytes).
            Compared with build 8f1c of 40 seconds ago.
              COPY app . (Dockerfile:5): app/main.py (changed, 310 → 342 bytes)
              Therefore also ran: RUN python -m compileall .
        """
        return recalled(self._memory).why(step)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What did not go as asked and failed nothing: cache misses, linter findings, files left out."""
        return tuple(warning.short for warning in self.snapshot.warnings)

    def read(self) -> bytes:
        """Return the bytes of the only output that came to this machine, such as `export.tar(None)`.

        Raises:
            UsageError: There is none, or there are several: see `.outputs`.
            SessionError: Its file cannot be read any more.
        """
        if len(self.outputs) != 1:
            raise UsageError(
                f"This build has {len(self.outputs)} outputs on this machine, not one.",
                hint="ask for one with output=export.tar(None), or read one of result.outputs",
            )
        return self.outputs[0].read()

    def _headline(self) -> str:
        if not self._has_output:
            return "built, with no output asked for: the result stays in the builder's cache"
        verb = "pushed" if self._pushed else "loaded" if self.loaded else "built"
        if self._saved:
            verb = f"saved as {self._saved[0]}," if verb == "built" else f"{verb} and saved"
        files = [str(artifact.path) for artifact in self.outputs if artifact.path is not None]
        return " ".join(
            filter(
                None,
                [
                    verb,
                    ", ".join([*self.names, *files])
                    or ("image" if self.digest else self._unnamed()),
                    self.digest,
                ],
            )
        )

    def _unnamed(self) -> str:
        in_memory = any(artifact.data is not None for artifact in self.outputs)
        return "into memory" if in_memory else "into a file object"

    def __repr__(self) -> str:
        what = cut(self._headline(), 150)
        return f"<BuildResult {what}, {len(self.snapshot.steps)} steps in {self.duration_s:.1f} s>"

    def _facts(self) -> Iterable[tuple[str, object]]:
        return [
            ("digest", self.digest),
            ("names", self.names),
            ("outputs", self.outputs),
            ("loaded", self.loaded),
            ("depot", self.depot),
            ("steps", _counted(self.snapshot)),
            ("duration_s", self.duration_s),
            ("warnings", self.warnings),
            ("ref", self.ref),
        ]

    def _repr_html_(self) -> str:
        # One line, which unfolds: below a build's own view it should not take room.
        facts = facts_html("", self._facts())
        return f"<details><summary>{safe_html(repr(self)[1:-1])}</summary>{facts}</details>"


_results: weakref.WeakSet[BuildResult] = weakref.WeakSet()


def built_step(step: Step) -> BuiltStep:
    """Return a step out of `BuildResult.steps` as a place to look at.

    Raises:
        UsageError: Its result is gone, or the step has no files.
    """
    for result in list(_results):
        if any(each is step for each in result.snapshot.steps):
            return result.at(step)
    raise UsageError(
        f"The result that the step {step.name!r} is from is not there any more.",
        hint="keep the result, and write result.at('NAME')",
    )


class Build(StepViews, Value):
    """A build that runs, or ran. Made by `submit`; await it, or ask for `.result()`."""

    def __init__(
        self,
        request: BuildRequest,
        job: Job[Answer],
        fold: Fold,
        ticker: Ticker,
        details: StepDetails,
    ) -> None:
        self._request = request
        self._details = details
        self._job = job
        self._fold = fold
        self._ticker = ticker
        self._result: BuildResult | None = None
        job.done.add_done_callback(lambda _: ticker.end())

    def _steps_now(self) -> Snapshot:
        return self.snapshot

    def _step_details(self) -> StepDetails:
        return self._details

    @property
    def done(self) -> bool:
        """True when the build has ended, one way or another."""
        return self._job.done.done()

    @property
    def snapshot(self) -> Snapshot:
        """The state of all steps now."""
        return self._fold.snapshot(at_ns=time.time_ns())

    def cancel(self) -> None:
        """Stop the build on the daemon. Returns at once; `.result()` then raises BuildCanceled."""
        self._job.cancel()

    def logs(self, step: str | None = None) -> str:
        """Return what steps have written so far; see `BuildResult.logs`."""
        return _logs(self.snapshot, step)

    def result(self, *, timeout_s: float | None = None) -> BuildResult:
        """Wait for the end and return the result. Ctrl-C stops the waiting, not the build.

        Args:
            timeout_s: How long to wait; the build goes on afterwards.

        Raises:
            TimeoutError: It has not ended after `timeout_s`.
            BuildCanceled: It was cancelled.
            DepotlabError: It failed.
        """
        try:
            answer = wait_blocking(self._job.done, timeout_s=timeout_s)
        except concurrent.futures.CancelledError:
            raise BuildCanceled("The build was cancelled.") from None
        return self._finished(answer)

    def wait(self) -> BuildResult:
        """Wait for the end and return the result. Ctrl-C cancels the build, cleans up, and is raised.

        Raises:
            BuildCanceled: It was cancelled by somebody else.
            DepotlabError: It failed.
        """
        try:
            answer = wait_blocking(self._job.done)
        except concurrent.futures.CancelledError:
            raise BuildCanceled("The build was cancelled.") from None
        except BaseException:
            if not self.done:
                self._job.cancel()
                concurrent.futures.wait([self._job.done], CANCEL_GRACE_S)
            raise
        finally:
            self._ticker.stop()
        return self._finished(answer)

    def __await__(self) -> Generator[Any, None, BuildResult]:
        return self._await().__await__()

    async def _await(self) -> BuildResult:
        try:
            answer = await wait_awaiting(self._job)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise BuildCanceled("The build was cancelled.") from None
        except Exception:
            self._ticker.stop()  # its last lines are out before those of the error
            raise
        return self._finished(answer)

    def _finished(self, answer: Answer) -> BuildResult:
        self._ticker.stop()
        if self._result is None:
            self._result = BuildResult(self._request, answer, self._fold, self._details)
        return self._result

    def __repr__(self) -> str:
        snapshot = self.snapshot
        counts = snapshot.counts
        title = cut(self._request.title, 100)
        return f"<Build {title}: {snapshot.phase}, {counts.over}/{counts.total} steps>"

    def _facts(self) -> Iterable[tuple[str, object]]:
        snapshot = self.snapshot
        return [
            ("target", self._request.title),
            ("where", snapshot.where),
            ("phase", snapshot.phase),
            ("steps", _counted(snapshot)),
            ("duration_s", snapshot.duration_s),
            ("running", tuple(step.name for step in snapshot.of(StepState.RUNNING))),
            ("error", snapshot.error),
        ]


def compare(a: BuildResult, b: BuildResult) -> Difference:
    """Say what differs between two builds: their graphs, the files that were sent, and what was asked for beside.

    Args:
        a: A build of this process.
        b: Another one, usually later.

    Raises:
        UsageError: One of them is no result, or nothing was noted of it.

    Example:
        >>> depotlab.compare(first, second)  # doctest: +SKIP
        <Difference 1 operation, 2 files>
    """
    for name, one in (("a", a), ("b", b)):
        if not isinstance(one, BuildResult):
            raise UsageError(
                f"compare({name}=...) is {one!r}, not the result of a build.",
                hint="give what build() returned; graphs are compared by depotlab.llb.compare",
            )
    return compare_remembered(a._memory, b._memory)  # noqa: SLF001 - its own class


def _counted(snapshot: Snapshot) -> str:
    counts = ((state, snapshot.counts.of(state)) for state in StepState)
    return ", ".join(f"{n} {state}" for state, n in counts if n)


def _logs(snapshot: Snapshot, step: str | None) -> str:
    if step is not None:
        return snapshot.log_text(step)
    return "\n".join(snapshot.log_text(s.digest) for s in snapshot.steps if s.log.n_bytes)
