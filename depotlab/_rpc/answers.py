"""What gRPC puts into HTTP/2 header fields, seen by the client: the request it writes, the answer it reads.

Source: grpc/grpc `doc/PROTOCOL-HTTP2.md`, `doc/http-grpc-status-mapping.md`.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from depotlab._rpc.call import Status
from depotlab._rpc.failed import RpcFailed
from depotlab._rpc.fields import Malformed, sort_fields, text
from depotlab._rpc.frames import ErrorCode
from depotlab._rpc.headers import Headers, encode_field

__all__ = ["parse_answer", "parse_end", "request_block", "reset_failure"]

_IS_KEY = re.compile(r"[0-9a-z_.-]+")
_IS_VALUE = re.compile(r"[\x20-\x7e]*")

# What another status of HTTP than 200 means where the answer has no status of gRPC.
_OF_HTTP = {
    400: Status.INTERNAL,
    401: Status.UNAUTHENTICATED,
    403: Status.PERMISSION_DENIED,
    404: Status.UNIMPLEMENTED,
    429: Status.UNAVAILABLE,
    502: Status.UNAVAILABLE,
    503: Status.UNAVAILABLE,
    504: Status.UNAVAILABLE,
}
_OF_RESET = {
    ErrorCode.REFUSED_STREAM: Status.UNAVAILABLE,
    ErrorCode.CANCEL: Status.CANCELLED,
    ErrorCode.ENHANCE_YOUR_CALM: Status.RESOURCE_EXHAUSTED,
    ErrorCode.INADEQUATE_SECURITY: Status.PERMISSION_DENIED,
}


def request_block(
    method: str, *, scheme: str, authority: str, metadata: Iterable[tuple[str, str]]
) -> bytes:
    """Encode the header fields of a call.

    Args:
        method: Full name, such as `/moby.buildkit.v1.Control/Session`.
        scheme: `http` or `https`.
        authority: The name of the server, with its port when it has one.
        metadata: Keys in lower case; a key may come several times, and its values stay in order.

    Raises:
        ValueError: A key or a value is none that gRPC can send as text.
    """
    fields = [(":method", "POST"), (":scheme", scheme), (":path", method)]
    fields += [(":authority", authority), ("te", "trailers")]
    fields += [("content-type", "application/grpc"), ("user-agent", "depotlab")]
    for key, value in metadata:
        if not _IS_KEY.fullmatch(key) or key.startswith("grpc-") or key.endswith("-bin"):
            raise ValueError(f"{key!r} cannot be a key of metadata")
        if not _IS_VALUE.fullmatch(value):
            raise ValueError(f"the value of {key!r} is not printable ASCII")
        fields.append((key, value))
    return b"".join(encode_field(name.encode(), value.encode()) for name, value in fields)


def parse_answer(headers: Headers) -> RpcFailed | None:
    """Read the first header block of an answer; None is the beginning of a good one.

    Raises:
        Malformed: By RFC 9113.
    """
    pseudo, fields = sort_fields(headers)
    http = pseudo.get(b":status", b"")
    if not re.fullmatch(rb"[1-5][0-9][0-9]", http):
        raise Malformed(f":status is {http!r}")
    content_type = fields.get(b"content-type", [b""])[0]
    if http != b"200":
        status = _OF_HTTP.get(int(http), Status.UNKNOWN)
        return RpcFailed(status, f"the answer has the HTTP status {int(http)}")
    if not content_type.lower().startswith(b"application/grpc"):
        return RpcFailed(Status.UNKNOWN, f"the answer is {text(content_type)!r}, not gRPC")
    encoding = fields.get(b"grpc-encoding", [b"identity"])[-1]
    if encoding != b"identity":
        return RpcFailed(Status.INTERNAL, f"the answer is compressed by {text(encoding)!r}")
    return None


def parse_end(headers: Headers) -> RpcFailed | None:
    """Read the last header block of an answer; None is the status OK.

    Raises:
        Malformed: By RFC 9113, or there is no status.
    """
    _, fields = sort_fields(headers)
    number = fields.get(b"grpc-status", [b""])[-1]
    if not re.fullmatch(rb"[0-9]{1,2}", number):
        raise Malformed(f"grpc-status is {number!r}")
    code = int(number)
    status = Status(code) if code in Status.__members__.values() else Status.UNKNOWN
    if status is Status.OK:
        return None
    message = text(unquote_to_bytes(fields.get(b"grpc-message", [b""])[-1]))
    details = fields.get(b"grpc-status-details-bin", [b""])[-1].strip()
    try:
        return RpcFailed(status, message, b64decode(details + b"=" * (-len(details) % 4)))
    except binascii.Error as error:
        raise Malformed("grpc-status-details-bin is not base64") from error


def reset_failure(code: int, name: str) -> RpcFailed:
    """Return what a call ends with when the peer resets its stream."""
    known = ErrorCode(code) if code in ErrorCode.__members__.values() else ErrorCode.INTERNAL_ERROR
    return RpcFailed(_OF_RESET.get(known, Status.INTERNAL), f"the stream was reset: {name}")
