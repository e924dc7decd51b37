"""What `git()` names is what a real daemon fetches."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import depotlab as dl
from depotlab.service import GitContext
from depotlab.service._asking.git import git, git_url

ODD = "fix/a+b@c=d,e"


@pytest.fixture
def repository(tmp_path: Path, http_folder: Any) -> tuple[str, str]:
    """A host, and the commit of `main`; branches say their names in `app/here`."""
    program = shutil.which("git")
    assert program, "git is needed to make the repository"
    work = tmp_path / "work"
    (work / "app").mkdir(parents=True)
    (work / "app" / "Dockerfile").write_text("FROM busybox\nCOPY here /here\nRUN cat /here\n")

    def run(*args: str, cwd: Path = work) -> str:
        named = ("-c", "user.name=t", "-c", "user.email=t@t.invalid")
        done = subprocess.run(
            [program, *named, *args], cwd=cwd, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    run("init", "-q", "-b", "main")
    commits = []
    for said in ("main", "proposed", "odd"):
        (work / "app" / "here").write_text(f"{said}\n")
        run("add", "-A")
        run("commit", "-q", "-m", said)
        commits.append(run("rev-parse", "HEAD"))
    run("branch", ODD)
    run("reset", "-q", "--hard", commits[0])
    bare = http_folder.path / "acme" / "shop.git"
    bare.parent.mkdir()
    run("clone", "-q", "--bare", str(work), str(bare), cwd=tmp_path)
    run("fetch", "-q", str(work), commits[1], cwd=bare)
    run("update-ref", "refs/pull/7/head", commits[1], cwd=bare)
    run("update-server-info", cwd=bare)
    return http_folder.url.removeprefix("http://"), commits[0]


def test_a_daemon_fetches_what_is_named(bk: dl.Client, repository: tuple[str, str]) -> None:
    host, commit = repository

    def said(context: GitContext) -> str:
        return bk.build(dl.dockerfile(git_url(context)), no_cache=True).logs("RUN cat /here")

    assert said(git(host, "acme", "shop", "main", subdir="app")) == "main"
    assert said(git(host, "acme", "shop", commit, subdir="app")) == "main"
    assert said(git(host, "acme", "shop", pull_request=7, subdir="app")) == "proposed"
    assert said(git(host, "acme", "shop", ODD, subdir="app")) == "odd"
    assert said(git(f"http://{host}/acme/shop", subdir="app")) == "main"
