"""Many builds, a few at a time, shown as one: a step for each."""

from __future__ import annotations

import asyncio
import difflib
import inspect
import time
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from depotlab._portal import portal
from depotlab._values import Tabular, table_html
from depotlab._verbs.builder import Answer
from depotlab._verbs.open import AnyBuilder
from depotlab._verbs.relay import OutputRelay
from depotlab._verbs.request import BuildRequest, Target, prepare
from depotlab._verbs.result import BuildResult
from depotlab.errors import BuildsFailed, StepFailed, UsageError
from depotlab.progress import (
    BuildEnded,
    BuildStarted,
    Fold,
    LogWritten,
    Phase,
    Snapshot,
    StepState,
    VertexUpdated,
)
from depotlab.widgets import ProgressMode, StepViews, Ticker, choose

__all__ = ["AllBuilt", "Targets", "build_all", "build_all_async"]

_ARGUMENTS = tuple(inspect.signature(prepare).parameters)
_SHOWN_LINES = 5
_SHOWN_LOGS = 3
_STDERR = 2

Targets = Mapping[str, Target | Mapping[str, Any]]
"""By name: what to build, or the arguments of `Client.build` for it, with `target` among them."""


class AllBuilt(StepViews, Tabular, Mapping[str, BuildResult]):
    """The results of many builds that all succeeded, by name.

    Attributes:
        snapshot: The overview at its end; a step for each build.
    """

    _columns = ("name", "digest", "duration_s", "n_steps", "n_cached", "ref")

    def __init__(self, results: Mapping[str, BuildResult], snapshot: Snapshot) -> None:
        self._results = dict(results)
        self.snapshot = snapshot

    def _steps_now(self) -> Snapshot:
        return self.snapshot

    def __getitem__(self, name: str) -> BuildResult:
        return self._results[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)

    def __repr__(self) -> str:
        cached = self.snapshot.counts.cached
        return f"<{len(self)} builds, {cached} of them cached, in {self.snapshot.duration_s:.1f} s>"

    def rows(self) -> list[dict[str, Any]]:
        """Return a dictionary for each build, for tables of any kind."""
        return [
            {
                "name": name,
                "digest": result.digest,
                "duration_s": result.duration_s,
                "n_steps": len(result.steps),
                "n_cached": result.snapshot.counts.cached,
                "ref": result.ref,
            }
            for name, result in self.items()
        ]

    def _repr_html_(self) -> str:
        cells = [
            (
                row["name"],
                row["digest"],
                f"{row['n_cached']} of {row['n_steps']} cached",
                f"{row['duration_s']:.1f}",
            )
            for row in self.rows()
        ]
        heads = ("name", "digest", "steps", "s")
        return table_html(repr(self)[1:-1], heads, cells, right=frozenset({"s"}))


@dataclass(slots=True)
class _Outcome:
    """What became of the builds, by name."""

    results: dict[str, BuildResult] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)


def build_all(
    builder: AnyBuilder,
    targets: Targets,
    *,
    at_once: int,
    keep_going: bool,
    progress: ProgressMode,
    shared: Mapping[str, Any],
) -> AllBuilt:
    """Build all and wait. Ctrl-C cancels what runs, and begins nothing more."""
    work, ticker = _begin(builder, targets, at_once, keep_going, progress, shared)
    try:
        return portal().run(work)
    finally:
        ticker.stop()  # the last lines are out before what is said next


async def build_all_async(
    builder: AnyBuilder,
    targets: Targets,
    *,
    at_once: int,
    keep_going: bool,
    progress: ProgressMode,
    shared: Mapping[str, Any],
) -> AllBuilt:
    """Build all and wait, from any loop."""
    work, ticker = _begin(builder, targets, at_once, keep_going, progress, shared)
    try:
        return await portal().wait_for(work)
    finally:
        ticker.stop()


def _begin(
    builder: AnyBuilder,
    targets: Targets,
    at_once: int,
    keep_going: bool,
    progress: ProgressMode,
    shared: Mapping[str, Any],
) -> tuple[Coroutine[Any, Any, AllBuilt], Ticker]:
    requests = _requests(builder, targets, at_once, shared)
    fold = Fold()
    # Before anybody looks: the first line of a log names what is built.
    fold.feed([BuildStarted(time.time_ns(), f"{len(requests)} builds", builder.where)])
    fold.feed([VertexUpdated(digest=name, name=name, is_local=True) for name in requests])
    ticker = Ticker(fold, choose(progress)).start()
    return _watched(builder, requests, at_once, keep_going, fold, ticker), ticker


