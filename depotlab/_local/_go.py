"""Build the engine's programs from source with the Go toolchain.

A `go.mod` with tool directives and its `go.sum` are part of this package; Go checks every module
that it downloads against them, so that the sources are as pinned as the release archives are.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from depotlab.errors import EngineError

from ._archive import Progress
from ._programs import Product, which

_REPORT_EVERY_S = 10.0
_TIMEOUT_S = 3600.0
_DOWNLOADED, _COMPILED = "modules downloaded", "packages compiled"
_FALLBACK = Path("/usr/local/go/bin/go")  # where Go's own installation instructions put it


def find_go() -> Path | None:
    """Return the `go` command, or None."""
    found = which("go")
    if found is None and os.access(_FALLBACK, os.X_OK):
        return _FALLBACK
    return found


def arguments(wanted: Sequence[Product], host_bin: Path) -> list[str]:
    """Return what follows `go` on the command line. `host_bin` gets one file for each program."""
    versions = [
        "-X github.com/moby/buildkit/version.Version=v{}",
        "-X github.com/distribution/distribution/v3/version.version=v{}",
    ]
    by_name = dict(zip(("buildkit", "registry"), versions, strict=True))
    flags = ["-s", "-w", *(by_name[p.name].format(p.version) for p in wanted)]
    packages = [f"{p.package}/{program}" for p in wanted for program in p.programs]
    return [
        "build",
        "-v",  # names each package as it is done: the only sign of progress there is
        "-trimpath",
        "-mod=readonly",
        f"-ldflags={' '.join(flags)}",
        "-o",
        f"{host_bin}{os.sep}",
        *packages,
    ]


def build(wanted: Sequence[Product], host_bin: Path, *, on_progress: Progress) -> None:
    """Build all programs of some products into one folder. Blocks for minutes the first time.

    Args:
        wanted: What to build; one run builds everything, since most packages are shared.
        host_bin: An existing folder.
        on_progress: Hears what happens every few seconds.

    Raises:
        EngineError: There is no Go, it could not download, or the build failed.
    """
    go = find_go()
    if go is None:
        raise EngineError("there is no `go` on PATH")
    names = " and ".join(p.programs[0] for p in wanted)
    on_progress(f"building {names} from source with Go: 3 to 5 minutes on two cores, once")
    with tempfile.TemporaryDirectory(prefix="depotlab-go-") as module:
        for name in ("go.mod", "go.sum"):
            data = resources.files(__package__).joinpath(f"engine/{name}").read_bytes()
            (Path(module) / name).write_bytes(data)
        environment = {
            **os.environ,
            "CGO_ENABLED": "0",  # one file that runs on any Linux, and no C compiler needed
            "GOWORK": "off",  # a go.work above the temporary folder is not ours
            "PWD": module,
        }
        environment.pop("GOOS", None)
        environment.pop("GOARCH", None)
        _run([str(go), *arguments(wanted, host_bin)], module, environment, on_progress)


def _run(command: list[str], folder: str, env: dict[str, str], on_progress: Progress) -> None:
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # its compilers are ended with it, see below
    )
    tail: deque[str] = deque(maxlen=12)
    counts = dict.fromkeys((_DOWNLOADED, _COMPILED), 0)
    reader = threading.Thread(target=_read, args=(process, tail, counts), daemon=True)
    reader.start()
    began_at = time.monotonic()
    try:
        while reader.is_alive():
            reader.join(_REPORT_EVERY_S)
            elapsed_s = time.monotonic() - began_at
            if elapsed_s > _TIMEOUT_S:
                raise EngineError(f"go build was not done after {_TIMEOUT_S:.0f} s")
            if reader.is_alive():
                done = [f"{n} {what}" for what, n in counts.items() if n]
                on_progress(f"building with Go: {', '.join([*done, f'{elapsed_s:.0f} s'])}")
        exit_code = process.wait()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        reader.join()
        if process.stderr is not None:
            process.stderr.close()
    if exit_code != 0:
        raise EngineError(f"go build failed with exit code {exit_code}: " + " / ".join(tail))


def _read(process: subprocess.Popen[str], tail: deque[str], counts: dict[str, int]) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        text = line.strip()
        if text.startswith("go: downloading "):
            counts[_DOWNLOADED] += 1
        elif text and " " not in text:  # a package path, from -v
            counts[_COMPILED] += 1
        elif text:
            tail.append(text)
