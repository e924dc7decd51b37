"""Tests of what may not be read, when root runs them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["nobodys_directory"]


@contextmanager
def nobodys_directory() -> Iterator[Path]:
    """A directory of a user without rights, who the test then is, and every program that it starts."""
    root = Path(tempfile.mkdtemp(prefix="dl-nobody-"))
    uid = os.geteuid()
    if uid == 0:
        os.chown(root, 65534, 65534)
        os.seteuid(65534)
    try:
        yield root
    finally:
        os.seteuid(uid)
        shutil.rmtree(root)
