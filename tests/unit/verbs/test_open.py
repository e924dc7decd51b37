"""Which door `connect()` takes when nobody says."""

import socket

import pytest

from depotlab._verbs import open as doors
from depotlab.errors import UsageError
from tests.support.fakedocker import fake_docker

EMBEDDED = object()


@pytest.fixture(autouse=True)
def bare(tmp_path, monkeypatch):
    """A machine with nothing on it; the embedded engine is only noted."""
    for name in ("BUILDKIT_HOST", "DOCKER_HOST", "DOCKER_CONTEXT", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setattr(doors, "DEFAULT_ADDRESS", f"unix://{tmp_path}/buildkitd.sock")
    monkeypatch.setattr("depotlab._docker.host.DEFAULT_SOCKET", str(tmp_path / "docker.sock"))
    monkeypatch.setattr(doors, "open_local", lambda **_: EMBEDDED)


def listening(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


@pytest.fixture
def docker(tmp_path):
    """An engine at the usual socket. `docker.ping` are the headers that tell what it is."""
    with fake_docker(tmp_path / "docker.sock") as server:
        server.ping = {"Builder-Version": "2"}
        server.answers["/_ping"] = lambda handler: handler.reply(
            b"OK", **{"Api-Version": "1.41", **server.ping}
        )
        server.answers["/version"] = lambda handler: handler.reply(
            b'{"Version": "27.1", "ApiVersion": "1.46"}'
        )
        yield server


def taken(address=None, tls=None):
    opened = doors.open_builder(address, tls=tls, auth=None)
    return opened if opened is EMBEDDED else (opened.builder.endpoint.address, opened.builder.where)


def test_nothing_at_all_means_the_embedded_engine():
    assert taken() is EMBEDDED


def test_the_variable_goes_first(tmp_path, monkeypatch, docker):
    listening(tmp_path / "buildkitd.sock")
    monkeypatch.setenv("BUILDKIT_HOST", "docker-container://bk")
    assert taken() == ("docker-container://bk", "docker-container://bk")


def test_blanks_around_the_variable_are_no_part_of_it(monkeypatch):
    monkeypatch.setenv("BUILDKIT_HOST", " unix:///run/b.sock\n")
    assert taken()[0] == "unix:///run/b.sock"
    monkeypatch.setenv("BUILDKIT_HOST", " ")
    assert taken() is EMBEDDED


def test_a_variable_that_is_no_address_is_named(monkeypatch):
    monkeypatch.setenv("BUILDKIT_HOST", "garbage")
    with pytest.raises(UsageError, match="BUILDKIT_HOST: 'garbage' is not an address"):
        taken()
    with pytest.raises(UsageError, match=r"^'rubbish' is not an address"):
        taken("rubbish")


def test_a_buildkit_at_the_usual_socket_goes_before_docker(tmp_path, docker):
    listening(tmp_path / "buildkitd.sock")
    assert taken()[0] == f"unix://{tmp_path}/buildkitd.sock"
    assert docker.asked == []


def test_a_rootless_buildkit_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    listening(tmp_path / "run" / "buildkit" / "buildkitd.sock")
    assert taken()[0] == f"unix://{tmp_path}/run/buildkit/buildkitd.sock"


def test_a_docker_engine_that_builds_with_buildkit_is_taken_and_named(docker):
    assert taken() == ("docker://", "Docker Engine 27.1 (the usual socket)")


@pytest.mark.parametrize(
    "ping",
    [
        pytest.param({"Builder-Version": "1"}, id="an engine before Docker 23"),
        pytest.param({"Libpod-Api-Version": "5.0"}, id="podman behind Docker's socket"),
    ],
)
def test_an_engine_that_builds_otherwise_is_passed_by(docker, ping):
    docker.ping = ping
    assert taken() is EMBEDDED


def test_a_socket_that_nobody_serves_is_passed_by(tmp_path):
    listening(tmp_path / "docker.sock")
    assert taken() is EMBEDDED


def test_an_engine_behind_ssh_is_not_tried_unasked(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "ssh://far")
    assert taken() is EMBEDDED
    assert taken("docker://") == ("docker://", "Docker Engine (DOCKER_HOST)")


def test_a_context_that_is_not_there_is_an_error_not_another_door(monkeypatch):
    monkeypatch.setenv("DOCKER_CONTEXT", "gone")
    with pytest.raises(UsageError, match="'gone', which DOCKER_CONTEXT names"):
        taken()


def test_an_address_that_is_given_is_the_door(docker, tmp_path):
    assert taken("tcp://10.0.0.7:1234")[0] == "tcp://10.0.0.7:1234"
    with pytest.raises(UsageError, match="not an address"):
        taken("10.0.0.7:1234")


def test_tls_needs_an_address():
    from depotlab import TLS

    with pytest.raises(UsageError, match="tls= needs an address"):
        taken(tls=TLS())
