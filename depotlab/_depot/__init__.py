"""The Depot API: configuration, projects, builds, organizations, over Connect.

May import `_session`, `_rpc`, `export`, `_proto` and `errors`.
"""

from depotlab._depot.address import DEFAULT_URL, check_url
from depotlab._depot.api import DEFAULT_REGION, Api, Builds, Projects
from depotlab._depot.build import (
    REGISTRY_HOST,
    DepotBuild,
    ImageTag,
    RegistryUse,
    through_cancellation,
)
from depotlab._depot.config import DepotConfig, Setting, config_file, find_config
from depotlab._depot.connect import Connect, Method
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
    TlsFailed,
    Unauthenticated,
    Unavailable,
)
from depotlab._depot.fleet import Fleet
from depotlab._depot.images import Images, PullInfo, PullToken, SavedImage
from depotlab._depot.listing import Listed, Listing, counted
from depotlab._depot.login import Login, LoginBegun, begin_login, login, logout
from depotlab._depot.machine import ACQUIRE_S, Machine, Probe
from depotlab._depot.options import COMMANDS, BuildOptions, DaggerEngine
from depotlab._depot.outcome import Outcome
from depotlab._depot.pages import Pages
from depotlab._depot.platforms import emulated, machine_platform, machines_for
from depotlab._depot.register import register, resume
from depotlab._depot.retry import Retry
from depotlab._depot.stages import STAGES, Report, Stage
from depotlab._depot.status import StatusMirror
from depotlab._depot.steps import BuildStep, StepLog
from depotlab._depot.tables import Table, table
from depotlab._depot.usage import (
    BuildUsage,
    JobUsage,
    ProjectUsage,
    RepositoryUsage,
    SandboxUsage,
    StorageUsage,
    Usage,
    Usages,
)
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
    "ACQUIRE_S",
    "COMMANDS",
    "DEFAULT_REGION",
    "DEFAULT_URL",
    "HARDWARE",
    "REGISTRY_HOST",
    "STAGES",
    "Api",
    "BadReply",
    "Build",
    "BuildOptions",
    "BuildStep",
    "BuildUsage",
    "Builds",
    "CachePolicy",
    "Connect",
    "DaggerEngine",
    "DeadlineExceeded",
    "DepotBuild",
    "DepotConfig",
    "DepotError",
    "Fleet",
    "IdentityFailed",
    "ImageTag",
    "Images",
    "InvalidRequest",
    "JobUsage",
    "Listed",
    "Listing",
    "Login",
    "LoginBegun",
    "Machine",
    "Method",
    "NewToken",
    "NoToken",
    "NotFound",
    "Organization",
    "Outcome",
    "Pages",
    "PermissionDenied",
    "Probe",
    "Project",
    "ProjectUsage",
    "Projects",
    "PullInfo",
    "PullToken",
    "RegistryUse",
    "Report",
    "RepositoryUsage",
    "ResourceExhausted",
    "Retry",
    "SandboxUsage",
    "SavedImage",
    "Setting",
    "Stage",
    "StatusMirror",
    "StepLog",
    "StorageUsage",
    "Table",
    "TlsFailed",
    "Token",
    "TrustPolicy",
    "Unauthenticated",
    "Unavailable",
    "Usage",
    "Usages",
    "begin_login",
    "check_url",
    "config_file",
    "counted",
    "emulated",
    "find_config",
    "login",
    "logout",
    "machine_platform",
    "machines_for",
    "register",
    "resume",
    "table",
    "through_cancellation",
]
