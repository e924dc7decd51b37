"""The JSON documents of an image, and the digests by which they point at blobs.

An index lists manifests (of platforms, of attestations), a manifest names a configuration and layers. BuildKit also
keeps build caches this way: a manifest, or an index, whose layers are those of steps and whose configuration
says which step they belong to. Everything is found by its digest, and only by it.

Documents come from wherever a layout came from, so nothing in them is trusted: digests are checked before
they become a path, and documents against the digest that they were asked for with.

Source: opencontainers/image-spec `descriptor.md`, `image-index.md`, `manifest.md`; opencontainers/go-digest;
moby/buildkit `cache/remotecache/v1/types`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from depotlab._values import Value
from depotlab.errors import ContextError, ReferenceInvalid

__all__ = [
    "IMAGE_NAME",
    "REF_NAME",
    "Descriptor",
    "as_descriptor",
    "children",
    "hash_for",
    "kind_of",
    "looks_like_digest",
    "parse_document",
    "split_digest",
]

REF_NAME = "org.opencontainers.image.ref.name"
"""Annotation of a manifest in an index: its tag."""

IMAGE_NAME = "io.containerd.image.name"
"""Annotation of a manifest in an index: its whole name, such as `docker.io/library/busybox:1.36`."""

_HEX_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
_HEX = re.compile(r"[0-9a-f]+")
_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)


@dataclass(frozen=True, slots=True, repr=False)
class Descriptor(Value):
    """What points at a blob.

    Attributes:
        digest: Checked to be well-formed.
        size_bytes: Of the blob, as the descriptor says.
        media_type: Of the content; empty when nobody said.
        annotations: Such as the tag of an image in an index.
        platform: Of a manifest in an index, by the names of the specification; empty when not given.
    """

    digest: str
    size_bytes: int
    media_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    platform: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def platform_name(self) -> str:
        """The platform as `linux/arm64/v8`, or empty."""
        parts = (self.platform.get(key) for key in ("os", "architecture", "variant"))
        return "/".join(str(part) for part in parts if part)

    @property
    def tag(self) -> str:
        """The tag that an index gives it, or empty."""
        return self.annotations.get(REF_NAME, "")

    @property
    def name(self) -> str:
        """The whole image name that an index gives it, or empty."""
        return self.annotations.get(IMAGE_NAME, "")

    def to_json(self) -> dict[str, Any]:
        """Return the descriptor as it stands in documents."""
        found: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": self.size_bytes,
        }
        if self.annotations:
            found["annotations"] = dict(self.annotations)
        if self.platform:
            found["platform"] = dict(self.platform)
        return found


def split_digest(digest: str) -> tuple[str, str]:
    """Return algorithm and hexadecimal digits of a digest; both are safe as names of files.

    Raises:
        ReferenceInvalid: It is no digest, or one of an algorithm that images do not use.
    """
    algorithm, colon, encoded = str(digest).partition(":")
    length = _HEX_LENGTHS.get(algorithm)
    if colon and length == len(encoded) and _HEX.fullmatch(encoded):
        return algorithm, encoded
    shown = repr(digest) if len(str(digest)) < 200 else repr(str(digest)[:200]) + "…"
    raise ReferenceInvalid(
        f"{shown} is not a digest.",
        ref=str(digest),
        hint="a digest is sha256: and 64 hexadecimal digits in lower case (or sha384 with 96, sha512 with 128)",
    )


def looks_like_digest(text: str) -> bool:
    """Whether a text can only be meant as a digest, right or wrong."""
    return text.partition(":")[0] in _HEX_LENGTHS and ":" in text


def hash_for(digest: str) -> hashlib._Hash:
    """Return a fresh hash of the algorithm of a digest; sha256 for an empty one."""
    return hashlib.new(split_digest(digest)[0] if digest else "sha256")


def as_descriptor(value: object, *, where: str) -> Descriptor:
    """Read a descriptor out of a document.

    Args:
        value: What stands there.
        where: The document, for the error.

    Raises:
        ContextError: It is no descriptor.
        ReferenceInvalid: Its digest is none.
    """
    if not isinstance(value, dict):
        raise _malformed(where, f"{_short(value)} stands where a descriptor belongs")
    digest, size, media_type = value.get("digest"), value.get("size"), value.get("mediaType", "")
    if not isinstance(digest, str) or not isinstance(media_type, str):
        raise _malformed(where, f"a descriptor without a digest: {_short(value)}")
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise _malformed(where, f"a descriptor without a size: {_short(value)}")
    split_digest(digest)
    annotations, platform = value.get("annotations") or {}, value.get("platform") or {}
    if not isinstance(annotations, dict) or not isinstance(platform, dict):
        raise _malformed(where, f"a descriptor with odd annotations: {_short(value)}")
    texts = {str(key): str(text) for key, text in annotations.items()}
    return Descriptor(digest, size, media_type, texts, platform)


def parse_document(data: bytes, *, where: str) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        ContextError: It is none.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _malformed(where, f"it is no JSON ({error})") from error
    if not isinstance(document, dict):
        raise _malformed(where, "it is no JSON object")
    return document


def kind_of(media_type: str, document: Mapping[str, Any] | None = None) -> str:
    """Return `index`, `manifest`, or an empty string for everything else.

    Args:
        media_type: As a descriptor says; when it is empty the document decides.
        document: The document itself, when it is at hand.
    """
    said = media_type or (document or {}).get("mediaType")
    if said:
        return "index" if said in _INDEXES else "manifest" if said in _MANIFESTS else ""
    if document is not None and isinstance(document.get("manifests"), list):
        return "index"
    if document is not None and isinstance(document.get("layers"), list):
        return "manifest" if isinstance(document.get("config"), dict) else ""
    return ""


def children(document: Mapping[str, Any], *, where: str) -> list[tuple[str, Descriptor]]:
    """Return what an index or a manifest points at, in order, each with its role.

    Roles are `index` and `manifest` for documents that point at more, `config` and `layer` for the parts of a
    manifest, and `blob` for what else an index lists (layers of a build cache stand in an index directly).
    """
    if isinstance(document.get("manifests"), list):
        listed = [as_descriptor(value, where=where) for value in document["manifests"]]
        return [(kind_of(one.media_type) or "blob", one) for one in listed]
    found: list[tuple[str, Descriptor]] = []
    if document.get("config") is not None:
        found.append(("config", as_descriptor(document["config"], where=where)))
    layers = document.get("layers") or []
    if not isinstance(layers, list):
        raise _malformed(where, "its layers are no list")
    return found + [("layer", as_descriptor(value, where=where)) for value in layers]


def _malformed(where: str, why: str) -> ContextError:
    return ContextError(
        f"{where} could not be understood: {why}.",
        path=where,
        hint="make the image layout anew; it may have been cut off while it was written",
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
