"""What the two faces share: requests checked in the caller's line, and builds run on the I/O thread."""

from depotlab._depot import DepotConfig
from depotlab._verbs.builder import Answer, Builder
from depotlab._verbs.depot import find_depot
from depotlab._verbs.depotfacts import DepotFacts
from depotlab._verbs.fanout import AllBuilt, Targets, build_all, build_all_async
from depotlab._verbs.open import AnyBuilder, Opened, open_builder, open_depot, open_local
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
    Save,
    Secrets,
    SshAgents,
    Target,
    check_auth,
    prepare,
)
from depotlab._verbs.result import Build, BuildResult
from depotlab._verbs.running import start

__all__ = [
    "AllBuilt",
    "Answer",
    "AnyBuilder",
    "Attest",
    "Auth",
    "Build",
    "BuildRequest",
    "BuildResult",
    "Builder",
    "Caches",
    "DepotConfig",
    "DepotFacts",
    "OciLayouts",
    "Opened",
    "Outputs",
    "Platforms",
    "Reproducibility",
    "Save",
    "Secrets",
    "SshAgents",
    "Target",
    "Targets",
    "build_all",
    "build_all_async",
    "check_auth",
    "find_depot",
    "open_builder",
    "open_depot",
    "open_local",
    "prepare",
    "start",
    "verify_reproducible",
    "verify_reproducible_async",
]
