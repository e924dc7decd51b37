"""What is typed in a page, in the order in which it was typed.

Right after a page was loaded again, keys were seen to arrive in another order than they were typed. A front end may
send the messages of a widget to a subshell of the kernel, which hears it on a thread of its own, beside the main one.
So the page numbers what it sends, and here it is put in order. Source: JupyterLab's setting `commsOverSubshells`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["InOrder"]


class InOrder:
    """Hands on what pages sent, from any thread.

    Args:
        deliver: Takes what was typed, one call after the other; must return soon.
    """

    def __init__(self, deliver: Callable[[bytes], None]) -> None:
        self._deliver = deliver
        self._lock = threading.Lock()
        self._next: dict[str, int] = {}
        self._early: dict[str, dict[int, bytes]] = {}

    def take(self, page: str, number: int, data: bytes) -> None:
        """Take one piece, and deliver it and those that waited for it.

        Args:
            page: Of which loading of a page it is.
            number: Its place among the pieces of that, from 0.
            data: What was typed.
        """
        with self._lock:
            early = self._early.setdefault(page, {})
            early[number] = data
            while (due := self._next.get(page, 0)) in early:
                self._next[page] = due + 1
                self._deliver(early.pop(due))
