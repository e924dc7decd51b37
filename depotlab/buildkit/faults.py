"""From a failed call to one of our errors: the border where the daemon's words become types.

The details of a failure are in the trailer `grpc-status-details-bin`, a serialised `google.rpc.Status`
whose `Any` values are not protobuf but JSON made from Go types, with type URLs that end in `+json`.
Source: moby/buildkit `util/grpcerrors`, `solver/errdefs`.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError

from depotlab._proto import rpcstatus_pb2
from depotlab._rpc import RpcFailed, Status
from depotlab.buildkit.capstable import FRONTEND, GATEWAY, LLB
from depotlab.buildkit.failedop import FailedOp, read_failed_op
from depotlab.buildkit.refusals import disk_full, refused
from depotlab.errors import (
    BuildCanceled,
    ConnectionLost,
    DaemonError,
    DaemonTooOld,
    DepotlabError,
    DockerfileError,
    ImageNotFound,
    RegistryError,
    SourceLocation,
    StepFailed,
)

__all__ = ["Details", "from_failure", "parse_details"]


@dataclass(frozen=True, slots=True)
class Details:
    """The typed details of a failure.

    Attributes:
        vertex: Digest of the failed step, or empty.
        exit_code: Of the failed process, or None when no process failed.
        frontend: Name of the frontend that refused, or empty when the build itself failed.
        locations: Places in sources, in the daemon's order.
        failed: What the failed step has left behind; only of solves in a build that stays open.
    """

    vertex: str = ""
    exit_code: int | None = None
    locations: tuple[SourceLocation, ...] = ()
    frontend: str = ""
    failed: FailedOp | None = None


def parse_details(data: bytes) -> Details:
    """Read `grpc-status-details-bin`. Unknown entries are skipped, as the protocol asks."""
    status = rpcstatus_pb2.Status()
    try:
        status.ParseFromString(data)
    except DecodeError:
        return Details()
    vertex, exit_code, frontend = "", None, ""
    locations: list[SourceLocation] = []
    failed: FailedOp | None = None
    for detail in status.details:
        name = detail.type_url.rpartition("/")[2]
        if not name.endswith("+json"):
            continue
        try:
            value = json.loads(detail.value)
        except ValueError:
            continue
        if not isinstance(value, dict):
            continue
        match name:
            case "errdefs.Vertex+json":
                vertex = vertex or str(value.get("digest", ""))
            case "gatewayapi.ExitMessage+json" | "moby.buildkit.v1.frontend.ExitMessage+json":
                exit_code = int(value.get("Code", 0))
            case "errdefs.Frontend+json":
                frontend = str(value.get("name", ""))
            case "errdefs.Solve+json":
                failed = failed or read_failed_op(value)
            case "errdefs.Source+json":
                location = _location(value)
                if location is not None and location not in locations:
                    locations.append(location)
    return Details(vertex, exit_code, tuple(locations), frontend, failed)


def _location(value: dict[str, Any]) -> SourceLocation | None:
    info = value.get("info") or {}
    ranges = value.get("ranges") or []
    if not ranges:
        return None
    start = _line(ranges[0].get("start"))
    end = _line(ranges[-1].get("end")) or start
    text = base64.b64decode(info.get("data") or "").decode("utf-8", "replace")
    return SourceLocation(str(info.get("filename") or "?"), int(start), int(end), text)


def _line(position: dict[str, Any] | None) -> int:
    """Daemons before 0.11 write the field with a capital."""
    found = position or {}
    return int(found.get("line") or found.get("Line") or 0)


# The second form is that of daemons before 0.9.
_EXIT_CODE = re.compile(
    r"(?:did not complete successfully|executor failed running \[.*\]): exit code: (\d+)", re.DOTALL
)
_PROCESS = re.compile(
    r'process "(.*)" did not complete successfully|executor failed running \[(.*)\]: exit code',
    re.DOTALL,
)
_SOURCE = re.compile(r"failed to resolve source metadata for (\S+): ")
_PUSH = re.compile(r"failed to push (\S+): |failed commit on ref|error writing manifest")
# Source: containerd `plugins/content/local/writer.go`. A registry that a blob is pushed to answers in other words.
_DAMAGED = re.compile(r"unexpected commit (?:digest|size) \S+, expected \S+")
_BLOB = re.compile(r'failed commit on ref "[^"]*?(sha\d+:[0-9a-f]+)"')
_URL_HOST = re.compile(r"https?://([^/\s\"]+)")
_DENIED = re.compile(
    r"401 Unauthorized|403 Forbidden|denied|insufficient_scope|authorization failed|"
    r"failed to authorize|no basic auth credentials|authentication required|unauthorized",
    re.IGNORECASE,
)
_NETWORK = re.compile(
    r"dial tcp|no such host|connection refused|i/o timeout|TLS handshake|network is unreachable|"
    r"server gave HTTP response to HTTPS client|x509:|EOF$|server misbehaving"
)
# The Dockerfile frontend adds the name of a stage that is near. Source: moby/buildkit `util/suggest`.
_NO_IMAGE = re.compile(r": not found(?: \(did you mean (.+)\?\))?$|manifest unknown|name unknown")
_NO_SESSION = re.compile(r"no active session for \S+: context deadline exceeded")
# Source: moby/buildkit `util/apicaps/caps.go`, `solver/errdefs/frontendcap.go`, `solver/errdefs/subrequest.go`.
_UNKNOWN_CAP = re.compile(
    r"(?:unknown API capability|unsupported frontend capability|unsupported request) ([\w.]+)"
)
# Source: moby/buildkit `source/http/source.go`.
_DOWNLOAD = re.compile(r'failed to load cache key: Get "([^"]*)": (.*)', re.DOTALL)
# The second form is that of daemons before 0.9.
_NOT_THERE = re.compile(
    r'failed to calculate checksum of ref \S+: "([^"]+)": not found|'
    r'failed to compute cache key: "([^"]+)" not found: not found'
)
# Daemons before 0.9 say in words, and not in details, that it was the frontend that refused.
_OLD_FRONTEND = re.compile(
    r"failed to solve with frontend dockerfile\.v0: "
    r"(?:failed to create LLB definition: |(?=failed to read dockerfile))"
)
# What they say of an image has not its name; that of the step has.
_METADATA = "[internal] load metadata for "


def from_failure(
    failure: RpcFailed, *, address: str, building: bool = False, step: str = ""
) -> DepotlabError:
    """Return the error to raise for a call that the daemon (or the lack of one) ended.

    Args:
        failure: As `_rpc` reports it.
        address: Of the daemon, for messages.
        building: True when a build was running, which makes a lost connection `ConnectionLost`.
        step: Name of the step that failed with the same words, when one did.
    """
    details = parse_details(failure.details)
    text = re.sub(r"^rpc error: code = \w+ desc = ", "", failure.message)
    text = text.removeprefix("failed to solve: ")
    if failure.status is Status.CANCELLED or text.endswith("context canceled"):
        return BuildCanceled("The build was cancelled.")
    if failure.status is Status.UNAVAILABLE and not failure.details:
        doing = "in the middle of the build" if building else "during the call"
        return ConnectionLost(
            f"The connection to the daemon at {address} was lost {doing}.",
            address=address,
            hint="finished steps are in the daemon's cache: when it is back, build again",
        )
    if _NO_SESSION.search(text):
        return ConnectionLost(
            f"The daemon at {address} had lost the session of the build.",
            address=address,
            hint="the network is slow, or this computer slept: build again, finished steps are in the cache",
        )
    common: dict[str, Any] = {
        "code": failure.status.name,
        "locations": details.locations,
        "vertex": details.vertex,
    }
    exit_code = details.exit_code
    if exit_code is None and (found := _EXIT_CODE.search(text)):
        exit_code = int(found[1])
    if exit_code is not None:
        process = _PROCESS.search(text)
        step = (process[1] or process[2]) if process else text
        return StepFailed(
            f"The step {step!r} failed with exit code {exit_code}.",
            step=step,
            exit_code=exit_code,
            hint=_exit_hint(exit_code),
            **common,
        )
    if full := disk_full(text):
        return DaemonError(full.message, hint=full.hint, **common)
    if step.startswith("exporting cache"):
        return _cache_error(text, step, common)
    return (
        _too_old(text, address, common)
        or _damaged(text, common)
        or _registry_error(text, step, address, common)
        or _dockerfile_error(text, details, common)
        or _other(text, common)
    )


def _damaged(text: str, common: dict[str, Any]) -> DaemonError | None:
    """A blob that the daemon got from an image, a layout or a cache, and that has another content than its digest."""
    if _DAMAGED.search(text) is None:
        return None
    blob = _BLOB.search(text)
    return DaemonError(
        f"The blob {blob[1] if blob else 'of an image'} is damaged: its content is not that of its digest.",
        hint="make the image, the layout or the cache that it comes from again",
        **common,
    )


def _too_old(text: str, address: str, common: dict[str, Any]) -> DaemonTooOld | None:
    """What only the daemon, or the frontend that it brings, could know that it does not have."""
    unknown = _UNKNOWN_CAP.search(text)
    if unknown is None:
        return None
    since = FRONTEND.get(unknown[1]) or LLB.get(unknown[1]) or GATEWAY.get(unknown[1])
    places = common["locations"]
    words = since.words if since else f"the feature {unknown[1]}"
    release = since.release.removesuffix(".0") if since else ""
    hint = "update the daemon, or build with the one that depotlab.local() starts"
    if unknown[1] in FRONTEND:
        hint += "; a line '# syntax=docker/dockerfile:1' on top of the Dockerfile brings a newer frontend"
    return DaemonTooOld(
        f"This build needs {f'BuildKit {release} or newer' if release else 'a newer BuildKit'} for {words}; "
        f"the daemon at {address} does not know it.",
        needs=release,
        features=(words,),
        hint=hint,
        location=places[0] if places else None,
    )


def _registry_error(
    text: str, step: str, address: str, common: dict[str, Any]
) -> DaemonError | None:
    push = _PUSH.search(text)
    found = _SOURCE.search(text) or push
    if found is None and not step.startswith(_METADATA):
        return None
    ref = (found[1] if found else step.removeprefix(_METADATA)) or ""
    url = _URL_HOST.search(text)
    host = url[1] if url else ref.partition("/")[0]
    verb = "push" if push else "pull"
    if _NETWORK.search(text):
        hint = "check the network and the registry's name"
        if "HTTP response to HTTPS" in text:
            hint = "this registry speaks plain HTTP: push with export.image(..., insecure=True)"
        elif "x509" in text:
            hint = "the registry's certificate is not known to the daemon: add its authority there"
        return RegistryError(
            f"The registry {host} could not be reached to {verb} {ref}: {_last(text)}",
            host=host,
            hint=hint,
            **common,
        )
    if push is None and (missing := _NO_IMAGE.search(text)):
        return ImageNotFound(
            f"There is no image {ref}: the registry does not know it.",
            ref=ref,
            hint=_image_hint(ref, missing[1] or "", address),
            **common,
        )
    if push is None and "pull access denied" in text:
        return ImageNotFound(
            f"The image {ref} does not exist, or the registry does not show it to you.",
            ref=ref,
            hint=f"check the name; for a private image log in, or pass auth={{{host!r}: (user, password)}}",
            **common,
        )
    if _DENIED.search(text):
        return RegistryError(
            f"The registry {host} refused to {verb} {ref}: {_last(text)}",
            host=host,
            hint=f"log in to {host}, or pass auth={{{host!r}: (user, password)}}",
            **common,
        )
    return RegistryError(
        f"Could not {verb} {ref}: {_last(text)}",
        host=host,
        hint="the registry's own log says more",
        **common,
    )


def _image_hint(ref: str, stage: str, address: str) -> str:
    """Say what to do about an image that is not there, by who asked for it: often not the user."""
    if stage:
        return f"did you mean the stage {stage!r}?"
    if ref.startswith("docker.io/docker/dockerfile"):
        return (
            "a line `# syntax=` asks for it: leave that line out, and the Dockerfile is built by the frontend that "
            "the daemon brings along"
        )
    if ref.startswith("docker.io/docker/buildkit-syft-scanner"):
        return "sbom= asks for it; sbom='REGISTRY/SCANNER:TAG' names another"
    hint = "check the name and the tag"
    if ref.startswith("docker.io/") and address.startswith("unix://"):
        hint += (
            "; an engine of depotlab.local() that was started with no network has no images but "
            "its own (`depotlab doctor --network` asks whether Docker Hub answers)"
        )
    return hint


def _cache_error(text: str, step: str, common: dict[str, Any]) -> DaemonError:
    """The build itself succeeded, and its outputs may be there: only the cache could not be written."""
    kind = step.removeprefix("exporting cache").removeprefix(" to ") or "its destination"
    anyway = "pass ignore_error=True to the cache to let builds succeed without it"
    url = _URL_HOST.search(text)
    known = refused(text)
    if known is not None:
        return DaemonError(
            f"The cache was not exported: {known.message}", hint=known.hint, **common
        )
    if url is None:
        return DaemonError(f"The cache was not exported to {kind}: {text}", hint=anyway, **common)
    if _NETWORK.search(text):
        hint = f"check the network and the name {url[1]}; or {anyway}"
    elif _DENIED.search(text):
        hint = f"log in to {url[1]}, or pass auth={{{url[1]!r}: (user, password)}}; or {anyway}"
    else:
        hint = anyway
    return RegistryError(
        f"The cache was not exported to {url[1]}: {_last(text)}", host=url[1], hint=hint, **common
    )


def _dockerfile_error(
    text: str, details: Details, common: dict[str, Any]
) -> DockerfileError | None:
    """What the Dockerfile frontend itself refused; a step that failed carries no frontend detail."""
    old = _OLD_FRONTEND.match(text)
    if details.frontend != "dockerfile.v0" and old is None:
        return None
    text = text[old.end() :] if old else text
    hint = ""
    if "could not be found" in text:
        hint = "target= is the name after AS in a FROM line"
    elif "failed to read dockerfile" in text:
        hint = "check filename= and the context"
    return DockerfileError(text[:1].upper() + text[1:], hint=hint, **common)


def _other(text: str, common: dict[str, Any]) -> DepotlabError:
    if missing := _NOT_THERE.search(text):
        return DaemonError(
            f"There is no {missing[1] or missing[2]} where the step copies it from.",
            hint="a build sees only the files of its context that no ignore rule drops, and of its stages",
            **common,
        )
    if (got := _DOWNLOAD.search(text)) and _NETWORK.search(text):
        return DaemonError(
            f"{got[1]} could not be downloaded: {got[2]}",
            hint="check the address, and whether the daemon's machine reaches it",
            **common,
        )
    if known := refused(text):
        return DaemonError(known.message, hint=known.hint, **common)
    return DaemonError(text or "The daemon gave no reason.", **common)


def _last(text: str) -> str:
    """The end of a chain of Go errors, which is the cause; the refs before it are in the message already."""
    cause = re.split(r"failed to do request: |failed to resolve source metadata for \S+: ", text)[
        -1
    ]
    cause = re.sub(r"^failed to push \S+: ", "", cause)
    return cause if len(cause) < 300 else "…" + cause[-300:]


def _exit_hint(code: int) -> str:
    if code == 127:
        return "127 means that the command was not found: is it installed in this image?"
    if code == 126:
        return "126 means that the file is there but cannot be run: check its mode and format"
    if code == 137:
        return "137 means that it was killed, most often for want of memory"
    return ""
