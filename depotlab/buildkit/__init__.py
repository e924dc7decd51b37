"""The daemon's control API: ask it, and drive one build from request to result."""

from depotlab.buildkit.control import DaemonInfo, Worker, daemon_info, info, list_workers
from depotlab.buildkit.gateway import Bridge, ResolvedImage
from depotlab.buildkit.solve import SolveSpec, new_ref, solve

__all__ = [
    "Bridge",
    "DaemonInfo",
    "ResolvedImage",
    "SolveSpec",
    "Worker",
    "daemon_info",
    "info",
    "list_workers",
    "new_ref",
    "solve",
]
