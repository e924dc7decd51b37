"""Going through a graph op by op: stop before one, look at what it would find, let it run, go on.

The graph is never solved as a whole. It is marshalled once, in the order in which a builder could run it, and each step
solves only the part that ends with its op; what that needs is there already. Stopping costs nothing: between steps the
build is just held open.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import PurePath

from depotlab._inside.dockerfiles import to_state
from depotlab._inside.failed import place_in
from depotlab._inside.failedstep import files_at
from depotlab._inside.opened import Opened, open_state
from depotlab._inside.processes import Place
from depotlab._rpc import RpcFailed
from depotlab._values import Value, safe_html
from depotlab._verbs import AnyBuilder, BuildRequest, GraphBuild
from depotlab.buildkit import (
    ExecPlan,
    Files,
    from_failure,
    parse_details,
    part_of,
    source_lines,
)
from depotlab.errors import SourceLocation, StepFailed, UsageError
from depotlab.frontend import Dockerfile
from depotlab.llb import Definition, OpView, State, scratch

__all__ = ["BreakAt", "DebugCore", "Stop"]

BreakAt = str | int | SourceLocation | None
"""Where to stop: a part of a step's name, its digest, or the line of the source that made it."""


@dataclass(frozen=True, slots=True, repr=False)
class Stop(Value):
    """A step that is about to run, or has just failed.

    Attributes:
        number: Its place in the order in which the steps run, from 1.
        total: How many steps there are.
        name: As progress shows it.
        kind: `source`, `exec`, `file`, `merge`, `diff` and so on.
        digest: Of its op.
        location: The user's line that made it, when known.
        args: Of a command its argv; else empty.
        env: Of a command its variables; else empty.
        cwd: Of a command its working directory; else `/`.
        failed: It ran and failed; what can be looked at is what it left behind.
    """

    number: int
    total: int
    name: str
    kind: str
    digest: str
    location: SourceLocation | None = None
    args: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    cwd: str = "/"
    failed: bool = False

    def __str__(self) -> str:
        lines = [repr(self)[1:-1]]
        if self.location is not None:
            lines.append(f"  at {self.location}")
            lines += [f"    {line}" for line in self.location.excerpt(around=2).splitlines()]
        return "\n".join(lines)

    def __repr__(self) -> str:
        name = self.name if len(self.name) <= 60 else self.name[:59] + "…"
        what = "failed at" if self.failed else "before"
        return f"<Stop {what} step {self.number} of {self.total}: {self.kind} {name!r}>"

    def _repr_html_(self) -> str:
        mark, tint = ("✖", "#e03131") if self.failed else ("▶", "#1c7ed6")
        head = (
            f'<div><span style="color:{tint}">{mark}</span> step {self.number} of {self.total}: '
            f"<b>{safe_html(self.name)}</b></div>"
        )
        return head + source_html(self.location)


def source_html(location: SourceLocation | None) -> str:
    """Return the user's lines around a place, the place itself marked, or nothing."""
    if location is None:
        return ""
    excerpt = location.excerpt(around=3)
    lines = "\n".join(
        f"<b>{escape(line)}</b>" if line.startswith(">") else escape(line)
        for line in excerpt.splitlines()
    )
    style = "text-align:left;margin:4px 0;white-space:pre-wrap"
    body = f'<pre style="{style}">{lines}</pre>' if lines else ""
    return f'<div style="color:#868e96">{safe_html(str(location))}</div>{body}'


