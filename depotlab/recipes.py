"""Small steps that most images need, each a function for `state.pipe(...)`; a public room above `llb` and `mount`.

Every recipe takes its settings and returns a function from state to state, so that it also works with `map`,
`functools.reduce` and plain calls. Nothing runs; look at what one does with `.explain()` or `.graph()`.

    >>> from depotlab import llb, recipes
    >>> llb.image("python:3.12-slim").pipe(recipes.apt_install("git")).pipe(recipes.user("app"))
    State(image python:3.12-slim → apt install git → user app; 3 ops)
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable

from depotlab import llb, mount
from depotlab.errors import GraphError

__all__ = [
    "apt_install",
    "git_checkout",
    "npm_ci",
    "pip_install",
    "user",
    "uv_install",
    "uv_sync",
]

Recipe = Callable[[llb.State], llb.State]
GuestPath = str | os.PathLike[str]


def apt_install(*packages: str) -> Recipe:
    """Install Debian or Ubuntu packages, without those that are only recommended.

    Package files and lists stay in cache mounts, so none of them is in the image, and the next build
    does not download them again. dpkg allows one process at a time, hence `locked`.

    Args:
        packages: Names, or `name=version`. Their order does not matter.

    Example:
        >>> from depotlab import llb, recipes
        >>> llb.image("debian:12").pipe(recipes.apt_install("git", "curl"))
        Exec(image debian:12 → apt install curl git; 2 ops)
    """
    names = _words("apt_install", sorted(set(packages)))
    # Debian's images delete package files after every install; that would empty the cache.
    script = (
        "rm -f /etc/apt/apt.conf.d/docker-clean && apt-get update && "
        f"apt-get install -y --no-install-recommends {names}"
    )
    mounts = [
        mount.cache(path, sharing="locked") for path in ("/var/cache/apt", "/var/lib/apt/lists")
    ]
    variables = {"DEBIAN_FRONTEND": "noninteractive"}
    return lambda state: state.run(
        script, env=variables, mounts=mounts, user="root", name=f"apt install {names}"
    )


def pip_install(*packages: str, requirements: GuestPath | None = None) -> Recipe:
    """Install Python packages with pip, whose downloads stay in a cache mount.

    Args:
        packages: As pip takes them: `requests`, `django==5.2`, `.`; also options such as `--pre`.
        requirements: A requirements file in the state, such as `requirements.txt`.

    Example:
        >>> from depotlab import llb, recipes
        >>> llb.image("python:3.12-slim").pipe(recipes.pip_install("requests"))
        Exec(image python:3.12-slim → pip install requests; 2 ops)
    """
    given = [*packages, *(() if requirements is None else ("-r", os.fspath(requirements)))]
    words = _words("pip_install", given)
    script = f"python -m pip install --disable-pip-version-check {words}"
    caches = [mount.cache("/var/cache/pip")]
    return lambda state: state.run(
        script, env={"PIP_CACHE_DIR": "/var/cache/pip"}, mounts=caches, name=f"pip install {words}"
    )


def uv_install(*packages: str, requirements: GuestPath | None = None) -> Recipe:
    """Install Python packages into the system's Python with uv, whose downloads stay in a cache mount.

    The image must have uv; `.copy(llb.image("ghcr.io/astral-sh/uv"), "/uv", "/bin/")` brings it.

    Args:
        packages: As `uv pip install` takes them.
        requirements: A requirements file in the state.

    Example:
        >>> from depotlab import llb, recipes
        >>> llb.image("python:3.12-slim").pipe(recipes.uv_install(requirements="requirements.txt"))
        Exec(image python:3.12-slim → uv pip install -r requirements.txt; 2 ops)
    """
    given = [*packages, *(() if requirements is None else ("-r", os.fspath(requirements)))]
    words = _words("uv_install", given)
    return _uv(f"uv pip install --system {words}", f"uv pip install {words}")


def uv_sync(source: llb.State, *options: str) -> Recipe:
    """Install what `uv.lock` says into `.venv` of the working directory, before the code comes.

    `pyproject.toml` and `uv.lock` are mounted from `source`, not copied: a change in other files runs nothing again.

    Args:
        source: The project, such as `llb.local(".", include=["pyproject.toml", "uv.lock"])`.
        options: Further ones for `uv sync`, such as `--no-dev`.

    Example:
        >>> from depotlab import llb, recipes
        >>> project = llb.local(".", include=["pyproject.toml", "uv.lock"])
        >>> llb.image("ghcr.io/astral-sh/uv:debian").dir("/app").pipe(recipes.uv_sync(project))
        Exec(image ghcr.io/astral-sh/uv:debian → uv sync; 3 ops)
    """
    words = shlex.join(["--locked", "--no-install-project", *options])
    script = f"cp /run/project/pyproject.toml /run/project/uv.lock . && uv sync {words}"
    return _uv(script, "uv sync", mount.bind("/run/project", source))


def _uv(script: str, name: str, *mounts: llb.Mount) -> Recipe:
    # Links into a cache mount would be broken in the image, so files are copied.
    variables = {"UV_CACHE_DIR": "/var/cache/uv", "UV_LINK_MODE": "copy"}
    caches = [mount.cache("/var/cache/uv"), *mounts]
    return lambda state: state.run(script, env=variables, mounts=caches, name=name)


def npm_ci(source: llb.State, *options: str) -> Recipe:
    """Install what `package-lock.json` says into `node_modules` of the working directory, before the code comes.

    Args:
        source: The project; only `package.json` and `package-lock.json` are copied from it.
        options: Further ones for `npm ci`, such as `--omit=dev`.

    Example:
        >>> from depotlab import llb, recipes
        >>> web = llb.image("node:24-slim").dir("/web").pipe(recipes.npm_ci(llb.local("web")))
        >>> web
        Exec(image node:24-slim → copy /package.json /web/, copy /package-lock.js… → npm ci; 4 ops)
    """
    script = shlex.join(["npm", "ci", "--no-audit", "--no-fund", *options])
    caches = [mount.cache("/var/cache/npm")]
    return lambda state: state.copy(source, "package.json", "package-lock.json", "./").run(
        script, env={"NPM_CONFIG_CACHE": "/var/cache/npm"}, mounts=caches, name="npm ci"
    )


def git_checkout(url: str, ref: str = "", *, to: GuestPath = ".", subdir: str = "") -> Recipe:
    """Copy the files of a Git repository into the state, without a git program and without `.git`.

    Args:
        url: `https://…`, `ssh://…` or `git@host:path`.
        ref: A branch, tag or commit; the default branch if empty. A commit makes the build repeatable.
        to: The directory it comes into, made if missing; the working directory if not given.
        subdir: Take only this directory of the repository.

    Example:
        >>> from depotlab import llb, recipes
        >>> llb.scratch().pipe(recipes.git_checkout("https://github.com/moby/buildkit", "v0.32.2", to="/src"))
        State(scratch → copy / /src; 2 ops)
    """
    repository = llb.git(url, ref=ref, subdir=subdir)
    return lambda state: state.copy(repository, "/", to)


def user(name: str, *, uid: int = 1000, home: GuestPath | None = None) -> Recipe:
    """Make a user without rights, give it a home directory, and run later steps and the container as it.

    Writes `/etc/passwd` and `/etc/group` by itself, since Alpine and Debian have different programs for it.

    Args:
        name: Lower-case letters, digits, `-` and `_`.
        uid: Its number, and that of its group. Must be free.
        home: `/home/NAME` if not given.

    Raises:
        GraphError: `name` is no name of a user.

    Example:
        >>> from depotlab import llb, recipes
        >>> llb.image("busybox").pipe(recipes.user("app")).image_config().user
        'app'
    """
    if not name.replace("-", "").replace("_", "").isalnum() or name.lower() != name:
        raise GraphError(f"user(): {name!r} is no name for a user.", hint="such as 'app'")
    place = f"/home/{name}" if home is None else os.fspath(home)
    script = (
        f"echo {shlex.quote(f'{name}:x:{uid}:{uid}::{place}:/bin/sh')} >> /etc/passwd && "
        f"echo '{name}:x:{uid}:' >> /etc/group && "
        f"mkdir -p {shlex.quote(place)} && chown {uid}:{uid} {shlex.quote(place)}"
    )
    return lambda state: state.run(script, user="root", name=f"user {name}").user(name)


def _words(recipe: str, given: Iterable[str]) -> str:
    words = shlex.join(given)
    if not words:
        raise GraphError(f"{recipe}() installs nothing.", hint=f"write {recipe}('a-package')")
    return words


def __dir__() -> list[str]:
    return sorted(__all__)
