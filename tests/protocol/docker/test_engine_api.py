"""The Engine API client and what an engine may answer."""

import base64
import json
import threading

import pytest

from depotlab._docker import DockerEngine, DockerHost, RegistryLogin
from depotlab.errors import (
    DaemonError,
    ImageNotFound,
    LinkError,
    ProtocolError,
    RegistryError,
    Unreachable,
)
from tests.support.fake_programs import program
from tests.support.fakedocker import fake_docker


@pytest.fixture
def server(tmp_path):
    with fake_docker(tmp_path / "s") as running:
        yield running


@pytest.fixture
def engine(server):
    return DockerEngine(DockerHost(server.address, "the test"), timeout_s=60)


def stream(*parts):
    """An answer that comes in the pieces given, flushed one by one."""

    def answer(handler):
        handler.read_body()
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for part in parts:
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
            handler.wfile.flush()
        handler.wfile.write(b"0\r\n\r\n")

    return answer


def test_chunks_are_sent_as_they_come_and_the_names_come_back(server, engine):
    sent_so_far = threading.Event()

    def answer(handler):
        assert handler.rfile.readline() == b"3\r\n"
        assert handler.rfile.read(5) == b"abc\r\n"
        sent_so_far.set()
        assert handler.read_body() == b"def"
        handler.reply(
            b'{"stream":"Loaded image: me/a:1\\n"}\n{"stream":"Loaded image ID: sha256:1"}'
        )

    def chunks():
        yield b"abc"
        assert sent_so_far.wait(60), "the first chunk was kept back"
        yield b""
        yield b"def"

    server.answers["/images/load"] = answer
    assert engine.load(chunks()) == ["me/a:1", "sha256:1"]
    assert server.asked[-1].path == "/v1.41/images/load?quiet=1"


def test_podman_names_several_images_in_one_line(server, engine):
    server.answers["/images/load"] = stream(
        b'{"stream":"Loaded image: localhost/a:1,localhost/b:1"}'
    )
    assert engine.load([b"x"]) == ["localhost/a:1", "localhost/b:1"]


def test_an_answer_may_be_cut_anywhere(server, engine):
    whole = (
        '{"stream":"Loaded image: me/ä:1"}\r\n{"status":"x"} {"stream":"Loaded image: b"}'.encode()
    )
    server.answers["/images/load"] = stream(*(whole[i : i + 1] for i in range(len(whole))))
    assert engine.load([b"x"]) == ["me/ä:1", "b"]


def test_a_failure_behind_the_status_is_raised(server, engine):
    server.answers["/images/load"] = stream(
        b'{"stream":"Loaded image: a"}', b'{"errorDetail":{"message":"no space left on device"}}'
    )
    with pytest.raises(DaemonError, match="no space left") as caught:
        engine.load([b"x"])
    assert "disk is full" in caught.value.hint


def test_an_oci_archive_for_an_old_engine_says_what_to_do(server, engine):
    text = "open /d/tmp/docker-import-12/blobs/json: no such file or directory"
    server.answers["/images/load"] = stream(json.dumps({"error": text}).encode())
    with pytest.raises(DaemonError) as caught:
        engine.load([b"x"])
    assert "export.docker" in caught.value.hint


def test_an_engine_that_refuses_before_it_has_everything_is_heard(server, engine):
    def answer(handler):
        handler.reply(b'{"message": "not an archive"}', status=400)

    server.answers["/images/load"] = answer
    with pytest.raises(DaemonError, match="not an archive") as caught:
        engine.load(bytes(1 << 20) for _ in range(200))
    assert caught.value.code == "INVALID_ARGUMENT"


def test_what_the_source_raises_ends_the_load_and_comes_back(server, engine):
    def answer(handler):
        with pytest.raises(ValueError):
            handler.read_body()

    def chunks():
        yield b"abc"
        raise OSError("the disk of the test")

    server.answers["/images/load"] = answer
    with pytest.raises(OSError, match="the disk of the test"):
        engine.load(chunks())


