"""Recipes: what the steps are that they make. Nothing runs here."""

from __future__ import annotations

import doctest
from collections.abc import Callable

import pytest

from depotlab import llb, recipes
from depotlab.errors import GraphError
from depotlab.llb import State

BASE = llb.image("debian:12")
PROJECT = llb.local(".", name="project")


def fields(state: State) -> dict[str, str]:
    from depotlab.llb._fields import op_fields

    return op_fields(state.marshal("linux/amd64", local_unique_id="").ops[-2].data)


def test_the_examples_run() -> None:
    result = doctest.testmod(recipes)
    assert result.failed == 0
    assert result.attempted > 10


def test_every_recipe_is_listed_described_and_shows_an_example() -> None:
    for name in recipes.__all__:
        assert ">>> " in (getattr(recipes, name).__doc__ or ""), name


def test_apt_asks_nothing_and_keeps_its_files_out_of_the_image() -> None:
    found = fields(BASE.user("app").pipe(recipes.apt_install("git", "curl", "git")))
    assert found["command"].endswith("apt-get install -y --no-install-recommends curl git")
    assert found["env DEBIAN_FRONTEND"] == "noninteractive"
    assert found["mount /var/cache/apt"] == found["mount /var/lib/apt/lists"] == "cache locked"
    assert found["user"] == "root"


def test_the_order_of_apt_packages_does_not_matter() -> None:
    one, other = recipes.apt_install("a", "b"), recipes.apt_install("b", "a")
    assert BASE.pipe(one).digest == BASE.pipe(other).digest


def test_settings_of_a_recipe_do_not_stay_on_the_state() -> None:
    after = fields(BASE.user("app").pipe(recipes.apt_install("git")).run("x"))
    assert after["user"] == "app"
    assert "env DEBIAN_FRONTEND" not in after


@pytest.mark.parametrize(
    ("recipe", "command", "cache"),
    [
        (recipes.pip_install, "install --disable-pip-version-check 'a>=1' -r r.txt", "pip"),
        (recipes.uv_install, "uv pip install --system 'a>=1' -r r.txt", "uv"),
    ],
)
def test_python_packages_are_quoted_and_cached(
    recipe: Callable[..., recipes.Recipe], command: str, cache: str
) -> None:
    found = fields(BASE.pipe(recipe("a>=1", requirements="r.txt")))
    assert found["command"].endswith(command)
    assert found[f"mount /var/cache/{cache}"] == "cache"
    assert f"/var/cache/{cache}" in (found.get("env PIP_CACHE_DIR"), found.get("env UV_CACHE_DIR"))


def test_uv_sync_mounts_the_project_and_copies_nothing_else() -> None:
    state = BASE.dir("/app").pipe(recipes.uv_sync(PROJECT, "--no-dev"))
    found = fields(state)
    assert found["mount /run/project"] == "bind read-only"
    assert found["command"].endswith("uv sync --locked --no-install-project --no-dev")
    assert found["dir"] == "/app"


def test_npm_ci_copies_the_package_files_first() -> None:
    ops = BASE.dir("/web").pipe(recipes.npm_ci(PROJECT, "--omit=dev")).marshal().ops
    assert ops[-3].name == "copy /package.json /web/, copy /package-lock.json /web/"
    assert ops[-2].name == "npm ci"


def test_git_checkout_copies_the_repository() -> None:
    state = BASE.pipe(recipes.git_checkout("https://github.com/a/b", "v1", to="/src", subdir="c"))
    assert state.marshal().ops[1].name == "git://github.com/a/b#v1:c"
    assert fields(state)["action"].startswith("copy / /src")


def test_user_is_made_by_root_and_then_used() -> None:
    state = BASE.pipe(recipes.user("app", uid=1234))
    made = fields(state)
    assert made["user"] == "root"
    assert "app:x:1234:1234::/home/app:/bin/sh" in made["command"]
    assert fields(state.run("id"))["user"] == "app"
    assert state.image_config().user == "app"


@pytest.mark.parametrize("name", ["", "App", "a b", "a;b"])
def test_a_name_that_no_system_takes_is_refused(name: str) -> None:
    with pytest.raises(GraphError, match="no name for a user"):
        recipes.user(name)


@pytest.mark.parametrize("recipe", [recipes.apt_install, recipes.pip_install, recipes.uv_install])
def test_to_install_nothing_is_refused(recipe: Callable[..., recipes.Recipe]) -> None:
    with pytest.raises(GraphError, match="installs nothing"):
        recipe()
