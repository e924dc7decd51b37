"""Recipes on a real engine. Package managers are stand-ins that write down how they were called; the rest is real."""

from __future__ import annotations

import functools
import http.server
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import depotlab as dl
from depotlab import llb, recipes

STAND_IN = r"""#!/bin/sh
{
  echo "$(basename "$0") $*"
  env | grep -E '^(DEBIAN_FRONTEND|PIP_|UV_|NPM_)' | sort
  echo "in $PWD: $(ls | tr '\n' ' ')"
  for place in /var/cache/apt /var/lib/apt/lists /var/cache/pip /var/cache/uv /var/cache/npm; do
    if grep -q " $place " /proc/mounts; then
      echo "$place is mounted and holds: $(ls $place | tr '\n' ' ')"
      touch "$place/$(basename "$0")-was-here"
    fi
  done
} >> /called
"""


def base() -> llb.State:
    """An image whose steps are not in the cache. (With `no_cache` cache mounts start empty as well.)"""
    programs = [
        llb.mkfile(f"/bin/{name}", STAND_IN, 0o755) for name in ("apt-get", "python", "uv", "npm")
    ]
    return llb.image("busybox").file(*programs).mkfile("/when", str(time.time_ns())).dir("/app")


def called(bk: dl.Client, state: llb.State) -> list[str]:
    """Build, and return what the stand-ins wrote, as the log of one more step."""
    result = bk.build(state.run("cat /called", name="show"), progress="quiet")
    return result.logs("show").splitlines()


def test_apt_install_runs_as_root_with_its_caches(bk: dl.Client) -> None:
    lines = called(bk, base().user("nobody").pipe(recipes.apt_install("git", "curl")).user("root"))
    assert lines[0] == "apt-get update"
    assert "apt-get install -y --no-install-recommends curl git" in lines
    assert "DEBIAN_FRONTEND=noninteractive" in lines
    assert any(line.startswith("/var/lib/apt/lists is mounted") for line in lines)


def test_a_second_build_finds_what_the_first_left_in_the_cache(bk: dl.Client) -> None:
    install = recipes.pip_install("requests")
    called(bk, base().pipe(install))
    again = called(bk, base().pipe(install))
    assert again[0] == "python -m pip install --disable-pip-version-check requests"
    assert "PIP_CACHE_DIR=/var/cache/pip" in again
    assert any("python-was-here" in line for line in again), again


def test_uv_sync_sees_the_project_without_copying_the_rest(bk: dl.Client, tmp_path: Path) -> None:
    for name in ("pyproject.toml", "uv.lock", "main.py"):
        (tmp_path / name).write_text(name)
    project = llb.local(tmp_path, include=["pyproject.toml", "uv.lock"])
    lines = called(bk, base().pipe(recipes.uv_sync(project, "--no-dev")))
    assert lines[0] == "uv sync --locked --no-install-project --no-dev"
    assert "UV_LINK_MODE=copy" in lines
    assert "in /app: pyproject.toml uv.lock" in [line.rstrip() for line in lines]


def test_npm_ci_has_only_the_two_package_files(bk: dl.Client, tmp_path: Path) -> None:
    for name in ("package.json", "package-lock.json", "index.js"):
        (tmp_path / name).write_text("{}")
    lines = called(bk, base().pipe(recipes.npm_ci(llb.local(tmp_path), "--omit=dev")))
    assert lines[0] == "npm ci --no-audit --no-fund --omit=dev"
    assert "in /app: package-lock.json package.json" in [line.rstrip() for line in lines]


def test_a_user_has_a_home_it_may_write_to(bk: dl.Client) -> None:
    script = 'test "$(id -un):$(id -g)" = app:1000 && touch /home/app/mine && ! touch /root/x'
    graph = llb.image("busybox").pipe(recipes.user("app")).run(f"({script}) 2>/dev/null")
    assert bk.build(graph, progress="quiet").steps


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[str]:
    """A git repository on a loopback HTTP server, as a URL."""
    work, bare = tmp_path / "work", tmp_path / "srv" / "code.git"
    git = ["git", "-c", "user.name=T", "-c", "user.email=t@example.com"]
    (work / "lib").mkdir(parents=True)
    (work / "lib" / "a.txt").write_text("from git\n")
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *words], cwd=work, check=True)
    subprocess.run(["git", "clone", "-q", "--bare", str(work), str(bare)], check=True)
    subprocess.run(["git", "update-server-info"], cwd=bare, check=True)
    handler = functools.partial(Silent, directory=str(tmp_path / "srv"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, name="git over http")
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/code.git"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_git_checkout_brings_files_and_no_git_directory(bk: dl.Client, repository: str) -> None:
    checkout = recipes.git_checkout(repository, "main", to="/src")
    graph = llb.image("busybox").pipe(checkout)
    result = bk.build(graph.run("cat /src/lib/a.txt; ls -a /src", name="show"), progress="quiet")
    assert result.logs("show").split() == ["from", "git", ".", "..", "lib"]
