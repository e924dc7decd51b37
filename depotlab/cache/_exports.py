"""Caches that a build leaves: what to ask of the daemon, what to serve meanwhile, what to do afterwards."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote_from_bytes

from depotlab._oci import Descriptor, Layout, as_descriptor, parse_document
from depotlab._values import Value
from depotlab.cache._credentials import client_attrs
from depotlab.cache._value import Attrs, Cache, Note, listed
from depotlab.errors import ContextError, ReferenceInvalid, UsageError

__all__ = ["Exports", "as_exports", "local_store"]

# Files get the time of a clock that may be behind, on some file systems by two seconds.
_FILE_TICK_NS = 2_000_000_000


@dataclass(frozen=True, slots=True, repr=False)
class Exports(Value):
    """Cache exports of one build, prepared.

    Attributes:
        entries: For the request, as (type, attributes).
        stores: Layouts that the session must serve, by store id, `local:DIR`.
    """

    entries: list[tuple[str, Attrs]]
    stores: dict[str, Layout]
    _locals: dict[str, Cache] = field(default_factory=dict)
    _began_ns: int = field(default_factory=lambda: time.time_ns() - _FILE_TICK_NS)

    def finish(
        self, response: Mapping[str, str], last_written: Mapping[str, str] | None = None
    ) -> tuple[Note, ...]:
        """List local caches in their index, after a build that succeeded. Blocks.

        The daemon's answer has one `cache.manifest` for all caches of a build, so it may be that of
        another one: in a registry, say, with another mode. What was written last into the directory is the
        manifest, too, and belongs to this one. Source: moby/buildkit `solver/llbsolver/export.go`.

        Args:
            response: The daemon's answer.
            last_written: `ContentStores.last_written` of the session.

        Returns:
            Remarks on caches that were not written.

        Raises:
            SessionError: The index cannot be written.
            ContextError: It cannot be read.
        """
        return tuple(
            note
            for store_id, cache in self._locals.items()
            for note in self._finish(store_id, cache, response, (last_written or {}).get(store_id))
        )

    def _finish(
        self, store_id: str, cache: Cache, response: Mapping[str, str], written: str | None
    ) -> Iterator[Note]:
        layout = self.stores[store_id]
        manifest = _manifest(layout, response.get("cache.manifest"), written)
        if manifest is None:
            yield Note(
                f"The cache export {cache.label} wrote nothing.",
                "the result has no layer that could be kept, or the export failed and its errors are ignored",
            )
            return
        layout.add_to_index(manifest, tag=cache.tag)
        if cache.reset:
            layout.collect_garbage(before_ns=self._began_ns)


def _manifest(layout: Layout, told: str | None, written: str | None) -> Descriptor | None:
    """Return the manifest of the cache that is in a layout, None when there is none."""
    if not told:
        return None
    where = "the daemon's answer cache.manifest"
    found = as_descriptor(parse_document(told.encode(), where=where), where=where)
    if written in (None, found.digest):
        return found if layout.info(found.digest) else None
    try:
        return layout.describe(str(written))
    except ContextError:  # a layer: the export of this cache broke off, and may
        return None


def as_exports(
    caches: Cache | Sequence[Cache] | None, *, environment: Mapping[str, str] | None = None
) -> Exports:
    """Prepare the caches of `cache_to=`. Reads credentials; makes the directories of local ones.

    Args:
        caches: One, several or none.
        environment: Variables to look into, those of this process when left out.

    Raises:
        UsageError: One of them cannot be left, or lacks what only this machine could know.
        ContextError: A directory cannot be made.
    """
    entries: list[tuple[str, Attrs]] = []
    stores: dict[str, Layout] = {}
    locals_: dict[str, Cache] = {}
    places: set[object] = set()
    for cache in listed("cache_to", caches):
        place = cache.host_path or cache.attrs.get("ref") or cache
        if place in places:
            raise UsageError(
                f"cache_to= names {cache.label} twice, with different options.",
                hint="a build can leave one cache in one place",
            )
        places.add(place)
        attrs = Attrs({**cache.attrs, **cache.export_attrs, **cache.secrets})
        attrs.update(client_attrs(cache, os.environ if environment is None else environment))
        if cache.digest:
            raise UsageError(
                f"cache_to={cache!r} has a digest, which says what to look into.",
                hint="leave digest= out, or use the value for cache_from= only",
            )
        if "@" in attrs.get("ref", ""):
            raise ReferenceInvalid(
                f"cache_to= cannot leave a cache under a digest: {attrs['ref']!r}.",
                ref=attrs["ref"],
                hint="give it a tag",
            )
        if cache.host_path is not None:
            attrs["dest"] = local_store(cache.host_path)
            store_id = f"local:{attrs['dest']}"
            layout = stores[store_id] = Layout(cache.host_path)
            layout.create()
            locals_[store_id] = cache
        entries.append((cache.type, attrs))
    return Exports(entries, stores, locals_)


def local_store(host_path: Path) -> str:
    """Return what a build calls a directory: its path, in letters that a header may have."""
    return quote_from_bytes(os.fsencode(host_path), safe="/+@=,~")
