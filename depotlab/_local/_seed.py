"""A busybox image made from the system's static busybox, so that lessons work with no network.

Only tar, JSON and HTTP: the image is the smallest useful one, and its making can be read here.
Equal programs give equal digests: names are sorted, times are zero, owners are root.

Sources: opencontainers/image-spec `layer.md`, `config.md`, `manifest.md`;
opencontainers/distribution-spec `spec.md`, "Push".
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import struct
import subprocess
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from depotlab.errors import EngineError

from ._archive import Progress
from ._host import install_command
from ._programs import parse_version, which

REPOSITORY = "library/busybox"  # what `busybox` is short for, on docker.io

_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
_LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
_EPOCH = "1970-01-01T00:00:00Z"
_NAMES = ("busybox", "busybox-static", "busybox.static")  # Debian and Fedora, Arch, Alpine
_FOLDERS = {
    "bin": 0o755, "dev": 0o755, "etc": 0o755, "home": 0o755, "proc": 0o755, "root": 0o700,
    "run": 0o755, "sbin": 0o755, "sys": 0o755, "tmp": 0o1777, "usr": 0o755, "usr/bin": 0o755,
    "usr/sbin": 0o755, "var": 0o755, "var/log": 0o755, "var/tmp": 0o1777,
}  # fmt: skip
_FILES = {
    "etc/group": "root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n",
    "etc/passwd": (
        "root:x:0:0:root:/root:/bin/sh\n"
        "www-data:x:33:33:www-data:/var/www:/bin/false\n"
        "nobody:x:65534:65534:nobody:/home:/bin/false\n"
    ),
}
# ELF e_machine to Go's words. Source: Linux include/uapi/linux/elf-em.h.
_ARCHITECTURES = {
    3: "386", 21: "ppc64le", 22: "s390x", 40: "arm", 62: "amd64", 183: "arm64", 243: "riscv64",
}  # fmt: skip
_PT_INTERP = 3


@dataclass(frozen=True, slots=True)
class Image:
    """An image of one layer, as the bytes that a registry stores.

    Attributes:
        layer: A gzipped tar.
        config: JSON.
        manifest: JSON that names the two.
        tags: Under which names it goes into the registry.
    """

    layer: bytes
    config: bytes
    manifest: bytes
    tags: tuple[str, ...]

    @property
    def digest(self) -> str:
        """The manifest's digest, by which the image is known."""
        return digest_of(self.manifest)


@dataclass(frozen=True, slots=True)
class Seeded:
    """What `seed` put into the registry.

    Attributes:
        refs: The image by its names, as a build may use them.
        digest: Of its manifest.
        registry: Where it is, `localhost:PORT`.
    """

    refs: tuple[str, ...]
    digest: str
    registry: str


