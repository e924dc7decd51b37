"""Caches in a registry, in the image itself, and in a directory of this machine."""

from __future__ import annotations

import os
import re
from pathlib import Path

from depotlab._oci import split_digest
from depotlab.cache._check import Compression, Mode, Writer
from depotlab.cache._value import Cache
from depotlab.errors import ReferenceInvalid, UsageError

__all__ = ["inline", "local", "registry"]


def registry(
    ref: str,
    *,
    mode: Mode | None = None,
    insecure: bool = False,
    compression: Compression | None = None,
    compression_level: int | None = None,
    force_compression: bool = False,
    oci_mediatypes: bool | None = None,
    image_manifest: bool | None = None,
    ignore_error: bool = False,
) -> Cache:
    """Keep the cache in a registry, as an image of its own.

    An image with an inline cache (see `inline`) is looked into in the same way, by its name.

    Args:
        ref: Such as `ghcr.io/me/app:cache`; without a tag, `latest` is meant. Not the name of the image itself,
            which the export would replace.
        mode: `max` keeps the steps of all stages, `min` (the default) those that the result consists of.
        insecure: The registry speaks plain HTTP or has an unknown certificate.
        compression: Of the layers; the daemon's default is gzip.
        compression_level: 0 to 9 for gzip and estargz, 0 to 22 for zstd.
        force_compression: Compress layers again that are compressed otherwise.
        oci_mediatypes: False for registries that only take Docker's.
        image_manifest: False stores an index, as before BuildKit 0.21; some registries refuse those.
        ignore_error: A cache that cannot be written does not fail the build.

    Raises:
        ReferenceInvalid: `ref` is no image name.
        UsageError: Another argument is wrong.

    Example:
        >>> registry("ghcr.io/me/app:cache", mode="max")
        <cache registry ghcr.io/me/app:cache, mode=max>
    """
    if not isinstance(ref, str) or not ref or "://" in ref or re.search(r"[\s,;]", ref):
        raise ReferenceInvalid(
            f"cache.registry({ref!r}) is not the name of an image.",
            ref=str(ref),
            hint="a name has no scheme and no spaces, for example cache.registry('ghcr.io/me/app:cache')",
        )
    both, export = Writer("cache.registry"), Writer("cache.registry")
    both.text("ref", ref)
    if insecure is not False:
        both.flag("insecure", insecure, "registry.insecure")
    export.export(mode, ignore_error)
    export.layers(
        compression=compression,
        compression_level=compression_level,
        force_compression=force_compression,
        oci_mediatypes=oci_mediatypes,
        image_manifest=image_manifest,
    )
    return Cache("registry", both.attrs, export.attrs)


def inline() -> Cache:
    """Keep the cache inside the configuration of the image that the build makes. Only for `cache_to=`.

    It holds the steps that the image consists of (`mode="min"`), and comes and goes with the image:
    `cache_from=cache.registry(name of the image)` looks into it.

    Example:
        >>> inline()
        <cache inline, mode=min>
    """
    export = Writer("cache.inline")
    export.export(None, False)
    return Cache("inline", {}, export.attrs)


def local(
    path: str | os.PathLike[str],
    *,
    tag: str = "latest",
    mode: Mode | None = None,
    reset: bool = False,
    digest: str = "",
    compression: Compression | None = None,
    compression_level: int | None = None,
    force_compression: bool = False,
    oci_mediatypes: bool | None = None,
    image_manifest: bool | None = None,
    ignore_error: bool = False,
) -> Cache:
    """Keep the cache in a directory of this machine, as an OCI image layout.

    Blobs come and go through the session of the build, so the daemon may be anywhere.

    Args:
        path: The directory; relative to the working directory of this call. An export makes it.
        tag: Several caches may share a directory (and the layers that they have in common).
        mode: See `registry`, as for all arguments that are not described here.
        reset: After an export, remove the blobs that no cache in the directory needs. Otherwise they stay for ever.
        digest: Look into this cache, whatever the tag says. Only for `cache_from=`.

    Raises:
        ReferenceInvalid: The digest is none.
        UsageError: Another argument is wrong.

    Example:
        >>> local("/tmp/cache", tag="main")
        <cache local /tmp/cache, tag main, mode=min>
    """
    plain = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(plain, str) or not plain or "\0" in plain:
        raise UsageError(
            f"cache.local() takes the path of a directory, not {path!r}.",
            hint="for example cache.local('cache')",
        )
    if not isinstance(tag, str) or not re.fullmatch(r"[\w.+-][\w.+/-]{0,127}", tag, re.ASCII):
        raise UsageError(
            f"cache.local(tag={tag!r}) is not a tag.",
            hint="for example tag='main', or leave it out",
        )
    if not isinstance(reset, bool):
        raise UsageError(
            f"cache.local(reset={reset!r}) is neither True nor False.", hint="write reset=True"
        )
    if digest:
        split_digest(digest)
    export = Writer("cache.local")
    export.export(mode, ignore_error)
    export.layers(
        compression=compression,
        compression_level=compression_level,
        force_compression=force_compression,
        oci_mediatypes=oci_mediatypes,
        image_manifest=image_manifest,
    )
    host_path = Path(os.path.abspath(os.path.expanduser(plain)))  # noqa: PTH100, PTH111 - `..` as text, never raises
    return Cache(
        "local", {}, export.attrs, host_path=host_path, tag=tag, digest=digest, reset=reset
    )
