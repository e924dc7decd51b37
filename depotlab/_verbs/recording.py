"""Recording what a client builds and looks at."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Generic, TypeVar

from depotlab._portal import portal
from depotlab._recorded import Recorder, Tape, save_tape
from depotlab._rpc import Exchange, tapped
from depotlab._values import Value, bytes_text
from depotlab._verbs.builder import Builder
from depotlab._verbs.open import AnyBuilder
from depotlab._verbs.recorded import RecordedBuilder
from depotlab._verbs.remember import settle
from depotlab.buildkit import ask_capabilities
from depotlab.errors import RecordingError, UsageError

__all__ = ["AwaitingRecording", "BlockingRecording", "begin_recording", "begin_recording_async"]

C = TypeVar("C")


def _check_place(path: str | Path) -> Path:
    """Return where a recording is to be written.

    Raises:
        UsageError: The directory is not there, or the path is one.
    """
    host_path = Path(path).expanduser().absolute()
    if host_path.is_dir() or not host_path.parent.is_dir():
        what = "is a directory" if host_path.is_dir() else "is in a directory that is not there"
        raise UsageError(
            f"record({str(path)!r}): the path {what}.",
            hint="give the path of a file, such as 'lesson.depotlab'",
        )
    return host_path


class _Making:
    """One recording of a builder, from `begin` to `save`. All of it runs on the I/O thread.

    Args:
        host_path: Where it is written.
        builder: What is recorded.
        registry: Of the registry beside the builder, or empty.

    Attributes:
        host_path: As given.
        is_open: It is being made.
        size_bytes: Of the file, once it is written.
    """

    def __init__(self, host_path: Path, builder: AnyBuilder, *, registry: str) -> None:
        self.host_path = host_path
        self.is_open = False
        self.size_bytes = 0
        self._builder = builder
        self._registry = registry
        self._version = ""
        self._open = ExitStack()
        address = builder.address
        # Depot's machines have addresses of their own, which change with every build.
        one_daemon = isinstance(builder, Builder)

        def is_wanted(exchange: Exchange) -> bool:
            return not one_daemon or exchange.endpoint == address

        self._recorder = Recorder(is_wanted)

    @property
    def n_builds(self) -> int:
        """How many builds and looks there are so far."""
        return self._recorder.n_builds

    async def begin(self) -> None:
        """Begin to listen.

        Raises:
            LinkError: The daemon cannot be reached.
        """
        await (
            self._let_go()
        )  # what is held open was asked for before, and would not be in the recording
        self._builder.on_session.append(self._recorder.offered)
        self._builder.before_close.append(self._finish)
        self._open.callback(self._builder.before_close.remove, self._finish)
        self._open.callback(self._builder.on_session.remove, self._recorder.offered)
        self._opened = self._open.enter_context(tapped(self._recorder))
        self.is_open = True
        try:
            # What is known of a daemon is not asked for again in a process; another one has to ask.
            # On Depot a question is a build, which takes a machine: nothing is asked that no build asks.
            if isinstance(self._builder, Builder):
                self._version = (await self._builder.info()).version
                await self._builder.workers()
                await ask_capabilities(await self._builder.connect())
        except BaseException:
            self.discard()
            raise

    async def _finish(self, _builder: object) -> None:
        """Write it when its client is closed."""
        if self.n_builds:
            await self.save()
        else:
            self.discard()

    async def save(self) -> None:
        """Stop, and write the file. Once more does nothing.

        Raises:
            RecordingError: There was nothing to record, or the file cannot be written.
        """
        if not self.is_open:
            return
        await self._let_go()
        await settle(self._builder.address)
        self._stop()
        if self._opened.failure is not None:
            raise RecordingError(
                f"The recording is not complete: {self._opened.failure}", path=str(self.host_path)
            ) from self._opened.failure
        self.size_bytes = await asyncio.to_thread(self._write)

    def discard(self) -> None:
        """Stop, and write nothing."""
        if self.is_open:
            self._stop()

    async def discarded(self) -> None:
        """Do the same, on the I/O thread."""
        self.discard()

    def _stop(self) -> None:
        self.is_open = False
        self._open.close()

    def _write(self) -> int:
        tape: Tape = self._recorder.tape(
            buildkit=self._version,
            registry=self._registry,
            keeps_history=isinstance(self._builder, Builder),
        )
        return save_tape(self.host_path, tape)

    async def _let_go(self) -> None:
        for end in self._builder.before_prune:
            await end(self._builder)

    def __repr__(self) -> str:
        n_builds = self.n_builds
        what = f"{n_builds} build" if n_builds == 1 else f"{n_builds} builds"
        if self.is_open:
            return f"<Recording to {self.host_path.name}: {what} so far, not saved yet>"
        if not self.size_bytes:
            return f"<Recording to {self.host_path.name}: {what}, discarded>"
        return f"<Recording {self.host_path.name}: {what}, {bytes_text(self.size_bytes)}>"


class _Recording(Value, Generic[C]):
    """What both faces have.

    Attributes:
        builder: The client that is recorded.
    """

    def __init__(self, builder: C, making: _Making) -> None:
        self.builder = builder
        self._making = making

    @property
    def host_path(self) -> Path:
        """Where it is written."""
        return self._making.host_path

    @property
    def is_open(self) -> bool:
        """False once it is saved or discarded."""
        return self._making.is_open

    @property
    def n_builds(self) -> int:
        """How many builds it has; a state that is looked into is one too."""
        return self._making.n_builds

    @property
    def size_bytes(self) -> int:
        """Of the file; 0 as long as it is not saved."""
        return self._making.size_bytes

    def _facts(self) -> Iterable[tuple[str, object]]:
        state = "open" if self.is_open else "saved" if self.size_bytes else "discarded"
        return [
            ("state", state),
            ("n_builds", self.n_builds),
            ("host_path", self.host_path),
            ("size_bytes", self.size_bytes),
        ]

    def __repr__(self) -> str:
        return repr(self._making)


class BlockingRecording(_Recording[C]):
    """What a client does is being recorded. Made by `depotlab.record`; in a `with` block it is the client itself."""

    def save(self) -> None:
        """Stop, and write the file. Once more does nothing. Closing the client does it too.

        Raises:
            RecordingError: Nothing was built or looked at, or the file cannot be written.
        """
        portal().run(self._making.save())

    def discard(self) -> None:
        """Stop, and write nothing."""
        portal().run(self._making.discarded())

    def __enter__(self) -> C:
        return self.builder

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.save()
        else:
            self.discard()


class AwaitingRecording(_Recording[C]):
    """What a client does is being recorded. Made by `aio.record`; in an `async with` block it is the client itself."""

    async def save(self) -> None:
        """Stop, and write the file. Once more does nothing. Closing the client does it too.

        Raises:
            RecordingError: Nothing was built or looked at, or the file cannot be written.
        """
        await portal().wait_for(self._making.save())

    async def discard(self) -> None:
        """Stop, and write nothing."""
        await portal().wait_for(self._making.discarded())

    async def __aenter__(self) -> C:
        return self.builder

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            await self.save()
        else:
            await self.discard()


def begin_recording(
    path: str | Path, client: C, builder: AnyBuilder, registry: str | None
) -> BlockingRecording[C]:
    """Begin to record a client; from any thread."""
    making = _prepare(path, builder, registry)
    portal().run(making.begin())
    return BlockingRecording(client, making)


async def begin_recording_async(
    path: str | Path, client: C, builder: AnyBuilder, registry: str | None
) -> AwaitingRecording[C]:
    """Begin to record a client; from any loop."""
    making = _prepare(path, builder, registry)
    await portal().wait_for(making.begin())
    return AwaitingRecording(client, making)


def _prepare(path: str | Path, builder: AnyBuilder, registry: str | None) -> _Making:
    host_path = _check_place(path)
    if isinstance(builder, RecordedBuilder):
        raise UsageError(
            "record(): this client plays a recording.",
            hint="record a live one, from depotlab.local(), connect() or depot()",
        )
    return _Making(host_path, builder, registry=registry or "")
