"""What is on this machine and what is missing: a list of findings, each with the command that fixes it.

Looking changes nothing and sends nothing, unless the network is asked for.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from depotlab.errors import EngineError

from . import _engine, _host, _hub, _places, _programs, _seed

_ENOUGH_BYTES = 5_000_000_000  # a base image, what is built on it, and the exported copy


@dataclass(frozen=True, slots=True)
class Check:
    """One finding.

    Attributes:
        name: What was looked at.
        ok: True is good, False stops the engine, None is worth knowing and stops nothing.
        found: What is there, in a few words.
        fix: The command or sentence that helps, or empty.
    """

    name: str
    ok: bool | None
    found: str
    fix: str = ""


def doctor(
    *, state_dir: str | os.PathLike[str] | None = None, network: bool = False
) -> tuple[Check, ...]:
    """Look at everything that the engine and the notebook need.

    Args:
        state_dir: Folder of the engine's state.
        network: Ask Docker Hub whether it answers.
    """
    state = _places.State(_places.state_dir(state_dir))
    checks = [_python(), _system()]
    if _host.is_linux():
        host = _host.look()
        checks += [_rights(host), _runtime()]
        checks += [_product(product) for product in _programs.products()]
        checks += [_cgroups(host), _overlayfs(), _disk(state.host_dir), _busybox(), _running(state)]
    checks += [*_packages(), _buildkit_host()]
    if network:
        checks.append(_docker_hub())
    return tuple(checks)


def render_checks(checks: Sequence[Check], *, width: int = 100) -> str:
    """Return the findings as aligned lines, each fix below its finding, for a terminal."""
    name_width = max(len(check.name) for check in checks)
    marks = {True: "✔", False: "✖", None: "•"}
    lines: list[str] = []
    for check in checks:
        head = f"{marks[check.ok]} {check.name:<{name_width}}  "
        lines += _wrapped(head, check.found, width)
        if check.fix:
            lines += _wrapped(" " * len(head) + "→ ", check.fix, width)
    return "\n".join(lines)


def _wrapped(head: str, text: str, width: int) -> Iterator[str]:
    """Break at spaces only: a path or a command's word stays whole, so that it can be copied."""
    line = head
    for word in text.split(" "):
        if len(line) > len(head) and len(line) + len(word) > width:
            yield line.rstrip()
            line = " " * len(head)
        line += word + " "
    yield line.rstrip()


def _python() -> Check:
    return Check("Python", sys.version_info >= (3, 11), platform.python_version())


def _system() -> Check:
    found = f"{platform.system()} {platform.release()}, {platform.machine()}"
    try:
        _host.refuse_other_systems()
    except EngineError as error:
        return Check("System", False, found, error.hint)
    return Check("System", True, found)


def _rights(host: _host.Host) -> Check:
    try:
        mode = _host.decide(host)
    except EngineError as error:
        return Check("Rights", False, error.message, error.hint)
    if not mode.rootless:
        return Check("Rights", True, "root")
    shared = "" if mode.process_sandbox else ", build steps see each other's processes"
    return Check("Rights", True, f"rootless, with {mode.rootlesskit}{shared}")


def _runtime() -> Check:
    program, reason = _programs.find_runtime()
    if program is None:
        return Check("OCI runtime", False, reason, _host.install_command("runc"))
    return Check("OCI runtime", True, f"{program.name} {program.version}, {program.host_path}")


def _product(product: _programs.Product) -> Check:
    program, reason = _programs.find(product)
    name = product.programs[0]
    if program is None:
        return Check(name, False, f"not installed ({reason})", "depotlab engine install")
    return Check(name, True, f"{program.version}, {program.host_path}")


def _cgroups(host: _host.Host) -> Check:
    if host.cgroups == "none":
        return Check(
            "Control groups",
            False,
            "none are mounted on /sys/fs/cgroup, and the OCI runtime needs them",
            "mount -t cgroup2 none /sys/fs/cgroup, as root",
        )
    if host.root and not any(os.access(p, os.W_OK) for p in _cgroup_folders()):
        return Check(
            "Control groups",
            False,
            f"{host.cgroups}, but read only, as in a container without rights",
            f"start the container with --privileged, or {_host.ELSEWHERE}",
        )
    return Check("Control groups", True, host.cgroups)


def _cgroup_folders() -> list[Path]:
    top = Path("/sys/fs/cgroup")
    return [top, *(top / name for name in ("pids", "memory", "unified"))]


def _overlayfs() -> Check:
    try:
        known = Path("/proc/filesystems").read_text(encoding="ascii").split()
    except OSError:
        known = []
    if "overlay" in known:
        return Check("File layers", True, "overlayfs")
    if _programs.which("fuse-overlayfs"):
        return Check("File layers", True, "fuse-overlayfs (the kernel's overlayfs is not loaded)")
    return Check(
        "File layers",
        None,
        "copies: slow and large, since the kernel's overlayfs is not loaded",
        "modprobe overlay, as root",
    )


def _disk(host_dir: Path) -> Check:
    existing = next(p for p in (host_dir, *host_dir.parents) if p.exists())
    free_bytes = shutil.disk_usage(existing).free
    found = f"{free_bytes / 1e9:.0f} GB free in {host_dir}"
    if free_bytes < _ENOUGH_BYTES:
        fix = "free some space, or set DEPOTLAB_STATE to a folder on a larger disk"
        return Check("Disk", None, found, fix)
    return Check("Disk", True, found)


def _busybox() -> Check:
    try:
        image = _seed.system_image()
    except EngineError as error:
        return Check("Offline busybox", None, error.message, error.hint.removeprefix("run: "))
    return Check("Offline busybox", True, f"{', '.join(image.tags)}: from this system's own")


def _running(state: _places.State) -> Check:
    status = _engine.status(state_dir=state.host_dir)
    if status.running:
        users = len(status.lease_pids)
        shared = f"{users} process{'' if users == 1 else 'es'} using it"
        return Check("Engine", True, f"runs at {status.address}, {shared}")
    if status.phase != "stopped":
        return Check("Engine", None, status.phase)
    ended = f"; the last one ended because {status.last_end}" if status.last_end else ""
    return Check("Engine", None, f"not running, starts when needed{ended}")


def _packages() -> Iterator[Check]:
    import importlib.metadata  # as long to import as the rest of this room

    for name, extra in (("ipywidgets", "notebook"), ("jupyterlab", "")):
        fix = f"pip install 'depotlab[{extra}]'" if extra else f"pip install {name}"
        try:
            yield Check(name, True, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Check(name, None, "not installed, and needed in a notebook only", fix)


def _buildkit_host() -> Check:
    value = os.environ.get("BUILDKIT_HOST")
    if value:
        return Check("BUILDKIT_HOST", None, f"{value}: dl.connect() goes there, not to the engine")
    return Check("BUILDKIT_HOST", None, "not set")


def _docker_hub() -> Check:
    if _hub.answers(timeout_s=5.0):
        return Check("Docker Hub", True, "answers")
    return Check(
        "Docker Hub",
        None,
        "does not answer; images must come from the engine's own registry",
        "connect to the network, or set HTTPS_PROXY, or run `depotlab engine seed`",
    )
