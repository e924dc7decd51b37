import pickle
from pathlib import Path

import pytest

from depotlab._rpc import TLS, Endpoint, endpoint_at
from depotlab.errors import UsageError

PEM = "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN PRIVATE KEY-----\nplanted-secret\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        pytest.param("unix://relative/path", "three slashes", id="a relative socket"),
        pytest.param("tcp://10.0.0.7", "tcp://10.0.0.7:1234", id="tcp without a port"),
        pytest.param("tcp://10.0.0.7:port", "tcp://10.0.0.7:1234", id="a port that is no number"),
        pytest.param("10.0.0.7:1234", "unix:///path", id="no scheme"),
        pytest.param("", "unix:///path", id="nothing"),
    ],
)
def test_a_bad_address_says_how_to_write_it(address, hint):
    with pytest.raises(UsageError) as caught:
        Endpoint(address)
    assert hint in caught.value.hint


@pytest.mark.parametrize("address", ["tcp://me:planted-secret@h:1", "https://planted-secret@h:1"])
def test_a_password_in_an_address_is_refused_and_not_shown(address):
    with pytest.raises(UsageError, match="no user and no password") as caught:
        Endpoint(address)
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize("address", [5, b"unix:///run/x.sock", Path("/run/x.sock")])
def test_an_address_is_text(address):
    with pytest.raises(UsageError, match="it is no text"):
        endpoint_at(address)


@pytest.mark.parametrize("tls", ["certs", {"ca": PEM}])
def test_certificates_come_in_a_tls(tls):
    with pytest.raises(UsageError, match="takes a depotlab") as caught:
        endpoint_at("tcp://h:1", tls)
    assert "from_dir" in caught.value.hint


def test_addresses_are_taken_apart():
    assert Endpoint("unix:///run/x.sock").socket_path == "/run/x.sock"
    tcp = Endpoint("tcp://[::1]:1234")
    assert (tcp.host, tcp.port, tcp.socket_path) == ("::1", 1234, "")


def test_tls_takes_text_bytes_or_a_path(tmp_path):
    path = tmp_path / "ca.pem"
    path.write_text(PEM)
    assert TLS(ca=PEM).ca == TLS(ca=PEM.encode()).ca == TLS(ca=path).ca == TLS(ca=str(path)).ca


def test_tls_never_shows_a_key():
    tls = TLS(ca=PEM, cert=PEM, key=KEY, server_name="builder")
    endpoint = Endpoint("tcp://h:1", tls)
    assert "planted" not in repr(tls) + str(tls) + repr(endpoint)
    assert repr(tls) == "TLS(ca=…, cert=…, key=…, server_name='builder')"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param({"cert": PEM}, "given together", id="a certificate without its key"),
        pytest.param({"ca": b"\x30\x82"}, "not PEM", id="DER"),
        pytest.param({"ca": "/no/such/file.pem"}, "cannot be read", id="a missing file"),
        pytest.param({"ca": 5}, "not int", id="a number"),
    ],
)
def test_wrong_certificates_are_refused_when_they_are_given(arguments, words):
    with pytest.raises(UsageError, match=words):
        TLS(**arguments)


def test_tls_does_not_go_with_a_socket():
    with pytest.raises(UsageError, match="unix socket"):
        Endpoint("unix:///run/x.sock", TLS(ca=PEM))


def test_endpoints_survive_pickling():
    assert pickle.loads(pickle.dumps(Endpoint("tcp://h:1"))) == Endpoint("tcp://h:1")


@pytest.mark.parametrize(
    "names", [("ca.pem", "cert.pem", "key.pem"), ("ca.crt", "tls.crt", "tls.key")]
)
def test_a_folder_of_certificates_has_the_names_that_buildctl_knows(tmp_path, names):
    for name, text in zip(names, (PEM, PEM, KEY), strict=True):
        (tmp_path / name).write_text(text)
    assert TLS.from_dir(tmp_path, server_name="b") == TLS(
        ca=PEM, cert=PEM, key=KEY, server_name="b"
    )


def test_a_folder_that_lacks_one_says_which(tmp_path):
    (tmp_path / "ca.pem").write_text(PEM)
    with pytest.raises(UsageError, match=r"neither cert\.pem nor tls\.crt"):
        TLS.from_dir(tmp_path)
