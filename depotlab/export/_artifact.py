"""What an output became, for the user."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from depotlab._values import Value
from depotlab.errors import ProtocolError, SessionError, UsageError

__all__ = ["Artifact"]


@dataclass(frozen=True, slots=True, repr=False)
class Artifact(Value):
    """What one output of a build became.

    Attributes:
        path: The file or directory on this machine, or None.
        data: The archive itself when it went to memory, else None.
        size_bytes: Received over the session: of the archive, or of all files of a directory.
        n_files: Names of regular files in a directory; 0 for the others.
        metadata: What the builder says of it, by key, such as `containerimage.digest`.
        warnings: What is not as in the result, for people; for example device nodes left out.
    """

    path: Path | None = None
    data: bytes | None = field(default=None, repr=False)
    size_bytes: int = 0
    n_files: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Of the image's manifest (or index), `sha256:…`; empty for what is no image."""
        return self.metadata.get("containerimage.digest", "")

    @property
    def config_digest(self) -> str:
        """Of the image's configuration; empty for several platforms, and for what is no image."""
        return self.metadata.get("containerimage.config.digest", "")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the image, in full for archives."""
        names = self.metadata.get("image.name", "")
        return tuple(names.split(",")) if names else ()

    @property
    def descriptor(self) -> Mapping[str, Any]:
        """The OCI descriptor of the manifest: media type, digest, size, annotations; empty if there is none.

        Source: moby/buildkit `exporter/oci/export.go` (JSON in base64).

        Raises:
            ProtocolError: The builder sent something else.
        """
        encoded = self.metadata.get("containerimage.descriptor", "")
        try:
            found = json.loads(base64.b64decode(encoded)) if encoded else {}
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ProtocolError("The builder sent a malformed descriptor of the image.")
        return found

    def read(self) -> bytes:
        """Return the content of an archive, from memory or from its file.

        Raises:
            UsageError: It is a directory, or went to a file object.
            SessionError: The file cannot be read any more.
        """
        if self.data is not None:
            return self.data
        if self.path is None or self.path.is_dir():
            what = f"{self.path} is a directory" if self.path else "it is not on this machine"
            raise UsageError(
                f"This output cannot be read as bytes: {what}.",
                hint="export.tar(None), export.oci(None) and export.docker(None) give bytes",
            )
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise SessionError(
                f"{self.path} cannot be read: {(error.strerror or str(error)).lower()}.",
                path=str(self.path),
                hint="something has changed it since the build; build again",
            ) from error

    def __repr__(self) -> str:
        parts = [str(self.path) if self.path else ", ".join(self.names), self.digest]
        if self.n_files:
            parts.append(f"{self.n_files} files")
        if self.size_bytes or not any(parts):
            parts.append(f"{self.size_bytes} bytes{' in memory' if self.data is not None else ''}")
        return f"<artifact {', '.join(filter(None, parts))}>"
