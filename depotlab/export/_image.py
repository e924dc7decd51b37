"""Images: to a registry, to the builder's cache, or as an archive on this machine.

Attributes: moby/buildkit `exporter/containerimage/exptypes/keys.go`, `exporter/containerimage/opts.go`. Keys of
annotations are written as docker buildx takes them; on the wire they are `annotation-LEVEL[PLATFORM].KEY`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from depotlab.errors import UsageError
from depotlab.export._check import choice, epoch, flag, nearest
from depotlab.export._destination import Place, archive, layout_directory
from depotlab.export._output import Output

__all__ = ["docker", "image", "oci"]

Compression = Literal["uncompressed", "gzip", "estargz", "zstd"]
_LEVELS = {"uncompressed": None, "gzip": 9, "estargz": 9, "zstd": 22}

_ANNOTATED = ("manifest", "index", "manifest-descriptor", "index-descriptor")
_ANNOTATION = re.compile(
    r"(?:(?P<levels>[A-Za-z-]+(?:\[[^\]]*\])?(?:,[A-Za-z-]+(?:\[[^\]]*\])?)*):)?(?P<key>\S+)"
)
_LEVEL = re.compile(r"([A-Za-z-]+)(?:\[([^\]]*)\])?")
_PLATFORM = re.compile(r"[A-Za-z0-9_-]+/[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)?")


def image(
    *names: str,
    push: bool = False,
    push_by_digest: bool = False,
    insecure: bool = False,
    compression: Compression | None = None,
    compression_level: int | None = None,
    force_compression: bool = False,
    annotations: Mapping[str, str] | None = None,
    oci_mediatypes: bool | None = None,
    oci_artifact: bool | None = None,
    attestation_inline: bool | None = None,
    prefer_nondist_layers: bool | None = None,
    store: bool = True,
    unpack: bool = False,
    name_canonical: bool = False,
    dangling_name_prefix: str = "",
    dangling_name_empty_only: bool = False,
    source_date_epoch: int | datetime | None = None,
    rewrite_timestamp: bool = False,
) -> Output:
    """Give the result a name as an image, and push it when asked.

    Args:
        names: One or more image names, such as `ghcr.io/me/app:dev`. Without a tag, `latest` is meant. `*` takes
            the name from the result's own metadata (`image.name`).
        push: Send it to the registry of each name. Otherwise it stays in the builder's cache
            (daemons with a containerd worker also keep it in their image store).
        push_by_digest: Push without a tag, only under the digest; the names then have no tag.
        insecure: Let the push use plain HTTP or an unknown certificate.
        compression: Of new layers; the daemon's default is gzip.
        compression_level: 0 to 9 for gzip and estargz, 0 to 22 for zstd.
        force_compression: Compress existing layers anew, so that all are alike.
        annotations: Values by key. A plain key goes to the manifest of each platform; `index:KEY`,
            `manifest[linux/arm64]:KEY`, `manifest-descriptor:KEY` or `index-descriptor:KEY` say where else, also
            several, as in `index,manifest:KEY`.
        oci_mediatypes: OCI media types (True) or Docker's (False).
        oci_artifact: Attestations as OCI artifacts.
        attestation_inline: Attestations inside the image's index.
        prefer_nondist_layers: Keep layers marked as not to be distributed.
        store: Keep the image in the worker's image store, where it has one.
        unpack: Unpack it there, so that it can be run at once.
        name_canonical: Also give it the name `NAME@DIGEST`.
        dangling_name_prefix: Name it `PREFIX@DIGEST` too.
        dangling_name_empty_only: That only when it has no other name.
        source_date_epoch: Times in the image, in seconds since 1970 or as an aware datetime.
        rewrite_timestamp: Apply that to the files in the layers as well.

    Raises:
        UsageError: `push=True` without a name, values that are not known, or that exclude each other.

    Example:
        >>> image("localhost:5000/app:1", push=True)
        <output image: localhost:5000/app:1, pushed>
    """
    if push and not names:
        raise UsageError(
            "image(push=True) needs a name to push to.",
            hint="for example export.image('ghcr.io/me/app:dev', push=True)",
        )
    attrs = _shared(
        "image",
        names,
        compression=compression,
        compression_level=compression_level,
        force_compression=force_compression,
        annotations=annotations,
        oci_mediatypes=oci_mediatypes,
        oci_artifact=oci_artifact,
        attestation_inline=attestation_inline,
        prefer_nondist_layers=prefer_nondist_layers,
        source_date_epoch=source_date_epoch,
        rewrite_timestamp=rewrite_timestamp,
    )
    if unpack and rewrite_timestamp:
        raise UsageError(
            "image() takes unpack=True or rewrite_timestamp=True, not both.",
            hint="an image with new times in its layers cannot be unpacked by the builder",
        )
    for key, argument, value in (
        ("push", "push", push),
        ("push-by-digest", "push_by_digest", push_by_digest),
        ("registry.insecure", "insecure", insecure),
        ("unpack", "unpack", unpack),
        ("name-canonical", "name_canonical", name_canonical),
        # The daemon's own spelling. Source: exptypes/keys.go.
        ("danging-name-empty-only", "dangling_name_empty_only", dangling_name_empty_only),
    ):
        flag(attrs, "image", argument, value or None, key)
    if push_by_digest:
        _check_untagged(names)
    if store is not True:
        flag(attrs, "image", "store", store)
    if dangling_name_prefix:
        attrs["dangling-name-prefix"] = _name("image", dangling_name_prefix)
    return Output("image", attrs, tuple(names), push or push_by_digest)


def oci(
    dest: Place,
    *names: str,
    tar: bool = True,
    compression: Compression | None = None,
    compression_level: int | None = None,
    force_compression: bool = False,
    annotations: Mapping[str, str] | None = None,
    oci_mediatypes: bool | None = None,
    oci_artifact: bool | None = None,
    attestation_inline: bool | None = None,
    prefer_nondist_layers: bool | None = None,
    source_date_epoch: int | datetime | None = None,
    rewrite_timestamp: bool = False,
    limit_bytes: int | None = None,
) -> Output:
    """Give the result as an OCI image on this machine: an archive, or a directory.

    Args:
        dest: A path, a binary file object, or None for memory. A file appears under its name when the
            whole build has succeeded; a file object gets bytes as they come, and keeps them when the build
            fails later.
        names: Image names to write into it.
        tar: False makes `dest` a directory with an OCI image layout. It may hold other images already,
            and blobs that it has are not sent again. One output of a build may do so. A build that fails lists no
            image there; blobs that arrived stay, for the next one.
        compression: See `image`; also for the arguments that follow.
        compression_level: 0 to 9 for gzip and estargz, 0 to 22 for zstd.
        force_compression: Compress existing layers anew, so that all are alike.
        annotations: Values by key, see `image`.
        oci_mediatypes: OCI media types (True, the default) or Docker's (False).
        oci_artifact: Attestations as OCI artifacts.
        attestation_inline: Attestations inside the image's index.
        prefer_nondist_layers: Keep layers marked as not to be distributed.
        source_date_epoch: Times in the image, in seconds since 1970 or as an aware datetime.
        rewrite_timestamp: Apply that to the files in the layers as well.
        limit_bytes: End the build when the archive gets longer.

    Raises:
        UsageError: A destination that cannot be written, values that are not known, or that exclude
            each other.

    Example:
        >>> oci(None, "me/app:1")
        <output oci: me/app:1, to memory>
    """
    attrs = _shared(
        "oci",
        names,
        compression=compression,
        compression_level=compression_level,
        force_compression=force_compression,
        annotations=annotations,
        oci_mediatypes=oci_mediatypes,
        oci_artifact=oci_artifact,
        attestation_inline=attestation_inline,
        prefer_nondist_layers=prefer_nondist_layers,
        source_date_epoch=source_date_epoch,
        rewrite_timestamp=rewrite_timestamp,
    )
    if tar is True:
        return Output("oci", attrs, tuple(names), destination=archive("oci", dest, limit_bytes))
    flag(attrs, "oci", "tar", tar)
    if limit_bytes is not None:
        raise UsageError(
            "oci() takes limit_bytes= for archives only.",
            hint="leave it out, or leave tar=False out",
        )
    return Output("oci", attrs, tuple(names), destination=layout_directory("oci", dest))


def docker(
    dest: Place,
    *names: str,
    compression: Compression | None = None,
    compression_level: int | None = None,
    force_compression: bool = False,
    annotations: Mapping[str, str] | None = None,
    oci_mediatypes: bool | None = None,
    oci_artifact: bool | None = None,
    attestation_inline: bool | None = None,
    prefer_nondist_layers: bool | None = None,
    source_date_epoch: int | datetime | None = None,
    rewrite_timestamp: bool = False,
    limit_bytes: int | None = None,
) -> Output:
    """Give the result as an archive for `docker load`, of one platform.

    Args:
        dest: A path, a binary file object, or None for memory, see `oci`.
        names: Image names that `docker load` gives it.
        compression: See `image`; also for the arguments that follow.
        compression_level: 0 to 9 for gzip and estargz, 0 to 22 for zstd.
        force_compression: Compress existing layers anew, so that all are alike.
        annotations: Values by key, see `image`.
        oci_mediatypes: OCI media types (True) or Docker's (False).
        oci_artifact: Attestations as OCI artifacts.
        attestation_inline: Attestations inside the image's index.
        prefer_nondist_layers: Keep layers marked as not to be distributed.
        source_date_epoch: Times in the image, in seconds since 1970 or as an aware datetime.
        rewrite_timestamp: Apply that to the files in the layers as well.
        limit_bytes: End the build when the archive gets longer.

    Raises:
        UsageError: A destination that cannot be written, values that are not known, or that exclude
            each other.

    Example:
        >>> docker(None, "me/app:1")
        <output docker: me/app:1, to memory>
    """
    attrs = _shared(
        "docker",
        names,
        compression=compression,
        compression_level=compression_level,
        force_compression=force_compression,
        annotations=annotations,
        oci_mediatypes=oci_mediatypes,
        oci_artifact=oci_artifact,
        attestation_inline=attestation_inline,
        prefer_nondist_layers=prefer_nondist_layers,
        source_date_epoch=source_date_epoch,
        rewrite_timestamp=rewrite_timestamp,
    )
    return Output("docker", attrs, tuple(names), destination=archive("docker", dest, limit_bytes))


# ------------------------------------------------------------------ what all three have in common


def _shared(
    call: str,
    names: tuple[Any, ...],
    *,
    compression: Any,
    compression_level: Any,
    force_compression: Any,
    annotations: Mapping[str, str] | None,
    oci_mediatypes: Any,
    oci_artifact: Any,
    attestation_inline: Any,
    prefer_nondist_layers: Any,
    source_date_epoch: Any,
    rewrite_timestamp: Any,
) -> dict[str, str]:
    attrs: dict[str, str] = {}
    if names:
        attrs["name"] = ",".join(_name(call, name) for name in names)
    _compress(attrs, call, compression, compression_level)
    flag(attrs, call, "force_compression", force_compression or None)
    flag(attrs, call, "oci_mediatypes", oci_mediatypes)
    flag(attrs, call, "oci_artifact", oci_artifact)
    flag(attrs, call, "attestation_inline", attestation_inline)
    flag(attrs, call, "prefer_nondist_layers", prefer_nondist_layers)
    flag(attrs, call, "rewrite_timestamp", rewrite_timestamp or None)
    epoch(attrs, call, source_date_epoch)
    if oci_mediatypes is False:
        for argument, needs_them in (
            (f"compression={compression!r}", compression in ("estargz", "zstd")),
            ("oci_artifact=True", oci_artifact is True),
        ):
            if needs_them:
                raise UsageError(
                    f"{call}({argument}) needs OCI media types.", hint="leave oci_mediatypes out"
                )
    if annotations is not None and not isinstance(annotations, Mapping):
        raise UsageError(
            f"{call}(annotations=…) takes a mapping, not an object of type {type(annotations).__name__}.",
            hint="for example annotations={'org.opencontainers.image.title': 'app'}",
        )
    for key, value in (annotations or {}).items():
        for attr in _annotation_attrs(call, key, value):
            attrs[attr] = value
    return attrs


def _name(call: str, name: Any) -> str:
    if not isinstance(name, str) or not name or name != name.strip():
        raise UsageError(
            f"{call}() takes image names as strings, not {name!r}.",
            hint=f"for example export.{call}({'' if call == 'image' else 'dest, '}'ghcr.io/me/app:dev')",
        )
    if "," in name:
        raise UsageError(f"{name!r} holds a comma.", hint="pass several names as several arguments")
    return name


def _check_untagged(names: tuple[str, ...]) -> None:
    if not names:
        raise UsageError(
            "image(push_by_digest=True) needs a name to push to.",
            hint="for example export.image('ghcr.io/me/app', push_by_digest=True)",
        )
    for name in names:
        if ":" in name.rpartition("/")[2]:
            untagged = name[: name.rindex(":")]
            raise UsageError(
                f"image(push_by_digest=True) pushes without a tag, and {name!r} has one.",
                hint=f"write {untagged!r}",
            )


def _compress(attrs: dict[str, str], call: str, compression: Any, level: Any) -> None:
    if compression is not None:
        choice(call, "compression", compression, tuple(_LEVELS))
        attrs["compression"] = compression
    if level is None:
        return
    kind = compression or "gzip"
    most = _LEVELS[kind]
    if most is None:
        raise UsageError(
            f"{call}(compression_level=…) means nothing with compression={kind!r}.",
            hint="leave one of them out",
        )
    if isinstance(level, bool) or not isinstance(level, int) or not 0 <= level <= most:
        raise UsageError(
            f"{call}(compression_level={level!r}) is no level of {kind}.",
            hint=f"a whole number from 0 to {most}",
        )
    attrs["compression-level"] = str(level)


def _annotation_attrs(call: str, key: Any, value: Any) -> list[str]:
    """Return the attributes for one annotation."""
    if not isinstance(key, str) or not isinstance(value, str):
        raise UsageError(
            f"{call}(annotations={{{key!r}: {value!r}}}) must map strings to strings.",
            hint="for example {'org.opencontainers.image.title': 'app'}",
        )
    found = _ANNOTATION.fullmatch(key)
    if found is None:
        raise UsageError(
            f"{call}(annotations={{{key!r}: …}}) is no key of an annotation.",
            hint="a key has no spaces, as in 'org.opencontainers.image.title' or 'index:KEY'",
        )
    if found["levels"] is None:
        return [f"annotation.{found['key']}"]
    out = []
    for level, platform in _LEVEL.findall(found["levels"]):
        if level not in _ANNOTATED:
            raise UsageError(
                f"{call}(annotations={{{key!r}: …}}): there is no level {level!r}.",
                hint=f"{nearest(level, _ANNOTATED)}, before a colon and the key",
            )
        if not platform:
            out.append(f"annotation-{level}.{found['key']}")
            continue
        if level.startswith("index") or not _PLATFORM.fullmatch(platform):
            raise UsageError(
                f"{call}(annotations={{{key!r}: …}}): {level!r} cannot be for {platform!r}.",
                hint="'manifest[linux/arm64]:KEY' and 'manifest-descriptor[…]:KEY' take a platform",
            )
        out.append(f"annotation-{level}[{platform}].{found['key']}")
    return out
