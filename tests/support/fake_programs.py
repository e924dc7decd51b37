"""Made-up programs and release archives, for tests of what installs and starts the real ones."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path


def script(says: str, exit_code: int = 0) -> str:
    """Return a shell script that prints something whatever it is asked."""
    return f"#!/bin/sh\n/bin/cat <<'END'\n{says}\nEND\nexit {exit_code}\n"


def program(path: Path, says: str, exit_code: int = 0) -> Path:
    """Write such a script, as a program."""
    path.write_text(script(says, exit_code))
    path.chmod(0o755)
    return path


def archive(path: Path, members: dict[str, str], *, links: dict[str, str] | None = None) -> str:
    """Write a .tar.gz of executable files and symlinks; return its SHA-256."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755
            tar.addfile(info, io.BytesIO(content.encode()))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return hashlib.sha256(path.read_bytes()).hexdigest()
