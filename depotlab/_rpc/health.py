"""The health service, without which the daemon drops a session after two unanswered checks.

Every five seconds it calls `Check`, and any OK counts; the status in it is not looked at. `Watch` is left
out, so that it ends with UNIMPLEMENTED. Source: moby/buildkit `session/grpc.go`; grpc/grpc `doc/health-checking.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from depotlab._rpc.call import Handler
from depotlab._rpc.handlers import Instant

__all__ = ["HEALTH", "HEALTH_CHECK"]

HEALTH_CHECK = "/grpc.health.v1.Health/Check"
_SERVING = b"\x08\x01"  # HealthCheckResponse{status=1: SERVING}

HEALTH: Mapping[str, Handler] = MappingProxyType({HEALTH_CHECK: Instant(lambda _: _SERVING)})
"""Merge this into the handlers of every `InnerServer`."""
