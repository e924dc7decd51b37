"""Where graphs start: `image`, `scratch`, `local`, `oci_layout`, blobs, `source`. Git and HTTP are next door.

Source of the rules: buildkit client/llb/source.go. Attribute names: solver/pb/attr.go.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Unpack

from depotlab.errors import ReferenceInvalid
from depotlab.llb._check import (
    boolean,
    choice,
    integer,
    refuse,
    some,
    string,
    strings,
    unique_id,
)
from depotlab.llb._check import (
    mode as check_mode,
)
from depotlab.llb._meta import OpOptions, Options, as_constraints
from depotlab.llb._reference import Reference, digest_fault, parse_reference
from depotlab.llb._sourceop import SourceOp
from depotlab.llb._state import State, fresh_state
from depotlab.llb._where import caller

HostPath = str | os.PathLike[str]

_RESOLVE_MODES = ("default", "pull", "local")
_DIFFERS = ("none", "metadata")
_NO_ATTRS: Mapping[str, str] = {}
_IMAGE_CAPS = frozenset({"source.image"})


def scratch() -> State:
    """Return the empty file system.

    Example:
        >>> from depotlab import llb
        >>> only_a_file = llb.scratch().mkfile("/hello", "hi")
    """
    return fresh_state(None)


def image(
    ref: str,
    *,
    resolve_mode: str = "default",
    checksum: str | None = None,
    layer_limit: int | None = None,
    internal: bool = False,
    **options: Unpack[OpOptions],
) -> State:
    """Return the file system of an image, and inherit its config when the build runs.

    Args:
        ref: As people write it: `busybox`, `python:3.12-slim`, `ghcr.io/me/app@sha256:…`.
        resolve_mode: `pull` always asks the registry, `local` prefers what the builder has.
        checksum: Digest that the image must have.
        layer_limit: Take only the lowest layers.
        internal: Mark it as a helper of the build, left out of provenance materials.
        options: See `OpOptions`; `platform` chooses the variant of the image.

    Raises:
        ReferenceInvalid: `ref` is no image name.
        GraphError: Another argument is wrong.

    Example:
        >>> from depotlab import llb
        >>> llb.image("busybox")
        State(image busybox; 1 op)
    """
    found = parse_reference(ref).tagged()
    attrs: dict[str, str] = {}
    caps = set(_IMAGE_CAPS)
    if choice("resolve_mode", resolve_mode, _RESOLVE_MODES) != "default":
        attrs["image.resolvemode"] = resolve_mode
        if resolve_mode == "pull":
            caps.add("source.image.resolvemode")
    if boolean("internal", internal):
        attrs["image.recordtype"] = "internal"
    if layer_limit is not None:
        attrs["image.layerlimit"] = str(integer("layer_limit", layer_limit, 0, 2**31 - 1))
        caps.add("source.image.layerlimit")
    if checksum is not None:
        attrs["image.checksum"] = as_digest("checksum", checksum)
        caps.add("source.image.checksum")
    op = SourceOp(
        f"docker-image://{found}",
        attrs,
        frozenset(caps),
        as_constraints("image", options, image),
        caller(),
        image=found,
    )
    return fresh_state((op, 0), op)


def local(
    path: HostPath,
    *,
    name: str | None = None,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    follow_paths: Iterable[str] = (),
    shared_key_hint: str = "",
    differ: str | None = None,
    differ_required: bool = False,
    metadata_only: bool = False,
    metadata_only_exceptions: Iterable[str] = (),
    session_id: str = "",
    unique_id: str = "",
    **options: Unpack[Options],
) -> State:
    """Return a directory on this machine. It is read when the build runs, not now.

    Args:
        path: The directory; a relative one starts at the present working directory.
        name: What the build calls it. If not given it comes from `path`; two directories need two names.
        include: Send only what matches one of these patterns, such as `app/**`.
        exclude: Leave out what matches one of these, with `!` to take back.
        follow_paths: Send what these paths lead to, if they are links.
        shared_key_hint: Builds with the same hint compare with each other's files before sending.
        differ: How changes are found: `metadata` (usual) or `none` to send all.
        differ_required: Refuse daemons that do not know `differ`.
        metadata_only: Send names, sizes and times, but no content.
        metadata_only_exceptions: Patterns of files whose content is sent nevertheless.
        session_id: Take it from this session, instead of the one of the build.
        unique_id: Tells it apart from equal sources of other builds; usually random per build.
        options: See `Options`; what progress shows is `description={"llb.customname": ...}`.

    Raises:
        GraphError: An argument is wrong.

    Example:
        >>> from depotlab import llb
        >>> source = llb.local(".", include=["app/**", "pyproject.toml"])
        >>> image = llb.image("python:3.12-slim").copy(source, "app", "/app")
    """
    host_path = host_directory(path)
    label = local_name_of(path, host_path) if name is None else some("name", name)
    lists = {
        "local.includepattern": strings("include", include),
        "local.followpaths": strings("follow_paths", follow_paths),
        "local.excludepatterns": strings("exclude", exclude),
    }
    attrs = {key: _json(values) for key, values in lists.items() if values}
    # The capability of an attribute has nearly its name, in the plural.
    caps = {"source.local", *(_LIST_CAPS[key] for key in attrs)}
    if string("session_id", session_id):
        attrs["local.session"] = session_id
        caps.add("source.local.sessionid")
    if string("shared_key_hint", shared_key_hint):
        attrs["local.sharedkeyhint"] = shared_key_hint
        caps.add("source.local.sharedkeyhint")
    if differ is not None:
        attrs["local.differ"] = choice("differ", differ, _DIFFERS)
        if boolean("differ_required", differ_required):
            caps.add("source.local.differ")
    exceptions = strings("metadata_only_exceptions", metadata_only_exceptions)
    if boolean("metadata_only", metadata_only):
        attrs["local.metadatatransfer"] = "true"
        caps.add("source.local.metadatatransfer")
        if exceptions:
            attrs["local.metadatatransferexclude"] = _json(exceptions)
    elif exceptions:
        refuse("metadata_only_exceptions need metadata_only=True.")
    op = SourceOp(
        f"local://{label}",
        attrs,
        frozenset(caps),
        as_constraints("local", options, local),
        caller(),
        host_path=host_path,
        unique_id=string("unique_id", unique_id),
    )
    return fresh_state((op, 0))


_LIST_CAPS = {
    "local.includepattern": "source.local.includepatterns",
    "local.followpaths": "source.local.followpaths",
    "local.excludepatterns": "source.local.excludepatterns",
}


def host_directory(path: Any) -> Path:
    """Return a directory on this machine as an absolute path. Nothing is looked up on disk."""
    try:
        found = Path(path).expanduser()
    except (TypeError, RuntimeError) as error:
        refuse(f"path={path!r} is not a directory on this machine: {error}.")
    if "\0" in str(found):
        refuse(f"path={path!r} contains a NUL character.")
    return Path(os.path.normpath(Path.cwd() / found))


def local_name_of(path: Any, host_path: Path) -> str:
    """Return a name for a directory that does not depend on the machine if the path was relative.

    Relative paths are named as they are written, absolute ones by their last part and a hash, so
    that the op does not carry the layout of this machine.
    """
    written = Path(path)
    if not written.is_absolute() and written.parts[:1] != ("~",):
        name = os.path.normpath(written).replace(os.sep, "/")
        return "context" if name == "." else string("path", name)
    short = hashlib.sha256(os.fsencode(host_path)).hexdigest()[:8]
    return f"{string('path', host_path.name) or 'root'}-{short}"


def oci_layout(
    ref: str,
    *,
    session_id: str = "",
    store_id: str = "",
    layer_limit: int | None = None,
    checksum: str | None = None,
    **options: Unpack[OpOptions],
) -> State:
    """Return the file system of an image in an OCI layout that the session serves.

    Args:
        ref: `NAME@sha256:…`. The name is free, but has to have a slash, such as `layout/base`.
        session_id: The session to ask, if not that of the build.
        store_id: The content store to ask: the name under which the build is given the layout,
            `build(..., oci_layouts={"layout/base": "dir"})`. Daemons do not take NAME for it.
        layer_limit: Take only the lowest layers.
        checksum: Accepted, but BuildKit v0.32.2 does not write it.
        options: See `OpOptions`.
    """
    attrs = {
        "oci.session": string("session_id", session_id),
        "oci.store": string("store_id", store_id),
    }
    attrs = {key: value for key, value in attrs.items() if value}
    if layer_limit is not None:
        attrs["oci.layerlimit"] = str(integer("layer_limit", layer_limit, 0, 2**31 - 1))
    if checksum is not None:
        as_digest("checksum", checksum)
    return _plain(
        f"oci-layout://{some('ref', ref)}",
        attrs,
        "source.ocilayout",
        "oci_layout",
        options,
        oci_layout,
    )


def image_blob(
    ref: str,
    *,
    filename: str = "",
    mode: int = 0,
    uid: int = 0,
    gid: int = 0,
    **options: Unpack[OpOptions],
) -> State:
    """Return one blob of a registry as a file.

    Args:
        ref: `REPOSITORY@sha256:…`, without a tag.
        filename: The name of the file.
        mode: Permission bits of the file; 0 leaves them to the builder.
        uid: Owner of the file, as `gid` is its group.
        gid: See `uid`.
        options: See `OpOptions`.

    Raises:
        ReferenceInvalid: `ref` has a tag, or no digest.
    """
    attrs = file_attrs(filename, mode, uid, gid)
    identifier = f"docker-image+blob://{_blob_reference(ref)}"
    return _plain(identifier, attrs, "source.imageblob", "image_blob", options, image_blob)


def oci_layout_blob(
    ref: str,
    *,
    session_id: str = "",
    store_id: str = "",
    filename: str = "",
    mode: int = 0,
    uid: int = 0,
    gid: int = 0,
    **options: Unpack[OpOptions],
) -> State:
    """Return one blob of an OCI layout that the session serves, as a file.

    See `image_blob` and `oci_layout` for the arguments.
    """
    attrs = file_attrs(filename, mode, uid, gid)
    if string("session_id", session_id):
        attrs["oci.session"] = session_id
    if string("store_id", store_id):
        attrs["oci.store"] = store_id
    identifier = f"oci-layout+blob://{_blob_reference(ref)}"
    return _plain(
        identifier, attrs, "source.imageblob", "oci_layout_blob", options, oci_layout_blob
    )


def source(
    identifier: str, attrs: Mapping[str, str] | None = None, **options: Unpack[OpOptions]
) -> State:
    """Return a source that BuildKit knows and this library does not.

    Args:
        identifier: With its scheme, such as `git://…`.
        attrs: Its options by BuildKit's name.
        options: See `OpOptions`.
    """
    given = {string("attrs", k): string(f"attrs[{k!r}]", v) for k, v in (attrs or {}).items()}
    return _plain(some("identifier", identifier), given, "", "source", options, source)


def file_attrs(filename: str, mode: int, uid: int, gid: int) -> dict[str, str]:
    """Return how a downloaded file is stored. What is zero or empty is left out."""
    attrs = {
        "http.filename": string("filename", filename),
        "http.perm": f"0{check_mode('mode', mode) & 0o777:o}" if mode & 0o777 else "",
        "http.uid": str(unique_id("uid", uid) or ""),
        "http.gid": str(unique_id("gid", gid) or ""),
    }
    return {key: value for key, value in attrs.items() if value}


def as_digest(argument: str, value: Any) -> str:
    if why := digest_fault(some(argument, value)):
        refuse(f"{argument}: {why}.")
    return str(value)


def _blob_reference(ref: str) -> Reference:
    found = parse_reference(ref)
    if found.tag:
        raise ReferenceInvalid(
            f"invalid blob reference {ref!r}: a blob has no tag.",
            ref=ref,
            hint=f"did you mean {str(found._replace(tag=''))!r}?",
        )
    if not found.digest:
        raise ReferenceInvalid(
            f"invalid blob reference {ref!r}: the digest is missing.",
            ref=ref,
            hint=f"write {found.name}@sha256:…",
        )
    return found


def _plain(
    identifier: str,
    attrs: Mapping[str, str],
    cap: str,
    call: str,
    options: Mapping[str, Any],
    function: Callable[..., Any],
) -> State:
    caps = frozenset({cap}) if cap else frozenset[str]()
    constraints = as_constraints(call, options, function)
    return fresh_state((SourceOp(identifier, attrs, caps, constraints, caller()), 0))


def _json(values: tuple[str, ...]) -> str:
    """Return a list as Go's encoding/json writes it."""
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text
