"""What past builds on this computer were: graphs, steps and listings, kept to say why a step ran again.

May import `buildkit`, `llb`, `progress`, `_proto` and `errors`.
"""

from depotlab._past.build import PastBuild, PastGraph, PastOp, PastStep
from depotlab._past.cause import Cause, CauseKind, StepReason, Why
from depotlab._past.choose import choose
from depotlab._past.difference import Difference, compare_builds
from depotlab._past.kept import KeptBuild, KeptBuilds
from depotlab._past.listing import FileChange
from depotlab._past.made import Ended, past_of
from depotlab._past.store import Kept, Store, find_store, listing_digest, past
from depotlab._past.why import explain

__all__ = [
    "Cause",
    "CauseKind",
    "Difference",
    "Ended",
    "FileChange",
    "Kept",
    "KeptBuild",
    "KeptBuilds",
    "PastBuild",
    "PastGraph",
    "PastOp",
    "PastStep",
    "StepReason",
    "Store",
    "Why",
    "choose",
    "compare_builds",
    "explain",
    "find_store",
    "listing_digest",
    "past",
    "past_of",
]
