"""What arrives of a directory is what arrives when `buildctl` sends it.

The daemon knows content by its checksum, over names, kinds, permissions, links and bytes. So if a step that copies
a directory ran for `buildctl`, it comes from the cache for us exactly if the same arrived.
"""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from depotlab._local import install
from depotlab.frontend import dockerfile
from tests.support import treecases
from tests.support.dockerfiles import build


@pytest.fixture(autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


def buildctl(address: str, root: Path, definition: Path) -> None:
    done = subprocess.run(
        [
            str(install().buildctl.host_path), "--addr", address, "build", "--frontend", "dockerfile.v0",
            "--local", f"context={root}", "--local", f"dockerfile={definition}", "--progress", "plain",
        ],
        capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()[-2000:]


def copies(address: str, root: Path, definition: Path) -> list[str]:
    """Build it ourselves; return the state of each step that copies."""
    target = dockerfile(root, filename=definition / "Dockerfile")
    snapshot = build(address, target, no_cache=False).snapshot
    return [str(step.state) for step in snapshot.steps if "COPY" in step.name]


@pytest.fixture
def definition(tmp_path_factory: pytest.TempPathFactory):
    """Writes a Dockerfile into a folder of its own."""
    folder = tmp_path_factory.mktemp("definition")

    def write(text: str) -> Path:
        (folder / "Dockerfile").write_text(text)
        return folder

    return write


def test_everything_that_a_file_system_has(engine, tmp_path: Path, definition) -> None:
    treecases.make_special_tree(tmp_path, devices=os.geteuid() == 0)
    (tmp_path / "unique").write_bytes(os.urandom(16))
    folder = definition("FROM busybox\nCOPY . /c\n")
    buildctl(engine.address, tmp_path, folder)
    assert copies(engine.address, tmp_path, folder) == ["cached"]
    # And it would be noticed if something else arrived.
    for change in (
        lambda: (tmp_path / "closed" / "f").chmod(0o600),
        lambda: (tmp_path / "d" / "up").unlink(),
        lambda: (tmp_path / "n").touch(),
    ):
        change()
        assert copies(engine.address, tmp_path, folder) == ["ran"]


@pytest.mark.parametrize("seed", range(6))
def test_random_trees_with_random_ignore_files(
    engine, tmp_path: Path, definition, seed: int
) -> None:
    rng = random.Random(f"buildctl {seed}")
    rules = ""
    for number in range(3):
        root = tmp_path / str(number)
        root.mkdir()
        listing = treecases.tree_listing(rng)
        treecases.make_tree(root, listing)
        (root / "unique").write_bytes(os.urandom(16))
        if not os.path.lexists(root / ".dockerignore"):
            rules = "\n".join([*treecases.aimed_patterns(rng, listing), "!unique"])
            (root / ".dockerignore").write_bytes(rules.encode("utf-8", "surrogateescape"))
        folder = definition("FROM busybox\nCOPY . /c\n")
        buildctl(engine.address, root, folder)
        assert copies(engine.address, root, folder) == ["cached"], (listing, rules)


def test_paths_through_links_and_wildcards(engine, tmp_path: Path, definition) -> None:
    for name in ("real/a.txt", "real/b.md", "real/deep/c.txt", "other/x", "skip/y"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(os.urandom(16))
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "absolute").symlink_to("/other")
    (tmp_path / "real" / "up").symlink_to("../other/x")
    folder = definition(
        "FROM busybox\nCOPY link/*.txt /a/\nCOPY absolute/x /b\nCOPY real/up /c\nCOPY l*/deep /d/\nCOPY link /e\n"
    )
    buildctl(engine.address, tmp_path, folder)
    assert copies(engine.address, tmp_path, folder) == ["cached"] * 5
