"""What gRPC puts into HTTP/2 header fields: the request of a call, and its end.

Source: grpc/grpc `doc/PROTOCOL-HTTP2.md` and `doc/compression.md`; RFC 9113 8.2 and 8.3 for what makes
a request malformed.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from dataclasses import dataclass, field

from depotlab._rpc.call import RpcFault, Status
from depotlab._rpc.headers import Headers, encode_field

__all__ = [
    "RESPONSE",
    "RESPONSE_GZIP",
    "Malformed",
    "NotGrpc",
    "Request",
    "end_fields",
    "parse_request",
    "sort_fields",
    "text",
]

_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_UNIT_S = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_OF_A_CONNECTION = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
# They describe the call, and are answered for here; services see the rest.
_NOT_METADATA = frozenset((b"te", b"content-type"))
_IS_LOWER = re.compile(rb"[^A-Z\x00-\x20\x7f-\xff:]+")

# `:status 200` is entry 8 of the static table; the type is written as grpc-go writes it.
RESPONSE = b"\x88" + encode_field(b"content-type", b"application/grpc")
"""The header fields before the first message of every answer."""

RESPONSE_GZIP = RESPONSE + encode_field(b"grpc-encoding", b"gzip")
"""The same when messages may be compressed; each one says whether it is."""

UNSUPPORTED_MEDIA_TYPE = encode_field(b":status", b"415")
"""The whole answer to a request that is not gRPC."""


class Malformed(Exception):
    """Header fields that break HTTP/2; the stream is reset."""


class NotGrpc(Exception):
    """An HTTP request of another kind; it is answered by status 415."""


@dataclass(slots=True)
class Request:
    """The header fields of a call.

    Attributes:
        path: The method as the peer wrote it.
        timeout_s: None is no deadline.
        gzip: Messages may be compressed.
        takes_gzip: Our messages may be.
        metadata: Fields by name, each with all its values in order. Bytes outside ASCII and UTF-8 are kept
            as surrogates, as `os.fsdecode` does.
        binary_metadata: Fields whose name ends in `-bin`, decoded.
        fault: Ends the call before a handler sees it.
    """

    path: str
    timeout_s: float | None = None
    gzip: bool = False
    takes_gzip: bool = False
    metadata: dict[str, list[str]] = field(default_factory=dict)
    binary_metadata: dict[str, list[bytes]] = field(default_factory=dict)
    fault: RpcFault | None = None


def parse_request(headers: Headers) -> Request:
    """Read the fields of a request.

    Raises:
        Malformed: By RFC 9113.
        NotGrpc: Well-formed HTTP.
    """
    pseudo, fields = sort_fields(headers)
    if not pseudo.get(b":path") or b":method" not in pseudo or b":scheme" not in pseudo:
        raise Malformed("one of :method, :scheme and :path is missing")
    content_type = fields.get(b"content-type", [b""])[0].lower()
    if pseudo[b":method"] != b"POST" or not content_type.startswith(b"application/grpc"):
        raise NotGrpc(f"{pseudo[b':method']!r} of {content_type!r}")
    request = Request(text(pseudo[b":path"]))
    try:
        _call_fields(request, fields)
    except RpcFault as fault:
        request.fault = fault
    return request


def sort_fields(headers: Headers) -> tuple[dict[bytes, bytes], dict[bytes, list[bytes]]]:
    """Return the pseudo-header fields, and the others by name with all their values in order.

    Raises:
        Malformed: By RFC 9113.
    """
    pseudo: dict[bytes, bytes] = {}
    fields: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        known = fields.get(name)
        if known is not None:
            known.append(value)
        elif name[:1] == b":":
            if fields:
                raise Malformed(f"{name!r} comes after a regular header")
            if name in pseudo:
                raise Malformed(f"{name!r} comes twice")
            pseudo[name] = value
        elif not _IS_LOWER.fullmatch(name) or name in _OF_A_CONNECTION:
            raise Malformed(f"{name!r} is not a header name of HTTP/2")
        else:
            fields[name] = [value]
    return pseudo, fields


def _call_fields(request: Request, fields: dict[bytes, list[bytes]]) -> None:
    for name, values in fields.items():
        if name.startswith(b"grpc-") or name in _NOT_METADATA:
            continue
        if name.endswith(b"-bin"):
            request.binary_metadata[text(name)] = [
                _decoded(name, item) for value in values for item in value.split(b",")
            ]
        else:
            request.metadata[text(name)] = [text(value) for value in values]
    timeout = fields.get(b"grpc-timeout")
    if timeout is not None:
        match = _TIMEOUT.fullmatch(timeout[-1])
        if match is None:
            raise RpcFault(Status.INTERNAL, f"malformed grpc-timeout: {text(timeout[-1])}")
        request.timeout_s = int(match[1]) * _UNIT_S[match[2]]
    encoding = fields.get(b"grpc-encoding", [b"identity"])[-1]
    if encoding not in (b"identity", b"gzip"):
        raise RpcFault(
            Status.UNIMPLEMENTED,
            f"grpc-encoding {text(encoding)!r} is not supported; send identity or gzip",
        )
    request.gzip = encoding == b"gzip"
    accepted = b",".join(fields.get(b"grpc-accept-encoding", []))
    request.takes_gzip = b"gzip" in re.split(rb"[ ,]+", accepted)


def text(value: bytes) -> str:
    """Decode a field; bytes outside ASCII and UTF-8 are kept as surrogates, as `os.fsdecode` does."""
    return value.decode("utf-8", "surrogateescape")


def _decoded(name: bytes, value: bytes) -> bytes:
    value = value.strip()
    try:
        return b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except binascii.Error as error:
        raise RpcFault(Status.INTERNAL, f"the metadata {text(name)} is not base64") from error


def end_fields(status: Status, message: str = "") -> bytes:
    """Encode how a call ends.

    Args:
        message: Any text; control characters and all outside ASCII are percent-encoded.
    """
    fields = encode_field(b"grpc-status", b"%d" % status)
    if message:
        fields += encode_field(b"grpc-message", _percent_encoded(message))
    if status is Status.UNIMPLEMENTED:
        # Names what would be understood, for a peer whose grpc-encoding was refused.
        fields += encode_field(b"grpc-accept-encoding", b"identity,gzip")
    return fields


def _percent_encoded(message: str) -> bytes:
    raw = message.encode("utf-8", "backslashreplace")
    return re.sub(rb"[^\x20-\x24\x26-\x7e]", lambda found: b"%%%02X" % found[0][0], raw)
