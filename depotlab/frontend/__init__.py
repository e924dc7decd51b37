"""Frontends as values: Dockerfile builds, and Python functions that decide what to build.

The Dockerfile frontend runs in the daemon; this room only says which Dockerfile, which contexts and which options. A
function of yours (`@frontend.function`) runs here, beside the build. May import `_contexts`, `llb` and `errors`.
Source of the names: moby/buildkit `frontend/dockerui`.
"""

from depotlab.frontend._dockerfile import Dockerfile, dockerfile
from depotlab.frontend._function import FrontendCall, FrontendFunction, function

__all__ = ["Dockerfile", "FrontendCall", "FrontendFunction", "dockerfile", "function"]


def __dir__() -> list[str]:
    return sorted(__all__)
