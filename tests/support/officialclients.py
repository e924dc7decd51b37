"""The vendor's own clients, unmodified, and a plane in a process of its own that they talk to.

They come from the package registries that this machine is set up for, are checked against the digests
below, and stay in a folder below the user's cache; none of them is part of this repository.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from depotlab._plane.presence import status

__all__ = [
    "Cli",
    "ClientUnavailable",
    "RunningPlane",
    "depot_cli",
    "go_sdk",
    "node_sdk",
    "python_client",
    "running_plane",
]

# 2.102.12, as the registry names it.
_CLI_PACKAGE = "@depot/cli-linux-x64@0.0.1-cli.2.102.12"
_CLI_SHA256 = "ea084fde31e371b14416f28c28f3671d5f41829b3827f3e4ef3b1f1364cde078"


class ClientUnavailable(Exception):
    """The client cannot be had here; the text has the reason."""


def cache_folder() -> Path:
    """Return where downloaded clients stay."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    folder = (Path(base) if base else Path.home() / ".cache") / "depotlab" / "clients"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def depot_cli() -> Path:
    """Return the official command line, downloaded at the first use.

    Raises:
        ClientUnavailable: It cannot be downloaded, or is not what was expected.
    """
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise ClientUnavailable("the official command line is pinned for Linux on x86-64 only")
    kept = cache_folder() / f"depot-{_CLI_SHA256[:12]}"
    if kept.exists() and _sha256(kept) == _CLI_SHA256:
        return kept
    if shutil.which("npm") is None:
        raise ClientUnavailable("npm, which downloads the official command line, is not installed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        done = subprocess.run(
            ["npm", "pack", "--silent", "--pack-destination", name, _CLI_PACKAGE],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        archives = list(folder.glob("*.tgz"))
        if done.returncode or not archives:
            # Without the text: it may name the registry that this machine uses.
            raise ClientUnavailable(f"npm cannot download {_CLI_PACKAGE}")
        with tarfile.open(archives[0]) as archive:
            member = archive.extractfile("package/bin/depot")
            assert member is not None
            (folder / "depot").write_bytes(member.read())
        if _sha256(folder / "depot") != _CLI_SHA256:
            raise ClientUnavailable(f"{_CLI_PACKAGE} is not the program that it was")
        (folder / "depot").chmod(0o755)
        fresh = kept.with_suffix(f".{os.getpid()}")
        shutil.move(folder / "depot", fresh)
        fresh.replace(kept)
    return kept


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class RunningPlane:
    """A plane in a process of its own.

    Attributes:
        environment: As it was written to the file; with the token.
        state: Its folder.
        log: What the process said.
    """

    environment: Mapping[str, str] = field(repr=False)
    state: Path
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        return self.environment["DEPOT_API_URL"]

    @property
    def registry(self) -> str:
        return status(self.state).registry

    def rpc(self, path: str, token: str = "", **fields: Any) -> Any:
        """Call a method with JSON; by default with the plane's own token."""
        request = urllib.request.Request(
            f"{self.url}/{path}",
            data=json.dumps(fields).encode(),
            headers={
                "content-type": "application/json",
                "authorization": f"Bearer {token or self.environment['DEPOT_TOKEN']}",
            },
        )
        with urllib.request.urlopen(request, timeout=100) as answer:
            return json.load(answer)

    def page(self, path: str, **fields: Any) -> Any:
        """Ask what the status page asks; with fields, press what it presses."""
        request = urllib.request.Request(
            f"{self.url}/page/{path}",
            data=json.dumps(fields).encode() if fields else None,
            headers={"content-type": "application/json", "x-depotlab-page": "1"},
        )
        with urllib.request.urlopen(request, timeout=100) as answer:
            return json.load(answer)

    def builds(self) -> list[dict[str, Any]]:
        """Return the builds of the default project as the API has them, newest first."""
        found = self.rpc(
            "depot.core.v1.BuildService/ListBuilds",
            projectId=self.environment["DEPOT_PROJECT_ID"],
        )
        builds: list[dict[str, Any]] = found.get("builds", [])
        return builds

    def steps(self, build_id: str) -> list[dict[str, Any]]:
        """Return the steps of a build of the default project as the API has them."""
        found = self.rpc(
            "depot.build.v1.BuildService/GetBuildSteps",
            projectId=self.environment["DEPOT_PROJECT_ID"],
            buildId=build_id,
        )
        steps: list[dict[str, Any]] = found.get("buildSteps", [])
        return steps


@contextlib.contextmanager
def running_plane(folder: Path, *arguments: str) -> Iterator[RunningPlane]:
    """Run `depotlab up` below a folder with a short path, wait until it is ready, and stop it politely."""
    env_file, log = folder / "env", folder / "log"
    env_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "depotlab.cli", "up", "--state", str(folder / "state")]
    with log.open("ab") as sink:
        process = subprocess.Popen(
            [*command, "--env-file", str(env_file), *arguments], stdout=sink, stderr=sink
        )
    try:
        deadline = time.monotonic() + 60
        while not env_file.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the plane did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.05)
        lines = env_file.read_text().splitlines()
        environment = dict(line.split("=", 1) for line in lines)
        yield RunningPlane(environment, folder / "state", process, log)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class Cli:
    """The official command line with a home of its own, set to use one plane.

    Attributes:
        program: Its path.
        environment: All that it sees; nothing of ours but PATH is in it.
    """

    program: Path
    environment: Mapping[str, str] = field(repr=False)

    @classmethod
    def at(cls, program: Path, plane: RunningPlane, home: Path, **more: str) -> Cli:
        """Return one that uses the plane."""
        private = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / "config"),
            "DOCKER_CONFIG": str(home / "docker"),
        }
        return cls(program, private | dict(plane.environment) | more)

    def start(self, *arguments: str, cwd: Path | None = None) -> subprocess.Popen[str]:
        """Start a command; its output comes in one stream."""
        return subprocess.Popen(
            [str(self.program), *arguments],
            env=dict(self.environment),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def start_slow_build(self, context: Path) -> subprocess.Popen[str]:
        """Start a build of a step that sleeps for long; return when it does."""
        (context / "Dockerfile").write_text(
            "FROM busybox\nCOPY word /word\nRUN echo zzz && sleep 90\n"
        )
        process = self.start("build", "--progress", "plain", str(context))
        assert process.stdout is not None
        for line in process.stdout:
            if " zzz" in line and "RUN" not in line:
                return process
        raise AssertionError("the step never ran")

    def fails(self, *arguments: str, cwd: Path | None = None) -> str:
        """Run a command that has to fail with code 1, and return what it said."""
        process = self.start(*arguments, cwd=cwd)
        said, _ = process.communicate(timeout=500)
        assert process.returncode == 1, said
        return said

    def run(self, *arguments: str, cwd: Path | None = None) -> str:
        """Run a command to its end and return what it said.

        Raises:
            AssertionError: It failed.
        """
        process = self.start(*arguments, cwd=cwd)
        said, _ = process.communicate(timeout=500)
        assert process.returncode == 0, said
        return said


_NODE_SDK = ("@depot/sdk-node", "1.4.0")
_NODE_SDK_INTEGRITY = "sha512-p64feWCj9gR2MAt508TbMpznYBTmkPbr/GBlFdECkoobtrNox0SNwQfvksEACZxn1TtAIVObV0fLHUlU0N7nVg=="
_PYTHON_CLIENT = "depot-client==0.0.22"
_PYTHON_CLIENT_SHA256 = "0aad6cc3e9134479de4b57773fae17c004655be431a0eb020d4f5d2dc0961408"


def node_sdk() -> Path:
    """Return the folder `node_modules` that has the official SDK for Node.js, downloaded at the first use.

    Raises:
        ClientUnavailable: There is no Node.js, or the SDK cannot be downloaded, or is not what was expected.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise ClientUnavailable("Node.js with npm is not installed")
    package, version = _NODE_SDK
    kept = cache_folder() / f"sdk-node-{version}"
    if not kept.exists():
        with tempfile.TemporaryDirectory(dir=cache_folder()) as name:
            arguments = ("--prefix", name, "--ignore-scripts", "--no-audit", "--no-fund")
            done = subprocess.run(
                ["npm", "install", "--silent", *arguments, f"{package}@{version}"],
                cwd=name,
                capture_output=True,
                timeout=240,
                check=False,
            )
            lock = Path(name) / "node_modules" / ".package-lock.json"
            if done.returncode or not lock.exists():
                raise ClientUnavailable(f"npm cannot download {package} {version}")
            installed = json.loads(lock.read_text())["packages"][f"node_modules/{package}"]
            if installed["integrity"] != _NODE_SDK_INTEGRITY:
                raise ClientUnavailable(f"{package} {version} is not the package that it was")
            with contextlib.suppress(FileExistsError):
                shutil.copytree(Path(name) / "node_modules", kept / "node_modules")
    return kept / "node_modules"


def python_client() -> Path:
    """Return a folder for PYTHONPATH that has the official client for Python, downloaded at the first use.

    It uses the grpcio and protobuf of this environment, in a process of its own.

    Raises:
        ClientUnavailable: It cannot be downloaded, or is not what was expected.
    """
    kept = cache_folder() / _PYTHON_CLIENT.replace("==", "-")
    if not kept.exists():
        with tempfile.TemporaryDirectory(dir=cache_folder()) as name:
            wanted = Path(name) / "requirements.txt"
            wanted.write_text(f"{_PYTHON_CLIENT} --hash=sha256:{_PYTHON_CLIENT_SHA256}\n")
            made = Path(name) / "packages"
            options = ("--quiet", "--no-deps", "--require-hashes", "--target", str(made))
            done = subprocess.run(
                [sys.executable, "-m", "pip", "install", *options, "-r", str(wanted)],
                capture_output=True,
                timeout=240,
                check=False,
            )
            if done.returncode:
                raise ClientUnavailable(f"pip cannot download {_PYTHON_CLIENT}")
            made.rename(kept)
    return kept


_GO_PROGRAM = Path(__file__).parent / "depotgo"


def go_sdk() -> Path:
    """Return the program in `depotgo`, which uses the official SDK for Go, compiled at the first use.

    The SDK is pinned, and all that it needs, by the digests in the program's go.sum.

    Raises:
        ClientUnavailable: There is no Go, or the modules cannot be downloaded, or are not what was expected.
    """
    texts = [(_GO_PROGRAM / name).read_bytes() for name in ("main.go", "go.mod", "go.sum")]
    kept = cache_folder() / f"depotgo-{hashlib.sha256(b''.join(texts)).hexdigest()[:12]}"
    if kept.exists():
        return kept
    if shutil.which("go") is None:
        raise ClientUnavailable("Go, which compiles against the official SDK, is not installed")
    fresh = kept.with_suffix(f".{os.getpid()}")
    done = subprocess.run(
        ["go", "build", "-trimpath", "-o", str(fresh), "."],
        cwd=_GO_PROGRAM,
        env={**os.environ, "GOFLAGS": "-mod=readonly -buildvcs=false", "GOWORK": "off"},
        capture_output=True,
        timeout=500,
        check=False,
    )
    if done.returncode:
        # Without the text: it may name the proxy that this machine uses.
        raise ClientUnavailable("the program with the official SDK for Go does not compile here")
    fresh.replace(kept)
    return kept
