"""How much a build service takes on."""

from __future__ import annotations

from dataclasses import dataclass, fields

from depotlab._values import Value
from depotlab.errors import ServiceError

__all__ = ["Limits"]

_MIB, _GIB = 1 << 20, 1 << 30


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class Limits(Value):
    """How much a build service takes on. Whole numbers, each at least 1.

    Attributes:
        max_running: Builds that run at the same time.
        max_machines: Projects that build at the same time: each has a machine of its own.
        max_per_project: Builds of one project that run at the same time.
        max_queued: Builds that wait for their turn.
        max_queued_per_project: Of them, those of one project.
        max_uploads_per_project: Upload URLs of one project that are good and were not used for a build yet.
        max_context_bytes: Of an archive as it is uploaded.
        max_unpacked_bytes: Of what is in it.
        max_log_bytes_per_build: Of the text of a build's log that is kept here; telemetry gets all of it.
        upload_expires_s: How long an upload URL is good.
        max_attempts: How often a build is tried.
        max_retry_s: How long after its first try a build may be tried again.
        build_timeout_s: How long one try may take.
        max_requests_per_minute: Of each token, over the network.
        max_builds_per_hour: Of each project, over the network.
        keep_days: How long builds, their logs, their contexts and idempotency keys are kept after they ended.

    Raises:
        ServiceError: `invalid_argument`: a number cannot be one.

    Example:
        >>> Limits(max_machines=20, max_running=40).max_per_project
        2
    """

    max_running: int = 8
    max_machines: int = 4
    max_per_project: int = 2
    max_queued: int = 1000
    max_queued_per_project: int = 200
    max_uploads_per_project: int = 1000
    max_context_bytes: int = _GIB
    max_unpacked_bytes: int = 8 * _GIB
    max_log_bytes_per_build: int = 64 * _MIB
    upload_expires_s: int = 900
    max_attempts: int = 5
    max_retry_s: int = 1800
    build_timeout_s: int = 3600
    max_requests_per_minute: int = 1200
    max_builds_per_hour: int = 600
    keep_days: int = 30

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ServiceError(
                    f"Limits({field.name}={value!r}) must be a whole number, at least 1.",
                    code="invalid_argument",
                    hint=f"leave it out for {field.default}",
                )
