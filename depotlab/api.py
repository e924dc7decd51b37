"""What the Depot API is about: the values that `depotlab.depot_api()` takes and gives, and how its calls fail.

    api = depotlab.depot_api()
    api.projects.create("app", cache_policy=depotlab.api.CachePolicy(keep_gb=25, keep_days=7))

    try:
        api.projects.get("0123456789")
    except depotlab.api.NotFound:
        ...

Values are frozen, and do not change when the server's do. None of them shows a secret.
"""

from __future__ import annotations

from depotlab._depot import (
    DEFAULT_REGION,
    HARDWARE,
    BadReply,
    Build,
    BuildStep,
    BuildUsage,
    CachePolicy,
    DeadlineExceeded,
    DepotError,
    IdentityFailed,
    InvalidRequest,
    JobUsage,
    Listing,
    Login,
    NewToken,
    NotFound,
    NoToken,
    Organization,
    PermissionDenied,
    Project,
    ProjectUsage,
    PullInfo,
    PullToken,
    RepositoryUsage,
    ResourceExhausted,
    SandboxUsage,
    SavedImage,
    StepLog,
    StorageUsage,
    Table,
    TlsFailed,
    Token,
    TrustPolicy,
    Unauthenticated,
    Unavailable,
    Usage,
)

__all__ = [
    "DEFAULT_REGION",
    "HARDWARE",
    "BadReply",
    "Build",
    "BuildStep",
    "BuildUsage",
    "CachePolicy",
    "DeadlineExceeded",
    "DepotError",
    "IdentityFailed",
    "InvalidRequest",
    "JobUsage",
    "Listing",
    "Login",
    "NewToken",
    "NoToken",
    "NotFound",
    "Organization",
    "PermissionDenied",
    "Project",
    "ProjectUsage",
    "PullInfo",
    "PullToken",
    "RepositoryUsage",
    "ResourceExhausted",
    "SandboxUsage",
    "SavedImage",
    "StepLog",
    "StorageUsage",
    "Table",
    "TlsFailed",
    "Token",
    "TrustPolicy",
    "Unauthenticated",
    "Unavailable",
    "Usage",
]


def __dir__() -> list[str]:
    return sorted(__all__)