def digest_of(content: bytes) -> str:
    """Return the digest of some bytes, as `sha256:` and hex."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


# ------------------------------------------------------------------------------------- making


def architecture(program: bytes) -> str:
    """Return the processor that a static ELF program is for, in Go's words.

    Raises:
        EngineError: It is no ELF program, needs a dynamic loader, or is for an unknown processor.
    """
    # Field places. Source: System V ABI, "ELF Header" and "Program Header".
    if program[:4] != b"\x7fELF" or len(program) < 64:
        raise EngineError("it is no ELF program")
    order = "<" if program[5] == 1 else ">"
    if program[4] == 2:  # 64 bit
        machine, headers_at, size, count = (
            *struct.unpack_from(f"{order}H", program, 18),
            *struct.unpack_from(f"{order}Q", program, 32),
            *struct.unpack_from(f"{order}HH", program, 54),
        )
    else:
        machine, headers_at, size, count = (
            *struct.unpack_from(f"{order}H", program, 18),
            *struct.unpack_from(f"{order}I", program, 28),
            *struct.unpack_from(f"{order}HH", program, 42),
        )
    if headers_at + size * count > len(program):
        raise EngineError("it is a damaged ELF program")
    for index in range(count):
        (kind,) = struct.unpack_from(f"{order}I", program, headers_at + index * size)
        if kind == _PT_INTERP:
            raise EngineError("it is not static: it needs the system's loader and libraries")
    if machine not in _ARCHITECTURES:
        raise EngineError(f"it is for a processor that is not known here (e_machine {machine})")
    return _ARCHITECTURES[machine]


def make_layer(program: bytes, applets: Iterable[str]) -> bytes:
    """Return a tar of a root file system with busybox and a link to it for each applet.

    Args:
        program: The static busybox.
        applets: Paths without a leading slash, such as `usr/bin/env`.
    """
    entries: dict[str, tuple[tarfile.TarInfo, bytes]] = {}

    def add(name: str, kind: bytes, mode: int, content: bytes = b"", link: str = "") -> None:
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode, entry.linkname = kind, mode, link
        entry.size, entry.mtime = len(content), 0
        entry.uname = entry.gname = "root"
        entries[name] = (entry, content)

    for name, mode in _FOLDERS.items():
        add(name, tarfile.DIRTYPE, mode)
    for name, text in _FILES.items():
        add(name, tarfile.REGTYPE, 0o644, text.encode())
    for name in applets:
        parent = name.rpartition("/")[0]
        if name not in entries and (not parent or parent in _FOLDERS):
            add(name, tarfile.SYMTYPE, 0o777, link="/bin/busybox")
    add("bin/busybox", tarfile.REGTYPE, 0o755, program)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(entries):
            entry, content = entries[name]
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def make_image(program: bytes, applets: Iterable[str], *, banner: str) -> Image:
    """Return the image. Pure: equal arguments give equal bytes, on one version of zlib.

    Args:
        program: The static busybox.
        applets: As `busybox --list-full` prints them.
        banner: Its first line, such as `BusyBox v1.35.0 (Debian ...) multi-call binary.`

    Raises:
        EngineError: The program is not static.
    """
    tar = make_layer(program, applets)
    layer = gzip.compress(tar, compresslevel=9, mtime=0)
    config = _json(
        {
            "created": _EPOCH,
            "architecture": architecture(program),
            "os": "linux",
            "config": {
                "Cmd": ["sh"],
                "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            },
            "rootfs": {"type": "layers", "diff_ids": [digest_of(tar)]},
            "history": [{"created": _EPOCH, "created_by": "depotlab", "comment": banner}],
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST_TYPE,
            "config": _descriptor(_CONFIG_TYPE, config),
            "layers": [_descriptor(_LAYER_TYPE, layer)],
        }
    )
    return Image(layer, config, manifest, tags_for(banner))


def tags_for(banner: str) -> tuple[str, ...]:
    """Return the tags that Docker Hub gives to such a version: latest, stable, 1.35.0, 1.35."""
    version = parse_version(banner)
    if version is None:
        return ("latest",)
    full = ".".join(map(str, version))
    return ("latest", "stable", full, full.rpartition(".")[0])


def system_image(host_path: Path | None = None) -> Image:
    """Return the image of the busybox of this system. Reads it, and runs it to list its applets.

    Args:
        host_path: The program to use, instead of the first static one that is found.

    Raises:
        EngineError: There is none, or none that is static.
    """
    reasons = []
    for path in [host_path] if host_path else _candidates():
        try:
            program = path.read_bytes()
            architecture(program)
        except OSError as error:
            reasons.append(f"{path} cannot be read: {error.strerror}")
        except EngineError as error:
            reasons.append(f"{path} will not do: {error.message}")
        else:
            return make_image(program, _applets(path), banner=_run(path).splitlines()[0])
    raise EngineError(
        "There is no static busybox on this machine to make an image of"
        + "".join(f"; {reason}" for reason in reasons)
        + ".",
        hint=f"run: {install_command('busybox-static')}",
    )


def _candidates() -> list[Path]:
    found = [which(name) for name in _NAMES]
    return [path for path in found if path is not None]


def _applets(host_path: Path) -> Sequence[str]:
    listed = _run(host_path, "--list-full").split()
    # Without the installer feature it lists nothing there; plain names then all go to /bin.
    return listed or [f"bin/{name}" for name in _run(host_path, "--list").split()]


def _run(host_path: Path, *arguments: str) -> str:
    # argv[0] chooses the applet, so it has to be "busybox" whatever the file is called.
    done = subprocess.run(
        ["busybox", *arguments],
        executable=host_path,
        check=False,  # without arguments some builds say their usage and exit with 1
        capture_output=True,
        text=True,
        timeout=20,
        stdin=subprocess.DEVNULL,
    )
    return done.stdout or done.stderr


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _descriptor(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


# ------------------------------------------------------------------------------------ pushing


def push(image: Image, registry: str) -> Seeded:
    """Put the image into a registry on this machine, under all its tags. Blocks.

    Raises:
        EngineError: The registry is not there, or refuses.
    """
    with _Registry(registry) as remote:
        for blob in (image.config, image.layer):
            remote.put_blob(blob)
        for tag in image.tags:
            remote.put_manifest(tag, image.manifest)
    refs = tuple(f"docker.io/{REPOSITORY}:{tag}" for tag in image.tags)
    return Seeded(refs, image.digest, registry)


def seed_if_empty(registry: str, *, on_progress: Progress) -> Seeded | None:
    """Push the system's busybox unless the registry has one, or the system has none."""
    with _Registry(registry) as remote:
        if remote.has_manifest("latest"):
            return None
    try:
        image = system_image()
    except EngineError as error:
        on_progress(f"{error.message} Images come from Docker Hub alone. {error.hint}")
        return None
    on_progress(f"filling the registry with {REPOSITORY}")
    return push(image, registry)


