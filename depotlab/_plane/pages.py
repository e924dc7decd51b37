"""Lists in pages: how long one is, and the opaque token that says where the next one begins."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar

from depotlab._serving import Fault

__all__ = ["DEFAULT_PAGE", "LONGEST_PAGE", "Window", "window"]

T = TypeVar("T")

DEFAULT_PAGE = 50
LONGEST_PAGE = 500


class Window:
    """Which part of a list is wanted: at most `size` rows that come after the key `after`.

    Attributes:
        size: Rows of one page, 1 to `LONGEST_PAGE`.
        after: Key of the last row of the page before; None for the first page.
    """

    def __init__(self, what: str, size: int, after: int | None) -> None:
        self._what = what
        self.size = size
        self.after = after

    def cut(self, rows: Sequence[T], key: Callable[[T], int]) -> tuple[Sequence[T], str]:
        """Split what `size + 1` rows were asked for into a page and the token of the next, or ""."""
        if len(rows) <= self.size:
            return rows, ""
        page = rows[: self.size]
        text = f"{self._what} {key(page[-1])}"
        return page, base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def window(what: str, size: int, token: str) -> Window:
    """Read the two paging fields of a request.

    Args:
        what: Names the list with its owner; a token of another list is refused.
        size: As asked; nothing or nonsense means `DEFAULT_PAGE`, and more than the longest is cut.
        token: As an earlier page gave it; empty for the first.

    Raises:
        Fault: The token is not one of this list.
    """
    size = min(size, LONGEST_PAGE) if size > 0 else DEFAULT_PAGE
    if not token:
        return Window(what, size, None)
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
        of, _, key = text.rpartition(" ")
        after = int(key)
    except (binascii.Error, ValueError) as error:
        raise Fault("invalid_argument", "this page_token was not given by this server") from error
    if of != what:
        raise Fault("invalid_argument", "this page_token belongs to another list")
    return Window(what, size, after)
