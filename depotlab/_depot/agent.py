"""How we introduce ourselves to servers."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version

__all__ = ["in_ci", "user_agent"]

# What the CI systems set. Source: each one's documentation of its variables.
_CI_VARIABLES = (
    "CI",
    "GITHUB_ACTIONS",
    "GITLAB_CI",
    "CIRCLECI",
    "BUILDKITE",
    "TF_BUILD",
    "JENKINS_URL",
)


def in_ci(environ: Mapping[str, str] | None = None) -> bool:
    """Whether a CI system runs us."""
    environ = os.environ if environ is None else environ
    return any(environ.get(name, "") not in ("", "0", "false") for name in _CI_VARIABLES)


@cache
def user_agent() -> str:
    """Return name, version, system, architecture, and whether this is CI.

    Example:
        >>> user_agent().partition("/")[0]
        'depotlab'
    """
    try:
        ours = version("depotlab")
    except PackageNotFoundError:  # run from a checkout that is not installed
        ours = "0"
    words = ("depotlab", ours, platform.system().lower(), platform.machine().lower())
    return "/".join((*words, "ci" if in_ci() else "user"))
