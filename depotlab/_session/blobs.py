"""Blobs of a registry, as streams: taken up again where the connection broke, and checked at their end."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

from depotlab._session.registry import Registry, RegistryBroken

__all__ = ["fetch_blob"]

CHUNK_BYTES: Final = 256 << 10

# A connection that brought less than this before it broke has not helped.
_WORTH_BYTES: Final = 1 << 20


def fetch_blob(registry: Registry, digest: str, size_bytes: int) -> Iterator[bytes]:
    """Yield the content of a blob. Blocks; holds one chunk at a time.

    A connection that breaks is replaced by one that asks for the rest. Only when the last chunk has been taken is it
    known whether the content is right: whoever takes it must not use it before the iterator has ended.

    Args:
        registry: The repository.
        digest: Of the blob; checked to be well-formed by the caller.
        size_bytes: Of the blob, as the manifest says.

    Raises:
        RegistryError: There is none, the registry refuses, the connection breaks too often, or the content is another.
    """
    what = f"The blob {registry.name}@{digest}"
    found = hashlib.new(digest.partition(":")[0])
    n_bytes = n_breaks = n_bytes_before = 0
    while n_bytes < size_bytes:
        try:
            for chunk in _rest(registry, digest, n_bytes, size_bytes, what):
                found.update(chunk)
                n_bytes += len(chunk)
                yield chunk
        except RegistryBroken as error:
            n_breaks = n_breaks + 1 if n_bytes - n_bytes_before < _WORTH_BYTES else 1
            n_bytes_before = n_bytes
            registry.wait_after(error, n_breaks)
    if found.hexdigest() != digest.partition(":")[2]:
        raise registry.failed("its content is not what its digest says", what)


def _rest(
    registry: Registry, digest: str, start: int, size_bytes: int, what: str
) -> Iterator[bytes]:
    """Yield what comes after the first `start` bytes."""
    headers = {"Range": f"bytes={start}-"} if start else {}
    with registry.ask("GET", f"blobs/{digest}", headers=headers, what=what) as answer:
        said = answer.getheader("Content-Range", "")
        if answer.status == 206 and not said.startswith(f"bytes {start}-"):
            raise registry.failed("it gave another part than was asked for", what)
        # A registry that knows no ranges begins anew.
        at = start if answer.status == 206 else 0
        while chunk := answer.read(CHUNK_BYTES):
            new = chunk[max(start - at, 0) :]
            at += len(chunk)
            if at > size_bytes:
                raise registry.failed(f"it is longer than the {size_bytes} bytes that it has", what)
            if new:
                yield new
    if at < size_bytes:
        raise registry.broken(f"the connection ended after {at} of {size_bytes} bytes", what)
