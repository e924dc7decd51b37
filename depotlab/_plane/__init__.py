"""Depot's control plane on this computer: its API, its machines, its registry.

May import `_local`, `_rpc`, `_docker`, `_oci`, `_proto` and `errors`; shares nothing with `_depot` but the wire.
`command` and what is listed here need no more than that; `up` (with `Plane`) needs the extra `plane`: ask
`need_extra` first, and import it where it is used.
"""

from depotlab._plane import command
from depotlab._plane.background import PlaneLease, lease_plane
from depotlab._plane.presence import PlaneStatus, need_extra, plane_dir, status

__all__ = [
    "PlaneLease",
    "PlaneStatus",
    "command",
    "lease_plane",
    "need_extra",
    "plane_dir",
    "status",
]
