"""Image archives made by hand, as `docker save` and an OCI layout have them."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping
from pathlib import Path

APPLETS = ("sh", "cat", "echo", "false", "id", "ls", "sleep", "true")
_ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def tar_of(files: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> bytes:
    """Return a tar of executable files and symlinks."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            tar.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return out.getvalue()


def busybox_archive(name: str, files: Mapping[str, bytes] | None = None) -> bytes:
    """Return a `docker` archive of one image: the system's busybox, and files."""
    layer = _layer(files)
    config = _config(layer)
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    return tar_of(
        {
            "config.json": config,
            "layer.tar": layer,
            "manifest.json": json.dumps(manifest).encode(),
        }
    )


def busybox_layout(name: str, files: Mapping[str, bytes] | None = None) -> bytes:
    """Return the same as an archive of an OCI layout."""
    layer = _layer(files)
    config = _config(layer)
    blobs: dict[str, bytes] = {}

    def described(kind: str, data: bytes) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = data
        return {
            "mediaType": f"application/vnd.oci.image.{kind}",
            "digest": f"sha256:{digest}",
            "size": len(data),
        }

    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described("config.v1+json", config),
        "layers": [described("layer.v1.tar", layer)],
    }
    entry = described("manifest.v1+json", json.dumps(manifest).encode())
    entry["annotations"] = {"org.opencontainers.image.ref.name": name}
    return tar_of(
        {
            "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
            "index.json": json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode(),
            **blobs,
        }
    )


def _layer(files: Mapping[str, bytes] | None) -> bytes:
    return tar_of(
        {"bin/busybox": Path("/bin/busybox").read_bytes(), **(files or {})},
        {f"bin/{applet}": "busybox" for applet in APPLETS},
    )


def _config(layer: bytes) -> bytes:
    return json.dumps(
        {
            "architecture": _ARCHITECTURE,
            "os": "linux",
            "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]},
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"],
            },
        }
    ).encode()
