"""Definition: a marshalled graph, as BuildKit reads it. Plain data."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from depotlab.errors import SourceLocation
from depotlab.llb._drawn import Drawn
from depotlab.llb._meta import OpMetadata
from depotlab.llb._needs import Need, needs
from depotlab.llb._view import OpView, view_ops
from depotlab.llb._where import Locator, Where
from depotlab.llb._wire import field, varint


class Definition(Drawn):
    """A marshalled graph.

    Attributes:
        data: Every op as bytes, inputs before users; the last one only points at the result.
        digests: Their digests, in the same order.
        head: The digest of the op that makes the result; empty for scratch.
        head_output: Which of its outputs.
        metadata: What is said beside the ops, by digest.
        locals: Directories on this machine that the build reads, by the name of the local source.
    """

    __slots__ = (
        "__dict__",
        "_hide",
        "_source",
        "_wheres",
        "data",
        "digests",
        "head",
        "head_output",
        "locals",
        "metadata",
    )

    def __init__(
        self,
        *,
        data: Iterable[bytes],
        digests: Iterable[str],
        head: str,
        head_output: int,
        metadata: Mapping[str, OpMetadata],
        source: bytes | None,
        host_paths: Mapping[str, Path],
        wheres: Mapping[str, Where],
        hide: tuple[str, ...] = (),
    ) -> None:
        self.data: tuple[bytes, ...] = tuple(data)
        self.digests: tuple[str, ...] = tuple(digests)
        self.head = head
        self.head_output = head_output
        self.metadata: Mapping[str, OpMetadata] = MappingProxyType(dict(metadata))
        self.locals: Mapping[str, Path] = MappingProxyType(dict(host_paths))
        self._source = source
        self._wheres = wheres
        self._hide = hide

    @classmethod
    def empty(cls) -> Self:
        """Return the definition of scratch: no bytes at all."""
        return cls(
            data=(),
            digests=(),
            head="",
            head_output=0,
            metadata={},
            source=None,
            host_paths={},
            wheres={},
        )

    @functools.cached_property
    def ops(self) -> tuple[OpView, ...]:
        """The ops, decoded, in the order of `data`."""
        return view_ops(self.data, self.digests, self.metadata)

    @functools.cached_property
    def locations(self) -> Mapping[str, SourceLocation]:
        """The line that made each op, by digest, where it is known."""
        locate = Locator(self._hide)
        return MappingProxyType({digest: locate(where) for digest, where in self._wheres.items()})

    @functools.cached_property
    def _needs(self) -> tuple[Need, ...]:
        return needs(self)

    def _ids(self, kind: str, *, optional: bool) -> frozenset[str]:
        return frozenset(n.id for n in self._needs if n.kind == kind and n.optional is optional)

    @property
    def secret_ids(self) -> frozenset[str]:
        """Secrets without which a step fails."""
        return self._ids("secret", optional=False)

    @property
    def optional_secret_ids(self) -> frozenset[str]:
        """Secrets that steps and sources use if they are given."""
        return self._ids("secret", optional=True) - self.secret_ids

    @property
    def ssh_ids(self) -> frozenset[str]:
        """SSH agents that steps and sources may ask for; `default` is the unnamed one."""
        return frozenset(n.id for n in self._needs if n.kind == "ssh")

    def to_bytes(self) -> bytes:
        """Return the `pb.Definition` message, map entries sorted by key. Empty for scratch."""
        parts = [piece for op in self.data for piece in (b"\x0a", varint(len(op)), op)]
        # Most ops share a few metadata values. A digest is always 71 characters long, and text of
        # one byte a character is put together faster than bytes are.
        encoded: dict[int, tuple[str, str]] = {}
        entries: list[str] = []
        found = self.metadata
        for digest in sorted(found):
            metadata = found[digest]
            around = encoded.get(id(metadata))
            if around is None:
                payload = field(2, metadata.encode())
                head = b"\x12" + varint(len(payload) + 73) + b"\x0a\x47"
                around = encoded[id(metadata)] = head.decode("latin-1"), payload.decode("latin-1")
            entries += (around[0], digest, around[1])
        parts.append("".join(entries).encode("latin-1"))
        if self._source is not None:
            parts.append(field(3, self._source))
        return b"".join(parts)

    def _drawable(self) -> Definition:
        return self

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Definition):
            return NotImplemented
        return (
            self.data == other.data
            and self.metadata == other.metadata
            and self._source == other._source
        )

    def __hash__(self) -> int:
        return hash(self.digests)

    def __reduce__(self) -> tuple[Any, ...]:
        fields = (
            self.data,
            self.digests,
            self.head,
            self.head_output,
            dict(self.metadata),
            self._source,
            dict(self.locals),
            dict(self.locations),
        )
        return _restore, fields

    def __repr__(self) -> str:
        size = sum(map(len, self.data))
        return f"Definition({len(self.data)} ops, {size} bytes, head {self.head[:19] or 'scratch'})"

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, str]:
        from depotlab.llb._story import definition_bundle

        return definition_bundle(self)


def _restore(*values: Any) -> Definition:
    names = ("data", "digests", "head", "head_output", "metadata", "source", "host_paths", "wheres")
    return Definition(**dict(zip(names, values, strict=True)))