class DebugCore:
    """One debugging session, on the I/O thread. Made by `DebugCore.begin`."""

    def __init__(self, opened: Opened, definition: Definition) -> None:
        self._opened = opened
        self._whole = definition.to_bytes()
        self.ops: tuple[OpView, ...] = definition.ops[:-1]
        self._locations = {**source_lines(self._whole), **definition.locations}
        self._solved: dict[tuple[str, int], str] = {}
        self._busy = asyncio.Lock()
        self._failed: Place | None = None
        self.at = 0
        self.took_s: dict[int, float] = {}

    @classmethod
    async def begin(cls, builder: AnyBuilder, request: BuildRequest) -> DebugCore:
        """Open a build that has solved nothing yet.

        Raises:
            DepotlabError: The daemon, or a registry that has a base image, cannot be reached.
        """
        target = request.target
        platform = request.platforms[0] if request.platforms else None
        if isinstance(target, Dockerfile):
            target = await to_state(builder, target, platform=platform)
        if isinstance(target, Mapping):
            if len(target) > 1:
                raise UsageError(
                    f"debug() goes through the graph of one platform, and this target has {len(target)}.",
                    hint=f"say which with platform=: {', '.join(target)}",
                )
            (target,) = target.values()
        if not isinstance(target, State):
            raise UsageError(
                f"debug() goes through a graph, and {target.name}() decides on one only while it runs.",
                hint=f"debug the state that {target.name} returns, or that of a build of it: "
                "llb.load(result.definition.to_bytes())",
            )
        opened = await open_state(builder, replace(request, target=scratch(), also=(target,)))
        try:
            graph = GraphBuild(target, (opened.platform,), request.no_cache)
            try:
                resolved = await graph.resolve(opened.bridge, opened.platform)
            except RpcFailed as failure:
                raise _told(opened, failure) from failure
            return cls(opened, graph.marshal(resolved, opened.platform))
        except BaseException:
            await opened.aclose()
            raise

    async def close(self) -> None:
        """End the build."""
        await self._opened.aclose()

    @property
    def stop(self) -> Stop | None:
        """Where it stands; None at the end."""
        if self.at >= len(self.ops):
            return None
        op = self.ops[self.at]
        found = Stop(
            self.at + 1,
            len(self.ops),
            op.name,
            op.kind,
            op.digest,
            self._locations.get(op.digest),
            failed=self._failed is not None,
        )
        if op.kind != "exec":
            return found
        plan = ExecPlan(op.data)
        return replace(found, args=plan.args, env=plan.env, cwd=plan.cwd)

    def find(self, where: BreakAt) -> int:
        """Return the number of the first step from here on that is meant.

        Raises:
            UsageError: There is none.
        """
        for number in range(self.at, len(self.ops)):
            if self._is(self.ops[number], where):
                return number
        names = "\n    ".join(
            f"{number + 1} {op.name[:70]}"
            for number, op in enumerate(self.ops)
            if number >= self.at
        )
        raise UsageError(
            f"break_at={where!r} is no step that is still to come.",
            hint=f"give a part of a name, a digest, or a line of the source; there are:\n    {names}",
        )

    def _is(self, op: OpView, where: BreakAt) -> bool:
        place = self._locations.get(op.digest)
        if isinstance(where, SourceLocation):
            return place is not None and (place.filename, place.line) == (
                where.filename,
                where.line,
            )
        if isinstance(where, int):
            return place is not None and place.line <= where <= max(place.line, place.end_line)
        return where is not None and (op.digest == where or where in op.name)

    async def next(self) -> Stop | None:
        """Run the step and stop before the one after it.

        Raises:
            StepFailed: It failed. It stays where it is, to be looked at.
        """
        async with self._busy:
            if self.at >= len(self.ops):
                return None
            if self._failed is not None:
                raise UsageError(
                    "The step has failed, so there is no way on.",
                    hint="look at it with run, ls or shell; or mend the graph and debug it again",
                )
            began_s = time.monotonic()
            op = self.ops[self.at]
            await self._solve(op.digest, self._output(op))
            self.took_s[self.at] = time.monotonic() - began_s
            self.at += 1
            return self.stop

    async def go(self, to: BreakAt) -> Stop | None:
        """Run until a step, or to the end when None is given; the step itself does not run."""
        end = len(self.ops) if to is None else self.find(to)
        while self.at < end:
            await self.next()
        return self.stop

    @asynccontextmanager
    async def place(self) -> AsyncIterator[Place]:
        """Have the place that the step will find, or has left behind."""
        async with self._busy:
            made = self._failed or await self._before()
        yield made

    @asynccontextmanager
    async def files(self, path: str | PurePath) -> AsyncIterator[tuple[Files, str]]:
        """Find the files at a path."""
        async with self.place() as place, files_at(place, path) as found:
            yield found

    async def _before(self) -> Place:
        if self.at >= len(self.ops):
            op = self.ops[-1]
            shown = await self._solve(op.digest, self._output(op))
            return self._bare(shown)
        op = self.ops[self.at]
        if op.kind != "exec":
            first = next(iter(op.inputs), None)
            return self._bare(await self._solve(*first) if first is not None else "")
        plan = ExecPlan(op.data)
        ids = [
            await self._solve(*plan.inputs[mount.input]) if mount.input >= 0 else ""
            for mount in plan.mounts
        ]
        return Place(self._opened.bridge, plan, tuple(ids))

    def _bare(self, ref: str) -> Place:
        """A place of nothing but files."""
        made = scratch().run(["-"]).marshal(self._opened.platform)
        return Place(self._opened.bridge, ExecPlan(made.ops[-2].data), (ref,))

    def _output(self, op: OpView) -> int:
        """An output of the op that somebody reads: to ask for it is to run the op."""
        for user in self.ops:
            for digest, index in user.inputs:
                if digest == op.digest:
                    return index
        return 0

    async def _solve(self, digest: str, index: int) -> str:
        known = self._solved.get((digest, index))
        if known is None:
            try:
                known = await self._opened.bridge.solve(part_of(self._whole, digest, index))
            except RpcFailed as failure:
                failed = parse_details(failure.details).failed
                if failed is not None:
                    self._failed = place_in(self._opened, failed)
                told = _told(self._opened, failure)
                if isinstance(told, StepFailed):
                    told.step = next(
                        (o.name for o in self.ops if o.digest == told.vertex), told.step
                    )
                    told.message = f"The step {told.step!r} failed with exit code {told.exit_code}."
                raise told from failure
            self._solved[digest, index] = known
        return known


def _told(opened: Opened, failure: RpcFailed) -> Exception:
    address = opened.channel.endpoint.address
    return from_failure(failure, address=address, building=True)
