"""Which programs the engine needs, and where they are on this machine. Installs nothing.

A program that `depotlab engine install` put into its folder is preferred to one on PATH, so that
an update of the system's packages does not change the daemon under an existing state folder.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from depotlab.errors import EngineError

from ._places import engine_dir

# The configuration that we write uses reservedSpace and maxUsedSpace, which came with 0.17.
# Source: moby/buildkit release notes of v0.17.0.
MIN_BUILDKIT = (0, 17, 0)
MIN_REGISTRY = (2, 7, 0)  # the first with the configuration keys that we write
# BuildKit 0.12 and newer call `run --keep`. Sources: opencontainers/runc CHANGELOG of 1.1.0,
# containers/crun NEWS of 1.15. The crun of Debian 12 and Ubuntu 24.04 is older.
MIN_RUNTIME = {"runc": (1, 1, 0), "crun": (1, 15, 0)}

# A user's PATH often lacks these, and Debian has runc in /usr/sbin.
_SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin")


@dataclass(frozen=True, slots=True)
class Program:
    """A program that was found.

    Attributes:
        name: What it does for us: `buildkitd`, `buildctl`, `registry`, `runc` or `crun`.
        host_path: Where it is.
        version: As it says itself, without a leading `v`.
        origin: `installed` in our own folder, or `PATH`.
    """

    name: str
    host_path: Path
    version: str
    origin: str


@dataclass(frozen=True, slots=True)
class Product:
    """What is installed as one folder: a release archive, or one run of the Go toolchain.

    Attributes:
        name: `buildkit` or `registry`, as in `pins.json`.
        version: The pinned version, without `v`.
        url: Folder of the release's files, without a slash at the end.
        archives: For each platform such as `linux/amd64`, file name and SHA-256 in hex.
    """

    name: str
    version: str
    url: str
    archives: Mapping[str, tuple[str, str]]

    @property
    def programs(self) -> tuple[str, ...]:
        """The programs in it; the first is the one that the engine cannot do without."""
        return ("buildkitd", "buildctl") if self.name == "buildkit" else ("registry",)

    @property
    def host_dir(self) -> Path:
        """Where it is installed; the programs are in `bin` below it."""
        return engine_dir() / f"{self.name}-v{self.version}"

    @property
    def package(self) -> str:
        """Go import path in front of the program's name."""
        prefix = "moby/buildkit" if self.name == "buildkit" else "distribution/distribution/v3"
        return f"github.com/{prefix}/cmd"


@cache
def products() -> tuple[Product, ...]:
    """Return what the engine is made of, buildkit first, from the `pins.json` that we ship."""
    text = resources.files(__package__).joinpath("engine/pins.json").read_text("utf-8")
    return parse_pins(text)


def parse_pins(text: str) -> tuple[Product, ...]:
    """Decode the text of a `pins.json`."""
    pins = json.loads(text)
    return tuple(
        Product(
            name=name,
            version=pins[name]["version"],
            url=pins[name]["url"],
            archives={
                on: (archive["file"], archive["sha256"])
                for on, archive in pins[name]["archives"].items()
            },
        )
        for name in ("buildkit", "registry")
    )


def this_platform() -> str:
    """Return system and processor in Go's words, such as `linux/amd64`."""
    machine = platform.machine().lower()
    go_arch = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}.get(machine, machine)
    return f"{platform.system().lower()}/{go_arch}"


def search_path() -> str:
    """Return PATH, extended by the system's folders that a user's PATH may lack."""
    folders = [f for f in os.environ.get("PATH", "").split(os.pathsep) if f]
    return os.pathsep.join([*folders, *(f for f in _SYSTEM_FOLDERS if f not in folders)])


def which(name: str) -> Path | None:
    """Return where a command is, on PATH or in the system's folders."""
    found = shutil.which(name, path=search_path())
    return Path(found) if found else None


