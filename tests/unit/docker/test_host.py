"""Which engine is meant: as the `docker` command decides it."""

import hashlib
import json
import socket
import ssl

import pytest

from depotlab._docker import DockerHost, docker_at, find_docker
from depotlab.errors import Unreachable, UsageError

VARIABLES = (
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "DOCKER_TLS",
    "DOCKER_TLS_VERIFY",
    "DOCKER_CERT_PATH",
    "CONTAINER_HOST",
    "XDG_RUNTIME_DIR",
)


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch):
    """An empty Docker configuration; returns its directory."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "docker"
    folder.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    monkeypatch.setattr("depotlab._docker.host.DEFAULT_SOCKET", str(tmp_path / "default.sock"))
    return folder


def context(config, name, endpoint, **tls):
    identity = hashlib.sha256(name.encode()).hexdigest()
    meta = config / "contexts" / "meta" / identity
    meta.mkdir(parents=True)
    endpoints = {} if endpoint is None else {"docker": endpoint}
    (meta / "meta.json").write_text(
        json.dumps({"Name": name, "Metadata": {}, "Endpoints": endpoints})
    )
    for part, text in tls.items():
        folder = config / "contexts" / "tls" / identity / "docker"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{part}.pem").write_text(text)


def listening(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))
    return path


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param("unix:///a/b.sock", "unix:///a/b.sock", id="a socket"),
        pytest.param("tcp://10.0.0.7", "tcp://10.0.0.7:2375", id="the port without TLS is 2375"),
        pytest.param("tcp://10.0.0.7:99", "tcp://10.0.0.7:99", id="a port that is given"),
        pytest.param("10.0.0.7:99", "tcp://10.0.0.7:99", id="no scheme means tcp"),
        pytest.param("tcp://[::1]:99", "tcp://[::1]:99", id="IPv6"),
        pytest.param("ssh://me@host", "ssh://me@host", id="ssh"),
        pytest.param("  tcp://h:1 ", "tcp://h:1", id="spaces around it"),
    ],
)
def test_docker_host_names_the_engine(monkeypatch, given, expected):
    monkeypatch.setenv("DOCKER_HOST", given)
    assert find_docker() == DockerHost(expected, "DOCKER_HOST")


@pytest.mark.parametrize(
    "given", ["npipe:////./pipe/docker", "tcp://h:1/path", "unix://rel", "tcp://h:x"]
)
def test_an_address_that_cannot_be_is_refused_with_its_origin(monkeypatch, given):
    monkeypatch.setenv("DOCKER_HOST", given)
    with pytest.raises(UsageError, match="from DOCKER_HOST") as caught:
        find_docker()
    assert given in str(caught.value)


def test_tls_for_docker_host_comes_from_the_certificate_folder(monkeypatch, tmp_path):
    certs = tmp_path / "certs"
    certs.mkdir()
    for name in ("ca", "cert", "key"):
        (certs / f"{name}.pem").write_text("x")
    monkeypatch.setenv("DOCKER_HOST", "tcp://h")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(certs))
    found = find_docker()
    assert found.address == "tcp://h:2376"
    assert (found.tls.host_ca, found.tls.host_cert, found.tls.host_key) == (
        certs / "ca.pem",
        certs / "cert.pem",
        certs / "key.pem",
    )
    assert found.tls.verify


@pytest.mark.parametrize(
    "address", ["tcp://me:planted@h:1", "http://me:planted@h/x", "planted@h:1"]
)
def test_a_password_in_an_address_is_refused_and_not_shown(address, monkeypatch, config):
    monkeypatch.setenv("DOCKER_HOST", address)
    with pytest.raises(UsageError, match="from DOCKER_HOST, has no user and no password") as caught:
        find_docker()
    assert "planted" not in str(caught.value)


def test_docker_tls_without_verify_trusts_any_engine(monkeypatch, config):
    monkeypatch.setenv("DOCKER_HOST", "tcp://h")
    monkeypatch.setenv("DOCKER_TLS", "1")
    found = find_docker()
    assert found.tls.host_ca is None
    assert found.tls.context().verify_mode is ssl.CERT_NONE


def test_tls_files_that_are_no_certificates_are_named(monkeypatch, config):
    (config / "ca.pem").write_text("no certificate")
    monkeypatch.setenv("DOCKER_HOST", "tcp://h")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    with pytest.raises(UsageError, match=str(config / "ca.pem")):
        find_docker().tls.context()


def test_docker_host_goes_before_every_context(monkeypatch, config):
    context(config, "lab", {"Host": "tcp://lab:1"})
    monkeypatch.setenv("DOCKER_CONTEXT", "lab")
    monkeypatch.setenv("DOCKER_HOST", "tcp://h:1")
    assert find_docker().address == "tcp://h:1"
    assert find_docker("lab").address == "tcp://lab:1", "but a name given in code goes before it"


def test_the_variable_goes_before_the_configuration(monkeypatch, config):
    context(config, "one", {"Host": "tcp://one:1"})
    context(config, "two", {"Host": "tcp://two:1"})
    (config / "config.json").write_text('{"currentContext": "one"}')
    assert find_docker() == DockerHost("tcp://one:1", "the context 'one'")
    monkeypatch.setenv("DOCKER_CONTEXT", "two")
    assert find_docker() == DockerHost("tcp://two:1", "the context 'two'")


def test_a_context_brings_its_tls_files(config):
    context(config, "lab", {"Host": "tcp://lab:2376"}, ca="a", cert="b", key="c")
    tls = find_docker("lab").tls
    assert [p.read_text() for p in (tls.host_ca, tls.host_cert, tls.host_key)] == ["a", "b", "c"]
    assert tls.verify


def test_a_context_can_ask_for_no_verification(config):
    context(config, "lab", {"Host": "tcp://lab:2376", "SkipTLSVerify": True})
    assert not find_docker("lab").tls.verify


def test_an_unknown_context_lists_the_known_ones(monkeypatch, config):
    context(config, "lab", {"Host": "tcp://lab:1"})
    context(config, "home", {"Host": "tcp://home:1"})
    with pytest.raises(UsageError, match="no Docker context 'lap'") as caught:
        find_docker("lap")
    assert "home, lab" in caught.value.hint
    monkeypatch.setenv("DOCKER_CONTEXT", "lap")
    with pytest.raises(UsageError, match="which DOCKER_CONTEXT names"):
        find_docker()


@pytest.mark.parametrize("endpoint", [None, {}, {"Host": 7}])
def test_a_context_without_an_engine_is_refused(config, endpoint):
    context(config, "odd", endpoint)
    with pytest.raises(UsageError, match="does not say where its engine is"):
        find_docker("odd")


def test_a_configuration_that_is_no_json_is_named(config):
    (config / "config.json").write_text("{")
    with pytest.raises(UsageError, match=r"config\.json could not be read"):
        find_docker()


def test_the_context_default_is_the_usual_socket(tmp_path, config):
    context(config, "lab", {"Host": "tcp://lab:1"})
    (config / "config.json").write_text('{"currentContext": "lab"}')
    assert find_docker("default").address == f"unix://{tmp_path}/default.sock"


def test_the_socket_of_a_rootless_engine_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    path = listening(tmp_path / "run" / "docker.sock")
    assert find_docker() == DockerHost(f"unix://{path}", "the usual socket")


def test_no_engine_at_all_names_the_places(tmp_path):
    with pytest.raises(Unreachable, match="no Docker Engine on this computer") as caught:
        find_docker()
    assert f"{tmp_path}/default.sock" in str(caught.value)


def test_podman_is_taken_only_when_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    path = listening(tmp_path / "run" / "podman" / "podman.sock")
    with pytest.raises(Unreachable):
        find_docker()
    assert find_docker(or_podman=True) == DockerHost(f"unix://{path}", "podman's socket")
    listening(tmp_path / "default.sock")
    assert find_docker(or_podman=True).origin == "the usual socket"


def test_container_host_names_podman(monkeypatch):
    monkeypatch.setenv("CONTAINER_HOST", "unix:///p.sock")
    assert find_docker(or_podman=True) == DockerHost("unix:///p.sock", "CONTAINER_HOST")
    monkeypatch.setenv("CONTAINER_HOST", "ssh://h/p.sock")
    with pytest.raises(UsageError, match="not supported for podman"):
        find_docker(or_podman=True)


def test_ssh_runs_the_docker_command_over_there():
    host = DockerHost("ssh://me@far:2222", "DOCKER_HOST")
    options = ("-o", "ConnectTimeout=30", "-T")
    assert host.argv == (
        *("ssh", "-l", "me", "-p", "2222", *options, "--", "far"),
        *("docker", "system", "dial-stdio"),
    )
    path = DockerHost("ssh://far/run/a b.sock", "DOCKER_HOST")
    assert path.argv[-4:] == ("docker", "'--host=unix:///run/a b.sock'", "system", "dial-stdio")


def test_an_engine_is_named_in_code_by_address_or_by_context(config):
    context(config, "lab", {"Host": "tcp://lab:1"})
    assert docker_at("unix:///d.sock", origin="load=") == DockerHost("unix:///d.sock", "load=")
    assert docker_at("lab", origin="load=") == find_docker("lab")
    assert docker_at("docker://lab", origin="load=") == find_docker("lab")
    with pytest.raises(UsageError, match="from load="):
        docker_at("ftp://x", origin="load=")
    with pytest.raises(UsageError, match="no Docker context 'lap'"):
        docker_at("lap", origin="load=")
