"""What a folder becomes when it is uploaded."""

from __future__ import annotations

import asyncio
import io
import socket
import tarfile
import threading
from pathlib import Path

import pytest

from depotlab.errors import ContextError, ServiceError
from depotlab.service._asking.packing import pack, pack_and_put
from depotlab.service._boundary import Upload
from tests.support.uploadedarchives import tar


def entries(archive) -> dict[str, tarfile.TarInfo]:
    with archive, tarfile.open(fileobj=archive) as tar:
        return {info.name: info for info in tar}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    app = tmp_path / "app"
    (app / "src").mkdir(parents=True)
    (app / "Dockerfile").write_text("FROM scratch\n")
    (app / "src" / "main.py").write_text("print(1)\n")
    (app / "src" / "main.py").chmod(0o755)
    (app / "link").symlink_to("src/main.py")
    (app / "again").hardlink_to(app / "src" / "main.py")
    (app / "secret.key").write_text("x")
    return app


def test_a_folder_keeps_its_files_links_and_permissions(folder: Path):
    found = entries(pack(folder))
    assert set(found) == {"Dockerfile", "src", "src/main.py", "link", "again", "secret.key"}
    assert found["src/main.py"].mode == 0o755
    assert (found["link"].issym(), found["link"].linkname) == (True, "src/main.py")
    assert found["src"].isdir()
    assert {(one.uid, one.gid) for one in found.values()} == {(0, 0)}
    hard = [one for one in found.values() if one.islnk()]
    assert [(one.name, one.linkname) for one in hard] == [("src/main.py", "again")]


def test_an_ignore_file_leaves_out_what_it_says_but_not_the_dockerfile(folder: Path):
    (folder / ".dockerignore").write_text("*\n!src\n")
    assert set(entries(pack(folder))) == {"src", "src/main.py", "Dockerfile"}
    (folder / "src" / "Dockerfile.prod").write_text("FROM scratch\n")
    (folder / "src" / "Dockerfile.prod.dockerignore").write_text("src\n")
    found = entries(pack(folder, dockerfile_path="src/Dockerfile.prod"))
    assert "src/main.py" not in found
    assert {"src/Dockerfile.prod", "secret.key"} <= set(found)


def test_equal_folders_are_equal_archives(folder: Path):
    with pack(folder) as first, pack(folder) as second:
        first.seek(0)
        second.seek(0)
        assert first.read() == second.read()


def test_files_in_memory_are_a_folder(tmp_path: Path):
    files = {
        "Dockerfile": "FROM scratch",
        "a/b.txt": b"hello",
        ".dockerignore": "*.log",
        "x.log": "x",
    }
    with pack(files) as archive, tarfile.open(fileobj=_at_start(archive)) as tar:
        assert tar.extractfile("a/b.txt").read() == b"hello"
        assert "x.log" not in tar.getnames()


def test_an_archive_is_taken_as_it_is(folder: Path, tmp_path: Path):
    with pack(folder) as archive:
        content = _at_start(archive).read()
    assert pack(content).read() == content
    path = tmp_path / "app.tar.gz"
    path.write_bytes(content)
    with pack(path) as again:
        assert again.read() == content


def test_what_is_none_is_refused(tmp_path: Path):
    with pytest.raises(ContextError, match="does not exist"):
        pack(tmp_path / "nowhere")
    with pytest.raises(ContextError, match="no tar archive"):
        pack(b"hello")
    with pytest.raises(ServiceError, match="git contexts need no upload"):
        pack("https://github.com/acme/shop.git")


def test_what_is_cancelled_is_not_sent_to_its_end():
    """The thread that sends cannot be stopped from outside, and a program waits for it before it ends."""
    size_bytes = 32 << 20  # far more than sockets hold
    is_coming, is_cancelled, received = threading.Event(), threading.Event(), []

    def take() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(1024)
            is_coming.set()
            is_cancelled.wait(30)
            while sum(received) < size_bytes and (piece := connection.recv(1 << 20)):
                received.append(len(piece))

    async def cancelled(upload: Upload) -> None:
        archive = tar(("a", b"x" * size_bytes))
        sending = asyncio.ensure_future(pack_and_put(upload, archive, dockerfile_path="Dockerfile"))
        await asyncio.to_thread(is_coming.wait, 30)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        is_cancelled.set()

    with socket.create_server(("127.0.0.1", 0)) as server:
        taking = threading.Thread(target=take)
        taking.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x"
        asyncio.run(cancelled(Upload(url, "shop/1.tar.gz", 60, 1 << 30)))
        taking.join(30)
    assert sum(received) < size_bytes


def _at_start(archive) -> io.BufferedIOBase:
    archive.seek(0)
    return archive
