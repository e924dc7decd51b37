"""Logging in to Depot: a link for a person, and a file for the token. For both ways of waiting."""

from __future__ import annotations

import asyncio
import html
import os
import sys
from typing import Any

from depotlab._depot import DEFAULT_URL, Login, LoginBegun, begin_login, check_url
from depotlab._depot import logout as forget
from depotlab._portal import portal
from depotlab._verbs.apiface import check_timeout
from depotlab.errors import UsageError
from depotlab.widgets import is_in_kernel

__all__ = ["login", "login_async", "logout", "logout_async"]


def login(*, organization: str | None, url: str | None, timeout_s: float) -> Login:
    """Log in, and wait for the person. Ctrl-C gives up."""
    base_url = _checked(organization, url, timeout_s)
    begun = portal().run(begin_login(base_url))
    link = _Link(begun.approve_url)
    try:
        made = portal().run(_finish(begun, organization, timeout_s))
    except BaseException:
        link.end("The login was not made.")
        raise
    link.end(_told(made))
    return made


async def login_async(*, organization: str | None, url: str | None, timeout_s: float) -> Login:
    """Log in, from any event loop."""
    base_url = _checked(organization, url, timeout_s)
    begun = await portal().wait_for(begin_login(base_url))
    link = _Link(begun.approve_url)
    try:
        made = await portal().wait_for(_finish(begun, organization, timeout_s))
    except BaseException:
        link.end("The login was not made.")
        raise
    link.end(_told(made))
    return made


def logout() -> bool:
    """Forget the token that is kept for this user."""
    return forget()


async def logout_async() -> bool:
    """Forget it, from any event loop."""
    return await asyncio.to_thread(forget)


def _checked(organization: str | None, url: str | None, timeout_s: float) -> str:
    check_timeout(timeout_s)
    if organization is not None and (not isinstance(organization, str) or not organization):
        raise UsageError(
            f"organization={organization!r} must be an id.",
            hint="leave it out to take the only one that you belong to",
        )
    return check_url(url or os.environ.get("DEPOT_API_URL") or DEFAULT_URL)


def _told(made: Login) -> str:
    """Say that it is done, and what would be used instead of it all the same."""
    first = next((n for n in ("DEPOT_TOKEN", "DEPOT_API_TOKEN") if os.environ.get(n)), "")
    rest = f" The variable {first} is set, and comes before it." if first else ""
    return f"Done: {repr(made)[1:-1]}.{rest}"


async def _finish(begun: LoginBegun, organization: str | None, timeout_s: float) -> Login:
    try:
        return await begun.finish(organization=organization or "", timeout_s=timeout_s)
    finally:
        begun.close()


class _Link:
    """Shows where to go; in a notebook as a link, which a saved notebook has no more."""

    def __init__(self, url: str) -> None:
        self._handle: Any = None
        if is_in_kernel():
            from IPython.display import HTML, display

            address = html.escape(url)
            text = (
                f'Log in to Depot: <a href="{address}" target="_blank" rel="noopener">{address}</a>'
            )
            shown = HTML(text)  # type: ignore[no-untyped-call]
            self._handle = display(shown, display_id=True)  # type: ignore[no-untyped-call]
        else:
            _say(f"Open this page to log in to Depot:\n  {url}")

    def end(self, text: str) -> None:
        """Show how it went, instead of the link."""
        if self._handle is None:
            _say(text)
            return
        from IPython.display import HTML

        self._handle.update(HTML(html.escape(text)))  # type: ignore[no-untyped-call]


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
