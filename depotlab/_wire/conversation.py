"""`wire()`: what is said on the wire, while a block of code runs."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from html import escape
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from depotlab._rpc import OpenTap, tapped
from depotlab._values import bytes_text, safe_html
from depotlab._wire.lanes import NOTEBOOK
from depotlab._wire.listening import Listener
from depotlab._wire.picture import sequence_svg, width_of
from depotlab._wire.rows import rows_of
from depotlab._wire.story import story_of
from depotlab._wire.values import (
    Asker,
    Exchanges,
    RegistryTalk,
    WireExchange,
    named,
    time_span,
)
from depotlab.errors import UsageError

__all__ = ["Wire", "wire"]

_MOST_LINES = 60
_MOST_STORY = 4000


def wire(*, payloads: bool = False) -> Wire:
    """Listen to what this program and daemons say to each other while a block runs.

    All calls are heard that begin in the block, of all clients of this process, blocking and awaitable: those to the
    daemon's control API, those that the daemon makes over the session of a build, and those to Depot's API. What comes
    after the block is not heard, also of calls that go on.

    Args:
        payloads: Keep what is in the messages, too, as text of at most 2000 characters each. What is bytes (files,
            outputs, secrets) is only counted, and credentials, tokens and the traffic of SSH agents are never kept.

    Returns:
        The conversation, to be used with `with`. In a notebook it shows itself as a picture.

    Example:
        >>> import depotlab as dl
        >>> with dl.wire() as wire:
        ...     pass
        >>> wire.story()
        'Nobody asked anybody for anything.'
    """
    return Wire(payloads=payloads)


class Wire:
    """A conversation between this program and daemons. Made by `depotlab.wire`; can be read while it goes on.

    `wire["DiffCopy"]` are the exchanges of a method, `"GetSecret" in wire` tells whether there was one. It pickles as
    what was heard.

    Attributes:
        payloads: Whether messages have their text.
        problem: Why listening ended before its time; None if it did not.
    """

    def __init__(self, *, payloads: bool = False) -> None:
        self.payloads = payloads
        self.problem: str | None = None
        self._listener: Listener | None = None
        self._open: AbstractContextManager[OpenTap] | None = None
        self._opened: OpenTap | None = None
        self._began_ns = 0
        self._ended_ns: int | None = None
        self._heard: tuple[Exchanges, tuple[RegistryTalk, ...]] = (Exchanges(()), ())

    def __enter__(self) -> Self:
        """Begin to listen.

        Raises:
            UsageError: It has listened already.
        """
        if self._listener is not None or self._ended_ns is not None:
            raise UsageError(
                "This conversation was listened to already.",
                hint="take a new one: with depotlab.wire() as wire: ...",
            )
        self._began_ns = time.time_ns()
        self._listener = Listener(payloads=self.payloads, began_ns=self._began_ns)
        self._open = tapped(self._listener)
        self._opened = self._open.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._open is not None
        assert self._opened is not None
        self._open.__exit__(kind, error, traceback)
        self._ended_ns = time.time_ns()
        if self._opened.failure is not None:
            self.problem = repr(self._opened.failure)

    # ------------------------------------------------------------------------- what was heard

    @property
    def exchanges(self) -> Exchanges:
        """All calls so far, in the order in which they began."""
        return self._told()[0]

    @property
    def registries(self) -> tuple[RegistryTalk, ...]:
        """What the daemon did at registries, as far as it told: we do not hear that conversation."""
        return self._told()[1]

    @property
    def duration_s(self) -> float:
        """How long the block ran, or has run."""
        end_ns = time.time_ns() if self._ended_ns is None else self._ended_ns
        return (end_ns - self._began_ns) / 1e9 if self._began_ns else 0.0

    @property
    def sent_bytes(self) -> int:
        """Of all messages that this computer sent, without those of `Control.Session`, in which others travel."""
        return self._without_sessions().sent_bytes

    @property
    def received_bytes(self) -> int:
        """Of all messages that it was sent, without those of `Control.Session`."""
        return self._without_sessions().received_bytes

    def asked_by(self, who: Asker) -> Exchanges:
        """Return the calls that `"client"` (this computer) or `"daemon"` made.

        Raises:
            UsageError: `who` is neither.
        """
        return self.exchanges.asked_by(who)

    def about(self, subject: str) -> Exchanges:
        """Return the calls about something, such as `"context"` or the id of a secret; empty if there are none."""
        return self.exchanges.about(subject)

    def of(self, parent: WireExchange | int) -> Exchanges:
        """Return the calls that belong to another one, such as those of a session."""
        return self.exchanges.of(parent)

    def __getitem__(self, name: str) -> Exchanges:
        """Return the calls of a method, a service, or both, such as `"FileSync.DiffCopy"`.

        Raises:
            UsageError: There were none.
        """
        return self.exchanges[name]

    def __contains__(self, name: str) -> bool:
        return bool(named(self.exchanges, name))

    def _ipython_key_completions_(self) -> list[str]:
        return sorted({one.name for one in self.exchanges})

    # ----------------------------------------------------------------------------- how it shows

    def story(self) -> str:
        """Return who asked whom for what, in plain words, a sentence on each line."""
        return story_of(*self._told())

    def rows(self) -> list[dict[str, Any]]:
        """Return a dictionary for each exchange, for tables of any kind."""
        return self.exchanges.rows()

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame` with a row for each exchange.

        Raises:
            UsageError: pandas is not installed.
        """
        return self.exchanges.to_pandas()

    @property
    def svg(self) -> str:
        """The conversation as a sequence picture, at most about 17 kB; what is alike is folded."""
        return sequence_svg(*self._told())

    def save(self, host_path: str | Path) -> Path:
        """Write the picture into a file whose name ends in `.svg`, or the text into any other; return its path."""
        path = Path(host_path).expanduser()
        path.write_text(self.svg if path.suffix.lower() == ".svg" else str(self), encoding="utf-8")
        return path

    def __repr__(self) -> str:
        exchanges = self.exchanges
        asked = len(exchanges.asked_by("daemon"))
        state = (
            "" if self._ended_ns is not None else ", listening" if self._began_ns else ", not begun"
        )
        return (
            f"<Wire: {len(exchanges)} exchange{'' if len(exchanges) == 1 else 's'}, {asked} asked by the daemon, "
            f"{bytes_text(self.sent_bytes)} sent, {bytes_text(self.received_bytes)} received, "
            f"{time_span(self.duration_s)}{state}>"
        )

    def __str__(self) -> str:
        rows = rows_of(*self._told(), most=_MOST_LINES)
        lines = [repr(self)]
        for row in rows:
            way = f"{row.source} → {row.target}" if row.source else ""
            end = " (end)" if row.is_end else ""
            at = f"{time_span(max(row.at_s, 0.0)):>8}"
            lines.append(f"{at}  {way:<30}  {row.label}{end}  {row.aside}".rstrip())
        return "\n".join([*lines, "", self.story()])

    def _repr_html_(self) -> str:
        exchanges, registries = self._told()
        head = f"<b>{safe_html(repr(self)[1:-1])}</b>"
        problem = (
            f"<div>Listening ended early: {escape(self.problem)}</div>" if self.problem else ""
        )
        if not exchanges:
            return f"<div>{head}{problem}</div>"
        story = self.story()
        if len(story) > _MOST_STORY:
            story = f"{story[:_MOST_STORY]}…"
        # An image of data survives in notebooks that are not trusted, where SVG itself does not.
        picture = base64.b64encode(sequence_svg(exchanges, registries).encode()).decode()
        wide = width_of(exchanges, registries)
        return (
            f'<div>{head}{problem}<div style="overflow:auto"><img src="data:image/svg+xml;base64,{picture}" '
            f'alt="Who asks whom: {escape(NOTEBOOK)} and the daemon" '
            f'style="width:100%;max-width:{wide}px;min-width:{wide * 7 // 10}px"></div>'
            f"<details><summary>In words</summary><pre>{escape(story)}</pre></details></div>"
        )

    # ---------------------------------------------------------------------------------- inside

    def _told(self) -> tuple[Exchanges, tuple[RegistryTalk, ...]]:
        listener = self._listener
        if listener is not None:
            self._heard = (listener.exchanges(), listener.registries())
            if self._ended_ns is not None:
                self._listener = None  # nothing more comes
        return self._heard

    def _without_sessions(self) -> Exchanges:
        return Exchanges(one for one in self.exchanges if one.name != "Control.Session")

    def __getstate__(self) -> Mapping[str, Any]:
        return {
            "payloads": self.payloads,
            "problem": self.problem,
            "_heard": self._told(),
            "_began_ns": self._began_ns,
            "_ended_ns": time.time_ns() if self._ended_ns is None else self._ended_ns,
            "_listener": None,
            "_open": None,
            "_opened": None,
        }
