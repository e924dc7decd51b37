"""What is wrong ends in one typed error that says what to do, within seconds, with nothing left running."""

import socket
import subprocess
import time

import pytest

import depotlab as dl
from depotlab import export, llb
from depotlab.errors import (
    ContextError,
    DaemonError,
    DepotlabError,
    DockerfileError,
    ImageNotFound,
    ReferenceInvalid,
    RegistryError,
    Unreachable,
    UsageError,
)
from tests.support.registry import private_registry


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("DEPOTLAB_UI", "off")


@pytest.fixture(autouse=True)
def within_seconds():
    started_s = time.monotonic()
    yield
    assert time.monotonic() - started_s < 60


def helpful(error: DepotlabError, kind: type, *words: str) -> None:
    assert type(error) is kind
    assert error.hint, "says what to do next"
    for word in words:
        assert word in str(error)


def test_an_image_that_the_registry_does_not_have(bk, engine):
    with pytest.raises(DaemonError) as caught:
        bk.build(llb.image(f"{engine.registry}/no/such:1").run("true"))
    helpful(caught.value, ImageNotFound, "no/such:1")


def test_an_image_that_a_dockerfile_names_and_nobody_has(bk, engine):
    with pytest.raises(DaemonError) as caught:
        bk.build(
            dl.dockerfile(text=f"FROM busybox\nCOPY --from={engine.registry}/no/such:1 /x /x\n")
        )
    helpful(caught.value, ImageNotFound, "no/such:1")


def test_nobody_at_the_socket(tmp_path):
    with pytest.raises(Unreachable) as caught:
        dl.connect(f"unix://{tmp_path}/none.sock")
    helpful(caught.value, Unreachable, "does not exist")


def test_a_socket_that_nobody_listens_on(tmp_path):
    path = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(Unreachable, match="nobody listens"):
        dl.connect(f"unix://{path}")


def test_a_port_that_refuses():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with pytest.raises(Unreachable, match="refused"):
        dl.connect(f"tcp://127.0.0.1:{port}")


def test_a_server_that_is_no_daemon(http_folder):
    with pytest.raises(Unreachable, match="does not speak gRPC"):
        dl.connect(http_folder.url.replace("http://", "tcp://"))


def test_a_socket_without_permission(tmp_path):
    """Another user tries; as root every socket is open, so a child drops its rights."""
    import os
    import sys

    folder = tmp_path / "closed"
    folder.mkdir()
    path = folder / "daemon.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        path.chmod(0)
        for parent in [folder, *folder.parents]:
            if parent.stat().st_uid == os.getuid() and str(parent) != "/tmp":
                parent.chmod(parent.stat().st_mode | 0o011)
        code = (
            "import os, sys\n"
            "from depotlab._rpc.reasons import find_reason\n"
            "from depotlab._rpc import Endpoint\n"
            "if os.getuid() == 0: os.setuid(65534)\n"
            f"print(find_reason(Endpoint('unix://{path}'), timeout_s=1.0))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=200, check=True
        )
    assert "No permission to use the BuildKit socket" in done.stdout
    assert "mode 0000" in done.stdout


def test_a_local_directory_that_is_missing(bk, tmp_path):
    with pytest.raises(DepotlabError) as caught:
        bk.build(llb.image("busybox").copy(llb.local(tmp_path / "none"), ".", "/x"))
    helpful(caught.value, ContextError, "does not exist")


def test_a_dockerfile_that_does_not_exist(tmp_path):
    with pytest.raises(ContextError) as caught:
        dl.dockerfile(tmp_path)
    helpful(caught.value, ContextError, "no Dockerfile")


def test_a_dockerfile_that_vanishes_before_the_build(bk, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM busybox\n")
    target = dl.dockerfile(tmp_path)
    (tmp_path / "Dockerfile").unlink()
    with pytest.raises(ContextError):
        bk.build(target)


def test_a_syntax_error_shows_its_line(bk):
    with pytest.raises(DockerfileError) as caught:
        bk.build(dl.dockerfile(text="FROM busybox\nRUNN echo hi\n"))
    assert "> 2 | RUNN echo hi" in str(caught.value)


def test_a_file_that_is_not_in_the_context(bk, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM busybox\nCOPY nothing /x\n")
    with pytest.raises(DaemonError) as caught:
        bk.build(dl.dockerfile(tmp_path))
    helpful(caught.value, DaemonError, "There is no /nothing", "> 2 | COPY nothing /x")


@pytest.mark.parametrize(
    "tag",
    ["me/UPPER", "a b", "x:", "-x", "a/b:c:d", f"h/x@sha256:{'1' * 64}", "", "f" * 64, "scratch"],
)
def test_a_malformed_or_reserved_tag_is_refused_before_anything_is_sent(bk, tag):
    with pytest.raises(UsageError) as caught:
        bk.build(llb.scratch().mkfile("/x", b""), tags=tag or [""])
    assert type(caught.value) is (ReferenceInvalid if tag else UsageError)
    assert caught.value.hint


def test_a_registry_that_refuses_the_push_and_the_same_with_credentials(bk, engine):
    with private_registry(user="me", password="planted-secret") as host:
        app = llb.scratch().mkfile("/x", b"x")
        with pytest.raises(RegistryError) as caught:
            bk.build(app, tags=f"{host}/x:1", push=True)
        helpful(caught.value, RegistryError, host, "auth=")
        with pytest.raises(RegistryError) as caught:
            bk.build(app, tags=f"{host}/x:1", push=True, auth={host: ("me", "planted-wrong")})
        assert "planted" not in str(caught.value) + repr(caught.value)
        result = bk.build(app, tags=f"{host}/x:1", push=True, auth={host: ("me", "planted-secret")})
        assert result.digest.startswith("sha256:")


def test_a_registry_that_is_not_there(bk):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with pytest.raises(RegistryError) as caught:
        bk.build(llb.scratch().mkfile("/x", b"x"), tags=f"localhost:{port}/x:1", push=True)
    helpful(caught.value, RegistryError, f"localhost:{port}", "could not be reached")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"target": "."}, "dockerfile('.')"),
        ({"target": llb.scratch(), "push": True}, "needs tags="),
        ({"target": llb.scratch(), "output": "image"}, "depotlab.export"),
        ({"target": llb.scratch(), "platform": "arm"}, "linux/arm64"),
        ({"target": llb.scratch(), "timeout_s": 0}, "above zero"),
        ({"target": llb.scratch(), "auth": {"h": "token"}}, "pair of strings"),
        ({"target": llb.scratch(), "progress": "fancy"}, "progress"),
    ],
)
def test_wrong_arguments_say_what_is_right(bk, arguments, words):
    with pytest.raises(UsageError) as caught:
        bk.build(**arguments)
    assert words in str(caught.value)


def test_an_exporter_that_the_daemon_does_not_have(bk):
    with pytest.raises(DaemonError) as caught:
        bk.build(llb.scratch().mkfile("/x", b"x"), output=export.Output("nonesuch"))
    assert "nonesuch" in str(caught.value)