def _requests(
    builder: AnyBuilder, targets: Targets, at_once: int, shared: Mapping[str, Any]
) -> dict[str, BuildRequest]:
    """Check everything before anything is sent."""
    if not isinstance(builder, AnyBuilder):
        raise UsageError(
            f"build_all(targets, builder) was given a {type(builder).__name__} for the builder, which is no client.",
            hint="targets come first: build_all({'api': dl.dockerfile('api')}, dl.local())",
        )
    if not isinstance(targets, Mapping) or not targets:
        raise UsageError(
            "build_all(targets) takes targets by name, at least one.",
            hint="for example build_all({'api': dl.dockerfile('api'), 'web': dl.dockerfile('web')}, bk)",
        )
    if not isinstance(at_once, int) or isinstance(at_once, bool) or at_once < 1:
        raise UsageError(f"at_once={at_once!r} must be a number of builds, 1 or more.")
    requests = {}
    for name, given in targets.items():
        # A mapping of arguments, or a graph for each platform: only platforms have a slash.
        arguments: dict[str, Any] = {"target": given}
        if isinstance(given, Mapping) and not all("/" in str(key) for key in given):
            arguments = dict(given)
        every = {"name": name, **shared, **arguments}
        unknown = next((word for word in every if word not in _ARGUMENTS), None)
        if unknown is not None or "target" not in every:
            what = "a target" if unknown is None else f"no argument {unknown!r}"
            near = difflib.get_close_matches(unknown or "", _ARGUMENTS, n=1)
            raise UsageError(
                f"build_all(): the arguments of {name!r} are not those of build(), which has {what}.",
                hint=f"did you mean {near[0]!r}?"
                if near
                else "give a target, or {'target': ..., 'tags': ...}",
            )
        try:
            requests[name] = prepare(**every)
            builder.check(requests[name])
        except UsageError as error:
            error.message = f"build_all(), {name!r}: {error.message}"
            raise
    return requests


async def _watched(
    builder: AnyBuilder,
    requests: Mapping[str, BuildRequest],
    at_once: int,
    keep_going: bool,
    fold: Fold,
    ticker: Ticker,
) -> AllBuilt:
    outcome = _Outcome()
    phase = Phase.CANCELED
    try:
        await _run(builder, requests, at_once, keep_going, fold, outcome)
        phase = Phase.FAILED if outcome.errors else Phase.SUCCEEDED
    finally:
        if outcome.errors:
            began_ns, n_failed = fold.snapshot(at_ns=0).started_ns, len(outcome.errors)
            title = f"{n_failed} of {len(requests)} builds"
            fold.feed([BuildStarted(began_ns, title, builder.where)])
        fold.feed([BuildEnded(time.time_ns(), phase)])
        ticker.end()
    if outcome.errors:
        raise _failed(outcome, len(requests), keep_going) from next(iter(outcome.errors.values()))
    in_order = {name: outcome.results[name] for name in requests}
    return AllBuilt(in_order, fold.snapshot(at_ns=time.time_ns()))


def _failed(outcome: _Outcome, n_builds: int, keep_going: bool) -> BuildsFailed:
    n_left = n_builds - len(outcome.errors) - len(outcome.results)
    rest = f", and {n_left} were stopped" if n_left else ""
    lines = [f"{len(outcome.errors)} of {n_builds} builds failed{rest}."]
    for number, (name, error) in enumerate(outcome.errors.items()):
        lines.append(f"  {name}: {_first_line(error)}")
        if number < _SHOWN_LOGS:
            lines += [f"      {line}" for line in _last_lines(error)[-_SHOWN_LINES:]]
    hint = ".errors has each whole, .results what was built"
    return BuildsFailed(
        "\n".join(lines),
        errors=outcome.errors,
        results=outcome.results,
        hint=hint if keep_going else f"{hint}; with keep_going=True nothing is stopped",
    )


def _last_lines(error: Exception) -> tuple[str, ...]:
    """Return what a step that failed wrote last, for those who read a log of all builds and nothing else."""
    return error.log_tail if isinstance(error, StepFailed) else ()


def _first_line(error: Exception) -> str:
    return (str(error) or repr(error)).splitlines()[0]


async def _run(
    builder: AnyBuilder,
    requests: Mapping[str, BuildRequest],
    at_once: int,
    keep_going: bool,
    fold: Fold,
    outcome: _Outcome,
) -> None:
    gate = asyncio.Semaphore(at_once)

    async def one(name: str, request: BuildRequest) -> None:
        async with gate:
            began_ns, own = time.time_ns(), builder.new_fold()
            relay = own.on_output = OutputRelay(fold, name)
            fold.feed([_step(name, began_ns)])
            try:
                with relay:
                    answer: Answer = await builder.build(request, own)
            except asyncio.CancelledError:
                fold.feed([_step(name, began_ns, time.time_ns(), error="cancelled")])
                raise
            except Exception as error:
                outcome.errors[name] = error
                if not relay.has_written and (lines := _last_lines(error)):
                    text = "".join(f"{line}\n" for line in lines).encode()
                    fold.feed([LogWritten(name, time.time_ns(), _STDERR, text)])
                fold.feed([_step(name, began_ns, time.time_ns(), error=_first_line(error))])
                if not keep_going:
                    raise
                return
            result = outcome.results[name] = BuildResult(request, answer, own)
            cached = _all_cached(result.snapshot)
            fold.feed([_step(name, began_ns, time.time_ns(), cached=cached)])

    tasks = [asyncio.create_task(one(name, request)) for name, request in requests.items()]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _all_cached(snapshot: Snapshot) -> bool:
    work = [s for s in snapshot.steps if s.digest.startswith("sha256:") and s.inputs]
    return bool(work) and all(step.state is StepState.CACHED for step in work)


def _step(
    name: str, began_ns: int, ended_ns: int | None = None, *, error: str = "", cached: bool = False
) -> VertexUpdated:
    return VertexUpdated(
        digest=name,
        name=name,
        started_ns=began_ns,
        completed_ns=ended_ns,
        is_cached=cached,
        error=error,
        is_local=True,
    )
