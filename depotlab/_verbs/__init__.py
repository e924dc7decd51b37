"""What the two faces share: requests checked in the caller's line, and builds run on the I/O thread."""

from depotlab._depot import DepotConfig, Login
from depotlab._verbs.apiawaiting import DepotApi as AwaitingDepotApi
from depotlab._verbs.apiblocking import DepotApi as BlockingDepotApi
from depotlab._verbs.apiface import open_api
from depotlab._verbs.builder import Answer, Builder
from depotlab._verbs.commands import CommandRunner, run_commands_with
from depotlab._verbs.depot import MachineBuilders, find_depot
from depotlab._verbs.depotfacts import DepotFacts
from depotlab._verbs.depotstages import Stages
from depotlab._verbs.details import StepDetails, list_files_with
from depotlab._verbs.failures import (
    FailedBuild,
    failed_build,
    failed_steps,
    keep_failures_with,
    remember_failure,
)
from depotlab._verbs.fanout import AllBuilt, Targets, build_all, build_all_async
from depotlab._verbs.gatewayclient import AwaitingGateway, BlockingGateway
from depotlab._verbs.graphs import GraphBuild, Made
from depotlab._verbs.login import login, login_async, logout, logout_async
from depotlab._verbs.open import AnyBuilder, Opened, open_builder, open_depot, open_local
from depotlab._verbs.pull import pull, pull_async
from depotlab._verbs.pullrequest import Pulled, prepare_pull
from depotlab._verbs.reach import Reach, reach
from depotlab._verbs.recorded import open_recorded
from depotlab._verbs.recording import (
    AwaitingRecording,
    BlockingRecording,
    begin_recording,
    begin_recording_async,
)
from depotlab._verbs.reproducible import (
    Reproducibility,
    verify_reproducible,
    verify_reproducible_async,
)
from depotlab._verbs.request import (
    Attest,
    Auth,
    BuildRequest,
    Caches,
    OciLayouts,
    Outputs,
    Platforms,
    Save,
    Secrets,
    SshAgents,
    Target,
    check_auth,
    prepare,
)
from depotlab._verbs.result import Build, BuildResult, built_step, compare
from depotlab._verbs.running import start
from depotlab._verbs.solving import Solving
from depotlab._verbs.steps import BuiltStep
from depotlab._verbs.watched import watched

__all__ = [
    "AllBuilt",
    "Answer",
    "AnyBuilder",
    "Attest",
    "Auth",
    "AwaitingDepotApi",
    "AwaitingGateway",
    "AwaitingRecording",
    "BlockingDepotApi",
    "BlockingGateway",
    "BlockingRecording",
    "Build",
    "BuildRequest",
    "BuildResult",
    "Builder",
    "BuiltStep",
    "Caches",
    "CommandRunner",
    "DepotConfig",
    "DepotFacts",
    "FailedBuild",
    "GraphBuild",
    "Login",
    "MachineBuilders",
    "Made",
    "OciLayouts",
    "Opened",
    "Outputs",
    "Platforms",
    "Pulled",
    "Reach",
    "Reproducibility",
    "Save",
    "Secrets",
    "Solving",
    "SshAgents",
    "Stages",
    "StepDetails",
    "Target",
    "Targets",
    "begin_recording",
    "begin_recording_async",
    "build_all",
    "build_all_async",
    "built_step",
    "check_auth",
    "compare",
    "failed_build",
    "failed_steps",
    "find_depot",
    "keep_failures_with",
    "list_files_with",
    "login",
    "login_async",
    "logout",
    "logout_async",
    "open_api",
    "open_builder",
    "open_depot",
    "open_local",
    "open_recorded",
    "prepare",
    "prepare_pull",
    "pull",
    "pull_async",
    "reach",
    "remember_failure",
    "run_commands_with",
    "start",
    "verify_reproducible",
    "verify_reproducible_async",
    "watched",
]
