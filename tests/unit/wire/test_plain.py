"""What is shown of the wire has no credential in it, wherever one can stand."""

from __future__ import annotations

import json

import pytest

from depotlab._proto import control_pb2, gateway_pb2
from depotlab._wire.plain import is_secret_name, message_text, plain

PLANTED = "hunter2hunter2"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:hunter2@example.com/x.git#main", "https://•••@example.com/x.git#main"),
        ("https://ghp_0123456789abcdefghij@github.com/a/b", "https://•••@github.com/a/b"),
        ("clone git+https://x:y@h/p and http://a:b@c", "clone git+https://•••@h/p and http://•••@c"),
        ("https://h/p?X-Amz-Signature=abc&v=1", "https://h/p?X-Amz-Signature=•••&v=1"),
        ("ssh://git@github.com/a/b", "ssh://git@github.com/a/b"),
        ("docker-image://busybox:1.36@sha256:ab", "docker-image://busybox:1.36@sha256:ab"),
        ("oci-layout://a-long-name-of-a-store@sha256:ab", "oci-layout://a-long-name-of-a-store@sha256:ab"),
        ("two\nlines\tand tabs", "two lines and tabs"),
    ],
)  # fmt: skip
def test_addresses_lose_their_logins_and_nothing_else(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_long_texts_are_cut() -> None:
    assert len(plain("x" * 10_000)) == 200
    assert plain("x" * 10_000, 50).endswith("…")


@pytest.mark.parametrize(
    "name",
    [
        "access_key_id",
        "secret_access_key",
        "session_token",
        "build-arg:NPM_TOKEN",
        "build-arg:DB_PASSWORD",
        "authorization",
        "account_key",
        "build-arg:AWS_SECRET",
    ],
)
def test_names_of_credentials_are_known(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["contextkey", "dockerfilekey", "build-arg:VERSION", "filename", "target", "platform"]
)
def test_other_names_are_shown(name: str) -> None:
    assert not is_secret_name(name)


def test_the_request_of_a_build_is_shown_without_its_credentials() -> None:
    request = control_pb2.SolveRequest(
        Ref="abc",
        Frontend="dockerfile.v0",
        FrontendAttrs={
            "target": "app",
            "context": f"https://me:{PLANTED}@example.com/repo.git",
            "build-arg:NPM_TOKEN": PLANTED,
            "build-arg:VERSION": "1.2",
            "cache-imports": json.dumps([{"Type": "s3", "Attrs": {"secret_access_key": PLANTED}}]),
        },
    )
    request.Cache.Exports.add(Type="s3", Attrs={"bucket": "b", "secret_access_key": PLANTED})
    request.Exporters.add(Type="image", Attrs={"name": "app:1", "registry.token": PLANTED})
    text = message_text(request, 2000)
    assert PLANTED not in text
    for said in (
        '"dockerfile.v0"',
        'target: "app"',
        'build-arg:VERSION: "1.2"',
        "build-arg:NPM_TOKEN: •••",
        'bucket: "b"',
        'name: "app:1"',
        'context: "https://•••@example.com/repo.git"',
    ):
        assert said in text


def test_variables_of_a_process_are_hidden_by_their_names() -> None:
    message = gateway_pb2.ExecMessage(ProcessID="p")
    message.Init.Meta.args.extend(["sh", "-c", "make"])
    message.Init.Meta.env.extend([f"GITHUB_TOKEN={PLANTED}", "HOME=/home/me"])
    text = message_text(message, 2000)
    assert PLANTED not in text
    assert '"HOME=/home/me"' in text
    assert '"make"' in text


def test_bytes_are_only_counted() -> None:
    log = control_pb2.StatusResponse()
    log.logs.add(vertex="sha256:ab", msg=PLANTED.encode())
    assert PLANTED not in message_text(log, 2000)
    assert "msg: <14 B>" in message_text(log, 2000)


def test_long_lists_are_cut() -> None:
    status = control_pb2.StatusResponse()
    for number in range(30):
        status.vertexes.add(digest=f"sha256:{number}")
    assert "… 20 more" in message_text(status, 5000)


@pytest.mark.parametrize("seed", range(20))
def test_no_message_shows_the_value_of_an_attribute_that_is_a_credential(seed: int) -> None:
    names = ["token", "my_secret", "PASSWORD", "x-auth", "apikey"]
    name = f"{'abc'[seed % 3]}-{names[seed % len(names)]}"
    request = gateway_pb2.SolveRequest(
        FrontendOpt={name: PLANTED, "z": json.dumps({name: PLANTED})}
    )
    request.CacheImports.add(Type="x", Attrs={name: PLANTED})
    assert PLANTED not in message_text(request, 2000)
