"""Manifests in a registry: fetch one, put one under a tag. Small documents; `blobs` has the rest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from depotlab._session.credentials import Credentials
from depotlab._session.registry import Registry, RegistryBroken

__all__ = ["MANIFEST_BYTES", "Manifest", "Manifests", "fetch_manifest"]

T = TypeVar("T")

INDEX: Final = "application/vnd.oci.image.index.v1+json"
_KINDS = (
    INDEX,
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
MANIFEST_BYTES = 4 << 20
"""What registries themselves take. Source: distribution-spec, "Pushing Manifests"."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A document as the registry gave it.

    Attributes:
        data: Its bytes.
        media_type: Of them.
    """

    data: bytes
    media_type: str

    @property
    def digest(self) -> str:
        """Of its bytes, `sha256:…`."""
        return f"sha256:{hashlib.sha256(self.data).hexdigest()}"


class Manifests:
    """The manifests of one repository. All methods block.

    Args:
        host: Of the registry, as image names have it.
        path: Of the repository.
        credentials: What opens it.
        insecure: The registry need not prove who it is, nor speak TLS; see `Registry`.
        timeout_s: For each wait.
    """

    def __init__(
        self,
        host: str,
        path: str,
        credentials: Credentials,
        *,
        insecure: bool = False,
        timeout_s: float = 30.0,
    ) -> None:
        self._registry = Registry(host, path, credentials, insecure=insecure, timeout_s=timeout_s)

    def get(self, reference: str) -> Manifest:
        """Fetch a manifest by its digest or tag.

        Raises:
            RegistryError: There is none, or the registry refuses.
        """
        try:
            return fetch_manifest(self._registry, reference)
        finally:
            self._registry.close()

    def put(self, reference: str, manifest: Manifest) -> None:
        """Put a manifest under a tag.

        Raises:
            RegistryError: The registry refuses.
        """
        what = _what(self._registry, reference)
        kind = {"Content-Type": manifest.media_type}
        target = f"manifests/{reference}"

        def put() -> None:
            with self._registry.ask("PUT", target, body=manifest.data, headers=kind, what=what):
                pass

        try:
            _insisting(self._registry, put)
        finally:
            self._registry.close()


def fetch_manifest(registry: Registry, reference: str) -> Manifest:
    """Fetch a manifest by its digest or tag. Blocks. Whether it is what its digest says is checked.

    Raises:
        RegistryError: There is none, the registry refuses, or gives something else.
    """
    what, kinds = _what(registry, reference), {"Accept": ", ".join(_KINDS)}

    def get() -> tuple[bytes, str]:
        with registry.ask("GET", f"manifests/{reference}", headers=kinds, what=what) as answer:
            return answer.read(MANIFEST_BYTES + 1), answer.headers.get_content_type()

    data, media_type = _insisting(registry, get)
    if len(data) > MANIFEST_BYTES:
        raise registry.failed(f"it is longer than {MANIFEST_BYTES} bytes", what)
    if reference.startswith("sha256:") and Manifest(data, "").digest != reference:
        raise registry.failed("its content is not what its digest says", what)
    return Manifest(data, media_type)


def _insisting(registry: Registry, ask: Callable[[], T]) -> T:
    """Ask, and again when it fails on the way; getting and putting twice is the same as once."""
    n_failed = 0
    while True:
        try:
            return ask()
        except RegistryBroken as error:
            n_failed += 1
            registry.wait_after(error, n_failed)


def _what(registry: Registry, reference: str) -> str:
    return f"The manifest {registry.name}{'@' if ':' in reference else ':'}{reference}"
