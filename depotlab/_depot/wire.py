"""Connect's framing and errors, without a network.

A unary call is a POST whose body is the message, and whose answer with status 200 is the reply; every other status
has a JSON error. A stream is a POST whose body, in both directions, is a row of envelopes: one byte of flags, four
bytes of length (big endian), then that many bytes. The answer's status is always 200, and its last envelope has flag
2 and a JSON object, in which `error` says how it failed; a stream without that end was cut.

Source: connectrpc.com/docs/protocol ("Unary-Response", "Streaming-Response", "Error End-Stream", "Error Codes").
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from depotlab._depot.errors import BadReply, DepotError, error_for

__all__ = ["Envelopes", "end_error", "enveloped", "http_error", "retry_after_s"]

_END = 2
_COMPRESSED = 1
_SHOWN_CHARS = 300

# Answers that are not Connect's own: a proxy's, a load balancer's, another server's. Connect's table says
# "unimplemented" for 404 and "unavailable" for 429; the latter says more to a reader as what it is.
_CODE_BY_STATUS = {
    400: "internal",
    401: "unauthenticated",
    403: "permission_denied",
    404: "unimplemented",
    408: "deadline_exceeded",
    429: "resource_exhausted",
    502: "unavailable",
    503: "unavailable",
    504: "unavailable",
}


def enveloped(message: bytes) -> bytes:
    """Return a message as a stream carries it, not compressed."""
    return struct.pack(">BI", 0, len(message)) + message


class Envelopes:
    """Cuts a stream of bytes into messages, however the bytes are chunked.

    Attributes:
        end: The object of the last envelope, or None before it came.
    """

    def __init__(self, *, max_bytes: int) -> None:
        self.end: Mapping[str, Any] | None = None
        self._max_bytes = max_bytes
        self._held = bytearray()

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the messages that are whole now.

        Raises:
            BadReply: A message is too large or compressed, or there is more after the end.
        """
        self._held += piece
        while len(self._held) >= 5:
            flags, n_bytes = struct.unpack_from(">BI", self._held)
            if self.end is not None:
                raise _bad("there is more after the end of the stream")
            if n_bytes > self._max_bytes:
                raise _bad(f"a message has {n_bytes} bytes, more than {self._max_bytes}")
            if flags & _COMPRESSED:
                raise _bad("a message is compressed, which was not asked for")
            if len(self._held) < 5 + n_bytes:
                return
            data = bytes(self._held[5 : 5 + n_bytes])
            del self._held[: 5 + n_bytes]
            if flags & _END:
                self.end = _json_object(data)
            else:
                yield data

    def finish(self, *, method: str = "") -> None:
        """Check, when there are no more bytes, that the stream has ended well.

        Raises:
            BadReply: It was cut short.
            DepotError: The server says that it failed.
        """
        if self.end is None or self._held:
            raise _bad("the stream is cut short", method=method)
        error = end_error(self.end, method=method)
        if error is not None:
            raise error


def end_error(end: Mapping[str, Any], *, method: str = "") -> DepotError | None:
    """Return the error that the end of a stream tells, or None."""
    error = end.get("error")
    if error is None:
        return None
    if not isinstance(error, dict):
        raise _bad("the stream's error is no object", method=method)
    code, message = _code_and_message(error)
    return error_for(code or "unknown", message, method=method, http_status=200)


def http_error(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    method: str = "",
    now: datetime | None = None,
) -> DepotError:
    """Return the error of a unary answer whose status is not 200.

    Args:
        status: Of HTTP. It decides when the body is not Connect's JSON.
        headers: By lower-case name.
        body: As it came.
        method: For the message.
        now: For a `retry-after` that is a date; None is the clock of this computer.
    """
    code, message = "", ""
    if headers.get("content-type", "").partition(";")[0].strip() == "application/json":
        try:
            code, message = _code_and_message(_json_object(body))
        except BadReply:
            code = ""
    if not code:
        code = _CODE_BY_STATUS.get(status, "unknown")
        message = message or f"HTTP {status}, and the answer is not from a Depot API"
    wait_s = retry_after_s(headers.get("retry-after", ""), now=now)
    return error_for(code, message, method=method, http_status=status, retry_after_s=wait_s)


def retry_after_s(text: str, *, now: datetime | None = None) -> float | None:
    """Read a `retry-after` header: seconds, or a date. None if there is none, or it says nothing.

    Example:
        >>> retry_after_s("2")
        2.0
    """
    text = text.strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())


def _code_and_message(error: Mapping[str, Any]) -> tuple[str, str]:
    code, message = error.get("code"), error.get("message")
    shown = " ".join(message.split()) if isinstance(message, str) else ""
    if len(shown) > _SHOWN_CHARS:
        shown = shown[: _SHOWN_CHARS - 1] + "…"
    return code if isinstance(code, str) else "", shown


def _json_object(data: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _bad("what should be a JSON object is none")
    return found


def _bad(what: str, *, method: str = "") -> BadReply:
    return BadReply(
        f"{method + ': ' if method else ''}the answer cannot be used: {what}.",
        hint="check that DEPOT_API_URL is the address of a Depot API, and that no proxy changes its answers",
        code="internal",
        method=method,
    )
