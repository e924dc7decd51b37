"""What the messages of a call are called, and what a call is about.

Most methods take METHODRequest and give METHODResponse; what does not is in the tables here. Bytes of files, archives
and agents are one field, so their messages have a name and no text.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from google.protobuf.message import DecodeError, Message

from depotlab._proto import control_pb2, fsutil_wire_pb2
from depotlab._rpc import Exchange, Side
from depotlab._wire.plain import plain

__all__ = ["kind_of", "message_of", "short_name", "subject_of", "subject_of_request"]

_FILE_SYNC = "moby.filesync.v1.FileSync"
_FILE_SEND = "moby.filesync.v1.FileSend"
_MODULES = {
    "moby.buildkit.v1.Control": "control",
    "moby.buildkit.v1.frontend.LLBBridge": "gateway",
    "containerd.services.content.v1.Content": "content",
    "moby.filesync.v1.Auth": "auth",
    "moby.buildkit.secrets.v1.Secrets": "secrets",
    "moby.sshforward.v1.SSH": "sshforward",
    "moby.upload.v1.Upload": "upload",
}
_BYTES = ("BytesMessage", "BytesMessage")
_OTHER_NAMES = {
    "Control.Session": _BYTES,
    "Control.ListenBuildHistory": ("BuildHistoryRequest", "BuildHistoryEvent"),
    "Control.Prune": ("PruneRequest", "UsageRecord"),
    "LLBBridge.Ping": ("PingRequest", "PongResponse"),
    "LLBBridge.ExecProcess": ("ExecMessage", "ExecMessage"),
    "LLBBridge.ReadFileContainer": ("ReadFileRequest", "ReadFileResponse"),
    "LLBBridge.ReadDirContainer": ("ReadDirRequest", "ReadDirResponse"),
    "LLBBridge.StatFileContainer": ("StatFileRequest", "StatFileResponse"),
    "Content.Read": ("ReadContentRequest", "ReadContentResponse"),
    "Content.Write": ("WriteContentRequest", "WriteContentResponse"),
    "Content.List": ("ListContentRequest", "ListContentResponse"),
    "Content.Delete": ("DeleteContentRequest", "Empty"),
    "Content.Abort": ("AbortRequest", "Empty"),
    "SSH.ForwardAgent": _BYTES,
    "Upload.Pull": _BYTES,
    "Health.Check": ("HealthCheckRequest", "HealthCheckResponse"),
}
# Calls whose subject is in a header. Source: moby/buildkit `session/filesync`, `session/sshforward`, `session/upload`.
_SUBJECT_HEADERS = {
    "FileSync.DiffCopy": "dir-name",
    "FileSend.DiffCopy": "buildkit-attachable-exporter-id",
    "SSH.ForwardAgent": "buildkit.ssh.id",
    "Upload.Pull": "urlpath",
}
# Fields of a request that say what it is about; the first that is there counts.
_SUBJECT_FIELDS = (
    "Host",
    "ID",
    "digest",
    "ref",
    "FilePath",
    "DirPath",
    "Path",
    "Source",
    "Frontend",
)
# Here Ref is an image; elsewhere it is the name of a build or of a result, which says nothing.
_IMAGE_OF = "ResolveImageConfig"
# An output that is an archive comes as BytesMessage{1: data}, a directory as Packet{1: type, 2: stat, …}.
_BYTES_TAG = b"\x0a"
_TYPE_TAG = b"\x08"
_DIGEST = re.compile(r"(sha256:[0-9a-f]{8})[0-9a-f]{56}")
_MOST_SUBJECT = 80
_LAST_PACKET = max(fsutil_wire_pb2.Packet.PacketType.values())


def short_name(exchange: Exchange) -> str:
    """Return the method with the last word of its service, such as `Control.Solve`."""
    return f"{exchange.service.rpartition('.')[2]}.{exchange.method}"


def kind_of(exchange: Exchange, sender: Side, payload: bytes | None) -> str:
    """Return what a message is called: the name of its type, or of a packet of file sync."""
    if exchange.service in (_FILE_SYNC, _FILE_SEND):
        packet = _packet(payload)
        return "BytesMessage" if packet is None else packet
    name = short_name(exchange)
    if exchange.service not in _MODULES and name not in _OTHER_NAMES:
        return "request" if sender == exchange.asker else "answer"
    asks, answers = _OTHER_NAMES.get(
        name, (f"{exchange.method}Request", f"{exchange.method}Response")
    )
    return asks if sender == exchange.asker else answers


def message_of(exchange: Exchange, sender: Side, payload: bytes) -> Message | None:
    """Return the decoded message, or None for a type that we do not have, and for what cannot be read."""
    if exchange.service in (_FILE_SYNC, _FILE_SEND):
        if payload[:1] == _BYTES_TAG:
            return _decoded(control_pb2.BytesMessage, payload)
        return _decoded(fsutil_wire_pb2.Packet, payload)
    module = _MODULES.get(exchange.service)
    if module is None:
        return None
    kind = _message_type(module, kind_of(exchange, sender, payload))
    return None if kind is None else _decoded(kind, payload)


def subject_of(exchange: Exchange) -> str:
    """Return what a call is about, as far as its headers say."""
    name = short_name(exchange)
    header = _SUBJECT_HEADERS.get(name)
    value = next(iter(exchange.headers.get(header, ())), "") if header else ""
    if name == "FileSend.DiffCopy":
        return f"output {value or 0}"
    return plain(value, _MOST_SUBJECT)


def subject_of_request(exchange: Exchange, request: Message) -> str:
    """Return what a call is about, as its request says."""
    if isinstance(request, control_pb2.SolveRequest):
        frontend = "a graph" if request.HasField("Definition") else "own frontend"
        if request.Frontend:
            return plain(request.Frontend, _MOST_SUBJECT)
        return f"{frontend}, unrecorded" if request.Internal else frontend
    known: Mapping[str, Any] = {field.name: value for field, value in request.ListFields()}
    if "Definition" in known:
        return "a graph"
    for name in ("Ref",) if exchange.method == _IMAGE_OF else _SUBJECT_FIELDS:
        value = known.get(name)
        if isinstance(value, Message):
            value = getattr(value, "identifier", "")
        if isinstance(value, str) and value:
            return _DIGEST.sub(r"\1…", plain(value, _MOST_SUBJECT))
    return ""


def _packet(payload: bytes | None) -> str | None:
    """Return the type of a packet of file sync without decoding it; None is a piece of an archive."""
    if payload is None or payload[:1] == _BYTES_TAG:
        return None
    # Types are written first; the first of them is 0 and is left out, as in any proto3 message.
    number = payload[1] if payload[:1] == _TYPE_TAG and len(payload) > 1 else 0
    known = fsutil_wire_pb2.Packet.PacketType.Name
    return known(number).removeprefix("PACKET_") if number <= _LAST_PACKET else str(number)


@cache
def _message_type(module: str, name: str) -> type[Message] | None:
    found = importlib.import_module(f"depotlab._proto.{module}_pb2")
    return getattr(found, name, None)


def _decoded(kind: Any, payload: bytes) -> Message | None:
    try:
        message: Message = kind.FromString(payload)
    except DecodeError:
        return None
    return message
