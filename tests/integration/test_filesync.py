"""Directories sent to a real daemon; the build itself checks what arrived."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from depotlab._session import MemoryTree, Session
from depotlab._transfer import HostTree
from depotlab.errors import DepotlabError, SessionError
from tests.support.sessions import build

CHECK = """FROM busybox
COPY . /src
RUN --mount=type=bind,from=check,target=/check cd /src && sha256sum -c /check/sums >/tmp/log || (cat /tmp/log; exit 1)
RUN --mount=type=bind,from=check,target=/check cd /src && find . -type f | wc -l > /tmp/n && cmp /tmp/n /check/count
"""


@pytest.fixture(autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


def sums_of(root: Path) -> dict[str, str]:
    """What the build compares with: a list for `sha256sum -c`, and the number of files."""
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    lines = [
        f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.relative_to(root)}\n" for f in files
    ]
    return {"sums": "".join(lines), "count": f"{len(files)}\n"}


def send(address: str, root: Path, dockerfile: str = CHECK, **attrs: str) -> Session:
    """Build with `root` as the context; the build fails unless exactly its files arrived."""
    session = Session(
        {
            "context": root,
            "dockerfile": MemoryTree({"Dockerfile": dockerfile}),
            "check": MemoryTree(sums_of(root)),
        }
    )
    try:
        build(address, session, {"context:check": "local:check", **attrs})
    finally:
        assert session.moved["dockerfile"].n_transfers > 0
    assert session.problems == []
    return session


def test_thousands_of_files_arrive_and_are_not_sent_again(engine, tmp_path: Path) -> None:
    for n in range(50):
        folder = tmp_path / f"d{n % 10}" / f"e{n}"
        folder.mkdir(parents=True)
        for m in range(100):
            (folder / f"{m}.txt").write_bytes(os.urandom(200))
    first = send(engine.address, tmp_path)
    assert first.moved["context"].n_files == 5_000
    (tmp_path / "d0" / "e0" / "0.txt").write_bytes(os.urandom(200))
    second = send(engine.address, tmp_path)
    # The changed one, and those that were written in the very moment of the first listing.
    assert second.moved["context"].n_files <= 100
    assert second.moved["context"].n_entries == first.moved["context"].n_entries
    third = send(engine.address, tmp_path, "FROM scratch\nCOPY . /\n")
    assert third.moved["context"].n_files <= 1


def test_a_large_file_arrives(engine, tmp_path: Path) -> None:
    block = os.urandom(1 << 20)
    with (tmp_path / "big").open("wb") as file:
        for n in range(200):
            file.write(block[n * 1000 :] + block[: n * 1000])
    session = send(engine.address, tmp_path)
    assert session.moved["context"].n_bytes == 200 << 20


def test_every_kind_of_file_arrives_as_it_is(engine, tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9\n\xff")
    (tmp_path / odd).write_text("odd")
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir").chmod(0o1770)
    (tmp_path / "dir" / "run").write_text("#!/bin/sh")
    (tmp_path / "dir" / "run").chmod(0o4755)
    os.link(tmp_path / "dir" / "run", tmp_path / "second")
    (tmp_path / "link").symlink_to("dir/../nowhere")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    os.utime(tmp_path / "empty", (10**9, 10**9))
    dockerfile = r"""FROM busybox
COPY . /src
WORKDIR /src
RUN test "$(for f in caf*; do printf %s "$f"; done | od -An -tx1 | tr -d ' ')" = 636166e90aff
RUN test "$(cat caf*)" = odd
RUN test "$(stat -c %a:%u:%g dir)" = 1770:0:0 && test "$(stat -c %a dir/run)" = 4755
RUN test "$(cat second)" = '#!/bin/sh'
RUN test "$(readlink link)" = dir/../nowhere && test -p pipe && test ! -s empty
RUN test "$(stat -c %Y empty)" = 1000000000
"""
    session = Session({"context": tmp_path, "dockerfile": MemoryTree({"Dockerfile": dockerfile})})
    build(engine.address, session)
    assert session.moved["context"].n_entries == 7
    assert session.moved["context"].n_files == 3  # names of one inode are sent once


def test_dockerignore_and_copy_choose_what_is_sent(engine, tmp_path: Path) -> None:
    for name in ["app/main.py", "app/skip.log", "app/keep.log", "docs/a", "real/x", "é/ü"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "link").symlink_to("real")
    (tmp_path / ".dockerignore").write_text("**/*.log\n!app/keep.log\n")
    dockerfile = """FROM busybox
COPY app /app
COPY link/x é/ü /other/
RUN test "$(cd /; find app other -type f | sort | tr '\\n' ' ')" = 'app/keep.log app/main.py other/x other/ü '
"""
    session = Session({"context": tmp_path, "dockerfile": MemoryTree({"Dockerfile": dockerfile})})
    build(engine.address, session)
    # .dockerignore itself; then app with two files, link, real with x, é with ü.
    assert session.moved["context"].n_files == 1 + 4
    assert session.moved["context"].n_entries == 1 + 8


def test_new_content_with_the_old_size_and_time_arrives(engine, tmp_path: Path) -> None:
    """A file from an archive: the daemon compares size and time only, so it would keep the old one."""
    for content in ("one", "two", "one", "six"):
        (tmp_path / "f").write_text(content)
        os.utime(tmp_path / "f", ns=(0, 499_162_500 * 10**9))
        time.sleep(0.05)  # not within the same tick of the clock
        session = send(engine.address, tmp_path)
        assert session.moved["context"].n_files == 1
    assert send(engine.address, tmp_path).moved["context"].n_files == 0


def test_a_file_that_is_gone_when_it_is_wanted_fails_the_build_and_is_named(
    engine, tmp_path: Path
) -> None:
    class Vanishing(HostTree):
        def open(self, path: bytes):
            (self.host_root / os.fsdecode(path)).unlink()
            return super().open(path)

    (tmp_path / "f").write_text(f"{time.time_ns()}")
    dockerfile = MemoryTree({"Dockerfile": "FROM busybox\nCOPY f /\n"})
    session = Session({"context": Vanishing(tmp_path), "dockerfile": dockerfile})
    with pytest.raises(SessionError) as caught:
        build(engine.address, session)
    assert caught.value.path == str(tmp_path / "f")


def test_a_directory_that_was_not_offered_fails_the_build(engine) -> None:
    session = Session({"dockerfile": MemoryTree({"Dockerfile": "FROM busybox\nCOPY f /\n"})})
    with pytest.raises(DepotlabError, match="context"):
        build(engine.address, session)
