"""What of an image is wanted: its documents, read from the top, and the blobs that they name.

Documents are small and are kept; blobs are only named here. Each document is checked against its digest by whoever
fetches it, so what is chosen here is what the image's own digest stands for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from depotlab._oci.documents import (
    IMAGE_NAME,
    REF_NAME,
    Descriptor,
    children,
    kind_of,
    parse_document,
)
from depotlab._oci.stream import Entry
from depotlab.errors import ContextError

__all__ = ["Picked", "Want", "archive_entries", "pick"]

Fetch = Callable[[Descriptor], bytes]
"""Gives a document, checked against its digest."""

Want = Callable[[Sequence[str]], str | None]
"""Chooses one of the platforms of an image, by its names; None takes the image as a whole."""


@dataclass(frozen=True, slots=True)
class Picked:
    """An image, or a part of it.

    Attributes:
        root: Its index, or the manifest of one platform.
        documents: Indexes, manifests and configurations, by digest.
        layers: What is not here, each once: layers, and what attestations say.
        platforms: Those of the images in it, as `linux/arm64`.
        manifests: Of these images, in the same order.
    """

    root: Descriptor
    documents: Mapping[str, bytes]
    layers: tuple[Descriptor, ...]
    platforms: tuple[str, ...]
    manifests: tuple[Descriptor, ...]

    @property
    def size_bytes(self) -> int:
        """Of everything together."""
        here = sum(map(len, self.documents.values()))
        return here + sum(layer.size_bytes for layer in self.layers)

    def document(self, descriptor: Descriptor) -> dict[str, Any]:
        """Return one of its documents."""
        return parse_document(self.documents[descriptor.digest], where=descriptor.digest)


def pick(root: Descriptor, data: bytes, fetch: Fetch, want: Want) -> Picked:
    """Read an image from the top, and choose what of it is wanted.

    Args:
        root: Its index or manifest.
        data: Of that.
        fetch: Gives the other documents.
        want: Chooses the platform.

    Raises:
        ContextError: A document cannot be understood.
    """
    documents = {root.digest: data}

    def read(descriptor: Descriptor) -> dict[str, Any]:
        if descriptor.digest not in documents:
            documents[descriptor.digest] = fetch(descriptor)
        return parse_document(documents[descriptor.digest], where=descriptor.digest)

    images = list(_images(root, read))
    if not images:
        raise ContextError(
            f"{root.digest} is no image: it is neither a manifest of one nor an index with one.",
            path=root.digest,
            hint="look at what was pushed there",
        )
    platforms = [_platform(image, read) for image in images]
    wanted = want(platforms)
    if wanted is not None:
        at = platforms.index(wanted)
        images, platforms = [images[at]], [wanted]
        root = images[0]
    layers = dict(_layers(root, read))
    kept = {one.digest for one in _documents(root, read)}
    return Picked(
        root=root,
        documents={digest: data for digest, data in documents.items() if digest in kept},
        layers=tuple(layer for digest, layer in layers.items() if digest not in kept),
        platforms=tuple(platforms),
        manifests=tuple(images),
    )


def _below(
    descriptor: Descriptor, read: Callable[[Descriptor], dict[str, Any]]
) -> list[tuple[str, Descriptor]]:
    return children(read(descriptor), where=descriptor.digest)


def _walk(
    root: Descriptor, read: Callable[[Descriptor], dict[str, Any]]
) -> Iterator[tuple[str, Descriptor]]:
    """Yield what a document leads to, each digest once, itself first."""
    left, seen = [(kind_of(root.media_type, read(root)), root)], set()
    while left:
        role, descriptor = left.pop()
        if descriptor.digest in seen:
            continue
        seen.add(descriptor.digest)
        yield role, descriptor
        if role in ("index", "manifest"):
            left += reversed(_below(descriptor, read))


def _images(root: Descriptor, read: Callable[[Descriptor], dict[str, Any]]) -> Iterator[Descriptor]:
    """Yield the manifests of images. Attestations have a platform that does not exist."""
    for role, descriptor in _walk(root, read):
        if role == "manifest" and descriptor.platform_name != "unknown/unknown":
            yield descriptor


def _documents(
    root: Descriptor, read: Callable[[Descriptor], dict[str, Any]]
) -> Iterator[Descriptor]:
    for role, descriptor in _walk(root, read):
        if role in ("index", "manifest", "config"):
            read(descriptor)
            yield descriptor


def _layers(
    root: Descriptor, read: Callable[[Descriptor], dict[str, Any]]
) -> Iterator[tuple[str, Descriptor]]:
    for role, descriptor in _walk(root, read):
        if role in ("layer", "blob"):
            yield descriptor.digest, descriptor


def _platform(manifest: Descriptor, read: Callable[[Descriptor], dict[str, Any]]) -> str:
    """Return the platform of an image: as the index says, or else as the image itself says."""
    if manifest.platform_name:
        return manifest.platform_name
    for role, config in _below(manifest, read):
        if role == "config":
            said = read(config)
            return replace(
                config,
                platform={
                    key: said[key] for key in ("os", "architecture", "variant") if said.get(key)
                },
            ).platform_name
    return ""


def archive_entries(
    picked: Picked, names: Sequence[str], *, for_docker: bool, fetch: Callable[[Descriptor], Any]
) -> Iterator[Entry]:
    """Yield the files of an archive of an image: an OCI layout, and the list that `docker load` wants.

    Args:
        picked: The image; with `for_docker` of one platform.
        names: In full, such as `docker.io/library/app:1`.
        for_docker: Add the list.
        fetch: Gives the pieces of a layer.
    """
    labels = [{IMAGE_NAME: name, REF_NAME: name.rpartition(":")[2]} for name in names] or [{}]
    listed = [replace(picked.root, annotations={**picked.root.annotations, **x}) for x in labels]
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [one.to_json() for one in listed],
    }
    yield Entry.of("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    yield Entry.of("index.json", json.dumps(index, separators=(",", ":")).encode())
    if for_docker:
        parts = children(picked.document(picked.manifests[0]), where=picked.root.digest)
        configs = [_path(d.digest) for role, d in parts if role == "config"]
        if not configs:
            raise ContextError(
                f"{picked.root.digest} has no configuration, which a Docker Engine wants.",
                path=picked.root.digest,
                hint="pull it as export.oci(...)",
            )
        entry = {
            "Config": configs[0],
            "RepoTags": list(names),
            "Layers": [_path(d.digest) for role, d in parts if role == "layer"],
        }
        yield Entry.of("manifest.json", json.dumps([entry], separators=(",", ":")).encode())
    for digest, data in picked.documents.items():
        yield Entry.of(_path(digest), data)
    for layer in picked.layers:
        yield Entry(_path(layer.digest), layer.size_bytes, fetch(layer))


def _path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"
