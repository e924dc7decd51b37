"""An image in a layout as the source of a build: what the build calls it, and what the session serves.

A build names the image `oci-layout://NAME@DIGEST`; the daemon then reads the digest's blobs from the store
`oci:NAME` of the session. A NAME has two parts: the one before the slash is read as a host, and refused as
one when nothing follows it. Source: moby/buildkit `source/containerimage/ocilayout.go`,
`frontend/dockerui/namedcontext.go`; containerd/containerd `pkg/reference/reference.go`.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import NamedTuple

from depotlab._oci.layout import Layout

__all__ = ["OciStore", "oci_store"]


class OciStore(NamedTuple):
    """An image in a layout, for a build.

    Attributes:
        identifier: `oci-layout://NAME@sha256:…`, as a Dockerfile's named context wants it.
        store_id: `oci:NAME`, the key under which the session must serve `layout`.
        layout: Read only.
    """

    identifier: str
    store_id: str
    layout: Layout

    @property
    def ref(self) -> str:
        """`NAME@sha256:…`, as `llb.oci_layout` wants it."""
        return self.identifier.removeprefix("oci-layout://")

    @property
    def name(self) -> str:
        """NAME, which `llb.oci_layout` also wants as `store_id`: the daemon does not take it from the ref."""
        return self.store_id.removeprefix("oci:")

    @property
    def digest(self) -> str:
        """Of the image's manifest or index."""
        return self.identifier.rpartition("@")[2]


def oci_store(host_path: str | os.PathLike[str], ref: str = "") -> OciStore:
    """Find an image in a layout, and say how a build gets it. Reads the index.

    Args:
        host_path: Directory of the layout.
        ref: Tag, name or digest; empty as for `Layout.resolve`.

    Raises:
        ContextError: There is no such layout or image.
        ReferenceInvalid: The digest is none.
    """
    layout = Layout(host_path, read_only=True)
    image = layout.resolve(ref)
    # It must be a repository name; the hash tells layouts with one name in several places apart.
    word = re.sub(r"[^a-z0-9]+", "-", layout.host_path.name.lower()).strip("-")[:40].strip("-")
    short = hashlib.sha256(os.fsencode(layout.host_path)).hexdigest()[:8]
    name = f"layout/{word or 'image'}-{short}"
    return OciStore(f"oci-layout://{name}@{image.digest}", f"oci:{name}", layout)
