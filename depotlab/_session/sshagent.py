"""The protocol of SSH agents, without input and output: requests in, answers out.

A frame is a length of 4 bytes, big-endian, and as many bytes: one for the type, then its fields. Each
request gets one answer, in order; FAILURE says no to anything. Texts and numbers inside are those of SSH: a
length of 4 bytes before each string, and integers as their shortest two's complement.

Source: draft-ietf-sshm-ssh-agent; RFC 4251 section 5, RFC 5656, RFC 8332, RFC 8709 for the signatures;
openssh-portable `ssh-agent.c` (its limit of a message, and the order of flags).
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

from depotlab.ssh import Key

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

__all__ = [
    "FAILURE",
    "MAX_FRAME_BYTES",
    "FrameTooLong",
    "Frames",
    "KeyAgent",
    "frame",
    "is_allowed",
]

MAX_FRAME_BYTES = 256 << 10
"""The longest frame that OpenSSH's agent takes."""

FAILURE = b"\x05"

_LIST, _LISTED, _SIGN, _SIGNED = 11, 12, 13, 14
_SHA2_256, _SHA2_512 = 2, 4  # flags of SIGN


class FrameTooLong(Exception):
    """A peer announced a frame of no bytes, or of more than `MAX_FRAME_BYTES`."""


class Frames:
    """Takes frames out of a stream of bytes, however it is cut."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Add bytes; return the frames that are whole now, without their lengths.

        Raises:
            FrameTooLong: What follows is no frame; nothing more can be read.
        """
        buffer = self._buffer
        buffer += data
        found: list[bytes] = []
        at = 0
        while len(buffer) - at >= 4:
            (length,) = struct.unpack_from(">I", buffer, at)
            check_length(length)
            if len(buffer) - at - 4 < length:
                break
            found.append(bytes(buffer[at + 4 : at + 4 + length]))
            at += 4 + length
        del buffer[:at]
        return found


def check_length(length: int) -> None:
    """Refuse the length of a frame that no peer in its senses sends.

    Raises:
        FrameTooLong: Naming the length.
    """
    if not 0 < length <= MAX_FRAME_BYTES:
        raise FrameTooLong(f"a message of {length} bytes, where 1 to {MAX_FRAME_BYTES} are allowed")


def frame(message: bytes) -> bytes:
    """Put its length before a message."""
    return struct.pack(">I", len(message)) + message


def is_allowed(request: bytes) -> bool:
    """Whether a build may ask this: to list keys and to sign. It may not add, remove, lock or extend."""
    return request[0] in (_LIST, _SIGN)


class KeyAgent:
    """An agent that holds keys in memory, which nobody can change.

    Args:
        keys: In the order in which they are listed.
    """

    def __init__(self, keys: Sequence[Key]) -> None:
        self._keys = {public_blob(key): key for key in keys}

    def answer(self, request: bytes) -> bytes:
        """Answer one request that is allowed. Signing with RSA takes milliseconds."""
        if request[0] == _LIST:
            listed = [_string(blob) + _string(key.name) for blob, key in self._keys.items()]
            return struct.pack(">BI", _LISTED, len(listed)) + b"".join(listed)
        try:
            blob, data, flags = _read_sign(request)
        except (struct.error, IndexError):
            return FAILURE
        key = self._keys.get(blob)
        signature = None if key is None else _sign(key, data, flags)
        return FAILURE if signature is None else bytes((_SIGNED,)) + _string(signature)


def public_blob(key: Key) -> bytes:
    """Return the public half of a key as SSH writes it."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    line = key.private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return base64.b64decode(line.split()[1])


def _read_sign(request: bytes) -> tuple[bytes, bytes, int]:
    blob, at = _read_string(request, 1)
    data, at = _read_string(request, at)
    (flags,) = struct.unpack_from(">I", request, at)
    return blob, data, flags


def _sign(key: Key, data: bytes, flags: int) -> bytes | None:
    """Return a signature as SSH writes it, or None if this key cannot sign so."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    private = key.private
    if isinstance(private, rsa.RSAPrivateKey):
        name, kind = _rsa_hash(flags)
        try:
            return _string(name) + _string(private.sign(data, padding.PKCS1v15(), kind))
        except (
            UnsupportedAlgorithm,
            ValueError,
        ):  # SHA-1 where the system forbids it, or a tiny key
            return None
    if isinstance(private, ec.EllipticCurvePrivateKey):
        bits = private.curve.key_size
        kinds: dict[int, HashAlgorithm] = {
            256: hashes.SHA256(),
            384: hashes.SHA384(),
            521: hashes.SHA512(),
        }
        r, s = decode_dss_signature(private.sign(data, ec.ECDSA(kinds[bits])))
        return _string(f"ecdsa-sha2-nistp{bits}") + _string(_integer(r) + _integer(s))
    return _string("ssh-ed25519") + _string(private.sign(data))


def _rsa_hash(flags: int) -> tuple[str, HashAlgorithm]:
    from cryptography.hazmat.primitives import hashes

    if flags & _SHA2_256:
        return "rsa-sha2-256", hashes.SHA256()
    if flags & _SHA2_512:
        return "rsa-sha2-512", hashes.SHA512()
    return "ssh-rsa", hashes.SHA1()  # noqa: S303 - what the protocol means by no flag; old servers ask for it


def _string(value: bytes | str) -> bytes:
    data = value.encode("utf-8", "replace") if isinstance(value, str) else value
    return struct.pack(">I", len(data)) + data


def _integer(value: int) -> bytes:
    return _string(value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _read_string(data: bytes, at: int) -> tuple[bytes, int]:
    (length,) = struct.unpack_from(">I", data, at)
    end = at + 4 + length
    if end > len(data):
        raise IndexError("a string that is longer than its message")
    return data[at + 4 : end], end
