"""Looking into builds: states held open on the daemon, their files, processes in them, failed steps."""

from depotlab._inside.awaiting import AwaitingLooks
from depotlab._inside.blocking import BlockingLooks
from depotlab._inside.browsing import Browser
from depotlab._inside.cachemounts import (
    AwaitingCacheMount,
    BlockingCacheMount,
    check_cache_mount,
)
from depotlab._inside.chunks import FileChunks
from depotlab._inside.commands import AnyMount, OnOutput, Stdin, Writer
from depotlab._inside.completed import Completed
from depotlab._inside.debugger import BreakAt, Stop
from depotlab._inside.debugging import AwaitingDebugger, BlockingDebugger, debug
from depotlab._inside.dockerfiles import lint, outline, stages, to_state
from depotlab._inside.failedstep import FailedStep
from depotlab._inside.gatewayruns import GatewayRuns
from depotlab._inside.layers import Differences, LayerInfo, Layers
from depotlab._inside.look import Lookable, LookOptions
from depotlab._inside.pastbuilds import (
    BuildInspection,
    history,
    inspect_build,
    pin,
    remove_record,
    replay_of,
    trace_of,
)
from depotlab._inside.running import Runnable, prepare_run, run, run_async, shell
from depotlab._inside.shell import Shell
from depotlab._inside.stepfiles import step_files

__all__ = [
    "AnyMount",
    "AwaitingCacheMount",
    "AwaitingDebugger",
    "AwaitingLooks",
    "BlockingCacheMount",
    "BlockingDebugger",
    "BlockingLooks",
    "BreakAt",
    "Browser",
    "BuildInspection",
    "Completed",
    "Differences",
    "FailedStep",
    "FileChunks",
    "GatewayRuns",
    "LayerInfo",
    "Layers",
    "LookOptions",
    "Lookable",
    "OnOutput",
    "Runnable",
    "Shell",
    "Stdin",
    "Stop",
    "Writer",
    "check_cache_mount",
    "debug",
    "history",
    "inspect_build",
    "lint",
    "outline",
    "pin",
    "prepare_run",
    "remove_record",
    "replay_of",
    "run",
    "run_async",
    "shell",
    "stages",
    "step_files",
    "to_state",
    "trace_of",
]
