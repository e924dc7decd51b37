"""Private keys for tests, made once for each process: RSA takes its time."""

from __future__ import annotations

import functools
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

__all__ = ["KINDS", "pem", "private_key", "public_line"]

KINDS = ("ed25519", "rsa", "ecdsa-256", "ecdsa-384", "ecdsa-521")


@functools.cache
def private_key(kind: str) -> Any:
    match kind:
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case "rsa":
            return rsa.generate_private_key(65537, 2048)
        case "ecdsa-256":
            return ec.generate_private_key(ec.SECP256R1())
        case "ecdsa-384":
            return ec.generate_private_key(ec.SECP384R1())
        case "ecdsa-521":
            return ec.generate_private_key(ec.SECP521R1())
        case "ecdsa-k1":
            return ec.generate_private_key(ec.SECP256K1())
    raise AssertionError(kind)


@functools.cache
def pem(kind: str, form: str = "openssh", passphrase: str | None = None) -> bytes:
    """Return a key as text: `openssh`, `pkcs8`, or `traditional`, which is PKCS #1 or SEC 1."""
    forms = {
        "openssh": PrivateFormat.OpenSSH,
        "pkcs8": PrivateFormat.PKCS8,
        "traditional": PrivateFormat.TraditionalOpenSSL,
    }
    encryption = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    return private_key(kind).private_bytes(Encoding.PEM, forms[form], encryption)


def public_line(kind: str) -> bytes:
    """Return the public half as a line of `authorized_keys`, without a comment."""
    return private_key(kind).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
