"""Whether Docker Hub answers, which decides who is asked first for an image of docker.io."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from depotlab.errors import EngineError

from ._config import HUB_HOST

_PATIENCE_S = 1.0


def answers(*, timeout_s: float = _PATIENCE_S) -> bool:
    """Return whether Docker Hub's registry answers. One request, through a proxy if one is set."""
    import urllib.error  # with http and ssl behind it, too much to import for nothing
    import urllib.request

    try:
        with urllib.request.urlopen(f"https://{HUB_HOST}/v2/", timeout=timeout_s):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return error.code == 401  # "log in", which is what it says to everyone
    except (OSError, ValueError):
        return False


def ask_in_background() -> Callable[[], bool]:
    """Start asking; the returned function waits for the answer, a second at most.

    `DEPOTLAB_DOCKER_HUB` set to `first` or `last` decides without asking.

    Raises:
        EngineError: The variable has another value.
    """
    chosen = os.environ.get("DEPOTLAB_DOCKER_HUB", "auto")
    if chosen in ("first", "last"):
        return lambda: chosen == "first"
    if chosen != "auto":
        raise EngineError(
            f"DEPOTLAB_DOCKER_HUB is {chosen!r}.", hint="set it to first, last or auto"
        )
    answer: list[bool] = []
    # A thread, because a name server that is not there holds the lookup longer than any timeout.
    asking = threading.Thread(target=lambda: answer.append(answers()), daemon=True)
    asking.start()

    def wait() -> bool:
        asking.join(_PATIENCE_S)
        return answer == [True]

    return wait
