"""The plane's certificate authority: what its leaves say, how long they live, where its key is."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from depotlab._plane.authority import Authority, Leaf
from depotlab._plane.boundary import Connection
from depotlab.errors import EngineError
from tests.support.machinery import client_context

URI = "spiffe://depotlab.internal/project/p/platform/amd64/build/b"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


def read(leaf: Leaf) -> x509.Certificate:
    return x509.load_pem_x509_certificate(leaf.cert_pem.encode())


def names(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def test_a_client_leaf_names_its_build_and_may_only_be_a_client(authority):
    certificate = read(authority.client(URI, "build b"))
    assert names(certificate).get_values_for_type(x509.UniformResourceIdentifier) == [URI]
    uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(uses) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_a_server_leaf_names_its_host_and_may_only_be_a_server(authority):
    certificate = read(authority.server("amd64.p.machines.depotlab.internal"))
    assert names(certificate).get_values_for_type(x509.DNSName) == [
        "amd64.p.machines.depotlab.internal"
    ]
    uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(uses) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_keys_are_elliptic_and_pkcs8(authority):
    leaf = authority.client(URI, "b")
    assert leaf.key_pem.startswith("-----BEGIN PRIVATE KEY-----")
    key = serialization.load_pem_private_key(leaf.key_pem.encode(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp256r1"


def test_a_leaf_lasts_for_a_build_but_not_for_a_day_and_forgives_a_slow_clock(authority):
    certificate = read(authority.client(URI, "b"))
    now = datetime.now(UTC)
    assert timedelta(hours=12) < certificate.not_valid_after_utc - now < timedelta(hours=24)
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc < timedelta(hours=24)
    assert now - certificate.not_valid_before_utc >= timedelta(minutes=59)


def test_the_same_authority_is_used_again(tmp_path):
    first, again = Authority(tmp_path / "ca"), Authority(tmp_path / "ca")
    assert first.ca_pem == again.ca_pem
    assert Authority(tmp_path / "other").ca_pem != first.ca_pem


def test_an_authority_that_is_about_to_expire_is_made_anew(tmp_path):
    old = Authority(tmp_path / "ca", now=lambda: datetime.now(UTC) - timedelta(days=3640))
    assert Authority(tmp_path / "ca").ca_pem != old.ca_pem


def test_only_we_can_read_the_key(tmp_path):
    Authority(tmp_path / "ca")
    (file,) = (tmp_path / "ca").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("damage", ["", "no PEM", "-----BEGIN CERTIFICATE-----\nx\n"])
def test_a_damaged_file_is_named(tmp_path, damage):
    Authority(tmp_path / "ca")
    (file,) = (tmp_path / "ca").iterdir()
    file.write_text(damage)
    with pytest.raises(EngineError, match="does not hold a certificate authority") as caught:
        Authority(tmp_path / "ca")
    assert "delete that file" in caught.value.hint


def test_a_key_of_another_certificate_is_damage(tmp_path):
    one, two = tmp_path / "1", tmp_path / "2"
    Authority(one)
    Authority(two)
    (first,), (second,) = one.iterdir(), two.iterdir()
    key = first.read_text().partition("-----BEGIN CERT")[0]
    first.write_text(key + "-----BEGIN CERT" + second.read_text().partition("-----BEGIN CERT")[2])
    with pytest.raises(EngineError, match="does not hold"):
        Authority(one)


def test_no_key_is_ever_shown(authority, tmp_path):
    leaf = authority.client(URI, "b")
    connection = Connection("tcp://h:1", "s", leaf.cert_pem, leaf.key_pem, authority.ca_pem)
    secret = leaf.key_pem.splitlines()[1]
    assert secret not in repr(leaf) + repr(authority) + repr(connection)
    assert "PRIVATE" not in repr(leaf) + repr(authority) + repr(connection)


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    """A handshake in memory; raises what either side raises."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(10):
        for end in list(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            ends.remove(end)
        if not ends:
            return
    raise AssertionError("no end of the handshake")


def server_of(authority: Authority, name: str, folder: Path) -> ssl.SSLContext:
    leaf = authority.server(name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (folder / "leaf.pem").write_text(leaf.key_pem + leaf.cert_pem)
    context.load_cert_chain(folder / "leaf.pem")
    context.load_verify_locations(cadata=authority.ca_pem)
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def test_both_sides_accept_each_other_under_the_strict_checks_of_newer_pythons(authority, tmp_path):
    leaf = authority.client(URI, "b")
    client = client_context(authority.ca_pem, leaf.cert_pem, leaf.key_pem)
    assert client.verify_flags & ssl.VERIFY_X509_STRICT
    shake_hands(server_of(authority, "x.internal", tmp_path), client, "x.internal")


def test_a_server_with_another_name_or_authority_is_not_believed(authority, tmp_path):
    leaf = authority.client(URI, "b")
    client = client_context(authority.ca_pem, leaf.cert_pem, leaf.key_pem)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake_hands(server_of(authority, "x.internal", tmp_path), client, "y.internal")
    foreign = Authority(tmp_path / "foreign")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server_of(foreign, "x.internal", tmp_path), client, "x.internal")
