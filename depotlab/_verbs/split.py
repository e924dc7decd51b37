"""One image for several platforms, built on several machines: each pushes its part by digest, we push the index of all.

What can be split: results that only go to registries, or nowhere. Anything that comes to this machine comes from one
machine.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from depotlab._session import Credentials, Manifest, Manifests, find_credentials
from depotlab._verbs.request import BuildRequest
from depotlab._verbs.watched import Feed
from depotlab.errors import DaemonError, DepotlabError
from depotlab.export import Output
from depotlab.llb import Reference, parse_reference
from depotlab.progress import (
    BytesMoved,
    Event,
    LogWritten,
    TransferUpdated,
    VertexUpdated,
    WarningRaised,
)

__all__ = ["Lanes", "can_be_split", "is_plain", "part_of", "push_index"]

_OCI_INDEX = "application/vnd.oci.image.index.v1+json"
_DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
_INDEXES = (_OCI_INDEX, _DOCKER_INDEX)


def can_be_split(request: BuildRequest) -> bool:
    """Whether machines can build parts of it without one another."""
    return not request.load and all(
        output.type == "image"
        and output.push
        and output.names
        and output.names != ("*",)
        and output.attrs.get("push-by-digest") != "true"  # there is no name for the index
        for output in request.outputs
    )


def is_plain(output: Output) -> bool:
    """Whether an image goes under its tags to registries that prove who they are."""
    return not {"push-by-digest", "registry.insecure"} & {
        key for key, value in output.attrs.items() if value == "true"
    }


def part_of(request: BuildRequest, platforms: Sequence[str]) -> BuildRequest:
    """Return what one machine builds: its platforms, pushed without a tag."""
    return replace(
        request,
        platforms=tuple(platforms),
        outputs=tuple(_by_digest(output) for output in request.outputs),
    )


def _by_digest(output: Output) -> Output:
    repositories = tuple(dict.fromkeys(parse_reference(name).name for name in output.names))
    attrs = {**output.attrs, "name": ",".join(repositories), "push-by-digest": "true"}
    return replace(output, names=repositories, attrs=attrs)


async def push_index(
    request: BuildRequest,
    digests: Mapping[str, str],
    platforms: Mapping[str, Sequence[str]],
    auth: Mapping[str, Credentials],
) -> str:
    """Push the index of all parts under every name; return its digest.

    Args:
        request: The whole build.
        digests: Of what each machine has pushed.
        platforms: What each machine has built.
        auth: Credentials given in code.

    Raises:
        RegistryError: A registry refused.
        DaemonError: A machine did not say what it pushed.
    """
    for machine, digest in digests.items():
        if not digest:
            raise DaemonError(
                f"The {machine} machine pushed its part and did not say its digest.",
                hint="build the platforms one by one, and report it",
            )
    pushed = ""
    for output in request.outputs:
        names = [parse_reference(name).tagged() for name in output.names]
        insecure = output.attrs.get("registry.insecure") == "true"
        pushed = await asyncio.to_thread(_push, names, digests, platforms, auth, insecure)
    return pushed


def _push(
    names: Sequence[Reference],
    digests: Mapping[str, str],
    platforms: Mapping[str, Sequence[str]],
    auth: Mapping[str, Credentials],
    insecure: bool,
) -> str:
    index: Manifest | None = None
    for name in names:
        found = _credentials(name.domain, auth)
        registry = Manifests(name.domain, name.path, found, insecure=insecure)
        if index is None:
            index = _merged((registry.get(digest), platforms[m]) for m, digest in digests.items())
        registry.put(name.tag, index)
    assert index is not None
    return f"sha256:{hashlib.sha256(index.data).hexdigest()}"


def _merged(parts: Iterable[tuple[Manifest, Sequence[str]]]) -> Manifest:
    """Make one index of what the machines pushed: manifests, or indexes of their own."""
    entries: list[dict[str, Any]] = []
    is_docker = False
    for part, platforms in parts:
        is_docker = is_docker or "docker" in part.media_type
        if part.media_type in _INDEXES:
            entries += json.loads(part.data)["manifests"]
        else:
            entries.append(
                {
                    "mediaType": part.media_type,
                    "digest": f"sha256:{hashlib.sha256(part.data).hexdigest()}",
                    "size": len(part.data),
                    "platform": _platform(platforms[0]),
                }
            )
    kind = _DOCKER_INDEX if is_docker else _OCI_INDEX
    document = {"schemaVersion": 2, "mediaType": kind, "manifests": entries}
    return Manifest(json.dumps(document, indent=2).encode(), kind)


def _platform(name: str) -> dict[str, str]:
    return dict(zip(("os", "architecture", "variant"), name.split("/"), strict=False))


def _credentials(host: str, auth: Mapping[str, Credentials]) -> Credentials:
    problems: list[DepotlabError] = []
    found = find_credentials(host, auth, report=problems.append)
    if problems:
        raise problems[0]
    return found


class Lanes:
    """The progress of several machines as one: each one's steps are its own, and say whose they are."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._moved: dict[str, BytesMoved] = {}

    def lane(self, name: str) -> Feed:
        """Return what takes the events of one machine."""
        return lambda events: self._feed([self._marked(name, event) for event in events])

    def _marked(self, name: str, event: Event) -> Event:
        if isinstance(event, VertexUpdated):
            return event._replace(
                digest=f"{name} {event.digest}",
                name=event.name and f"[{name}] {event.name}",
                inputs=tuple(f"{name} {digest}" for digest in event.inputs),
            )
        if isinstance(event, TransferUpdated | LogWritten | WarningRaised) and event.vertex:
            return event._replace(vertex=f"{name} {event.vertex}")
        if isinstance(event, BytesMoved):  # since the machine's session began
            self._moved[name] = event
            all_moved = self._moved.values()
            return BytesMoved(
                sum(moved.up_bytes for moved in all_moved),
                sum(moved.down_bytes for moved in all_moved),
            )
        return event
