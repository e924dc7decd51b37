from __future__ import annotations

import os
import pickle
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from depotlab import ssh
from depotlab.errors import DepotlabError, MissingExtra, UsageError
from depotlab.ssh import MAX_KEY_BYTES, Agent
from tests.support.sshkeys import KINDS, pem, public_line

PASSPHRASE = "pl4nted-passphrase"


def public_lines(agent: Agent) -> list[bytes]:
    return [
        key.private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        for key in agent.keys
    ]


@pytest.fixture
def listening() -> Iterator[Path]:
    """The socket of somebody who takes connections and says nothing."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as server:
        path = Path(folder, "agent")
        server.bind(str(path))
        server.listen()
        yield path


# ------------------------------------------------------------------------------------ keys


@pytest.mark.parametrize(
    ("kind", "form"),
    [(kind, form) for kind in KINDS for form in ("openssh", "pkcs8", "traditional")
     if (kind, form) != ("ed25519", "traditional")],  # no such form
)  # fmt: skip
def test_keys_are_read_in_every_form_that_ssh_keygen_writes(
    tmp_path: Path, kind: str, form: str
) -> None:
    path = tmp_path / "id_key"
    path.write_bytes(pem(kind, form))
    assert public_lines(ssh.keys(path).check()) == [public_line(kind)]
    assert public_lines(ssh.keys(pem(kind, form)).check()) == [public_line(kind)]
    assert public_lines(ssh.keys(pem(kind, form).decode()).check()) == [public_line(kind)]


@pytest.mark.parametrize(
    ("kind", "form"),
    [("ed25519", "openssh"), ("ed25519", "pkcs8"), ("rsa", "traditional"), ("ecdsa-256", "pkcs8")],
)
def test_an_encrypted_key_wants_its_passphrase(kind: str, form: str) -> None:
    text = pem(kind, form, PASSPHRASE)
    assert public_lines(ssh.keys(text, passphrase=PASSPHRASE).check()) == [public_line(kind)]
    assert ssh.keys(text, passphrase=PASSPHRASE.encode()).check().keys
    with pytest.raises(UsageError, match="is encrypted") as caught:
        ssh.keys(text).check()
    assert "passphrase=" in caught.value.hint
    with pytest.raises(UsageError, match="passphrase is wrong") as caught:
        ssh.keys(text, passphrase="wrong-one").check()
    assert "wrong-one" not in str(caught.value)


def test_a_passphrase_is_only_for_those_that_need_it(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(pem("rsa"))
    agent = ssh.keys(
        tmp_path / "plain", pem("ed25519", "openssh", PASSPHRASE), passphrase=PASSPHRASE
    ).check()
    assert public_lines(agent) == [public_line("rsa"), public_line("ed25519")]
    assert [key.name for key in agent.keys] == ["plain", "key 2"]


def test_the_format_of_openssh_needs_a_package_to_be_decrypted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "bcrypt", None)
    agent = ssh.keys(pem("ed25519", "openssh", PASSPHRASE), passphrase=PASSPHRASE)
    with pytest.raises(MissingExtra, match="encrypted OpenSSH key"):
        ssh.check_all(agent)
    assert ssh.keys(pem("ed25519", "pkcs8", PASSPHRASE), passphrase=PASSPHRASE).check().keys


@pytest.mark.parametrize(
    ("text", "reason", "hint"),
    [
        pytest.param(b"hello", "no private key", "ssh-keygen", id="anything"),
        pytest.param(public_line("ed25519"), "no private key", "without .pub", id="a public key"),
        pytest.param(b"PuTTY-User-Key-File-3: x", "no private key", "puttygen", id="PuTTY"),
        pytest.param(pem("rsa")[:300], "damaged|no private key", "", id="cut off"),
        pytest.param(pem("rsa").replace(b"b3Blbn", b"AAAAAA"), "damaged", "all its lines", id="altered"),
        pytest.param(pem("rsa", "pkcs8").replace(b"MII", b"AAA"), "damaged", "all its lines", id="altered PEM"),
        pytest.param(pem("ecdsa-k1", "pkcs8"), "kind that cannot", "ed25519", id="another curve"),
        pytest.param(b"x" * (MAX_KEY_BYTES + 1), "longer than 100 KiB", "ssh-keygen", id="too long"),
    ],
)  # fmt: skip
def test_what_is_no_key_is_refused_without_being_shown(
    tmp_path: Path, text: bytes, reason: str, hint: str
) -> None:
    (tmp_path / "id_key").write_bytes(text)
    for given in (tmp_path / "id_key", text):
        with pytest.raises(UsageError, match=reason) as caught:
            ssh.check_all({"deploy": ssh.keys(given)})
        assert "'deploy'" in caught.value.message
        assert hint in caught.value.hint
        assert caught.value.hint
        assert text[60:90].decode("latin-1") not in str(caught.value) or len(text) < 60


def make_none(path: Path) -> None:
    """There is nothing."""


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        pytest.param(make_none, "no such file", id="missing"),
        pytest.param(Path.mkdir, "is a directory", id="a directory"),
        pytest.param(os.mkfifo, "not a regular file", id="a pipe is not waited for"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, make: Any, reason: str) -> None:
    make(tmp_path / "key")
    with pytest.raises(UsageError, match=reason) as caught:
        ssh.keys(tmp_path / "key").check()
    assert str(tmp_path / "key") in caught.value.message


def test_a_key_of_the_greatest_length_is_read() -> None:
    text = pem("ed25519")
    padded = b"\n" * (MAX_KEY_BYTES - len(text)) + text
    assert len(padded) == MAX_KEY_BYTES
    assert ssh.keys(padded).check().keys


# ---------------------------------------------------------------------------------- agents


def test_the_agent_of_this_user_is_looked_up_when_the_build_starts(
    listening: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = ssh.agent()
    monkeypatch.setenv("SSH_AUTH_SOCK", str(listening))
    ready = agent.check()
    assert ready.host_socket == listening
    monkeypatch.delenv("SSH_AUTH_SOCK")
    assert ready.check().host_socket == listening
    with pytest.raises(UsageError, match="SSH_AUTH_SOCK is not set"):
        agent.check()


def test_a_socket_is_found_from_where_it_was_named(
    listening: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(listening.parent)
    agent = ssh.agent("agent")
    monkeypatch.chdir("/")
    assert agent.check().host_socket == listening


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        pytest.param(make_none, "no such file", id="missing"),
        pytest.param(lambda p: p.write_text("x"), "it is no socket", id="a file"),
        pytest.param(lambda p: socket.socket(socket.AF_UNIX).bind(str(p)), "refused", id="nobody listens"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_an_agent_that_does_not_answer_is_refused(make: Any, reason: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "agent")
        make(path)
        with pytest.raises(UsageError, match=reason) as caught:
            ssh.check_all({"": ssh.agent(path)})
        assert str(path) in caught.value.message
        assert "'default'" in caught.value.message


def test_a_socket_path_that_is_too_long_is_refused(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 120)
    path.write_text("")
    path.unlink()
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"/proc/self/fd/{folder}/{path.name[:20]}")
            (tmp_path / path.name[:20]).rename(path)
            with pytest.raises(UsageError, match="too long"):
                ssh.agent(path).check()
    finally:
        os.close(folder)


def test_a_socket_is_no_key_and_says_so(listening: Path) -> None:
    with pytest.raises(UsageError, match="it is a socket") as caught:
        ssh.keys(listening).check()
    assert "ssh.agent(" in caught.value.hint


# --------------------------------------------------------------------------------- the rest


def test_one_agent_is_the_default_one() -> None:
    agent = ssh.keys(pem("ed25519"))
    assert list(ssh.check_all(agent)) == list(ssh.check_all({"": agent})) == ["default"]
    assert list(ssh.check_all({"b": agent, "a": agent})) == ["b", "a"]
    assert ssh.check_all(None) == ssh.check_all({}) == {}


@pytest.mark.parametrize(
    "call",
    [
        lambda: ssh.keys(),
        lambda: ssh.keys(""),
        lambda: ssh.keys(None),  # type: ignore[arg-type]
        lambda: ssh.keys("a\0b"),
        lambda: ssh.keys("a", passphrase=5),  # type: ignore[arg-type]
        lambda: ssh.agent(""),
        lambda: ssh.agent(b"/x"),  # type: ignore[arg-type]
        lambda: ssh.agent(5),  # type: ignore[arg-type]
        lambda: ssh.check_all("default"),  # type: ignore[arg-type]
        lambda: ssh.check_all([ssh.agent()]),  # type: ignore[arg-type]
        lambda: ssh.check_all({"a": "b"}),  # type: ignore[dict-item]
        lambda: ssh.check_all({1: ssh.agent()}),  # type: ignore[dict-item]
        lambda: ssh.check_all({"": ssh.keys(pem("ed25519")), "default": ssh.agent()}),
        pytest.param(lambda: ssh.agent("\ud800"), id="an agent at what is no path"),
        pytest.param(lambda: ssh.keys("\ud800"), id="a key at what is no path"),
    ],
)
def test_wrong_arguments_are_refused_with_what_to_write_instead(call: Any) -> None:
    with pytest.raises(UsageError) as caught:
        call()
    assert caught.value.hint


def test_no_key_and_no_passphrase_is_ever_shown(tmp_path: Path) -> None:
    (tmp_path / "id_key").write_bytes(pem("ed25519", "pkcs8", PASSPHRASE))
    unread = ssh.keys(tmp_path / "id_key", pem("rsa"), passphrase=PASSPHRASE)
    body = pem("rsa").decode().splitlines()[3]
    assert repr(unread) == "<ssh keys id_key, PEM text>"
    assert repr(unread.check()) == "<ssh keys id_key, key 2>"
    assert repr(unread.check().keys[0]) == "<ssh key 'id_key'>"
    assert repr(ssh.agent()) == "<ssh agent at '$SSH_AUTH_SOCK'>"
    assert repr(ssh.agent("/run/a")) == "<ssh agent at '/run/a'>"
    for one in (unread, unread.check()):
        assert PASSPHRASE not in f"{one} {one!r}"
        assert body not in f"{one} {one!r}"


def test_no_error_holds_a_key_or_a_passphrase() -> None:
    text = pem("rsa", "traditional", PASSPHRASE)
    for agent in (
        ssh.keys(text),
        ssh.keys(text, passphrase=f"{PASSPHRASE}x"),
        ssh.keys(text[:400] + text[500:], passphrase=PASSPHRASE),
    ):
        with pytest.raises(DepotlabError) as caught:
            ssh.check_all(agent)
        error: BaseException | None = caught.value
        while error is not None:
            assert PASSPHRASE not in f"{error!r}"
            assert text.decode().splitlines()[5] not in f"{error!r}"
            error = error.__cause__ or error.__context__


def test_agents_that_were_not_read_are_values() -> None:
    assert ssh.agent("/a") == ssh.agent("/a") != ssh.agent("/b")
    assert ssh.keys("/a", passphrase="x") == ssh.keys("/a", passphrase="x")
    for one in (ssh.agent(), ssh.keys("/a", passphrase="x")):
        assert pickle.loads(pickle.dumps(one)) == one
