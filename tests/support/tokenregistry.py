"""A real CNCF registry that wants access tokens, and the server that signs them, on loopback.

Source of the token format: the distribution project, `docs/content/spec/auth/jwt.md`.
"""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.support.registry import run_registry
from tests.support.tokenserver import Asked, TokenServer

__all__ = ["TokenRegistry", "token_registry"]

_ISSUER = "test-issuer"
_SERVICE = "test-registry"


@dataclass(frozen=True)
class TokenRegistry:
    """What a test needs.

    Attributes:
        host: `localhost:PORT` of the registry.
        server: The token server behind it.
        issue: Makes an access token for scopes, such as `repository:a:pull,push`, as the server does.
    """

    host: str
    server: TokenServer
    issue: Callable[[str], str]


@contextlib.contextmanager
def token_registry(*, user: str, password: str, identity: str = "") -> Iterator[TokenRegistry]:
    """Run a registry for which only this user gets tokens, by POST, and everybody some to pull `public/...`.

    Args:
        user: Who may do everything.
        password: Of the user.
        identity: An identity token that stands for the user, if any.
    """
    with tempfile.TemporaryDirectory() as folder, TokenServer() as server:
        signer = _Signer()
        root = Path(folder)
        (root / "cert.pem").write_bytes(signer.certificate.public_bytes(Encoding.PEM))

        def answer(asked: Asked) -> tuple[int, dict[str, str], object]:
            fields = dict(asked.fields)
            known = (fields.get("username"), fields.get("password")) == (user, password)
            if fields.get("grant_type") == "refresh_token":
                known = bool(identity) and fields.get("refresh_token") == identity
            if not known:
                return 401, {}, {"errors": []}
            token = signer.sign(user, fields.get("scope", ""))
            return 200, {}, {"access_token": token, "expires_in": 300}

        def answer_anybody(asked: Asked) -> tuple[int, dict[str, str], object]:
            scopes = [value for name, value in asked.fields if name == "scope"]
            if "Authorization" in asked.headers:
                return 401, {}, {"errors": []}
            allowed = [
                s for s in scopes if s.startswith("repository:public/") and s.endswith(":pull")
            ]
            return 200, {}, {"token": signer.sign("", " ".join(allowed)), "expires_in": 300}

        server.answers = {"POST": answer, "GET": answer_anybody}
        auth = (
            f"{{token: {{realm: 'http://{server.address}/token', service: {_SERVICE}, "
            f"issuer: {_ISSUER}, rootcertbundle: {root}/cert.pem}}}}"
        )
        with run_registry(root, auth) as host:
            yield TokenRegistry(host, server, lambda scopes: signer.sign(user, scopes))


class _Signer:
    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _ISSUER)])
        now = datetime.now(UTC)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def sign(self, user: str, scope: str) -> str:
        now = int(time.time())
        access = []
        for one in scope.split():
            kind, name, actions = one.split(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        der = base64.b64encode(self.certificate.public_bytes(Encoding.DER)).decode()
        head = {"typ": "JWT", "alg": "ES256", "x5c": [der]}
        claims = {
            "iss": _ISSUER, "sub": user, "aud": _SERVICE, "jti": secrets.token_hex(8),
            "iat": now, "nbf": now - 60, "exp": now + 300, "access": access,
        }  # fmt: skip
        text = f"{_pack(json.dumps(head).encode())}.{_pack(json.dumps(claims).encode())}"
        r, s = decode_dss_signature(self._key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{_pack(r.to_bytes(32) + s.to_bytes(32))}"


def _pack(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
