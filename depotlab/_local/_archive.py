"""Fetch a release archive whose SHA-256 is known, and unpack it without trusting its names."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from depotlab.errors import EngineError

Progress = Callable[[str], None]
"""Told one line of text, without a newline, whenever something takes long."""

_PIECE_BYTES = 1 << 20
_LIMIT_BYTES = 1 << 30  # the real ones have about 90 MB; a server that never ends is cut off
_STALL_S = 30.0
_REPORT_EVERY_S = 2.0


def download(url: str, host_path: Path, *, sha256: str, on_progress: Progress) -> None:
    """Write the file at `url` to `host_path` and check it. Blocks.

    Args:
        url: http, https or file; the sum decides what is accepted, so plain http will do.
        host_path: Written as it arrives; holds something unchecked when this raises.
        sha256: What the file has to have, in hex.
        on_progress: Hears megabytes every two seconds.

    Raises:
        EngineError: It could not be fetched, or it is not the file that is expected.
    """
    import urllib.error  # with http and ssl behind it, too much to import for nothing
    import urllib.request

    name = url.rsplit("/", 1)[-1]
    seen = hashlib.sha256()
    n_bytes = 0
    told_at = time.monotonic()
    try:
        with (
            urllib.request.urlopen(url, timeout=_STALL_S) as reply,  # noqa: S310 - see `url`
            host_path.open("wb") as file,
        ):
            total_bytes = int(reply.headers.get("Content-Length") or 0)
            while piece := reply.read(_PIECE_BYTES):
                n_bytes += len(piece)
                if n_bytes > _LIMIT_BYTES:
                    raise EngineError(f"{url} is larger than {_LIMIT_BYTES >> 20} MiB.")
                seen.update(piece)
                file.write(piece)
                if time.monotonic() - told_at >= _REPORT_EVERY_S:
                    told_at = time.monotonic()
                    of = f" of {total_bytes / 1e6:.0f}" if total_bytes else ""
                    on_progress(f"downloading {name}: {n_bytes / 1e6:.0f}{of} MB")
    except urllib.error.HTTPError as error:
        raise EngineError(f"{url} answered {error.code} {error.reason}.") from error
    except (OSError, ValueError) as error:  # URLError is an OSError; a bad URL is a ValueError
        reason = getattr(error, "reason", error)
        raise EngineError(f"{url} could not be fetched: {reason}.") from error
    if total_bytes and n_bytes != total_bytes:
        raise EngineError(f"{url} broke off after {n_bytes} of {total_bytes} bytes.")
    if seen.hexdigest() != sha256:
        raise EngineError(
            f"{url} is not the file that was expected: its SHA-256 is {seen.hexdigest()}, "
            f"the pinned one is {sha256}."
        )


def unpack(archive: Path, host_dir: Path) -> None:
    """Unpack the regular files of a .tar.gz into an empty folder; all become mode 0755 or 0644.

    Links and devices are left out: the archives that we know have none that we need.

    Raises:
        EngineError: It is no such archive, or a name in it leads out of the folder.
    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                path = safe_path(member.name)
                if not member.isfile() or path is None:
                    continue
                content = tar.extractfile(member)
                assert content is not None  # it is a regular file
                target = host_dir / path
                target.parent.mkdir(parents=True, exist_ok=True)
                # A second member of one name must not follow what the first one left there.
                target.unlink(missing_ok=True)
                with content, target.open("xb") as file:
                    shutil.copyfileobj(content, file, _PIECE_BYTES)
                target.chmod(0o755 if member.mode & 0o100 else 0o644)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise EngineError(f"{archive.name} could not be unpacked: {error}.") from error


def safe_path(name: str) -> PurePosixPath | None:
    """Return a member's path below the folder, or None for the folder itself.

    Raises:
        EngineError: It is absolute or climbs out.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or os.sep != "/":
        raise EngineError(f"The archive holds an unsafe name: {name!r}. Nothing of it is used.")
    return path if path.parts else None
