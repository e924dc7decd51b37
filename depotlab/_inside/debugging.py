"""What a user holds while going through a graph: the same steps, blocking or to await."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import PurePath
from typing import Any, Self

from depotlab._inside.completed import Completed
from depotlab._inside.debugger import BreakAt, DebugCore, Stop, source_html
from depotlab._inside.processes import run_at
from depotlab._inside.running import prepare_at
from depotlab._inside.shell import Shell, open_shell
from depotlab._portal import portal
from depotlab._values import Value, safe_html
from depotlab._verbs import AnyBuilder, BuildRequest
from depotlab.buildkit import Listing
from depotlab.errors import StepFailed

__all__ = ["AwaitingDebugger", "BlockingDebugger", "debug"]

_ROWS_AROUND = 8


class _Shown(Value):
    """What both debuggers show of where they stand."""

    def __init__(self, core: DebugCore) -> None:
        self._core = core

    @property
    def stop(self) -> Stop | None:
        """The step that is about to run, or has failed; None when all have run."""
        return self._core.stop

    @property
    def steps(self) -> tuple[str, ...]:
        """The names of all steps, in the order in which they run."""
        return tuple(op.name for op in self._core.ops)

    def shell(
        self, command: str | Sequence[str] | None = None, *, height_px: int = 320, **options: Any
    ) -> Shell:
        """Open a shell with the files, mounts and variables of the step, as `Client.shell` does.

        Args:
            command: What to run instead of a shell.
            height_px: Of the terminal in a notebook.
            options: `env`, `cwd` and `user`, as of `Client.shell`.
        """
        given = {**options, "env": {"TERM": "xterm-256color", **(options.get("env") or {})}}
        asked = prepare_at(["/bin/sh"] if command is None else command, tty=True, **given)
        stop = self._core.stop
        where = (
            "at the end"
            if stop is None
            else f"{'after' if stop.failed else 'before'} {stop.name!r}"
        )
        return open_shell(
            self._core.place,
            asked,
            wants_shell=command is None,
            height_px=height_px,
            title=f"shell {where}",
        )

    def __repr__(self) -> str:
        stop = self._core.stop
        return f"<Debugger: {repr(stop)[6:-1] if stop else 'all steps have run'}>"

    def __str__(self) -> str:
        stop = self._core.stop
        rows = [f"{mark} {text}" for mark, text in self._rows()]
        if stop is not None and stop.location is not None:
            rows += [f"at {stop.location}", *stop.location.excerpt(around=2).splitlines()]
        return "\n".join(rows)

    def _repr_html_(self) -> str:
        tints = {"✔": "#2f9e44", "▶": "#1c7ed6", "✖": "#e03131"}
        rows = "".join(
            f'<tr><td style="color:{tints.get(mark, "#868e96")}">{mark}</td>'
            f'<td style="text-align:left">{"<b>" if mark in "▶✖" else ""}{safe_html(text)}'
            f"{'</b>' if mark in '▶✖' else ''}</td></tr>"
            for mark, text in self._rows()
        )
        stop = self._core.stop
        return f"<table>{rows}</table>{source_html(stop.location if stop else None)}"

    def _rows(self) -> list[tuple[str, str]]:
        """The steps around the one it stands at: their marks and names."""
        core, total = self._core, len(self._core.ops)
        first = max(0, min(core.at, total) - _ROWS_AROUND)
        last = min(total, core.at + _ROWS_AROUND)
        rows = [("·", f"… {first} more")] if first else []
        for number in range(first, last):
            name = core.ops[number].name
            text = f"{number + 1} {name if len(name) <= 80 else name[:79] + '…'}"
            if number < core.at:
                rows.append(("✔", f"{text} ({core.took_s.get(number, 0.0):.1f} s)"))
            elif number == core.at:
                stop = core.stop
                rows.append(("✖" if stop is not None and stop.failed else "▶", text))
            else:
                rows.append(("·", text))
        if last < total:
            rows.append(("·", f"… {total - last} more"))
        return rows


class BlockingDebugger(_Shown):
    """A graph that runs one step at a time. Made by `Client.debug`; close it, or use it in a `with` block.

    Iterating runs it to the end, and gives each step before it runs.
    """

    def next(self) -> Stop | None:
        """Run the step and stop before the next one; None when there is none.

        Raises:
            StepFailed: It failed, and can be looked at.
        """
        return portal().run(self._core.next())

    def run_to(self, where: BreakAt = None) -> Stop | None:
        """Run until a step, which itself does not run; without one, to the end.

        Args:
            where: A part of its name, its digest, the line of the source that made it, or a `SourceLocation`.

        Raises:
            UsageError: There is no such step ahead.
            StepFailed: One on the way failed, and can be looked at.
        """
        return portal().run(self._core.go(where))

    def ls(self, path: str | PurePath = ".") -> Listing:
        """List a directory as the step will find it; of one that failed, as it left it."""
        return portal().run(_ls(self._core, path))

    def read(self, path: str | PurePath) -> bytes:
        """Return a file as the step will find it; of one that failed, as it left it."""
        return portal().run(_read(self._core, path))

    def run(self, command: str | Sequence[str], **options: Any) -> Completed:
        """Run a command with the files, mounts and variables of the step; the step itself does not change.

        Args:
            command: As of `Client.run`.
            options: `env`, `cwd`, `user`, `stdin`, `tty`, `timeout_s`, `on_output`, `stdout` and
                `max_output_bytes`, as of `Client.run`.
        """
        return portal().run(_run(self._core, prepare_at(command, **options)))

    def close(self) -> None:
        """End it. What has run stays in the builder's cache."""
        portal().run(self._core.close())

    def __iter__(self) -> Iterator[Stop]:
        while (stop := self.stop) is not None:
            yield stop
            if self.stop == stop:  # not moved by the loop's own body
                self.next()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AwaitingDebugger(_Shown):
    """A graph that runs one step at a time, to await. See `depotlab.Client.debug`."""

    async def next(self) -> Stop | None:
        """See `BlockingDebugger.next`."""
        return await portal().wait_for(self._core.next())

    async def run_to(self, where: BreakAt = None) -> Stop | None:
        """See `BlockingDebugger.run_to`."""
        return await portal().wait_for(self._core.go(where))

    async def ls(self, path: str | PurePath = ".") -> Listing:
        """See `BlockingDebugger.ls`."""
        return await portal().wait_for(_ls(self._core, path))

    async def read(self, path: str | PurePath) -> bytes:
        """See `BlockingDebugger.read`."""
        return await portal().wait_for(_read(self._core, path))

    async def run(self, command: str | Sequence[str], **options: Any) -> Completed:
        """See `BlockingDebugger.run`."""
        return await portal().wait_for(_run(self._core, prepare_at(command, **options)))

    async def close(self) -> None:
        """See `BlockingDebugger.close`."""
        await portal().wait_for(self._core.close())

    async def __aiter__(self) -> AsyncIterator[Stop]:
        while (stop := self.stop) is not None:
            yield stop
            if self.stop == stop:
                await self.next()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def _ls(core: DebugCore, path: str | PurePath) -> Listing:
    async with core.files(path) as (files, inner):
        return await files.list(inner)


async def _read(core: DebugCore, path: str | PurePath) -> bytes:
    async with core.files(path) as (files, inner):
        return await files.read(inner)


async def _run(core: DebugCore, command: Any) -> Completed:
    async with core.place() as place:
        return await run_at(place, command)


async def debug(builder: AnyBuilder, request: BuildRequest, break_at: BreakAt) -> DebugCore:
    """Open a target for going through it, and go to where it is to stop first."""
    core = await DebugCore.begin(builder, request)
    try:
        if break_at is not None:
            await core.go(break_at)
    except StepFailed:
        return core  # it stands at the step that failed
    except BaseException:
        await core.close()
        raise
    return core
