"""The daemon's control API: ask it, and drive one build from request to result."""

from depotlab.buildkit.control import DaemonInfo, Worker, daemon_info, info, list_workers

__all__ = ["DaemonInfo", "Worker", "daemon_info", "info", "list_workers"]