def parse_version(text: str) -> tuple[int, int, int] | None:
    """Return the first `1.2.3` (or `1.2`, as crun says it) in a program's answer, or None.

    `v0.0.0+unknown`, which a build without version flags says, counts as none.
    """
    match = re.search(r"\bv?(\d+)\.(\d+)(?:\.(\d+))?", text)
    if match is None:
        return None
    numbers = (int(match[1]), int(match[2]), int(match[3] or 0))
    return numbers if any(numbers) else None


def ask_version(host_path: Path) -> str:
    """Run a program with `--version` and return what it says.

    Raises:
        EngineError: It does not run.
    """
    try:
        done = subprocess.run(
            [host_path, "--version"],
            check=True,
            capture_output=True,
            text=True,
            timeout=20,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PATH": search_path()},
        )
    except subprocess.CalledProcessError as error:
        raise EngineError(
            f"{host_path} does not run: exit code {error.returncode}. {error.stderr.strip()[-200:]}"
        ) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(f"{host_path} does not run: {error}.") from error
    return done.stdout.strip()


def find(product: Product) -> tuple[Program | None, str]:
    """Look for a product's first program: our folder, then PATH.

    Returns:
        The program, or None and the reason in words.
    """
    name = product.programs[0]
    installed = product.host_dir / "bin" / name
    if os.access(installed, os.X_OK):
        return Program(name, installed, product.version, "installed"), ""
    minimum = MIN_BUILDKIT if product.name == "buildkit" else MIN_REGISTRY
    names = (name,) if name == "buildkitd" else (name, "docker-registry")  # Debian's name
    reasons = []
    for candidate in names:
        host_path = which(candidate)
        if host_path is None:
            reasons.append(f"no {candidate} on PATH")
            continue
        try:
            answer = ask_version(host_path)
        except EngineError as error:
            reasons.append(error.message)
            continue
        version = parse_version(answer)
        # Other programs are called "registry" too; both of ours name their Go import path.
        if product.name not in answer and "distribution" not in answer:
            reasons.append(f"{host_path} is another program")
        elif version is None or version < minimum:
            wanted = ".".join(map(str, minimum))
            reasons.append(f"{host_path} is not at least version {wanted}: it says {answer!r}")
        else:
            return Program(name, host_path, ".".join(map(str, version)), "PATH"), ""
    return None, "; ".join(reasons)


def find_buildctl(buildkit: Product) -> Program | None:
    """Return buildctl, which nothing here needs, but which is handy beside the engine."""
    installed = buildkit.host_dir / "bin" / "buildctl"
    if os.access(installed, os.X_OK):
        return Program("buildctl", installed, buildkit.version, "installed")
    found = which("buildctl")
    if found is None:
        return None
    version = parse_version(ask_version(found))
    return Program("buildctl", found, ".".join(map(str, version or (0, 0, 0))), "PATH")


def find_runtime() -> tuple[Program | None, str]:
    """Look for the OCI runtime: runc or crun of the system, then the runc in BuildKit's archive.

    Returns:
        The program, or None and the reason in words.
    """
    reasons = []
    bundled = products()[0].host_dir / "bin" / "buildkit-runc"
    candidates: list[tuple[str, Path | None]] = [(name, which(name)) for name in ("runc", "crun")]
    candidates.append(("runc", bundled if os.access(bundled, os.X_OK) else None))
    for name, host_path in candidates:
        if host_path is None:
            continue
        try:
            answer = ask_version(host_path)
        except EngineError as error:
            reasons.append(error.message)
            continue
        version = parse_version(answer)
        if version is None or version < MIN_RUNTIME[name]:
            wanted = ".".join(map(str, MIN_RUNTIME[name]))
            said = answer.partition("\n")[0]
            reasons.append(f"{host_path} is not at least version {wanted}: it says {said!r}")
            continue
        origin = "installed" if host_path == bundled else "PATH"
        return Program(name, host_path, ".".join(map(str, version)), origin), ""
    return None, "; ".join(reasons) or "neither runc nor crun is on PATH"
