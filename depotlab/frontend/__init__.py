"""Dockerfile builds as values: what to ask the Dockerfile frontend for.

The frontend runs in the daemon; this room only says which Dockerfile, which contexts and which options. May
import `_contexts`, `llb` and `errors`. Source of the names: moby/buildkit `frontend/dockerui`.
"""

from depotlab.frontend._dockerfile import Dockerfile, dockerfile

__all__ = ["Dockerfile", "dockerfile"]
