"""Is an image the same when it is built again? Two archives, and the first place where they differ.

From the outside in: platforms, the configuration, the layers in order, and in the first layer that differs its
files in the order of the tar archive. Layers are read as streams, both at the same time, so their size does not matter.
What is left when all of that is equal is how it was packed: compression, annotations, attestations.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any, Generic, TypeVar

from depotlab._oci import Archive, ArchivedImage, Descriptor, LayerFile, read_archive
from depotlab._values import Value
from depotlab.errors import UsageError

__all__ = [
    "Change",
    "Difference",
    "Reproducibility",
    "compare_archives",
    "verify_reproducible",
    "verify_reproducible_async",
]

T = TypeVar("T")

_MISSING = "nothing"

APART_S = 2.0
"""From the end of one build to the begin of the other. Else `date > file` gives the same in both, when they are
quick: it tells seconds, and zip archives tell every other one (PKWARE APPNOTE.TXT, 4.4.6)."""


@dataclass(frozen=True, slots=True, repr=False)
class Change(Value):
    """One thing that differs.

    Attributes:
        what: `content`, `mode`, `mtime`, `owner`, `kind`, `link`, `device`, `xattrs`, `order` or `presence` for a
            file; else the key of the document.
        first: In the first archive, as text.
        second: In the second one.
    """

    what: str
    first: str
    second: str

    def __str__(self) -> str:
        return f"{self.what}: {self.first} and {self.second}"


@dataclass(frozen=True, slots=True, repr=False)
class Difference(Value):
    """The first place where two images differ.

    Attributes:
        where: `platforms`, `config`, `layers`, `file`, `packing` or `attestation`.
        changes: What differs there; at least one.
        platform: Of the image, such as `linux/amd64`; empty for `platforms` and `attestation`.
        path: Of the file, from the root of the image.
        layer: Its number, from 1; 0 outside layers.
        n_layers: How many layers the first image has.
        step: What made the layer, as the image's history says; may be empty.
    """

    where: str
    changes: tuple[Change, ...]
    platform: str = ""
    path: str = ""
    layer: int = 0
    n_layers: int = 0
    step: str = ""

    def __str__(self) -> str:
        what = "; ".join(map(str, self.changes))
        match self.where:
            case "file":
                made = f", made by {self.step!r}" if self.step else ""
                return f"{self.path} in layer {self.layer} of {self.n_layers}{made}: {what}"
            case "packing" if self.layer:
                return f"the packing of layer {self.layer} of {self.n_layers}: {what}"
            case _:
                return f"the {self.where}: {what}"


@dataclass(frozen=True, slots=True, repr=False)
class Reproducibility(Value, Generic[T]):
    """What two builds of the same came to. True when they gave the same image.

    Attributes:
        difference: The first place where they differ, None when they do not.
        first: What the first build returned.
        second: What the second one returned.
        source_date_epoch: The time both were dated by, seconds since 1970.
    """

    difference: Difference | None
    first: T = field(repr=False)
    second: T = field(repr=False)
    source_date_epoch: int = 0

    def __bool__(self) -> bool:
        return self.difference is None

    def __repr__(self) -> str:
        if self.difference is None:
            return "<reproducible: two uncached builds gave the same image>"
        return f"<not reproducible: {self.difference}>"


# ------------------------------------------------------------------------------- building twice


def verify_reproducible(
    build: Callable[[Path], T], *, source_date_epoch: int = 0, host_folder: Path | None = None
) -> Reproducibility[T]:
    """Build twice into archives and compare them. Blocks.

    What a step takes from outside (the network, a cache mount, the clock) is the usual reason for a difference.

    Args:
        build: Builds the target without a cache into an OCI archive at the path that it is given, with
            `rewrite_timestamp` and dated by `source_date_epoch`; returns its result.
        source_date_epoch: The time that `build` dates by, for the answer.
        host_folder: Where the archives `first.tar` and `second.tar` go and stay, an existing directory. A temporary
            one, removed at the end, when left out; it needs room for the image twice.

    Raises:
        UsageError: `host_folder` is not a directory.
        DepotlabError: A build failed.
    """
    with _places(host_folder) as (first_path, second_path):
        first = build(first_path)
        time.sleep(APART_S)
        second = build(second_path)
        difference = compare_archives(first_path, second_path)
    return Reproducibility(difference, first, second, source_date_epoch)


async def verify_reproducible_async(
    build: Callable[[Path], Awaitable[T]],
    *,
    source_date_epoch: int = 0,
    host_folder: Path | None = None,
) -> Reproducibility[T]:
    """Do the same as `verify_reproducible` with a coroutine; the comparison runs on a thread."""
    with _places(host_folder) as (first_path, second_path):
        first = await build(first_path)
        await asyncio.sleep(APART_S)
        second = await build(second_path)
        difference = await asyncio.to_thread(compare_archives, first_path, second_path)
    return Reproducibility(difference, first, second, source_date_epoch)


@contextmanager
def _places(host_folder: Path | None) -> Iterator[tuple[Path, Path]]:
    if host_folder is None:
        with tempfile.TemporaryDirectory(prefix="depotlab-") as made:
            yield Path(made, "first.tar"), Path(made, "second.tar")
        return
    if not host_folder.is_dir():
        raise UsageError(
            f"keep={str(host_folder)!r} is not a directory.",
            hint="pass one that exists, or leave it out for a temporary one",
        )
    yield host_folder / "first.tar", host_folder / "second.tar"


# ------------------------------------------------------------------------------------ comparing


def compare_archives(first: Path, second: Path) -> Difference | None:
    """Return the first place where two OCI archives differ, or None when their images are the same.

    Reads the files; memory does not depend on the size of the layers. Names and tags are not compared.

    Args:
        first: An archive of an `oci` output, or a directory in OCI layout.
        second: Another one.

    Raises:
        ContextError: One of them is not there, is no image, or is damaged.
        UsageError: Layers are compressed with zstd, and this Python cannot read that.
    """
    one, other = read_archive(first), read_archive(second)
    if one.digest and one.digest == other.digest:
        return None
    platforms = [sorted(image.platform for image in archive.images) for archive in (one, other)]
    if platforms[0] != platforms[1]:
        return Difference("platforms", (Change("platforms", *map(", ".join, platforms)),))
    pairs = zip(_by_platform(one), _by_platform(other), strict=True)
    for left, right in pairs:
        if left.manifest.digest != right.manifest.digest:
            found = _of_images(one, left, other, right)
            if found is not None:
                return found
    return _of_indexes(one, other)


def _by_platform(archive: Archive) -> list[ArchivedImage]:
    return sorted(archive.images, key=lambda image: image.platform)


def _of_images(
    one: Archive, left: ArchivedImage, other: Archive, right: ArchivedImage
) -> Difference | None:
    platform = left.platform
    changes = _of_documents(_without_layers(left.config), _without_layers(right.config))
    if changes:
        return Difference("config", changes, platform)
    n_layers = (len(left.layers), len(right.layers))
    ids = [image.config.get("rootfs", {}).get("diff_ids", []) for image in (left, right)]
    for number, (a, b) in enumerate(zip(left.layers, right.layers, strict=False)):
        unpacked = [found[number : number + 1] for found in ids]
        if a.digest == b.digest or (unpacked[0] and unpacked[0] == unpacked[1]):
            continue
        files = _of_layers((one, a), (other, b))
        if files is not None:
            path, changes = files
            step = _step(left.config, number)
            return Difference("file", changes, platform, path, number + 1, n_layers[0], step)
        # The same entries, and yet other bytes: what a tar archive says beside them.
        changes = (Change("tar headers", a.digest, b.digest),)
        return Difference("packing", changes, platform, "", number + 1, n_layers[0])
    if n_layers[0] != n_layers[1]:
        return Difference("layers", (Change("number", *map(str, n_layers)),), platform)
    for number, (a, b) in enumerate(zip(left.layers, right.layers, strict=True), 1):
        if (a.digest, a.media_type) != (b.digest, b.media_type):
            said = [f"{layer.media_type} {layer.digest}" for layer in (a, b)]
            return Difference(
                "packing", (Change("compressed", *said),), platform, "", number, n_layers[0]
            )
    changes = _of_documents(_manifest(one, left), _manifest(other, right))
    return Difference("packing", changes, platform) if changes else None


def _of_indexes(one: Archive, other: Archive) -> Difference | None:
    """What is left: attestations and annotations. Provenance holds times, so it always differs."""
    attested = [[d.digest for d in archive.attestations] for archive in (one, other)]
    if attested[0] != attested[1]:
        said = [", ".join(digests) or _MISSING for digests in attested]
        return Difference("attestation", (Change("manifests", *said),))
    if one.digest != other.digest and one.digest and other.digest:
        return Difference("packing", (Change("index", one.digest, other.digest),))
    return None


def _without_layers(config: Mapping[str, Any]) -> dict[str, Any]:
    """The layers have their own comparison, which says more."""
    return {key: value for key, value in config.items() if key != "rootfs"}


def _manifest(archive: Archive, image: ArchivedImage) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(archive.read_blob(image.manifest.digest))
    return found


def _of_documents(left: Any, right: Any, key: str = "") -> tuple[Change, ...]:
    """Return the first key at which two JSON values differ, as one change."""
    if left == right:
        return ()
    if isinstance(left, dict) and isinstance(right, dict):
        for name in sorted({*left, *right}):
            if left.get(name) != right.get(name):
                return _of_documents(
                    left.get(name), right.get(name), f"{key}.{name}" if key else name
                )
    if isinstance(left, list) and isinstance(right, list):
        for index, (a, b) in enumerate(zip_longest(left, right)):
            if a != b:
                return _of_documents(a, b, f"{key}[{index}]")
    return (Change(key, _shown(left), _shown(right)),)


def _shown(value: Any) -> str:
    text = _MISSING if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else text[:199] + "…"


def _step(config: Mapping[str, Any], number: int) -> str:
    """What made the layer of this index: entries of the history without a layer do not count."""
    made = [h for h in config.get("history", ()) if not h.get("empty_layer")]
    return str(made[number].get("created_by", "")) if number < len(made) else ""


# ---------------------------------------------------------------------------------------- files


Layer = tuple[Archive, Descriptor]


def _of_layers(left: Layer, right: Layer) -> tuple[str, tuple[Change, ...]] | None:
    """Return the path of the first entry that differs, and how; None when all are alike."""
    with _files(left) as ours, _files(right) as theirs:
        for a, b in zip_longest(ours, theirs):
            if a is None or b is None or a.path != b.path:
                return _of_names(a, b, left, right)
            changes = _of_entries(a, b)
            if changes:
                return _printable(a.path), changes
    return None


def _of_names(
    a: LayerFile | None, b: LayerFile | None, left: Layer, right: Layer
) -> tuple[str, tuple[Change, ...]]:
    """Two names at the same place: one is missing on the other side, or they come in another order."""
    if a is not None and not _has(right, a.path):
        return _printable(a.path), (Change("presence", "there", _MISSING),)
    if b is not None and not _has(left, b.path):
        return _printable(b.path), (Change("presence", _MISSING, "there"),)
    here = [_printable(entry.path) if entry is not None else _MISSING for entry in (a, b)]
    return here[0] if a is not None else here[1], (Change("order", *here),)


def _has(layer: Layer, path: str) -> bool:
    with _files(layer) as files:
        return any(entry.path == path for entry in files)


@contextmanager
def _files(layer: Layer) -> Iterator[Iterator[LayerFile]]:
    archive, descriptor = layer
    files = archive.files(descriptor)
    try:
        yield files
    finally:
        if isinstance(files, Generator):
            files.close()  # lets go of the archive now


def _of_entries(a: LayerFile, b: LayerFile) -> tuple[Change, ...]:
    pairs = (
        ("kind", a.kind, b.kind),
        ("content", _content(a), _content(b)),
        ("link", a.link, b.link),
        ("mode", f"{a.mode:04o}", f"{b.mode:04o}"),
        ("owner", f"{a.uid}:{a.gid}", f"{b.uid}:{b.gid}"),
        ("mtime", _time(a.modified_at_s), _time(b.modified_at_s)),
        ("device", str(a.device), str(b.device)),
        ("xattrs", str(dict(a.xattrs)), str(dict(b.xattrs))),
    )
    return tuple(Change(what, one, other) for what, one, other in pairs if one != other)


def _content(entry: LayerFile) -> str:
    return f"{entry.size_bytes} bytes {entry.digest[:19]}" if entry.digest else ""


def _time(at_s: float) -> str:
    try:
        return datetime.fromtimestamp(at_s, UTC).isoformat().replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):  # further away than a datetime reaches
        return f"{at_s:g} s"


def _printable(path: str) -> str:
    """Names that are no UTF-8 come as surrogates, which cannot be printed."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
