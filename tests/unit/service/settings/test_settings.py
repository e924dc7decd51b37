"""The settings of Depot and of a registry: wrong ones are refused where they are written, secrets never show."""

from __future__ import annotations

import pytest

from depotlab.errors import ServiceError, UsageError
from depotlab.service._settings.depot import Depot
from depotlab.service._settings.registry import Registry, image_tag

SECRET = "planted-secret-0123456789"


def test_neither_shows_its_secret() -> None:
    values = [
        Depot(token=SECRET),
        Depot(logins={"docker.io": ("me", SECRET)}),
        Registry("ghcr.io/acme/apps", user="acme", password=SECRET),
    ]
    for value in values:
        assert SECRET not in repr(value) + value._repr_html_() + str(value)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        pytest.param({"token": ""}, "token", id="an empty token"),
        pytest.param({"token": 5}, "token", id="a number as token"),
        pytest.param({"local": 1.5}, "local", id="a number as folder"),
        pytest.param(
            {"local": True, "token": SECRET}, "local", id="a token for a Depot that has one"
        ),
        pytest.param({"region": ""}, "region", id="no region"),
        pytest.param({"cache_gb": -1}, "cache_gb", id="a cache below zero"),
        pytest.param({"cache_days": 1.5}, "cache_days", id="half a day"),
        pytest.param({"name_prefix": "a b"}, "name_prefix", id="a prefix with a space"),
        pytest.param({"machine_timeout_s": 0}, "machine_timeout_s", id="no time"),
        pytest.param({"logins": {"docker.io": SECRET}}, "logins", id="a login that is no pair"),
        pytest.param({"logins": [("docker.io", SECRET)]}, "logins", id="logins without hosts"),
        pytest.param({"machine_timeout_s": True}, "machine_timeout_s", id="a flag as time"),
    ],
)
def test_a_wrong_setting_of_depot_is_named(wrong, named: str) -> None:
    with pytest.raises(UsageError, match=named) as caught:
        Depot(**wrong)
    assert caught.value.hint
    assert SECRET not in str(caught.value)


def test_a_project_at_depot_is_named_after_the_customers() -> None:
    assert Depot().project_name("shop") == "depotlab-shop"


@pytest.mark.parametrize(
    "repository",
    [
        pytest.param("apps", id="no host"),
        pytest.param("acme/apps", id="a user of a hub that is not named"),
        pytest.param("ghcr.io/Acme/apps", id="capitals"),
        pytest.param("ghcr.io/acme/apps:v1", id="a tag"),
        pytest.param(f"ghcr.io/acme/apps@sha256:{'0' * 64}", id="a digest"),
        pytest.param("", id="nothing"),
        pytest.param(None, id="no text"),
    ],
)
def test_what_is_no_repository_is_refused(repository) -> None:
    with pytest.raises(UsageError, match="Registry"):
        Registry(repository)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"user": "acme"}, id="a user alone"),
        pytest.param({"password": SECRET}, id="a password alone"),
        pytest.param({"insecure": True}, id="insecure over the network"),
    ],
)
def test_a_login_goes_over_tls_and_is_whole(wrong) -> None:
    with pytest.raises(UsageError) as caught:
        Registry("ghcr.io/acme/apps", **wrong)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("host", ["localhost:5000", "127.0.0.1:5000", "localhost", "[::1]:5000"])
def test_a_registry_of_this_computer_may_be_insecure(host: str) -> None:
    assert Registry(f"{host}/apps", insecure=True).host == host


def test_images_are_tagged_with_project_and_deployment() -> None:
    registry = Registry("localhost:5000/apps", user="u", password=SECRET)
    assert registry.image("shop", "d1") == "localhost:5000/apps:shop-d1"
    assert registry.auth()["localhost:5000"].password == SECRET
    assert Registry("ghcr.io/acme/{project}").image("shop", "d1") == "ghcr.io/acme/shop:shop-d1"


def test_a_registry_without_a_login_has_none() -> None:
    assert Registry("ghcr.io/acme/apps").auth() == {}


@pytest.mark.parametrize(
    ("project", "deployment"),
    [("a/b", "d"), ("-a", "d"), ("a", "d:e"), ("a" * 100, "d" * 60), ("", "")],
    ids=["a slash", "a dash in front", "a colon", "too long", "nothing"],
)
def test_names_that_make_no_tag_are_refused(project: str, deployment: str) -> None:
    with pytest.raises(ServiceError, match="project="):
        image_tag(project, deployment)


def test_a_project_that_names_no_repository_is_refused() -> None:
    with pytest.raises(ServiceError, match="repository"):
        Registry("ghcr.io/acme/{project}").image("Shop", "d1")
