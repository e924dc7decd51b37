"""Read pushed images back with skopeo, a tool that is not ours."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path


def inspect(ref: str) -> tuple[dict, dict]:
    """Return the configuration and `{digest, manifest}` of an image in a registry with plain HTTP."""
    config = _skopeo("inspect", "--config", "--tls-verify=false", f"docker://{ref}")
    manifest = _skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{ref}")
    listed = _skopeo("inspect", "--tls-verify=false", "--no-tags", f"docker://{ref}")
    return json.loads(config), {
        "digest": json.loads(listed)["Digest"],
        "manifest": json.loads(manifest),
    }


def layer_files(ref: str) -> list[dict[str, bytes]]:
    """Copy an image out of its registry and return the regular files of each layer by path."""
    with tempfile.TemporaryDirectory() as folder:
        _skopeo("copy", "--src-tls-verify=false", f"docker://{ref}", f"dir:{folder}")
        manifest = json.loads(Path(folder, "manifest.json").read_text())
        return [_files(Path(folder, d["digest"].partition(":")[2])) for d in manifest["layers"]]


def _files(blob: Path) -> dict[str, bytes]:
    data = blob.read_bytes()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {
            member.name.removeprefix("./"): tar.extractfile(member).read()
            for member in tar
            if member.isreg()
        }


def _skopeo(*args: str) -> str:
    done = subprocess.run(
        ["skopeo", *args], capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        raise AssertionError(f"skopeo {' '.join(args)} failed: {done.stderr}")
    return done.stdout
