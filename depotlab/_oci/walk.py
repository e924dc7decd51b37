"""From a descriptor to everything that it leads to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from depotlab._oci.documents import Descriptor, children, kind_of
from depotlab._values import Value

__all__ = ["DOCUMENT_BYTES", "Documents", "Node", "walk"]

DOCUMENT_BYTES = 16 << 20
"""Longer documents are refused. Registries take 4 MiB; configurations with a large build cache inside are longer."""


class Documents(Protocol):
    """Where blobs are: a layout, or an archive."""

    def info(self, digest: str) -> object | None:
        """None when the blob is not there."""

    def document(self, descriptor: Descriptor) -> dict[str, Any]:
        """Return a JSON document, checked against its digest."""


@dataclass(frozen=True, slots=True, repr=False)
class Node(Value):
    """One blob on the way.

    Attributes:
        role: `index`, `manifest`, `config`, `layer`, or `blob` for what else an index lists.
        descriptor: As the document above it has it.
        parents: Descriptors of the documents above it, the outermost first.
        present: Whether the blob is there.
    """

    role: str
    descriptor: Descriptor
    parents: tuple[Descriptor, ...]
    present: bool


def walk(source: Documents, roots: Iterable[Descriptor]) -> Iterator[Node]:
    """Yield each root and what it leads to, depth first, in the order of the documents.

    A blob that several documents name is yielded for each of them, and what is below it for the first only: the
    length of the walk is that of the documents, whatever they say. They cannot form a circle, since
    they name each other by digest.

    Raises:
        ContextError: A document that is there cannot be read or understood.
    """
    seen: set[str] = set()
    # The next one is taken from the end.
    left: list[tuple[str, Descriptor, tuple[Descriptor, ...]]]
    left = [("", root, ()) for root in reversed(list(roots))]
    while left:
        role, descriptor, parents = left.pop()
        present = source.info(descriptor.digest) is not None
        below: list[tuple[str, Descriptor]] = []
        if role in ("", "blob"):
            role = kind_of(descriptor.media_type) or role
        if present and descriptor.digest not in seen and _is_document(role, descriptor):
            seen.add(descriptor.digest)
            document = source.document(descriptor)
            role = kind_of(descriptor.media_type, document) or role
            if role in ("index", "manifest"):
                below = children(document, where=descriptor.digest)
        yield Node(role or "blob", descriptor, parents, present)
        lower = (*parents, descriptor)
        left += [(kind, child, lower) for kind, child in reversed(below)]


def _is_document(role: str, descriptor: Descriptor) -> bool:
    """Whether a blob points at others. A root without a media type is taken for a document."""
    return role in ("index", "manifest") or (not role and not descriptor.media_type)
