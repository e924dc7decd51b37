"""What the two faces share: requests checked in the caller's line, and builds run on the I/O thread."""

from depotlab._verbs.builder import Answer, Builder
from depotlab._verbs.open import Opened, open_builder, open_local
from depotlab._verbs.reproducible import (
    Reproducibility,
    verify_reproducible,
    verify_reproducible_async,
)
from depotlab._verbs.request import (
    Attest,
    Auth,
    BuildRequest,
    Caches,
    OciLayouts,
    Outputs,
    Platforms,
    Secrets,
    SshAgents,
    Target,
    check_auth,
    prepare,
)
from depotlab._verbs.result import Build, BuildResult
from depotlab._verbs.running import start

__all__ = [
    "Answer",
    "Attest",
    "Auth",
    "Build",
    "BuildRequest",
    "BuildResult",
    "Builder",
    "Caches",
    "OciLayouts",
    "Opened",
    "Outputs",
    "Platforms",
    "Reproducibility",
    "Secrets",
    "SshAgents",
    "Target",
    "check_auth",
    "open_builder",
    "open_local",
    "prepare",
    "start",
    "verify_reproducible",
    "verify_reproducible_async",
]
