"""A builder that plays a recording: the verbs are those of a daemon, the answers are of the past."""

from __future__ import annotations

import math
import tempfile
import weakref
from collections.abc import Iterable
from pathlib import Path

from depotlab._past import Store
from depotlab._recorded import CLOCK, Clock, PlayedChannel, PlayedFold, Player, Tape, load_tape
from depotlab._rpc import Channel, Endpoint, Transport
from depotlab._session import Session
from depotlab._verbs.builder import Answer, Builder
from depotlab._verbs.open import Opened
from depotlab._verbs.request import BuildRequest
from depotlab.errors import NotRecorded, UsageError
from depotlab.progress import Fold

__all__ = ["RecordedBuilder", "open_recorded"]


class RecordedBuilder(Builder):
    """Plays a recording.

    Args:
        tape: The recording.
        path: Its file.
        speed: Seconds of the recording in a second, 0 or infinite plays at once. None plays as it was, but what took
            long a little faster.

    Attributes:
        tape: As given.
    """

    def __init__(self, tape: Tape, *, path: Path, speed: float | None) -> None:
        self.tape = tape
        self._speed = math.inf if speed == 0 else speed
        self._player = Player(tape, path=str(path), speed=self._speed)
        endpoint = Endpoint(
            f"recorded:{path.name}",
            dialer=_nowhere,
            session_dialer=self._player.open_session,
        )
        super().__init__(endpoint, {}, where=self._said(), keeps_history=tape.keeps_history)
        self._channel = PlayedChannel(endpoint, self._player)
        self.on_session.append(self._offered)
        # What past builds of this computer were is not touched: the recording has a past of its own.
        folder = tempfile.TemporaryDirectory(prefix="depotlab-")
        weakref.finalize(self, folder.cleanup)
        past = Store(Path(folder.name) / "past.sqlite3")
        self.find_past = lambda: past

    def _said(self) -> str:
        day = self.tape.recorded_at.partition("T")[0]
        pace = ""
        if self._speed is not None and self._speed != 1:
            pace = ", at once" if math.isinf(self._speed) else f", at {self._speed:g}×"
        return f"recorded on {day} by BuildKit {self.tape.buildkit or '?'}{pace}"

    @property
    def described(self) -> str:
        """What a client says that it is a client of."""
        return f"the recording {self.endpoint.address.removeprefix('recorded:')}, {self._said()}"

    def _offered(self, session: Session, _secrets: Iterable[bytes]) -> None:
        self._player.offered(session)

    async def connect(self, *, fresh: bool = False, timeout_s: float | None = None) -> Channel:
        """Return what answers; a client that was closed opens again, as one of a daemon does."""
        if self._channel is None:
            self._channel = PlayedChannel(self.endpoint, self._player)
        return self._channel

    @property
    def is_connected(self) -> bool:
        """Views offer no looks by themselves: few are in a recording."""
        return False

    def new_fold(self) -> Fold:
        """Return what gathers the progress of a build, by the clock of the recording."""
        return PlayedFold(Clock(self._speed))

    async def build(self, request: BuildRequest, fold: Fold) -> Answer:
        """See `Builder`."""
        token = CLOCK.set(fold.clock if isinstance(fold, PlayedFold) else None)
        try:
            return await super().build(request, fold)
        finally:
            CLOCK.reset(token)


async def _nowhere() -> Transport:
    raise NotRecorded("A recording cannot be connected to.")


def open_recorded(path: str | Path, *, speed: float | None) -> Opened:
    """Open a recording.

    Raises:
        UsageError: `speed` is below zero, or no number.
        RecordingError: It cannot be read.
    """
    if speed is not None and (
        isinstance(speed, bool) or not isinstance(speed, int | float) or not speed >= 0
    ):
        raise UsageError(
            f"speed={speed!r} is no speed.",
            hint="1 is as it was, 10 is ten times faster, 0 is at once",
        )
    host_path = Path(path).expanduser()
    tape = load_tape(host_path)
    builder = RecordedBuilder(tape, path=host_path, speed=speed)
    return Opened(builder, recorded_registry=tape.registry or None)
