"""Fills the registry's shelf with a busybox made from this computer's, so that builds work with no network.

The image is the one of the embedded engine (`_local/_seed.py`). Machines ask the plane's registry for images of
docker.io.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from depotlab._local import SEED_REPOSITORY, digest_of, system_image
from depotlab._plane.registryback import ask
from depotlab.errors import EngineError

_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


async def fill_shelf(host_socket: Path) -> bool:
    """Push busybox unless it is there; return whether it is there now.

    False where this computer has no static busybox to make one of: then images come from Docker Hub alone.

    Args:
        host_socket: Where the registry program listens.

    Raises:
        EngineError: The registry refuses.
    """
    base = f"/v2/{SEED_REPOSITORY}"
    accept = [("accept", _MANIFEST_TYPE)]
    if (await ask(host_socket, "HEAD", f"{base}/manifests/latest", headers=accept)).status == 200:
        return True
    try:
        image = await asyncio.to_thread(system_image)
    except EngineError:
        return False
    for blob in (image.config, image.layer):
        await _put_blob(host_socket, base, blob)
    for tag in image.tags:
        kind = [("content-type", _MANIFEST_TYPE)]
        answer = await ask(
            host_socket, "PUT", f"{base}/manifests/{tag}", headers=kind, body=image.manifest
        )
        _expect(answer.status, 201)
    return True


async def _put_blob(host_socket: Path, base: str, content: bytes) -> None:
    began = await ask(host_socket, "POST", f"{base}/blobs/uploads/")
    _expect(began.status, 202)
    _, _, there = began.headers["location"].partition("/v2/")
    joint = "&" if "?" in there else "?"
    target = f"/v2/{there}{joint}digest={digest_of(content)}"
    kind = [("content-type", "application/octet-stream")]
    _expect((await ask(host_socket, "PUT", target, headers=kind, body=content)).status, 201)


def _expect(status: int, wanted: int) -> None:
    if status != wanted:
        raise EngineError(f"The registry of the plane refused busybox: status {status}.")
