"""What a build gives back: outputs as values. Nothing is sent or written here.

Names and meanings of the attributes are BuildKit's. Source: moby/buildkit `exporter/containerimage`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from depotlab.errors import UsageError

__all__ = ["Output", "image"]

Compression = Literal["uncompressed", "gzip", "estargz", "zstd"]
COMPRESSIONS = ("uncompressed", "gzip", "estargz", "zstd")


@dataclass(frozen=True, slots=True)
class Output:
    """One output of a build, as BuildKit's exporters take it.

    Attributes:
        type: The exporter, such as `image`.
        attrs: Its attributes, all strings.
        names: Image names it gives, for messages and checks.
        push: True when the result leaves the builder for a registry.
    """

    type: str
    attrs: Mapping[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    push: bool = False

    def __repr__(self) -> str:
        what = ", ".join(self.names) or "no name"
        return f"<output {self.type}: {what}{', pushed' if self.push else ''}>"

    def __hash__(self) -> int:
        return hash((self.type, tuple(sorted(self.attrs.items()))))


def image(
    *names: str,
    push: bool = False,
    insecure: bool = False,
    compression: Compression | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Output:
    """Give the result a name as an image, and push it when asked.

    Args:
        names: One or more image names, such as `ghcr.io/me/app:dev`. Without a tag, `latest` is meant.
        push: Send it to the registry of each name. Otherwise it stays in the builder's cache
            (daemons with a containerd worker also keep it in their image store).
        insecure: Let the push use plain HTTP or an unknown certificate.
        compression: Of new layers; the daemon's default is gzip.
        annotations: For the image manifest.

    Raises:
        UsageError: `push=True` without a name, or an unknown compression.

    Example:
        >>> image("localhost:5000/app:1", push=True)
        <output image: localhost:5000/app:1, pushed>
    """
    if push and not names:
        raise UsageError(
            "image(push=True) needs a name to push to.",
            hint="for example export.image('ghcr.io/me/app:dev', push=True)",
        )
    for name in names:
        if not isinstance(name, str) or not name:
            raise UsageError(
                f"image() takes image names as strings, not {name!r}.",
                hint="for example export.image('ghcr.io/me/app:dev')",
            )
        if "," in name:
            raise UsageError(
                f"{name!r} holds a comma.", hint="pass several names as several arguments"
            )
    if compression is not None and compression not in COMPRESSIONS:
        raise UsageError(
            f"compression={compression!r} is not known.",
            hint=f"use one of {', '.join(COMPRESSIONS)}",
        )
    attrs: dict[str, str] = {}
    if names:
        attrs["name"] = ",".join(names)
    if push:
        attrs["push"] = "true"
    if insecure:
        attrs["registry.insecure"] = "true"
    if compression is not None:
        attrs["compression"] = compression
    for key, value in (annotations or {}).items():
        attrs[f"annotation.{key}"] = value
    return Output("image", attrs, tuple(names), push)
