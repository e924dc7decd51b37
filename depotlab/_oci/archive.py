"""What is in an image that was written to this machine: a tar archive of an `oci` or `docker` output, or a layout.

Only for looking: names, digests, configurations, and the list of files of each layer. Nothing is unpacked to disk,
and names of files stay text. A layer is read as a stream, so its size does not matter.

Two forms are understood: an image layout (all that BuildKit and newer tools write), and the older form of
`docker save`, where `manifest.json` names a configuration and plain tar files.
Source: opencontainers/image-spec `image-layout.md`, `layer.md`; moby/moby `image/spec/spec.md`.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib
import json
import os
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal, Protocol

from depotlab._oci.documents import (
    Descriptor,
    as_descriptor,
    hash_for,
    parse_document,
    split_digest,
)
from depotlab._oci.layout import Layout
from depotlab._oci.walk import DOCUMENT_BYTES, Node, walk
from depotlab.errors import ContextError, UsageError

__all__ = ["Archive", "ArchivedImage", "LayerFile", "read_archive"]

FileKind = Literal[
    "file", "directory", "symlink", "hardlink", "character device", "block device", "fifo"
]
_KINDS: Mapping[bytes, FileKind] = {
    tarfile.DIRTYPE: "directory",
    tarfile.SYMTYPE: "symlink",
    tarfile.LNKTYPE: "hardlink",
    tarfile.CHRTYPE: "character device",
    tarfile.BLKTYPE: "block device",
    tarfile.FIFOTYPE: "fifo",
}
_PIECE_BYTES = 1 << 20
_ATTESTATION = "vnd.docker.reference.type"
_XATTR = "SCHILY.xattr."


@dataclass(frozen=True, slots=True)
class LayerFile:
    """One entry of a layer, in the order of its tar archive.

    Attributes:
        path: Without a leading `./` or a trailing slash; bytes that are no UTF-8 are surrogates.
        kind: What it is.
        mode: Permission bits, with setuid, setgid and sticky.
        uid: Owner.
        gid: Group.
        size_bytes: Of the content.
        modified_at_s: Seconds since 1970.
        link: Target of a symbolic link; path of the other name of a hard link.
        digest: `sha256:…` of the content of a file, else empty.
        device: Major and minor number, else None.
        xattrs: Extended attributes.
    """

    path: str
    kind: FileKind
    mode: int
    uid: int
    gid: int
    size_bytes: int
    modified_at_s: float
    link: str = ""
    digest: str = ""
    device: tuple[int, int] | None = None
    xattrs: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class ArchivedImage:
    """One image: of one platform.

    Attributes:
        manifest: Its descriptor. In the older form of `docker save` there is none, and its digest is empty.
        config: Its configuration, as the document has it.
        layers: The lowest first.
        platform: As `linux/amd64`.
    """

    manifest: Descriptor
    config: Mapping[str, Any] = field(repr=False, hash=False)
    layers: tuple[Descriptor, ...]
    platform: str


@dataclass(frozen=True, slots=True)
class Archive:
    """Images that were written to this machine. Made by `read_archive`; methods read the file again.

    Attributes:
        host_path: The file, or the directory of a layout.
        names: Names and tags of the images, in the order of the index.
        digest: Of the image's manifest or index, as a registry would show it; empty when there are several
            images, or none that has a manifest.
        images: One for each platform, without attestations.
        attestations: Manifests of provenance and SBOM documents.
    """

    host_path: Path
    names: tuple[str, ...]
    digest: str
    images: tuple[ArchivedImage, ...]
    attestations: tuple[Descriptor, ...] = ()

    def read_blob(self, digest: str) -> bytes:
        """Return a document or another small blob, checked against its digest.

        Raises:
            ContextError: It is not there, is longer than 16 MiB, or has another content.
        """
        with _open_source(self.host_path) as source:
            return _checked(source, digest)

    def files(self, layer: Descriptor) -> Iterator[LayerFile]:
        """Yield the entries of a layer; compressed ones are unpacked on the way.

        Raises:
            ContextError: The layer is not there or is no tar archive.
            UsageError: It needs a package that is not installed.
        """
        with _open_source(self.host_path) as source, source.open(layer.digest) as blob:
            try:
                if source.size_bytes(layer.digest) != layer.size_bytes:
                    raise EOFError("it has another length than its manifest says")
                yield from _entries(blob)
            except (tarfile.TarError, OSError, EOFError) as error:
                raise ContextError(
                    f"The layer {layer.digest} in {self.host_path} cannot be read: {error}.",
                    path=str(self.host_path),
                    hint="export the image again; the file was damaged or cut off",
                ) from error


def read_archive(host_path: str | os.PathLike[str]) -> Archive:
    """Look into a tar archive of an `oci` or `docker` output, or into an image layout.

    Raises:
        ContextError: There is no such file, it is no image, or a document in it is damaged.
    """
    path = Path(host_path).expanduser()
    with _open_source(path) as source:
        if isinstance(source, _Tar) and source.index_name not in source.members:
            return _read_docker_save(path, source)
        index = source.index()
        nodes = list(walk(source, index))
        names = tuple(dict.fromkeys(one.name or one.tag for one in index if one.name or one.tag))
        digests = {one.digest for one in index}
        images = [node for node in nodes if node.role == "manifest" and node.present]
        attestations = [node for node in images if _ATTESTATION in node.descriptor.annotations]
        return Archive(
            host_path=path,
            names=names,
            digest=digests.pop() if len(digests) == 1 else "",
            images=tuple(_image(source, node) for node in images if node not in attestations),
            attestations=tuple(node.descriptor for node in attestations),
        )


# -------------------------------------------------------------------------------------- images


def _image(source: _Source, node: Node) -> ArchivedImage:
    document = source.document(node.descriptor)
    where = f"{node.descriptor.digest}"
    head = as_descriptor(document.get("config"), where=where)
    layers = tuple(as_descriptor(one, where=where) for one in document.get("layers") or [])
    config: dict[str, Any] = {}
    if head.media_type.endswith("json"):
        config = parse_document(_checked(source, head.digest), where=head.digest)
    parts = (config.get(key) for key in ("os", "architecture", "variant"))
    platform = node.descriptor.platform_name or "/".join(str(part) for part in parts if part)
    return ArchivedImage(node.descriptor, config, layers, platform)


def _read_docker_save(path: Path, source: _Tar) -> Archive:
    """Read the older form; its layers are plain tar files, known by their path in the archive."""
    try:
        listed = json.loads(source.read("manifest.json"))
        images = []
        names: list[str] = []
        for entry in listed:
            config = parse_document(source.read(entry["Config"]), where=entry["Config"])
            layers = tuple(Descriptor(name, source.members[name].size) for name in entry["Layers"])
            parts = (config.get(key) for key in ("os", "architecture", "variant"))
            platform = "/".join(str(part) for part in parts if part)
            images.append(ArchivedImage(Descriptor("", 0), config, layers, platform))
            names += entry.get("RepoTags") or []
    except (KeyError, TypeError, ValueError) as error:
        raise ContextError(
            f"{path} is no image: it has neither an index.json nor a manifest.json that says what is in it.",
            path=str(path),
            hint="give what an output of type oci or docker wrote",
        ) from error
    return Archive(path, tuple(names), "", tuple(images))


# ------------------------------------------------------------------------- where the blobs are


class _Source(Protocol):
    def index(self) -> tuple[Descriptor, ...]: ...

    def info(self, digest: str) -> object | None: ...

    def document(self, descriptor: Descriptor) -> dict[str, Any]: ...

    def size_bytes(self, name: str) -> int: ...

    def open(self, name: str) -> IO[bytes]: ...


class _Directory:
    def __init__(self, layout: Layout) -> None:
        self.index = layout.index
        self.info = layout.info
        self.document = layout.document
        self.open = layout.open_blob

    def size_bytes(self, name: str) -> int:
        found = self.info(name)
        return found.size_bytes if found else -1


class _Tar:
    index_name = "index.json"

    def __init__(self, host_path: Path, tar: tarfile.TarFile) -> None:
        self._where = str(host_path)
        self._tar = tar
        self.members = {
            member.name.removeprefix("./"): member for member in tar.getmembers() if member.isreg()
        }

    def index(self) -> tuple[Descriptor, ...]:
        document = parse_document(self.read(self.index_name), where=f"{self._where}: index.json")
        listed = document.get("manifests")
        if not isinstance(listed, list):
            raise self._odd("its index.json lists nothing")
        return tuple(as_descriptor(one, where=f"{self._where}: index.json") for one in listed)

    def info(self, digest: str) -> object | None:
        return self.members.get(_blob_name(digest))

    def document(self, descriptor: Descriptor) -> dict[str, Any]:
        return parse_document(_checked(self, descriptor.digest), where=descriptor.digest)

    def open(self, name: str) -> IO[bytes]:
        member = self.members.get(_blob_name(name))
        found = self._tar.extractfile(member) if member else None
        if found is None:
            raise self._odd(f"it has no {name}")
        return found

    def size_bytes(self, name: str) -> int:
        return self.members[_blob_name(name)].size

    def read(self, name: str) -> bytes:
        with self.open(name) as file:
            return file.read(DOCUMENT_BYTES)

    def _odd(self, why: str) -> ContextError:
        return ContextError(
            f"{self._where} is not a whole image: {why}.",
            path=self._where,
            hint="export the image again; the file may have been cut off",
        )


@contextmanager
def _open_source(path: Path) -> Iterator[_Source]:
    if path.is_dir():
        yield _Directory(Layout(path, read_only=True))
        return
    with ExitStack() as stack:
        try:
            tar = stack.enter_context(tarfile.open(path, errors="surrogateescape"))
            source = _Tar(path, tar)
        except (OSError, tarfile.TarError, EOFError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ContextError(
                f"{path} cannot be read as an image: {reason.lower()}.",
                path=str(path),
                hint="give what an output of type oci or docker wrote, or the directory of an image layout",
            ) from error
        yield source


def _blob_name(name: str) -> str:
    """Return where a blob is in an archive; names that are no digest are paths already."""
    if ":" not in name:
        return name
    algorithm, encoded = split_digest(name)
    return f"blobs/{algorithm}/{encoded}"


def _checked(source: _Source, digest: str) -> bytes:
    with source.open(digest) as blob:
        data = blob.read(DOCUMENT_BYTES + 1)
    found = hash_for(digest)
    found.update(data)
    if found.hexdigest() != split_digest(digest)[1]:
        raise ContextError(
            f"The blob {digest} has another content than its name says, or more than 16 MiB.",
            path=digest,
            hint="export the image again; the file was damaged or cut off",
        )
    return data


# -------------------------------------------------------------------------------------- layers


def _entries(blob: IO[bytes]) -> Iterator[LayerFile]:
    plain = _unpacked(blob)
    with tarfile.open(
        fileobj=plain, mode="r|", bufsize=_PIECE_BYTES, errors="surrogateescape"
    ) as tar:
        for member in tar:
            tar.members.clear()  # type: ignore[attr-defined]  # it keeps every header, for looking back
            digest = ""
            if member.isreg() and (content := tar.extractfile(member)) is not None:
                found = hashlib.sha256()
                while piece := content.read(_PIECE_BYTES):
                    found.update(piece)
                digest = f"sha256:{found.hexdigest()}"
            is_device = member.ischr() or member.isblk()
            yield LayerFile(
                path=member.name.removeprefix("./").rstrip("/") or ".",
                kind=_KINDS.get(member.type, "file"),
                mode=member.mode,
                uid=member.uid,
                gid=member.gid,
                size_bytes=member.size if member.isreg() else 0,
                modified_at_s=float(member.mtime),
                link=member.linkname,
                digest=digest,
                device=(member.devmajor, member.devminor) if is_device else None,
                xattrs={
                    key.removeprefix(_XATTR): value
                    for key, value in member.pax_headers.items()
                    if key.startswith(_XATTR)
                },
            )
        while plain.read(_PIECE_BYTES):
            pass  # what compresses says only at its end whether all was right


def _unpacked(blob: IO[bytes]) -> IO[bytes]:
    magic = blob.read(4)
    blob.seek(0)
    if magic[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=blob)  # type: ignore[return-value]
    if magic == b"\x28\xb5\x2f\xfd":
        unpacked: IO[bytes] = _open_zstd(blob)
        return unpacked
    return blob


def _open_zstd(blob: IO[bytes]) -> Any:
    """Unpack with the standard library of Python 3.14 and newer, else with the package `zstandard`."""
    with suppress(ImportError):
        return importlib.import_module("compression.zstd").open(blob, "rb")
    with suppress(ImportError):
        unpacker = importlib.import_module("zstandard").ZstdDecompressor()
        return unpacker.stream_reader(blob, read_across_frames=True)
    raise UsageError(
        "A layer is compressed with zstd, which this Python cannot read.",
        hint="run: pip install zstandard (or use Python 3.14)",
    )
