"""Caches that a build looks into: what to tell the daemon, and what to serve meanwhile.

A local cache that is not there is left out here, with a remark: the daemon could only ask for blobs in vain. Every
other import is tried by the daemon when a step first needs it, and its failure is no failure of the build; what
`buildkit.solve` makes of that is a warning. A storage that can be reached and holds no such cache is no
failure either: S3, Azure and GitHub Actions then look like an empty cache. When no step comes from any cache, that is
a warning too.

Source: moby/buildkit `client/solve.go`, `solver/llbsolver/bridge.go`, `cache/remotecache/s3/s3.go`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from depotlab._oci import Descriptor, Layout
from depotlab._values import Value
from depotlab.cache._credentials import client_attrs
from depotlab.cache._exports import local_store
from depotlab.cache._value import Attrs, Cache, Note, listed
from depotlab.errors import DepotlabError, UsageError

__all__ = ["Imports", "as_imports"]


@dataclass(frozen=True, slots=True, repr=False)
class Imports(Value):
    """Cache imports of one build, prepared.

    Attributes:
        entries: For the request, as (type, attributes).
        stores: Layouts that the session must serve, by store id, `local:DIR`; read only.
        notes: Remarks on local caches that are not there, and are left out of `entries`.
    """

    entries: list[tuple[str, Attrs]]
    stores: dict[str, Layout]
    notes: tuple[Note, ...] = ()


def as_imports(
    caches: Cache | Sequence[Cache] | None, *, environment: Mapping[str, str] | None = None
) -> Imports:
    """Prepare the caches of `cache_from=`. Reads credentials and the indexes of local ones.

    Args:
        caches: One, several or none.
        environment: Variables to look into, those of this process when left out.

    Raises:
        UsageError: One of them cannot be looked into, or lacks what only this machine could know.
    """
    entries: list[tuple[str, Attrs]] = []
    stores: dict[str, Layout] = {}
    notes: list[Note] = []
    for cache in listed("cache_from", caches):
        if cache.type == "inline":
            raise UsageError(
                "cache_from=cache.inline() does not say in which image to look.",
                hint="write cache_from=cache.registry(name of the image)",
            )
        attrs = Attrs({**cache.attrs, **cache.secrets})
        attrs.update(client_attrs(cache, os.environ if environment is None else environment))
        if cache.host_path is not None:
            layout = Layout(cache.host_path, read_only=True)
            found = _local_digest(cache, layout)
            if isinstance(found, Note):
                notes.append(found)
                continue
            attrs["src"] = local_store(cache.host_path)
            attrs["digest"] = found
            stores[f"local:{attrs['src']}"] = layout
        entries.append((cache.type, attrs))
    return Imports(entries, stores, tuple(notes))


def _local_digest(cache: Cache, layout: Layout) -> str | Note:
    hint = "it is there after a build with cache_to="
    if not (layout.host_path / "index.json").exists():
        return _unused(cache, "there is nothing yet", hint)
    digest = cache.digest
    try:
        if not digest:
            found = layout.find(cache.tag)
            if found is None:
                there = ", ".join(map(repr, layout.tags())) or "nothing"
                return _unused(cache, f"there is {there}, and not {cache.tag!r}", hint)
            digest = found.digest
        # Of a blob that is missing the daemon learns when it needs it, and may fail the build then.
        for node in layout.walk(Descriptor(digest, 0)):
            if not node.present:
                missing = node.descriptor.digest
                return _unused(cache, f"its blob {missing} is not there", "remove the directory")
    except DepotlabError as error:
        return _unused(cache, error.message.rstrip("."), error.hint)
    return digest


def _unused(cache: Cache, reason: str, hint: str) -> Note:
    return Note(f"The cache import {cache.label} was not used: {reason}.", hint)
