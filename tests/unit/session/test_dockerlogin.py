"""A login goes where `docker login` puts it, and nowhere else."""

import json
import os
import stat

import pytest

from depotlab._session import Credentials, find_credentials, keep_login
from depotlab.errors import ContextError

PASSWORD = "planted_pull_0123456789"
LOGIN = Credentials("x-token", PASSWORD)
HOST = "registry.test:5000"


def test_a_login_is_found_again_and_only_its_user_may_read_it(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    path = keep_login(HOST, LOGIN)
    assert path == tmp_path / "docker" / "config.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert PASSWORD not in path.read_text(), "base64, as docker has it"
    assert find_credentials(HOST, {}, report=print).login == ("x-token", PASSWORD)
    assert os.listdir(path.parent) == ["config.json"]


def test_what_else_is_in_the_file_stays(tmp_path):
    before = {"auths": {"ghcr.io": {"auth": "eDp5"}}, "currentContext": "mine"}
    (tmp_path / "config.json").write_text(json.dumps(before))
    keep_login(HOST, LOGIN, host_folder=tmp_path)
    after = json.loads((tmp_path / "config.json").read_text())
    assert after["currentContext"] == "mine"
    assert set(after["auths"]) == {"ghcr.io", HOST}


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real.json").write_text("{}")
    (tmp_path / "config.json").symlink_to(tmp_path / "real.json")
    keep_login(HOST, LOGIN, host_folder=tmp_path)
    assert (tmp_path / "config.json").is_symlink()
    assert HOST in (tmp_path / "real.json").read_text()


@pytest.mark.parametrize("text", ["[]", "{", '{"auths": []}', "\udcff"])
def test_a_file_of_another_form_is_left_alone(text, tmp_path):
    data = text.encode("utf-8", "surrogateescape")
    (tmp_path / "config.json").write_bytes(data)
    with pytest.raises(ContextError, match="could not be kept") as caught:
        keep_login(HOST, LOGIN, host_folder=tmp_path)
    assert (tmp_path / "config.json").read_bytes() == data
    assert PASSWORD not in str(caught.value)


def helper(folder, monkeypatch, *, script):
    program = folder / "docker-credential-test"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.parametrize("config", [{"credsStore": "test"}, {"credHelpers": {HOST: "test"}}])
def test_a_helper_gets_it_instead_and_not_as_an_argument(config, tmp_path, monkeypatch):
    helper(tmp_path, monkeypatch, script=f"cat > {tmp_path}/given; echo $# $1 > {tmp_path}/args")
    (tmp_path / "config.json").write_text(json.dumps(config))
    keep_login(HOST, LOGIN, host_folder=tmp_path)
    given = json.loads((tmp_path / "given").read_text())
    assert given == {"ServerURL": HOST, "Username": "x-token", "Secret": PASSWORD}
    assert (tmp_path / "args").read_text() == "1 store\n"
    assert json.loads((tmp_path / "config.json").read_text()) == config


@pytest.mark.parametrize(
    ("name", "words"), [("test", "ended with code 3"), ("none", "not here"), ("../x", "not here")]
)
def test_a_helper_that_fails_is_named(name, words, tmp_path, monkeypatch):
    helper(tmp_path, monkeypatch, script="cat; exit 3")
    (tmp_path / "config.json").write_text(json.dumps({"credsStore": name}))
    with pytest.raises(ContextError, match=words) as caught:
        keep_login(HOST, LOGIN, host_folder=tmp_path)
    assert PASSWORD not in str(caught.value)
    assert "password-stdin" in caught.value.hint


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ContextError, match="could not be kept"):
        keep_login(HOST, LOGIN, host_folder=tmp_path / "file" / "docker")
