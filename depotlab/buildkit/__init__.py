"""The daemon's control API: ask it, and drive one build from request to result."""

from depotlab.buildkit.attempts import Attempt, Connect, Solved, solve_with_retry
from depotlab.buildkit.attest import attestations
from depotlab.buildkit.caps import Capabilities, capabilities
from depotlab.buildkit.control import DaemonInfo, Worker, daemon_info, info, list_workers
from depotlab.buildkit.gateway import Bridge, ResolvedImage
from depotlab.buildkit.prune import Pruned, prune
from depotlab.buildkit.solve import solve
from depotlab.buildkit.spec import CacheEntry, SolveSpec, new_ref
from depotlab.buildkit.usage import DiskUsage, UsageRecord, disk_usage

__all__ = [
    "Attempt",
    "Bridge",
    "CacheEntry",
    "Capabilities",
    "Connect",
    "DaemonInfo",
    "DiskUsage",
    "Pruned",
    "ResolvedImage",
    "SolveSpec",
    "Solved",
    "UsageRecord",
    "Worker",
    "attestations",
    "capabilities",
    "daemon_info",
    "disk_usage",
    "info",
    "list_workers",
    "new_ref",
    "prune",
    "solve",
    "solve_with_retry",
]
