"""Archives as customers upload them: of every packing, small, and the same at each run."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import tarfile
from collections.abc import Callable

import zstandard

BLOCK = 512

PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


def tar(*files: tuple[str, bytes], form: int = tarfile.PAX_FORMAT, filled: bool = False) -> bytes:
    """Return an archive of these files; `filled` up to records of 10 KiB, as programs do."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    data = out.getvalue()
    return data if filled else data.rstrip(b"\0") + bytes(-len(data.rstrip(b"\0")) % BLOCK + 1024)


def noise(n_bytes: int) -> bytes:
    return random.Random(7).randbytes(n_bytes)


FILES = (("Dockerfile", b"FROM scratch\n"), ("a/" + "long" * 40, noise(1500)), ("empty", b""))
ARCHIVE = tar(*FILES)
