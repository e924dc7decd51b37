"""From an order to what BuildKit is asked."""

from __future__ import annotations

from depotlab._depot import DepotBuild, ImageTag
from depotlab._session import Credentials
from depotlab._verbs.dockerfile import DockerfileRequest, dockerfile_request
from depotlab.frontend import Dockerfile
from depotlab.service._boundary import GitContext, Order, UploadedContext
from depotlab.service._run.buildrequest import (
    Given,
    build_request,
    image_of,
    options_of,
    saved_at_depot,
)
from depotlab.service._settings.depot import Depot
from depotlab.service._settings.registry import Registry

SIGNATURE = "planted0signature0of0an0address"
URL = f"http://store:9000/shop/1.tar.gz?X-Amz-Signature={SIGNATURE}"
REGISTRY = Registry("ghcr.io/acme/apps", user="me", password="planted-password")


def order(**more) -> Order:
    given = {
        "build_id": "b1",
        "project": "shop",
        "deployment": "d1",
        "context": UploadedContext("shop/1.tar.gz"),
    }
    return Order(**(given | more))


def asked(given: Given | None = None, registry: Registry | None = REGISTRY, **more):
    return build_request(order(**more), given or Given(URL), registry, timeout_s=60)


def sent(request) -> DockerfileRequest:
    assert isinstance(request.target, Dockerfile)
    return dockerfile_request(request.target, request)


def test_an_archive_is_fetched_and_unpacked_under_names_without_its_address() -> None:
    found = sent(asked())
    assert found.inputs["dockerfile"] == found.inputs["context"]
    assert SIGNATURE.encode() in found.inputs["context"]  # the daemon has to know
    assert b"[internal] load uploaded context" in found.inputs["context"]
    assert SIGNATURE not in f"{found.attrs}{found!r}"
    assert SIGNATURE not in repr(asked()) + asked().title


def test_an_archive_that_may_be_replaced_has_to_be_the_one_that_was_looked_at() -> None:
    digest = f"sha256:{'0' * 64}"
    field = b"\rhttp.checksum"  # with its length
    pinned = sent(asked(Given(URL, digest))).inputs["context"]
    assert field in pinned
    assert digest.encode() in pinned
    assert field not in sent(asked()).inputs["context"]


def test_what_the_order_says_is_what_the_frontend_is_told() -> None:
    request = asked(
        dockerfile_path="deploy/Dockerfile",
        target="web",
        platform="linux/arm64",
        args={"VERSION": "1"},
        labels={"of": "shop"},
    )
    assert sent(request).attrs == {
        "filename": "deploy/Dockerfile",
        "target": "web",
        "platform": "linux/arm64",
        "build-arg:VERSION": "1",
        "label:of": "shop",
    }
    assert request.timeout_s == 60


def test_the_image_is_pushed_with_oci_media_types_and_the_login_of_its_registry_alone() -> None:
    request = asked()
    (output,) = request.outputs
    assert output.attrs["name"] == "ghcr.io/acme/apps:shop-d1"
    assert output.attrs["push"] == output.attrs["oci-mediatypes"] == "true"
    assert "registry.insecure" not in output.attrs
    assert {host: one.password for host, one in request.auth.items()} == {
        "ghcr.io": "planted-password"
    }
    assert not request.finds_logins
    assert request.allow == ()
    assert "planted-password" not in repr(request)


def test_logins_for_base_images_go_along_and_that_of_the_registry_wins() -> None:
    depot = Depot(logins={"docker.io": ("hub", "planted-hub"), "ghcr.io": ("other", "planted")})
    request = asked(Given(URL, logins=depot.auth()))
    assert {host: one.username for host, one in request.auth.items()} == {
        "docker.io": "hub",
        "ghcr.io": "me",
    }


def test_a_registry_of_this_computer_may_be_pushed_to_over_http() -> None:
    (output,) = asked(registry=Registry("localhost:5000/apps", insecure=True)).outputs
    assert output.attrs["registry.insecure"] == "true"


def test_depot_is_told_where_the_image_goes() -> None:
    options = options_of(order(target="web"), asked(target="web"))
    assert (options.tags, options.push) == (("ghcr.io/acme/apps:shop-d1",), True)
    assert (options.target_name, options.save, options.save_tags) == ("web", False, ())


class _Build(DepotBuild):
    """A build that Depot has registered, as far as its tags are asked for."""

    def __init__(self) -> None:
        self.is_new = True
        self.id = "b123456789"
        self.credentials = {"reg.test": Credentials("x-token", "planted-build-token")}
        tags = ("reg.test/p1:b123456789", "reg.test/p1:shop-d1")
        self.additional_tags = tuple(ImageTag(name) for name in tags)


def test_without_a_registry_depot_keeps_the_image_and_gives_the_login() -> None:
    request = asked(registry=None)
    assert request.outputs == ()
    options = options_of(order(), request)
    assert (options.save, options.save_tags, options.push) == (True, ("shop-d1",), False)
    request = saved_at_depot(order(), request, _Build())
    assert image_of(request.outputs) == "reg.test/p1:shop-d1"
    assert request.outputs[0].names == ("reg.test/p1:shop-d1", "reg.test/p1:b123456789")
    assert request.auth["reg.test"].password == "planted-build-token"


def test_the_environment_is_a_secret_under_two_names() -> None:
    given = Given(URL, env=b"A=1\n", env_hash="0123")
    request = asked(given, args={"ENV_HASH": "mine", "B": "2"})
    assert {name: one.read() for name, one in request.secrets.items()} == {
        "env": b"A=1\n",
        "env-0123": b"A=1\n",
    }
    attrs = sent(request).attrs
    assert (attrs["build-arg:ENV_HASH"], attrs["build-arg:B"]) == ("0123", "2")
    assert "A=1" not in str(attrs)


def test_a_commit_is_named_and_its_token_is_for_its_host() -> None:
    context = GitContext("git.example.com:8443", "acme/web", "shop", "main", "api")
    request = asked(Given(git_token="planted-git-token"), context=context)
    found = sent(request)
    assert found.attrs["context"] == "https://git.example.com:8443/acme/web/shop.git#main:api"
    assert [*request.secrets] == ["GIT_AUTH_TOKEN.git.example.com:8443"]
    assert "planted-git-token" not in f"{found.attrs}{request!r}"


def test_a_commit_without_a_token_has_no_secret() -> None:
    context = GitContext("github.com", "acme", "shop", "main", is_public=True)
    assert asked(Given(), context=context).secrets == {}
