"""The Depot API: configuration, projects, builds, organizations, over Connect.

May import `_session`, `_rpc`, `export`, `_proto` and `errors`.
"""

from depotlab._depot.api import DEFAULT_REGION, Api, Builds, Projects
from depotlab._depot.config import DepotConfig, Setting, config_file, find_config
from depotlab._depot.connect import DEFAULT_URL, Connect, Method
from depotlab._depot.errors import (
    BadReply,
    DeadlineExceeded,
    DepotError,
    IdentityFailed,
    InvalidRequest,
    NotFound,
    NoToken,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from depotlab._depot.pages import Pages
from depotlab._depot.retry import Retry
from depotlab._depot.values import (
    HARDWARE,
    Build,
    CachePolicy,
    NewToken,
    Organization,
    Project,
    Token,
    TrustPolicy,
)

__all__ = [
    "DEFAULT_REGION",
    "DEFAULT_URL",
    "HARDWARE",
    "Api",
    "BadReply",
    "Build",
    "Builds",
    "CachePolicy",
    "Connect",
    "DeadlineExceeded",
    "DepotConfig",
    "DepotError",
    "IdentityFailed",
    "InvalidRequest",
    "Method",
    "NewToken",
    "NoToken",
    "NotFound",
    "Organization",
    "Pages",
    "PermissionDenied",
    "Project",
    "Projects",
    "ResourceExhausted",
    "Retry",
    "Setting",
    "Token",
    "TrustPolicy",
    "Unauthenticated",
    "Unavailable",
    "config_file",
    "find_config",
]
