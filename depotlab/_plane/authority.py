"""The plane's own certificate authority: one for each state folder, and leaves that live less than a day.

Both sides of the gate prove themselves by a leaf: a machine by its host name, a build by its URI. What Python 3.13
checks by default (`VERIFY_X509_STRICT`: key identifiers, key usage, critical constraints) is all there.
Sources: RFC 5280 4.2; CPython 3.13 `ssl.create_default_context`; SPIFFE X.509-SVID for the URI.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from depotlab._local import make_private_dir, read_text, write_private
from depotlab.errors import EngineError

_CA_LIFE = timedelta(days=3650)
_CA_REMAKE = timedelta(days=30)  # it is made anew when less is left
# A build takes hours at most, and a connection that is open outlives its certificate.
LEAF_LIFE = timedelta(hours=20)
# A client whose clock is behind ours finds the leaf valid all the same.
_SKEW = timedelta(hours=1)
_CA_SKEW = timedelta(days=1)
_FILE = "authority.pem"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A certificate and its key, both PEM; the key is PKCS8.

    Attributes:
        expires_at: After this instant nobody accepts it.
    """

    cert_pem: str = field(repr=False)
    key_pem: str = field(repr=False)
    expires_at: datetime


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Authority:
    """Signs leaves. Kept in one private file, so that key and certificate are never of two kinds.

    Args:
        folder: Where it is kept, created with mode 0700 if missing. An authority that is there is used again.
        now: The clock.

    Raises:
        EngineError: The folder cannot be used, or its file is damaged.
    """

    def __init__(self, folder: Path, *, now: Callable[[], datetime] = _utc_now) -> None:
        self._now = now
        self._path = make_private_dir(folder) / _FILE
        self._key, self._certificate = self._load() or self._make()
        self.ca_pem = _pem_of(self._certificate)

    def __repr__(self) -> str:
        return f"Authority({str(self._path)!r})"

    def server(self, name: str) -> Leaf:
        """Issue a certificate for a host name."""
        return self._issue(x509.DNSName(name), name, ExtendedKeyUsageOID.SERVER_AUTH)

    def client(self, uri: str, common_name: str) -> Leaf:
        """Issue a certificate that says who a client is.

        Args:
            uri: What is checked.
            common_name: For people who look at it, at most 64 characters are kept.
        """
        name = x509.UniformResourceIdentifier(uri)
        return self._issue(name, common_name, ExtendedKeyUsageOID.CLIENT_AUTH)

    def _issue(
        self, subject: x509.GeneralName, common_name: str, use: x509.ObjectIdentifier
    ) -> Leaf:
        key = ec.generate_private_key(ec.SECP256R1())
        now = self._now()
        expires_at = now + LEAF_LIFE
        public = key.public_key()
        issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = (
            _builder(_name(common_name), self._certificate.subject, public)
            .not_valid_before(max(now - _SKEW, self._certificate.not_valid_before_utc))
            .not_valid_after(expires_at)
            .add_extension(x509.SubjectAlternativeName([subject]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(issuer_id, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return Leaf(_pem_of(certificate), _key_pem(key), expires_at)

    def _load(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate] | None:
        text = read_text(self._path)
        if text is None:
            return None
        try:
            key = serialization.load_pem_private_key(text.encode(), password=None)
            certificate = x509.load_pem_x509_certificate(text.encode())
        except ValueError as error:
            raise self._damaged() from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise self._damaged()
        if certificate.public_key() != key.public_key():
            raise self._damaged()
        if certificate.not_valid_after_utc - self._now() < _CA_REMAKE:
            return None
        return key, certificate

    def _damaged(self) -> EngineError:
        return EngineError(
            f"{self._path} does not hold a certificate authority.",
            hint="delete that file; builds that run now will have to be started again",
        )

    def _make(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key()
        # A name of its own: a client that trusts two planes must not mix them up.
        name = _name(f"depotlab plane {secrets.token_hex(4)}")
        now = self._now()
        key_id = x509.SubjectKeyIdentifier.from_public_key(public)
        certificate = (
            _builder(name, name, public)
            .not_valid_before(now - _CA_SKEW)
            .not_valid_after(now + _CA_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(key_id, critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id),
                critical=False,
            )
            .sign(key, hashes.SHA256())
        )
        write_private(self._path, _key_pem(key) + _pem_of(certificate))
        return key, certificate


def _name(common_name: str) -> x509.Name:
    # The standard allows 64 characters. Source: RFC 5280 appendix A.1, ub-common-name.
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem_of(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return pem.decode("ascii")