def test_an_engine_that_goes_away_is_a_broken_link(server, engine):
    server.answers["/images/load"] = lambda handler: handler.connection.close()
    with pytest.raises(LinkError, match="broke"):
        engine.load([b"x"])


def test_a_push_presents_the_login_and_returns_the_digest(server, engine):
    server.answers["/images/localhost:5000/me/a/push"] = stream(
        b'{"status":"The push refers to repository"}',
        b'{"id":"1","status":"Pushing","progressDetail":{"current":1,"total":2}}',
        b'{"progressDetail":{},"aux":{"Tag":"1","Digest":"sha256:d","Size":7}}',
    )
    heard = []
    login = RegistryLogin("me", "planted-secret")
    assert engine.push("localhost:5000/me/a:1", login, on_message=heard.append) == "sha256:d"
    assert len(heard) == 3
    asked = server.asked[-1]
    assert asked.path.endswith("/push?tag=1")
    told = json.loads(base64.urlsafe_b64decode(asked.headers["X-Registry-Auth"]))
    assert told == {
        "username": "me",
        "password": "planted-secret",
        "serveraddress": "localhost:5000",
    }
    assert "planted" not in repr(login)


@pytest.mark.parametrize(
    ("name", "repository", "tag", "registry"),
    [
        ("me/a", "me/a", "latest", "docker.io"),
        ("a:1", "a", "1", "docker.io"),
        ("ghcr.io/me/a:1", "ghcr.io/me/a", "1", "ghcr.io"),
        ("localhost:5000/a", "localhost:5000/a", "latest", "localhost:5000"),
    ],
)
def test_the_registry_of_a_push_is_in_the_name(server, engine, name, repository, tag, registry):
    server.answers[f"/images/{repository}/push"] = stream(b'{"error":"denied"}')
    with pytest.raises(RegistryError, match=f"could not push {name}: denied") as caught:
        engine.push(name)
    assert caught.value.host == registry
    assert server.asked[-1].path.endswith(f"tag={tag}")


def test_an_image_that_is_not_there(engine):
    with pytest.raises(ImageNotFound) as caught:
        engine.image_inspect("me/none:1")
    assert caught.value.ref == "me/none:1"


def test_a_name_is_given_in_two_parts(server, engine):
    server.answers["/images/me/a/tag"] = lambda h: (h.read_body(), h.reply(b"", status=201))
    engine.tag("me/a", "localhost:5000/b:2")
    assert server.asked[-1].path.endswith("/tag?repo=localhost%3A5000%2Fb&tag=2")


def test_an_answer_that_is_no_json_is_no_engine(server, engine):
    server.answers["/version"] = lambda handler: handler.reply(b"<html>")
    with pytest.raises(ProtocolError, match="something else than JSON"):
        engine.version()


@pytest.mark.parametrize(
    ("headers", "shown", "builds"),
    [
        ({"Builder-Version": "2"}, "Docker Engine 27.1", True),
        ({"Builder-Version": "1"}, "Docker Engine 27.1", False),
        ({"Builder-Version": "", "Libpod-Api-Version": "5.0"}, "Podman 27.1", False),
    ],
)
def test_an_engine_says_who_it_is(server, engine, headers, shown, builds):
    headers["Api-Version"] = "1.41"
    server.answers["/_ping"] = lambda handler: handler.reply(b"OK", **headers)
    server.answers["/version"] = lambda handler: handler.reply(
        b'{"Version": "27.1", "ApiVersion": "1.46"}'
    )
    version = engine.version()
    assert (str(version), version.builds_with_buildkit) == (shown, builds)


def test_a_socket_that_is_not_there(tmp_path):
    engine = DockerEngine(DockerHost(f"unix://{tmp_path}/none", "DOCKER_HOST"))
    with pytest.raises(
        Unreachable, match=r"\(DOCKER_HOST\) cannot be reached: the socket does not"
    ):
        engine.version()


