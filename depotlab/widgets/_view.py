"""What a view is: three calls with snapshots. The quiet view, which shows nothing."""

from __future__ import annotations

from typing import Protocol

from depotlab.progress import Snapshot

__all__ = ["QuietView", "View"]


class View(Protocol):
    """A function of snapshots with somewhere to show them.

    One thread makes all three calls: `open` once, `show` any number of times, `close` once
    with the last snapshot. A view may raise; `Ticker` then turns it off.
    """

    def open(self, snapshot: Snapshot) -> None:
        """Show that something has begun."""

    def show(self, snapshot: Snapshot) -> None:
        """Show this moment instead of the one before."""

    def close(self, snapshot: Snapshot) -> None:
        """Leave the end state behind and give up all resources."""


class QuietView:
    """Shows nothing."""

    def open(self, snapshot: Snapshot) -> None:
        """Do nothing."""

    def show(self, snapshot: Snapshot) -> None:
        """Do nothing."""

    def close(self, snapshot: Snapshot) -> None:
        """Do nothing."""
