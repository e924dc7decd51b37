"""Image layouts and archives made by hand, without the code that reads them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
REF_NAME = "org.opencontainers.image.ref.name"
IMAGE_NAME = "io.containerd.image.name"


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def tar_bytes(files: Mapping[str, bytes]) -> bytes:
    """Return a tar archive of regular files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o755
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


class HandMade:
    """A layout under construction.

    Attributes:
        host_path: The directory; `blobs/sha256` is there from the beginning, `index.json` after `list_images`.
    """

    def __init__(self, host_path: Path) -> None:
        self.host_path = host_path
        (host_path / "blobs/sha256").mkdir(parents=True)

    def blob(self, data: bytes) -> str:
        """Write a blob and return its digest."""
        digest = sha256(data)
        self.blob_path(digest).write_bytes(data)
        return digest

    def blob_path(self, digest: str) -> Path:
        return self.host_path / "blobs" / digest.replace(":", "/")

    def document(self, value: object, media_type: str, **more: object) -> dict[str, object]:
        """Write a JSON document and return its descriptor."""
        data = json.dumps(value).encode()
        return {"mediaType": media_type, "digest": self.blob(data), "size": len(data), **more}

    def image(
        self,
        files: Mapping[str, bytes],
        *,
        platform: str = "linux/amd64",
        compressed: bool = False,
        env: tuple[str, ...] = (),
        **more: object,
    ) -> dict[str, object]:
        """Write an image of one layer and return the descriptor of its manifest."""
        plain = tar_bytes(files)
        packed = gzip.compress(plain, mtime=0) if compressed else plain
        system, _, rest = platform.partition("/")
        architecture, _, variant = rest.partition("/")
        where = {"os": system, "architecture": architecture}
        if variant:
            where["variant"] = variant
        config = {
            **where,
            "config": {"Env": list(env)},
            "rootfs": {"type": "layers", "diff_ids": [sha256(plain)]},
        }
        layer = {
            "mediaType": LAYER + ("+gzip" if compressed else ""),
            "digest": self.blob(packed),
            "size": len(packed),
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.document(config, CONFIG),
            "layers": [layer],
        }
        return self.document(manifest, MANIFEST, platform=where, **more)

    def list_images(self, *descriptors: Mapping[str, object], **more: object) -> None:
        """Write `index.json` and `oci-layout`."""
        index = {"schemaVersion": 2, "manifests": list(descriptors), **more}
        (self.host_path / "index.json").write_text(json.dumps(index))
        (self.host_path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def as_tar(self, host_file: Path) -> Path:
        """Write the layout as a tar archive."""
        with tarfile.open(host_file, "w") as tar:
            for path in sorted(self.host_path.rglob("*")):
                tar.add(path, str(path.relative_to(self.host_path)), recursive=False)
        return host_file


def tagged(descriptor: Mapping[str, object], tag: str = "", name: str = "") -> dict[str, object]:
    """Return a descriptor with the annotations of a tag and a name."""
    labels = {key: value for key, value in ((REF_NAME, tag), (IMAGE_NAME, name)) if value}
    return {**descriptor, "annotations": labels}
