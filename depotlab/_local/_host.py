"""What this machine lets us do: which system it is, and whether containers can be made, and how.

Facts are gathered in one place (`look`) and judged in another (`decide`), which is a function of
values and says for every machine either how the engine runs there or what is in the way.
"""

from __future__ import annotations

import getpass
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from depotlab.errors import EngineError

from ._programs import which

_CAP_SYS_ADMIN = 21  # bit number. Source: Linux include/uapi/linux/capability.h

# Command, its verb, and the packages that are called otherwise than on Debian.
_MANAGERS: dict[str, tuple[str, dict[str, str]]] = {
    "apt-get": ("install -y", {}),
    "dnf": ("install -y", {"uidmap": "shadow-utils", "busybox-static": "busybox"}),
    "pacman": ("-S --noconfirm", {"uidmap": "shadow", "busybox-static": "busybox"}),
    "apk": ("add", {"uidmap": "shadow-uidmap"}),
}

ELSEWHERE = "use another builder: dl.depot(...), or dl.connect(...) with the address of a BuildKit"


def is_linux() -> bool:
    """Return whether the engine can run on this kind of system at all."""
    return platform.system() == "Linux"


def refuse_other_systems() -> None:
    """Raise on a system where the engine cannot run.

    Raises:
        EngineError: This is not Linux.
    """
    if is_linux():
        return
    name = {"Darwin": "macOS"}.get(platform.system(), platform.system())
    raise EngineError(
        f"The embedded engine needs Linux, and this is {name} ({platform.machine()}).",
        hint=f"on {name} start Docker Desktop, Colima or a Linux machine and give its BuildKit to "
        "dl.connect(...), for example docker-container://NAME, or use dl.depot(...)",
    )


@dataclass(frozen=True, slots=True)
class Host:
    """Facts about this machine.

    Attributes:
        root: We are root (of this container, at least).
        may_mount: We hold CAP_SYS_ADMIN, which making containers takes.
        rootlesskit: Where the command is, or None.
        newuidmap: Whether newuidmap and newgidmap are there.
        has_subids: Whether /etc/subuid and /etc/subgid give this user a range.
        user_namespaces: Empty, or why the kernel does not let us make user namespaces.
        proc_mountable: Whether a fresh /proc can be mounted in a namespace of ours; not inside
            containers that mask parts of /proc. Only looked at when we are not root.
        cgroups: `v1`, `v2`, `hybrid` or `none`.
    """

    root: bool
    may_mount: bool
    rootlesskit: Path | None
    newuidmap: bool
    has_subids: bool
    user_namespaces: str
    proc_mountable: bool
    cgroups: str


@dataclass(frozen=True, slots=True)
class Mode:
    """How buildkitd runs here.

    Attributes:
        rootlesskit: The program in whose user namespace it runs, or None when we are root.
        process_sandbox: Whether build steps get a process namespace of their own.
    """

    rootlesskit: Path | None = None
    process_sandbox: bool = True

    @property
    def rootless(self) -> bool:
        """Whether it runs in a user namespace."""
        return self.rootlesskit is not None


def decide(host: Host) -> Mode:
    """Return how the engine runs on such a machine.

    Raises:
        EngineError: It cannot; the hint has the fix.
    """
    if host.root:
        if host.may_mount:
            return Mode()
        raise EngineError(
            "This container may not make containers of its own (CAP_SYS_ADMIN is missing), "
            "so the engine cannot run in it.",
            hint=f"start it with --privileged, or {ELSEWHERE}",
        )
    missing = []
    if host.rootlesskit is None:
        missing.append("rootlesskit")
    if not host.newuidmap:
        missing.append("uidmap")
    if missing:
        raise EngineError(
            f"The engine needs root, or rootless mode, for which {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing.",
            hint=f"run: {install_command(*missing)} (or run as root, or {ELSEWHERE})",
        )
    if not host.has_subids:
        user = user_name()
        raise EngineError(
            f"Rootless mode needs a range of ids for the user {user} in /etc/subuid and "
            "/etc/subgid, and there is none.",
            hint=f"run: sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 "
            f"{user}",
        )
    if host.user_namespaces:
        raise EngineError(
            f"Rootless mode needs user namespaces: {host.user_namespaces}.",
            hint=f"let an administrator allow them, or {ELSEWHERE}",
        )
    return Mode(rootlesskit=host.rootlesskit, process_sandbox=host.proc_mountable)


def look() -> Host:
    """Gather the facts. Reads files, and when we are not root runs `unshare` once."""
    root = os.geteuid() == 0
    return Host(
        root=root,
        may_mount=_has_capability(_CAP_SYS_ADMIN),
        rootlesskit=which("rootlesskit"),
        newuidmap=which("newuidmap") is not None and which("newgidmap") is not None,
        has_subids=all(_has_subids(Path(p)) for p in ("/etc/subuid", "/etc/subgid")),
        user_namespaces=_namespaces_refused(),
        proc_mountable=root or _proc_mountable(),
        cgroups=cgroups(Path("/sys/fs/cgroup")),
    )


def cgroups(mounted_at: Path) -> str:
    """Return which kind of control groups a mount point shows."""
    if (mounted_at / "cgroup.controllers").exists():
        return "v2"
    if (mounted_at / "unified" / "cgroup.controllers").exists():
        return "hybrid"
    return "v1" if (mounted_at / "pids").is_dir() or (mounted_at / "cpu").is_dir() else "none"


def install_command(
    *packages: str, has: Callable[[str], str | None] = shutil.which, root: bool | None = None
) -> str:
    """Return the command that installs system packages here.

    Args:
        packages: By their names on Debian.
        has: Says where a command is.
        root: We need no sudo, which containers often lack; by default as we are.
    """
    sudo = "" if (os.geteuid() == 0 if root is None else root) else "sudo "
    for manager, (verb, other_names) in _MANAGERS.items():
        if has(manager):
            names = " ".join(other_names.get(package, package) for package in packages)
            return f"{sudo}{manager} {verb} {names}"
    return f"install {' and '.join(packages)} with the system's package manager"


def user_name() -> str:
    """Return our login name, or the number of a user that has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # KeyError until Python 3.12
        return str(os.geteuid())


def _has_capability(bit: int) -> bool:
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    for line in status.splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> bit & 1)
    return False


def _has_subids(path: Path) -> bool:
    names = {user_name(), str(os.geteuid())}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    return any(line.split(":")[0] in names for line in lines)


def _namespaces_refused() -> str:
    limit = Path("/proc/sys/user/max_user_namespaces")
    switch = Path("/proc/sys/kernel/unprivileged_userns_clone")  # Debian's kernel before 11
    if limit.exists() and limit.read_text().strip() == "0":
        return "the kernel's limit user.max_user_namespaces is 0"
    if switch.exists() and switch.read_text().strip() == "0":
        return "kernel.unprivileged_userns_clone is 0"
    return ""


def _proc_mountable() -> bool:
    unshare = which("unshare")
    if unshare is None:
        return False
    tried = subprocess.run(
        [unshare, "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "true"],
        check=False,
        capture_output=True,
        timeout=20,
        stdin=subprocess.DEVNULL,
    )
    return tried.returncode == 0
