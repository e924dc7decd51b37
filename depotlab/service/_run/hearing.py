"""The progress of one try of a build, as it goes on: each line to its journal at once, every row to telemetry."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from depotlab.progress import Event, Fold
from depotlab.service._boundary import Journal, Line, Order
from depotlab.service._reasons.masking import Mask
from depotlab.service._run.steprows import BuildTold, log_rows

if TYPE_CHECKING:
    from depotlab.telemetry._writer import Writer

__all__ = ["Hearing"]

_log = logging.getLogger("depotlab.service")


class Hearing(Fold):
    """A fold that hands on what it is fed. To be used on one event loop.

    Feeding never raises: who feeds is a callback of the event loop, where an error would be lost with the events. What
    goes wrong is kept, and nothing more is handed on.

    Args:
        order: The build.
        journal: Of this try.
        writer: Takes rows; None for none.
        mask: Covers what nobody may see in a text.

    Attributes:
        told: What the daemon has told.
        trouble: Why lines could not be handed on; a mistake of ours.
    """

    def __init__(self, order: Order, journal: Journal, writer: Writer | None, mask: Mask) -> None:
        super().__init__()
        self.told = BuildTold(order, journal.attempt, mask)
        self.trouble: Exception | None = None
        self._order = order
        self._journal = journal
        self._writer = writer
        self._has_ended = False

    def feed(self, events: Iterable[Event]) -> None:
        """Take in events in the order they came, and hand on the lines that they complete."""
        several = list(events)
        super().feed(several)
        self._try(lambda: self._hand_on(self.told.take(several)))

    def end(self) -> None:
        """Hand on what is left: unfinished lines, and the rows of all steps. The first call counts."""
        if self._has_ended:
            return
        self._has_ended = True
        self._try(self._hand_on_rest)

    def _hand_on_rest(self) -> None:
        self._hand_on(self.told.rest())
        if self._writer is not None and (rows := self.told.steps()):
            self._writer.put(rows)

    def _hand_on(self, lines: Sequence[Line]) -> None:
        if not lines:
            return
        first = self._journal.lines(lines)
        if self._writer is not None:
            self._writer.put(log_rows(self._order, lines, first))

    def _try(self, work: Callable[[], None]) -> None:
        if self.trouble is not None:
            return
        try:
            work()
        except Exception as error:  # noqa: BLE001 - raised at the end of the build
            _log.exception("lines of build %s were not kept", self._order.build_id)
            self.trouble = error
