from __future__ import annotations

import pickle

import pytest

from depotlab._session import Credentials
from depotlab._session.credentials import HUB_KEY, config_key, host_of


def test_no_secret_is_ever_shown() -> None:
    secrets = "pass-1", "identity-2", "registry-3"
    credentials = Credentials("me", *secrets)
    for text in (repr(credentials), str(credentials), f"{credentials}", f"{[credentials]}"):
        assert "me" in text
        assert not any(secret in text for secret in secrets)
    assert "password=•••" in repr(Credentials("me", "x"))


def test_an_identity_token_is_used_without_a_user_name() -> None:
    assert Credentials("me", "pw").login == ("me", "pw")
    assert Credentials("me", "pw", identity_token="t").login == ("", "t")


def test_credentials_survive_pickling_and_compare_by_value() -> None:
    assert pickle.loads(pickle.dumps(Credentials("me", "pw"))) == Credentials("me", "pw")


@pytest.mark.parametrize(
    ("credentials", "anonymous"),
    [
        (Credentials(), True),
        (Credentials("me"), True),
        (Credentials("me", "pw"), False),
        (Credentials(registry_token="t"), False),
    ],
)
def test_what_opens_nothing_is_anonymous(credentials: Credentials, anonymous: bool) -> None:
    assert credentials.anonymous is anonymous


@pytest.mark.parametrize("name", ["docker.io", "index.docker.io", "registry-1.docker.io", HUB_KEY])
def test_docker_hub_has_one_key_by_all_its_names(name: str) -> None:
    assert config_key(name) == HUB_KEY


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("ghcr.io", "ghcr.io"),
        ("https://ghcr.io/v2/", "ghcr.io"),
        ("http://localhost:5000", "localhost:5000"),
        ("localhost:5000/path", "localhost:5000"),
        ("https://user@example.com/x", "example.com"),
    ],
)
def test_registries_are_told_apart_by_host_and_port(address: str, host: str) -> None:
    assert host_of(address) == host
    assert config_key(address) == host
