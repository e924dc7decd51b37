"""Where things of this user lie on this machine."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["state_dir"]


def state_dir() -> Path:
    """Return the directory for what we remember from one session to the next.

    Source: XDG Base Directory Specification.
    """
    given = os.environ.get("XDG_STATE_HOME", "")
    return (Path(given) if given.startswith("/") else _home() / ".local/state") / "depotlab"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # a container under a user id that has no entry and no HOME
        return Path("/")
