"""A download is used only when it is the expected file, and never writes outside its folder."""

import hashlib
import socket
import stat
import threading

import pytest

from depotlab._local import _archive
from depotlab.errors import EngineError
from tests.support.fake_programs import archive

CONTENT = b"some bytes" * 100_000


def fetch(url, path, sha256) -> list[str]:
    told: list[str] = []
    _archive.download(url, path, sha256=sha256, on_progress=told.append)
    return told


def test_the_expected_file_arrives(file_server, tmp_path) -> None:
    (file_server.folder / "a.tar.gz").write_bytes(CONTENT)
    fetch(f"{file_server.url}/a.tar.gz", tmp_path / "a", hashlib.sha256(CONTENT).hexdigest())
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_another_file_is_refused_and_both_sums_are_named(file_server, tmp_path) -> None:
    (file_server.folder / "a.tar.gz").write_bytes(CONTENT)
    with pytest.raises(EngineError) as caught:
        fetch(f"{file_server.url}/a.tar.gz", tmp_path / "a", "0" * 64)
    assert "0" * 64 in str(caught.value)
    assert hashlib.sha256(CONTENT).hexdigest() in str(caught.value)


def test_a_missing_file_says_what_the_server_said(file_server, tmp_path) -> None:
    with pytest.raises(EngineError, match="404"):
        fetch(f"{file_server.url}/none", tmp_path / "a", "0" * 64)


def test_no_network_is_one_clear_error(tmp_path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(EngineError, match=r"could not be fetched.*refused"):
        fetch(f"http://127.0.0.1:{port}/a", tmp_path / "a", "0" * 64)


def test_a_broken_off_download_is_noticed(tmp_path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def half_an_answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nfive!")

        thread = threading.Thread(target=half_an_answer)
        thread.start()
        with pytest.raises(EngineError, match="broke off after 5 of 1000"):
            fetch(f"http://127.0.0.1:{server.getsockname()[1]}/a", tmp_path / "a", "0" * 64)
        thread.join()


def test_a_server_that_never_ends_is_cut_off(file_server, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(_archive, "_LIMIT_BYTES", 1000)
    (file_server.folder / "a").write_bytes(CONTENT)
    with pytest.raises(EngineError, match="larger than"):
        fetch(f"{file_server.url}/a", tmp_path / "a", "0" * 64)


def test_long_downloads_tell_how_far_they_are(file_server, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(_archive, "_REPORT_EVERY_S", 0.0)
    monkeypatch.setattr(_archive, "_PIECE_BYTES", 400_000)
    (file_server.folder / "a").write_bytes(CONTENT)
    told = fetch(f"{file_server.url}/a", tmp_path / "x", hashlib.sha256(CONTENT).hexdigest())
    assert told == [f"downloading a: {n} of 1 MB" for n in ("0", "1", "1")]


def test_programs_stay_executable_and_links_are_left_out(tmp_path) -> None:
    archive(tmp_path / "a.tgz", {"bin/tool": "x"}, links={"bin/link": "/etc/passwd"})
    (tmp_path / "out").mkdir()
    _archive.unpack(tmp_path / "a.tgz", tmp_path / "out")
    assert [p.name for p in (tmp_path / "out/bin").iterdir()] == ["tool"]
    assert stat.S_IMODE((tmp_path / "out/bin/tool").stat().st_mode) == 0o755


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "bin/../../evil", "bin\\..\\evil"])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path, name) -> None:
    archive(tmp_path / "a.tgz", {"bin/good": "x", name: "evil"})
    (tmp_path / "out").mkdir()
    with pytest.raises(EngineError, match="unsafe name"):
        _archive.unpack(tmp_path / "a.tgz", tmp_path / "out")
    assert not list(tmp_path.rglob("*evil*"))


def test_a_file_under_a_linked_folder_does_not_follow_the_link(tmp_path) -> None:
    (tmp_path / "outside").mkdir()
    sums = archive(tmp_path / "a.tgz", {}, links={"bin": str(tmp_path / "outside")})
    assert sums
    (tmp_path / "out").mkdir()
    _archive.unpack(tmp_path / "a.tgz", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("content", [b"", b"not gzip", b"\x1f\x8b\x08\x00half"])
def test_something_else_than_an_archive_is_one_clear_error(tmp_path, content) -> None:
    (tmp_path / "a.tgz").write_bytes(content)
    (tmp_path / "out").mkdir()
    with pytest.raises(EngineError, match=r"a\.tgz could not be unpacked"):
        _archive.unpack(tmp_path / "a.tgz", tmp_path / "out")
