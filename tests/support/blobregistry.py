"""A small registry in this process that has one image, wants a login, and misbehaves as it is told."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["BlobRegistry", "Image", "image", "index", "serving_registry"]

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class Image:
    """Documents and blobs by digest.

    Attributes:
        root: Digest of the manifest or index.
        documents: Manifests and indexes, with their media types.
        blobs: Configurations and layers.
    """

    root: str
    documents: dict[str, tuple[bytes, str]] = field(default_factory=dict, repr=False)
    blobs: dict[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def layers(self) -> list[str]:
        """Digests of all layers, in no order."""
        return [d for d, data in self.blobs.items() if data[:2] == b"\x1f\x8b"]


def layer(name: str, content: bytes) -> bytes:
    """A layer with one file, which compresses to about the length of what it holds when that is random."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), compresslevel=1, mtime=0)


def image(*layers: bytes, architecture: str = "amd64") -> Image:
    """An image of these layers."""
    made = Image("")
    config = {"os": "linux", "architecture": architecture, "rootfs": {"type": "layers"}}
    config["rootfs"]["diff_ids"] = [digest_of(gzip.decompress(one)) for one in layers]
    parts = [(json.dumps(config).encode(), CONFIG), *((one, LAYER) for one in layers)]
    listed = []
    for data, kind in parts:
        made.blobs[digest_of(data)] = data
        listed.append({"mediaType": kind, "digest": digest_of(data), "size": len(data)})
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": listed[0],
        "layers": listed[1:],
    }
    return _with_root(made, document, MANIFEST)


def index(**images: Image) -> Image:
    """An index of images by architecture, and an attestation of each, as BuildKit makes them."""
    made, entries = Image(""), []
    for architecture, one in images.items():
        made.documents.update(one.documents)
        made.blobs.update(one.blobs)
        said = image(layer("said", architecture.encode()), architecture="unknown")
        made.documents.update(said.documents)
        made.blobs.update(said.blobs)
        for root, platform in ((one, architecture), (said, "unknown")):
            entries.append(
                {
                    "mediaType": MANIFEST,
                    "digest": root.root,
                    "size": len(root.documents[root.root][0]),
                    "platform": {
                        "os": "linux" if root is one else "unknown",
                        "architecture": platform,
                    },
                }
            )
    return _with_root(made, {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}, INDEX)


def _with_root(made: Image, document: dict[str, Any], kind: str) -> Image:
    data = json.dumps(document).encode()
    made.root = digest_of(data)
    made.documents[made.root] = (data, kind)
    return made


@dataclass
class BlobRegistry:
    """What the registry has, what it was asked, and how it misbehaves.

    Attributes:
        image: Under every tag, in every repository.
        host: `127.0.0.1:PORT`.
        password: What it wants of the user `x-token`; empty lets everybody in.
        asked: Path and headers of each request.
        fault: Called with the handler before it answers; returns True when it has answered.
        ranges: Whether it knows them.
    """

    image: Image
    host: str = ""
    password: str = ""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    fault: Callable[[Handler], bool] = lambda _: False
    ranges: bool = True

    def paths(self, kind: str = "") -> list[str]:
        return [path for path, _ in self.asked if f"/{kind}" in path]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: BlobRegistry

    def log_message(self, *_: object) -> None:
        """Test output stays readable."""

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Answer; a body may be cut short by the caller's Content-Length."""
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)

    def cut(self, body: bytes, after: int) -> bool:
        """Say that there is all of a body, send some of it, and hang up."""
        start = self.start()
        self.answer(
            206 if start else 200,
            body[start : start + after],
            Content_Length=str(len(body) - start),
            Content_Range=f"bytes {start}-{len(body) - 1}/{len(body)}",
        )
        self.close_connection = True
        return True

    def start(self) -> int:
        """Where the part begins that is asked for."""
        asked = self.headers.get("Range", "")
        return int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0

    def blob(self) -> bytes | None:
        """The blob that is asked for."""
        return self.registry.image.blobs.get(self.path.rpartition("/")[2])

    def do_GET(self) -> None:
        self.registry.asked.append((self.path, dict(self.headers.items())))
        if not self.may():
            self.answer(401, WWW_Authenticate='Basic realm="test"')
        elif not self.registry.fault(self):
            self.serve()

    def may(self) -> bool:
        wanted = base64.b64encode(f"x-token:{self.registry.password}".encode()).decode()
        given = self.headers.get("Authorization", "")
        return not self.registry.password or given == f"Basic {wanted}"

    def serve(self) -> None:
        kind, _, name = self.path.rpartition("/")
        if kind.endswith("/manifests"):
            have = self.registry.image
            found = have.documents.get(have.root if ":" not in name else name)
            if found is None:
                self.answer(404, b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "gone"}]}')
            else:
                self.answer(200, found[0], Content_Type=found[1])
            return
        body, start = self.blob(), self.start()
        if body is None:
            self.answer(404)
        elif start and self.registry.ranges:
            said = f"bytes {start}-{len(body) - 1}/{len(body)}"
            self.answer(206, body[start:], Content_Range=said)
        else:
            self.answer(200, body)


@contextlib.contextmanager
def serving_registry(has: Image, *, password: str = "") -> Iterator[BlobRegistry]:
    """Serve an image."""
    registry = BlobRegistry(has, password=password)
    kind = type("Kind", (Handler,), {"registry": registry})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    server.daemon_threads = True
    registry.host = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="blob-registry")
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
