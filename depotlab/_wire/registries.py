"""What the daemon does at registries, as far as `Status` tells: it asks them itself, past us.

A pull is a vertex whose statuses are `resolve REF`, then one for each layer that is fetched, by digest, with the
bytes so far; a push has `pushing manifest for REF@DIGEST`. Metadata for a Dockerfile is a vertex of its own.
Source: moby/buildkit `source/containerimage/pull.go`, `util/pull/pullprogress`, `util/push/push.go`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from depotlab._proto import control_pb2
from depotlab._wire.plain import plain
from depotlab._wire.values import RegistryTalk

__all__ = ["Registries"]

_METADATA = re.compile(r"\[internal\] load metadata for (\S+)")
_PUSH = re.compile(r"pushing manifest for (\S+)")
_RESOLVE = "resolve "


@dataclass(slots=True)
class _Talk:
    what: str
    ref: str
    began_s: float
    layers: dict[str, int] = field(default_factory=dict)  # bytes by digest


class Registries:
    """Reads the messages of `Status`."""

    def __init__(self) -> None:
        self._talks: dict[tuple[str, str], _Talk] = {}  # by what and where we know it from

    def read(self, message: control_pb2.StatusResponse, at_s: float) -> None:
        """Take one message; what is said twice counts once."""
        for vertex in message.vertexes:
            found = _METADATA.match(vertex.name)
            if found and vertex.HasField("started") and not vertex.cached:
                self._talk("resolve", vertex.digest, found[1], at_s)
        for status in message.statuses:
            if status.ID.startswith(_RESOLVE):
                self._talk("pull", status.vertex, status.ID.removeprefix(_RESOLVE), at_s)
            elif found := _PUSH.match(status.ID):
                self._talk("push", status.ID, found[1], at_s)
            elif status.ID.startswith("sha256:"):
                talk = self._talks.get(("pull", status.vertex))
                if talk is not None:
                    talk.layers[status.ID] = max(status.current, talk.layers.get(status.ID, 0))

    def told(self) -> tuple[RegistryTalk, ...]:
        """Return what is known by now, in order."""
        resolved = {talk.ref for talk in self._talks.values() if talk.what == "resolve"}
        told = []
        for talk in self._talks.values():
            what = talk.what
            if what == "pull" and not talk.layers:  # it was there already
                if talk.ref.partition("@")[0] in resolved:
                    continue
                what = "resolve"
            size_bytes = sum(talk.layers.values())
            told.append(
                RegistryTalk(_host(talk.ref), what, plain(talk.ref), talk.began_s, size_bytes)
            )
        return tuple(told)

    def _talk(self, what: str, source: str, ref: str, at_s: float) -> None:
        self._talks.setdefault((what, source), _Talk(what, ref, at_s))


def _host(ref: str) -> str:
    first, slash, _ = ref.partition("/")
    is_host = slash and ("." in first or ":" in first or first == "localhost")
    return first if is_host else "docker.io"
