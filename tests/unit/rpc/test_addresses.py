"""Addresses whose connection is a program. The commands are those of the Go client."""

import pytest

from depotlab._docker import DockerHost
from depotlab._rpc import TLS, Endpoint, endpoint_at
from depotlab._rpc.addresses import dialing_argv
from depotlab.errors import UsageError


@pytest.mark.parametrize(
    ("address", "command"),
    [
        ("docker-container://bk", "docker exec -i bk buildctl dial-stdio"),
        ("docker-container://Bk_1.x/", "docker exec -i Bk_1.x buildctl dial-stdio"),
        (
            "docker-container://bk?context=lab",
            "docker --context=lab exec -i bk buildctl dial-stdio",
        ),
        ("podman-container://bk", "podman exec -i bk buildctl dial-stdio"),
        ("nerdctl-container://bk", "nerdctl exec -i bk buildctl dial-stdio"),
        (
            "nerdctl-container://bk?namespace=n",
            "nerdctl exec --namespace n -i bk buildctl dial-stdio",
        ),
        (
            "kube-pod://pod-0",
            "kubectl --context= --namespace= exec --container= -i pod-0 -- buildctl dial-stdio",
        ),
        (
            "kube-pod://pod?context=C@x&namespace=n&container=k",
            "kubectl --context=C@x --namespace=n exec --container=k -i pod -- buildctl dial-stdio",
        ),
        ("ssh://far", "ssh -- far buildctl dial-stdio"),
        ("ssh://me@far:2222", "ssh -l me -p 2222 -- far buildctl dial-stdio"),
        (
            "ssh://far/run/bk.sock",
            "ssh -- far buildctl --addr unix:///run/bk.sock dial-stdio",
        ),
    ],
)
def test_the_command_of_an_address(address, command):
    assert dialing_argv(address) == tuple(command.split(" "))


def test_a_socket_over_there_cannot_smuggle_a_command():
    argv = dialing_argv("ssh://far/run/x;touch%20y")
    assert argv[-3:] == ("--addr", "'unix:///run/x;touch y'", "dial-stdio")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        pytest.param("docker-container://", "does not name a container", id="no name"),
        pytest.param("docker-container://-v", "does not name a container", id="an option"),
        pytest.param("podman-container://a b", "does not name a container", id="a space"),
        pytest.param("podman-container://bk?context=x", "does not take 'context'", id="podman"),
        pytest.param(
            "nerdctl-container://bk?namespce=x", "does not take 'namespce'", id="misspelt"
        ),
        pytest.param("docker-container://bk/x", "more than a name", id="a path"),
        pytest.param("kube-pod://", "not a name of a pod", id="no pod"),
        pytest.param("kube-pod://Pod", "not a name of a pod", id="capitals"),
        pytest.param("kube-pod://-p", "not a name of a pod", id="a pod that is an option"),
        pytest.param("kube-pod://p?namespace=N", "not a name of a namespace", id="a namespace"),
        pytest.param("kube-pod://p?container=a_b", "not a name of a container", id="a container"),
    ],
)
def test_what_cannot_be_is_refused(address, words):
    with pytest.raises(UsageError, match=words):
        dialing_argv(address)


def test_each_kind_of_address_gets_its_endpoint(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://h:1")
    assert endpoint_at("unix:///x.sock") == Endpoint("unix:///x.sock")
    program = endpoint_at("docker-container://bk")
    assert program.dialer is not None
    assert (program.session_dialer, program.docker, program.socket_path) == (None, None, "")
    engine = endpoint_at("docker://")
    assert engine.dialer is not None
    assert engine.session_dialer is not None
    assert engine.docker == DockerHost("tcp://h:1", "DOCKER_HOST")


@pytest.mark.parametrize("address", ["docker://", "ssh://far", "kube-pod://p"])
def test_tls_does_not_go_with_them(address):
    with pytest.raises(UsageError, match="tls= does not go with"):
        endpoint_at(address, TLS())


@pytest.mark.parametrize("address", ["npipe:////./pipe/x", "http://h:1", "docker"])
def test_other_schemes_are_refused_with_those_that_work(address):
    with pytest.raises(UsageError) as caught:
        endpoint_at(address)
    assert "docker-container://" in caught.value.hint
