"""Certificates from memory become the settings of a connection, and leave nothing behind."""

import os
import stat
import tempfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from depotlab._rpc import TLS
from depotlab._rpc.tls import client_context
from depotlab.errors import UsageError
from tests.support.certificates import Authority


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    return Authority().write(tmp_path_factory.mktemp("client"), "client")


def tls(folder, **changes):
    given = {"ca": folder / "ca.pem", "cert": folder / "cert.pem", "key": folder / "key.pem"}
    return TLS(**{**given, **changes})


@pytest.fixture
def without_memory_files(monkeypatch, tmp_path):
    """A system that has no anonymous files; temporary ones go into a folder of the test."""
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_authorities_certificate_and_key_are_used(client):
    context = client_context(tls(client))
    assert context.check_hostname
    assert len(context.get_ca_certs()) == 1


def test_without_an_authority_those_of_the_system_are_trusted(client):
    assert client_context(tls(client, ca=None)).verify_mode.name == "CERT_REQUIRED"


def test_a_key_that_has_to_be_a_file_for_a_moment_is_private_and_then_gone(
    client, without_memory_files, monkeypatch
):
    seen = []
    load = "ssl.SSLContext.load_cert_chain"

    def look(self, path, **_):
        seen.append((Path(path).parent, stat.S_IMODE(os.stat(path).st_mode)))
        assert b"PRIVATE KEY" in Path(path).read_bytes()

    monkeypatch.setattr(load, look)
    client_context(tls(client))
    assert seen == [(without_memory_files, 0o600)]
    assert list(without_memory_files.iterdir()) == []


def test_a_key_in_memory_is_no_file_on_disk(client, monkeypatch):
    paths = []
    monkeypatch.setattr(
        "ssl.SSLContext.load_cert_chain", lambda self, path, **_: paths.append(path)
    )
    client_context(tls(client))
    assert paths[0].startswith("/proc/self/fd/")
    assert not os.path.exists(paths[0])


def test_both_ways_load_the_same(client, without_memory_files):
    client_context(tls(client))


def encrypted_key():
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"planted-secret"),
    )


def other_key():
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


BROKEN = b"-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"key": other_key()}, r"key=\.\.\.\) cannot be used", id="another's key"),
        pytest.param({"key": encrypted_key()}, "is encrypted", id="an encrypted key"),
        pytest.param({"cert": BROKEN}, r"cert=\.\.\., key", id="a broken certificate"),
        pytest.param({"ca": BROKEN}, r"TLS\(ca=\.\.\.\)", id="a broken authority"),
    ],
)
def test_what_cannot_be_used_is_named_and_never_shown(client, changes, words):
    with pytest.raises(UsageError, match=words) as caught:
        client_context(tls(client, **changes))
    assert caught.value.hint
    key = (client / "key.pem").read_text()
    assert key.splitlines()[1] not in str(caught.value)
