"""The daemon's control API: ask it, and drive one build from request to result."""

from depotlab.buildkit.attempts import Attempt, Connect, Solved, solve_with_retry
from depotlab.buildkit.attest import attestations
from depotlab.buildkit.attested import Attestation, Material, Package, Provenance, Sbom, attestation
from depotlab.buildkit.caps import Capabilities, ask_capabilities, capabilities
from depotlab.buildkit.containers import Container, ExecPlan, MountPlan, open_container, part_of
from depotlab.buildkit.control import DaemonInfo, Worker, Workers, daemon_info, info, list_workers
from depotlab.buildkit.covered import COVER, covered, covered_value, looks_secret, without_passwords
from depotlab.buildkit.dockerfacts import (
    Argument,
    Lint,
    LintFinding,
    Outline,
    Stage,
    Stages,
    lint_of,
    outline_of,
    stages_of,
)
from depotlab.buildkit.failedop import FailedOp
from depotlab.buildkit.faults import Details, from_failure, parse_details
from depotlab.buildkit.filechanges import FileChange, file_changes
from depotlab.buildkit.fileinfo import FileInfo, FileKind, Listing
from depotlab.buildkit.files import (
    CHUNK_BYTES,
    Files,
    GuestPath,
    check_range,
    decoded,
    guest_path,
)
from depotlab.buildkit.filetree import FileTree, SizeEntry, Sizes
from depotlab.buildkit.gateway import (
    Bridge,
    ResolvedImage,
    ResolvedSource,
    SolvedRef,
    SolvedResult,
)
from depotlab.buildkit.history import (
    find_record,
    list_history,
    read_blob,
    read_error,
    read_events,
    read_trace,
    update_record,
)
from depotlab.buildkit.processes import Exit, Process
from depotlab.buildkit.prune import Pruned, prune
from depotlab.buildkit.records import Blob, BuildRecord, History
from depotlab.buildkit.shown import bar, bytes_text, cut, table_html
from depotlab.buildkit.solve import solve
from depotlab.buildkit.sourcelines import source_lines
from depotlab.buildkit.spec import CacheEntry, SolveSpec, new_ref
from depotlab.buildkit.trace import Span, Trace
from depotlab.buildkit.tunnel import Tunnel, open_session
from depotlab.buildkit.usage import DiskUsage, UsageRecord, disk_usage
from depotlab.buildkit.walks import find, matcher, sizes, tree, walk

__all__ = [
    "CHUNK_BYTES",
    "COVER",
    "Argument",
    "Attempt",
    "Attestation",
    "Blob",
    "Bridge",
    "BuildRecord",
    "CacheEntry",
    "Capabilities",
    "Connect",
    "Container",
    "DaemonInfo",
    "Details",
    "DiskUsage",
    "ExecPlan",
    "Exit",
    "FailedOp",
    "FileChange",
    "FileInfo",
    "FileKind",
    "FileTree",
    "Files",
    "GuestPath",
    "History",
    "Lint",
    "LintFinding",
    "Listing",
    "Material",
    "MountPlan",
    "Outline",
    "Package",
    "Process",
    "Provenance",
    "Pruned",
    "ResolvedImage",
    "ResolvedSource",
    "Sbom",
    "SizeEntry",
    "Sizes",
    "SolveSpec",
    "Solved",
    "SolvedRef",
    "SolvedResult",
    "Span",
    "Stage",
    "Stages",
    "Trace",
    "Tunnel",
    "UsageRecord",
    "Worker",
    "Workers",
    "ask_capabilities",
    "attestation",
    "attestations",
    "bar",
    "bytes_text",
    "capabilities",
    "check_range",
    "covered",
    "covered_value",
    "cut",
    "daemon_info",
    "decoded",
    "disk_usage",
    "file_changes",
    "find",
    "find_record",
    "from_failure",
    "guest_path",
    "info",
    "lint_of",
    "list_history",
    "list_workers",
    "looks_secret",
    "matcher",
    "new_ref",
    "open_container",
    "open_session",
    "outline_of",
    "parse_details",
    "part_of",
    "prune",
    "read_blob",
    "read_error",
    "read_events",
    "read_trace",
    "sizes",
    "solve",
    "solve_with_retry",
    "source_lines",
    "stages_of",
    "table_html",
    "tree",
    "update_record",
    "walk",
    "without_passwords",
]
