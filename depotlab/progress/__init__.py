"""What a build is doing: status messages become events, events fold into snapshots.

Values and functions; of all files only `_logs` touches a disk (one unnamed temporary file for long
logs). May import `_proto` (types only) and `errors`.
"""

from depotlab.progress._decode import clock_read, decode
from depotlab.progress._events import (
    BuildEnded,
    BuildStarted,
    BytesMoved,
    ClockRead,
    Event,
    LogWritten,
    Phase,
    ProgressGroup,
    TransferUpdated,
    VertexUpdated,
    WarningRaised,
)
from depotlab.progress._fold import Fold, fold
from depotlab.progress._lines import LineSplitter, LogLine, split_lines
from depotlab.progress._logs import LogStore, LogTail
from depotlab.progress._path import critical_path, idle_s
from depotlab.progress._snapshot import (
    BuildWarning,
    Counts,
    Interval,
    Snapshot,
    Step,
    StepState,
    Transfer,
)
from depotlab.progress._steps import Steps

__all__ = [
    "BuildEnded",
    "BuildStarted",
    "BuildWarning",
    "BytesMoved",
    "ClockRead",
    "Counts",
    "Event",
    "Fold",
    "Interval",
    "LineSplitter",
    "LogLine",
    "LogStore",
    "LogTail",
    "LogWritten",
    "Phase",
    "ProgressGroup",
    "Snapshot",
    "Step",
    "StepState",
    "Steps",
    "Transfer",
    "TransferUpdated",
    "VertexUpdated",
    "WarningRaised",
    "clock_read",
    "critical_path",
    "decode",
    "fold",
    "idle_s",
    "split_lines",
]


def __dir__() -> list[str]:
    return sorted(__all__)