class _Registry:
    """One HTTP connection to the registry, for one repository."""

    def __init__(self, registry: str) -> None:
        import http.client  # as long to import as the rest of this room

        self._name = registry
        # It listens on IPv4 only, and `localhost` may mean IPv6 first.
        host = registry.replace("localhost:", "127.0.0.1:", 1)
        self._protocol_error = http.client.HTTPException
        self._connection = http.client.HTTPConnection(host, timeout=30.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def has_manifest(self, tag: str) -> bool:
        code, _ = self._ask("HEAD", f"manifests/{tag}", headers={"Accept": _MANIFEST_TYPE})
        return code == 200

    def put_blob(self, content: bytes) -> None:
        digest = digest_of(content)
        if self._ask("HEAD", f"blobs/{digest}")[0] == 200:
            return
        code, headers = self._ask("POST", "blobs/uploads/")
        if code == 202:
            where = urlsplit(headers["Location"])
            query = f"{where.query}&digest={digest}" if where.query else f"digest={digest}"
            stream = {"Content-Type": "application/octet-stream"}
            code, _ = self._ask("PUT", f"{where.path}?{query}", content, stream)
        if code != 201:
            raise EngineError(f"The registry {self._name} refused a blob: status {code}.")

    def put_manifest(self, tag: str, manifest: bytes) -> None:
        kind = {"Content-Type": _MANIFEST_TYPE}
        code, _ = self._ask("PUT", f"manifests/{tag}", manifest, kind)
        if code != 201:
            raise EngineError(f"The registry {self._name} refused the tag {tag}: status {code}.")

    def _ask(
        self, verb: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str]]:
        url = path if path.startswith("/") else f"/v2/{REPOSITORY}/{path}"
        try:
            self._connection.request(
                verb, url, body, {**(headers or {}), "Content-Length": str(len(body))}
            )
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, self._protocol_error) as error:
            raise EngineError(
                f"The registry {self._name} does not answer: {error!r}.",
                hint="run `depotlab engine status`",
            ) from error
        return answer.status, dict(answer.headers)
