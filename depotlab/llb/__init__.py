"""Build graphs in Python: values in, BuildKit's bytes and digests out. No daemon, no network.

A pure room: of depotlab it imports `errors`, and `_graph` for its pictures. Source text of the user is read
only to show it, through `linecache`.
"""

from depotlab.llb._actions import (
    Bound,
    CopyOptions,
    FileAction,
    copy,
    mkdir,
    mkfile,
    rm,
    symlink,
)
from depotlab.llb._compare import Change, Comparison, Field, compare
from depotlab.llb._config import Healthcheck, ImageConfig
from depotlab.llb._definition import Definition
from depotlab.llb._execop import Device, Proxy
from depotlab.llb._graph import Passthrough, build, diff, lazy, merge, passthrough
from depotlab.llb._lineage import Stage, lineage, step_state
from depotlab.llb._load import load
from depotlab.llb._meta import OpMetadata, OpOptions, Options, ProgressGroup, Resources
from depotlab.llb._mount import Mount, Secret, Ssh
from depotlab.llb._needs import Need, check_needs, needs
from depotlab.llb._panes import Panes
from depotlab.llb._picture import Picture
from depotlab.llb._platform import Platform, host_platform
from depotlab.llb._reference import Reference, parse_reference
from depotlab.llb._remote import git, http
from depotlab.llb._rewrite import ImageRef, unresolved
from depotlab.llb._shlex import shlex
from depotlab.llb._sourcemap import Location, Range, SourceMap
from depotlab.llb._sources import (
    image,
    image_blob,
    local,
    oci_layout,
    oci_layout_blob,
    scratch,
    source,
)
from depotlab.llb._state import Exec, State
from depotlab.llb._todockerfile import DockerfileText
from depotlab.llb._view import OpView
from depotlab.llb._where import capture_source

__all__ = [
    "Bound",
    "Change",
    "Comparison",
    "CopyOptions",
    "Definition",
    "Device",
    "DockerfileText",
    "Exec",
    "Field",
    "FileAction",
    "Healthcheck",
    "ImageConfig",
    "ImageRef",
    "Location",
    "Mount",
    "Need",
    "OpMetadata",
    "OpOptions",
    "OpView",
    "Options",
    "Panes",
    "Passthrough",
    "Picture",
    "Platform",
    "ProgressGroup",
    "Proxy",
    "Range",
    "Reference",
    "Resources",
    "Secret",
    "SourceMap",
    "Ssh",
    "Stage",
    "State",
    "build",
    "capture_source",
    "check_needs",
    "compare",
    "copy",
    "diff",
    "git",
    "host_platform",
    "http",
    "image",
    "image_blob",
    "lazy",
    "lineage",
    "load",
    "local",
    "merge",
    "mkdir",
    "mkfile",
    "needs",
    "oci_layout",
    "oci_layout_blob",
    "parse_reference",
    "passthrough",
    "rm",
    "scratch",
    "shlex",
    "source",
    "step_state",
    "symlink",
    "unresolved",
]


def __dir__() -> list[str]:
    return sorted(__all__)