def test_an_engine_that_is_silent_is_not_waited_for(server):
    silent = threading.Event()
    server.answers["/_ping"] = lambda handler: silent.wait()
    engine = DockerEngine(DockerHost(server.address, "the test"), timeout_s=0.2)
    with pytest.raises(LinkError, match="timed out"):
        engine.version()
    silent.set()


def test_an_engine_behind_ssh_is_reached_through_the_program(server, tmp_path, monkeypatch):
    relay = (
        "import os, socket, sys, threading\n"
        "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
        "def up():\n"
        "    while data := os.read(0, 65536): s.sendall(data)\n"
        "    s.shutdown(socket.SHUT_WR)\n"
        "threading.Thread(target=up, daemon=True).start()\n"
        "while data := s.recv(65536): os.write(1, data)\n"
    )
    (tmp_path / "relay.py").write_text(relay)
    import sys

    ssh = tmp_path / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/args\n'
        f"exec {sys.executable} {tmp_path}/relay.py {server.host_path}\n"
    )
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}:/usr/bin:/bin")
    server.answers["/images/load"] = stream(b'{"stream":"Loaded image: a"}')
    engine = DockerEngine(DockerHost("ssh://me@far", "the test"), timeout_s=5)
    assert engine.load(bytes(100_000) for _ in range(20)) == ["a"]
    assert len(server.asked[-1].body) == 2_000_000
    args = (tmp_path / "args").read_text().splitlines()
    assert set(args) == {"-l me -o ConnectTimeout=30 -T -- far docker system dial-stdio"}


def test_the_last_words_of_ssh_are_told(tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    program(folder / "ssh", "", exit_code=255)
    (folder / "ssh").write_text("#!/bin/sh\necho 'Host key verification failed.' >&2\nexit 255\n")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    with pytest.raises(Unreachable, match="Host key verification failed"):
        DockerEngine(DockerHost("ssh://far", "the test"), timeout_s=5).version()


def test_a_missing_ssh_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unreachable, match="'ssh', which is not on the PATH"):
        DockerEngine(DockerHost("ssh://far", "the test")).version()


@pytest.mark.parametrize("reads", [True, False], ids=["it has all of it", "it takes nothing"])
def test_a_load_that_is_given_up_ends_at_once(server, engine, reads):
    """However long the engine says nothing: without a limit it would be waited for."""
    arrived, ended = threading.Event(), threading.Event()

    def answer(handler):
        if reads:
            handler.read_body()
        arrived.set()
        ended.wait()

    server.answers["/images/load"] = answer
    failures = []

    def load():
        try:
            engine.load([bytes(1 << 20)] * (1 if reads else 64))
        except LinkError as error:
            failures.append(error)

    loading = threading.Thread(target=load)
    loading.start()
    assert arrived.wait(60)
    engine.abort()
    loading.join(60)
    is_stuck = loading.is_alive()
    ended.set()
    loading.join(10)
    assert not is_stuck
    assert len(failures) == 1
    with pytest.raises(LinkError, match="given up"):
        engine.version()


def test_a_push_that_is_given_up_ends_at_once(server, engine):
    begun, ended = threading.Event(), threading.Event()

    def answer(handler):
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        part = b'{"status": "Preparing"}'
        handler.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
        handler.wfile.flush()
        ended.wait()

    server.answers["/images/me/a/push"] = answer
    failures = []

    def push():
        try:
            engine.push("me/a:1", on_message=lambda _: begun.set())
        except LinkError as error:
            failures.append(error)

    pushing = threading.Thread(target=push)
    pushing.start()
    assert begun.wait(60)
    engine.abort()
    pushing.join(60)
    is_stuck = pushing.is_alive()
    ended.set()
    pushing.join(10)
    assert not is_stuck
    assert len(failures) == 1
