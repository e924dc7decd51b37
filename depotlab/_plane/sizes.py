"""How much room a plane's state takes on the disk, seen from outside. Needs no plane that runs."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from depotlab._plane.presence import Places

__all__ = ["Size", "Sizes", "sizes"]

_LIMIT_S = 3.0
_BLOCK_BYTES = 512  # what `st_blocks` counts, whatever the file system's own blocks are


@dataclass(frozen=True, slots=True)
class Size:
    """Of a folder.

    Attributes:
        n_bytes: On the disk; a file with several names counts once.
        whole: All was seen; else there is more, which took too long to look at, or may not be looked at.
    """

    n_bytes: int
    whole: bool


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of what a plane keeps.

    Attributes:
        caches: Of the machines of all projects.
        images: In the registry.
        history: Builds, steps, logs.
    """

    caches: Size
    images: Size
    history: Size


def sizes(places: Places, *, limit_s: float = _LIMIT_S) -> Sizes:
    """Look at the disk. Blocks, for no longer than the limit, a folder at a time."""
    until_s = time.monotonic() + limit_s
    files = [places.database.with_name(places.database.name + end) for end in ("", "-wal", "-shm")]
    return Sizes(
        images=_size_of(places.registry, until_s),
        caches=_size_of(places.machines, until_s),
        history=Size(sum(_bytes_of(file) for file in files), True),
    )


def _size_of(host_folder: Path, until_s: float) -> Size:
    n_bytes, whole = 0, True
    seen: set[tuple[int, int]] = set()
    waiting = [os.fspath(host_folder)]
    while waiting:
        if time.monotonic() > until_s:
            return Size(n_bytes, False)
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    found = entry.stat(follow_symlinks=False)
                    if (found.st_dev, found.st_ino) not in seen:
                        n_bytes += found.st_blocks * _BLOCK_BYTES
                        if found.st_nlink > 1:
                            seen.add((found.st_dev, found.st_ino))
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except FileNotFoundError:  # it went meanwhile
            continue
        except PermissionError:
            whole = False
    return Size(n_bytes, whole)


def _bytes_of(host_file: Path) -> int:
    try:
        return host_file.stat().st_blocks * _BLOCK_BYTES
    except FileNotFoundError:
        return 0
