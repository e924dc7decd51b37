"""Ask the Go packages that BuildKit uses what patterns mean and what a walk sends.

`main.go` beside this file answers; `ask` compiles it when needed. Strings stand for bytes, one
character for each, because JSON has no others.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

__all__ = ["GoUnavailable", "ask", "from_wire", "to_wire"]

SOURCE = Path(__file__).parent


class GoUnavailable(Exception):
    """There is no Go here, or it could not get the modules; the text has the reason."""


def to_wire(text: str) -> str:
    """Write a path or pattern, decoded with surrogateescape, as one character per byte."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def from_wire(text: str) -> bytes:
    return text.encode("latin-1")


def ask(**questions: list[Any]) -> dict[str, Any]:
    """Return the answers to lists of cases; see `main.go` for their fields."""
    binary = _binary()
    done = subprocess.run(
        [binary],
        input=json.dumps(questions).encode(),
        capture_output=True,
        check=False,
        timeout=300,
    )
    if done.returncode:
        raise AssertionError(done.stderr.decode())
    return json.loads(done.stdout)


def _binary() -> Path:
    binary = Path(tempfile.gettempdir()) / f"depotlab-gomatch-{os.getuid()}" / "gomatch"
    sources = [SOURCE / name for name in ("main.go", "go.mod", "go.sum")]
    if binary.exists() and all(binary.stat().st_mtime > s.stat().st_mtime for s in sources):
        return binary
    if shutil.which("go") is None:
        raise GoUnavailable("there is no Go compiler on the PATH")
    done = subprocess.run(
        ["go", "build", "-o", str(binary), "."],
        cwd=SOURCE,
        env={**os.environ, "GOFLAGS": "-mod=readonly"},
        capture_output=True,
        check=False,
        timeout=300,
    )
    if done.returncode:
        raise GoUnavailable(f"the comparator does not compile: {done.stderr.decode()[-400:]}")
    return binary
