"""Who takes part in a conversation: the lanes of the picture, from left to right."""

from __future__ import annotations

from collections.abc import Iterable

from depotlab._wire.values import RegistryTalk, WireExchange

__all__ = ["DAEMON", "NOTEBOOK", "REGISTRY", "lane_of", "lanes_of", "lines_of"]

NOTEBOOK = "your notebook"
DAEMON = "control API"
REGISTRY = "registry"
_API = "Depot API"
_OTHER = "other"
_CONTENT = "containerd.services.content.v1.Content"
_DAEMON_CONTENT = "content"

_BY_SERVICE = {
    "moby.buildkit.v1.Control": DAEMON,
    "moby.buildkit.v1.frontend.LLBBridge": "gateway",
    "moby.filesync.v1.FileSync": "file sync",
    "moby.filesync.v1.FileSend": "file send",
    "moby.upload.v1.Upload": "upload",
    _CONTENT: "content store",
    "moby.buildkit.secrets.v1.Secrets": "secrets",
    "moby.sshforward.v1.SSH": "SSH agent",
    "moby.filesync.v1.Auth": "auth",
    "grpc.health.v1.Health": "health",
}
_ORDER = (
    NOTEBOOK,
    _API,
    DAEMON,
    _DAEMON_CONTENT,
    *list(_BY_SERVICE.values())[1:],
    _OTHER,
    REGISTRY,
)
_OF_DAEMON = frozenset((DAEMON, "gateway", _DAEMON_CONTENT))


def lane_of(exchange: WireExchange) -> str:
    """Return the lane of the daemon's side of a call."""
    if exchange.service.startswith("depot."):
        return _API
    if exchange.asker == "client" and exchange.service == _CONTENT:
        return _DAEMON_CONTENT  # what it keeps of past builds, not what we offer
    return _BY_SERVICE.get(exchange.service, _OTHER)


def lanes_of(exchanges: Iterable[WireExchange], registries: Iterable[RegistryTalk]) -> list[str]:
    """Return the lanes that a conversation has, from left to right; the first is ours."""
    present = {NOTEBOOK, *map(lane_of, exchanges)}
    if any(True for _ in registries):
        present |= {REGISTRY, DAEMON}
    return [lane for lane in _ORDER if lane in present]


def lines_of(lane: str) -> tuple[str, str]:
    """Return what stands over a lane: whose it is, and which it is."""
    if lane == NOTEBOOK:
        return "your", "notebook"
    if lane in (_API, REGISTRY):
        return "", lane
    return ("daemon" if lane in _OF_DAEMON else "session"), lane
