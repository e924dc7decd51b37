"""What the two faces of the Depot API are made of, and how it is reached.

The API itself is asynchronous, is written once (`_depot`), and lives on the I/O thread. A face is a class whose methods
are those of the API, carried over: name, arguments and docstring stay, only the way to wait differs. Type checkers
follow it through `ParamSpec`, notebooks through `__wrapped__`.
"""

from __future__ import annotations

import os
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from depotlab._depot import Api
from depotlab._portal import Portal, portal
from depotlab._values import Value
from depotlab._verbs.reach import Reach, reach
from depotlab.errors import UsageError

__all__ = ["ApiFace", "Face", "OpenedApi", "check_timeout", "open_api"]

CoreT = TypeVar("CoreT")


class Face(Value, Generic[CoreT]):
    """A part of the API for one way of waiting.

    Args:
        core: The part itself; to be used on the I/O thread only.
    """

    def __init__(self, core: CoreT) -> None:
        self._core = core

    def __repr__(self) -> str:
        parts = ", ".join(name for name in dir(self) if not name.startswith("_"))
        return f"<{type(self).__name__.lower()} of the Depot API: {parts}>"


@dataclass(frozen=True, slots=True)
class OpenedApi:
    """The API, and what it must let go of at the end.

    Attributes:
        api: To be used on the I/O thread only.
        reach: How it is reached.
    """

    api: Api
    reach: Reach

    async def close(self) -> None:
        """Close the connections, and give up the Depot of this computer if it was started for us."""
        self.api.close()
        await self.reach.release()


async def open_api(
    *,
    token: str | None,
    organization: str | None,
    url: str | None,
    local: bool | str | Path,
    timeout_s: float,
) -> OpenedApi:
    """Reach the API. Connects when it is first asked something.

    Raises:
        NoToken: There is none.
        UsageError: A value cannot be used.
    """
    check_timeout(timeout_s)
    reached = await reach(token=token, organization=organization, url=url, local=local)
    config = reached.config
    api = Api(config.connect(timeout_s=timeout_s), organization_id=config.organization.value)
    return OpenedApi(api, reached)


def check_timeout(timeout_s: float) -> None:
    """Check a limit.

    Raises:
        UsageError: It is no number of seconds.
    """
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float) or timeout_s <= 0:
        raise UsageError(
            f"timeout_s={timeout_s!r} must be a number of seconds, more than 0.",
            hint="for example timeout_s=60",
        )


class ApiFace(Face[Api]):
    """The API as a whole: closes what nobody holds any more."""

    def __init__(self, opened: OpenedApi) -> None:
        super().__init__(opened.api)
        self._opened = opened
        # A notebook forgets its clients rather than closing them. At exit everything goes anyway.
        self._forgotten = weakref.finalize(self, _let_go, opened, portal(), os.getpid())
        self._forgotten.atexit = False

    @property
    def url(self) -> str:
        """Where the API is."""
        return self._core.url

    def __repr__(self) -> str:
        return repr(self._core)


def _let_go(opened: OpenedApi, on: Portal, pid: int) -> None:
    """Close from wherever the collector runs, so without taking a lock. A forked child has nothing to close."""
    if os.getpid() == pid:
        on.submit(opened.close())
