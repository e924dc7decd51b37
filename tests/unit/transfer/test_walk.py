"""The walk of a real directory: what is sent for each kind of file, and what a busy directory does."""

from __future__ import annotations

import os
import pickle
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from depotlab._transfer import Entry, HostTree, TreeFilter, filemode, make_filter, walk
from depotlab.errors import ContextError, SessionError
from tests.support.nobody import nobodys_directory

ALL = TreeFilter()


def entries(root: Path, wanted: TreeFilter = ALL) -> dict[str, Entry]:
    return {os.fsdecode(entry.path): entry for entry in filter(None, HostTree(root).walk(wanted))}


@pytest.fixture
def nobodys_tree() -> Iterator[Path]:
    with nobodys_directory() as root:
        yield root


def test_order_is_depth_first_by_the_bytes_of_names(tmp_path: Path) -> None:
    for name in ["b", "a.txt", "a/b", "a/Z", "a-b", "é", "z/deep/er/x"]:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (tmp_path / os.fsdecode(b"\xff")).touch()
    assert list(entries(tmp_path)) == [
        "a", "a/Z", "a/b", "a-b", "a.txt", "b", "z", "z/deep", "z/deep/er", "z/deep/er/x", "é", "\udcff",
    ]  # fmt: skip


def test_a_file_is_sent_with_mode_size_and_time_to_the_nanosecond(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"12345")
    (tmp_path / "f").chmod(0o6751)
    os.utime(tmp_path / "f", ns=(0, 1_234_567_890_123_456_789))
    entry = entries(tmp_path)["f"]
    assert entry.mode == 0o751 | filemode.SETUID | filemode.SETGID
    assert (entry.size_bytes, entry.modified_ns) == (5, 1_234_567_890_123_456_789)
    info = (tmp_path / "f").stat()
    assert (entry.changed_ns, entry.inode) == (info.st_ctime_ns, info.st_ino)


def test_directories_have_no_size_and_keep_the_sticky_bit(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d").chmod(0o1777)
    entry = entries(tmp_path)["d"]
    assert (entry.mode, entry.size_bytes) == (filemode.DIR | filemode.STICKY | 0o777, 0)


def test_a_symbolic_link_is_sent_as_stored_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").touch()
    (tmp_path / "l").symlink_to("d/../d")
    found = entries(tmp_path)
    assert list(found) == ["d", "d/f", "l"]
    assert found["l"].mode & filemode.TYPES == filemode.SYMLINK
    assert (found["l"].link, found["l"].size_bytes) == (b"d/../d", 6)


def test_further_names_of_a_file_are_links_to_the_first_that_is_sent(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"123")
    os.link(tmp_path / "a", tmp_path / "b")
    os.link(tmp_path / "a", tmp_path / "c")
    assert [(e.link, e.size_bytes) for e in entries(tmp_path).values()] == [
        (b"", 3), (b"a", 3), (b"a", 3),
    ]  # fmt: skip
    found = entries(tmp_path, make_filter([], ["a"], None))
    assert {path: entry.link for path, entry in found.items()} == {"b": b"", "c": b"b"}


def test_pipes_and_devices_are_sent_and_sockets_are_not(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "socket"))
        found = entries(tmp_path)
    assert list(found) == ["pipe"]
    assert found["pipe"].mode & filemode.TYPES == filemode.FIFO
    null = entries(Path("/dev"), make_filter(["null"], [], None))["null"]
    assert null.mode & filemode.TYPES == filemode.DEVICE | filemode.CHAR_DEVICE
    assert null.device == (
        os.major(os.stat("/dev/null").st_rdev),
        os.minor(os.stat("/dev/null").st_rdev),
    )


@pytest.mark.parametrize(
    ("unix", "go"),
    [
        (stat.S_IFREG | 0o644, 0o644),
        (stat.S_IFDIR | 0o755, 0x800001ED),
        (stat.S_IFLNK | 0o777, 0x080001FF),
        (stat.S_IFBLK | 0o660, 0x040001B0),
        (stat.S_IFCHR | 0o666, 0x042001B6),
        (stat.S_IFIFO | 0o600, 0x02000180),
        (stat.S_IFSOCK | 0o600, 0x01000180),
        (stat.S_IFREG | 0o7000, 0x00D00000),
        (0o160000 | 0o644, 0x000801A4),
    ],
)
def test_modes_are_those_of_go(unix: int, go: int) -> None:
    assert filemode.from_unix(unix) == go


def test_the_name_that_metadata_receivers_use_is_left_out_at_the_root_only(tmp_path: Path) -> None:
    (tmp_path / ".fsutil-metadata").touch()
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / ".fsutil-metadata").touch()
    assert list(entries(tmp_path)) == ["d", "d/.fsutil-metadata"]


def test_extended_attributes_that_can_be_read_are_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "f").touch()

    def value(path: bytes, name: str, *, follow_symlinks: bool) -> bytes:
        assert not follow_symlinks
        if name == "security.hidden":
            raise PermissionError(1, "no")
        return b"\0\xff"

    monkeypatch.setattr(walk, "_list_xattrs", lambda *_, **__: ["user.a", "security.hidden"])
    monkeypatch.setattr(os, "getxattr", value, raising=False)
    assert entries(tmp_path)["f"].xattrs == {"user.a": b"\0\xff"}


def test_file_systems_without_attributes_are_fine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object, **__: object) -> list[str]:
        raise OSError(95, "not supported")

    (tmp_path / "f").touch()
    monkeypatch.setattr(walk, "_list_xattrs", unsupported)
    assert entries(tmp_path)["f"].xattrs is None
    monkeypatch.setattr(walk, "_list_xattrs", None)
    assert entries(tmp_path)["f"].xattrs is None


def test_what_disappears_while_we_look_was_not_there(tmp_path: Path) -> None:
    for name in ["a", "b", "c/x", "d/x", "e"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    seen = []
    for entry in filter(None, HostTree(tmp_path).walk(ALL)):
        seen.append(os.fsdecode(entry.path))
        if seen == ["a"]:
            (tmp_path / "b").unlink()
            shutil.rmtree(tmp_path / "d")
        if seen[-1] == "c":
            shutil.rmtree(tmp_path / "c")
    assert seen == ["a", "c", "e"]


def test_a_directory_that_waits_for_something_wanted_and_disappears_is_forgotten(
    tmp_path: Path,
) -> None:
    for name in ["a/x", "b/x"]:
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    seen = []
    for entry in filter(None, HostTree(tmp_path).walk(make_filter(["**/x"], [], None))):
        seen.append(os.fsdecode(entry.path))
        if seen == ["a"]:
            shutil.rmtree(tmp_path / "b")
    assert seen == ["a", "a/x"]


def test_a_directory_that_may_not_be_read_is_named(nobodys_tree: Path) -> None:
    (nobodys_tree / "locked").mkdir(mode=0)
    with pytest.raises(SessionError) as caught:
        entries(nobodys_tree)
    assert caught.value.path == str(nobodys_tree / "locked")
    assert "permission denied" in str(caught.value)
    (nobodys_tree / "locked").chmod(0o700)


def test_a_directory_that_may_not_be_read_does_not_matter_when_it_is_not_wanted(
    nobodys_tree: Path,
) -> None:
    (nobodys_tree / "a").touch()
    (nobodys_tree / "locked").mkdir(mode=0)
    for wanted in (
        make_filter([], ["locked", "!locked/x"], None),
        make_filter(["a", "*/x"], [], None),
    ):
        assert list(entries(nobodys_tree, wanted)) == ["a"]
    (nobodys_tree / "locked").chmod(0o700)


def test_files_whose_directory_may_be_listed_but_not_entered_are_named(nobodys_tree: Path) -> None:
    (nobodys_tree / "half").mkdir()
    (nobodys_tree / "half" / "f").touch()
    (nobodys_tree / "half").chmod(0o400)
    with pytest.raises(SessionError) as caught:
        entries(nobodys_tree)
    assert caught.value.path == str(nobodys_tree / "half" / "f")
    assert list(entries(nobodys_tree, make_filter([], ["half/*"], None))) == ["half"]
    (nobodys_tree / "half").chmod(0o700)


def test_a_walk_that_finds_nothing_for_long_pauses_now_and_then(tmp_path: Path) -> None:
    for n in range(3000):
        (tmp_path / f"{n}").touch()
    assert list(HostTree(tmp_path).walk(make_filter(["**/x"], [], None))) == [None, None]


def test_reading_a_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"12345")
    content = HostTree(tmp_path).open(b"f")
    assert (content.size_bytes, content.inode) == (5, (tmp_path / "f").stat().st_ino)
    assert [content.read(0, 3), content.read(3, 3), content.read(5, 3)] == [b"123", b"45", b""]
    content.close()


@pytest.mark.parametrize(
    ("becomes", "reason"),
    [("nothing", "gone"), ("link", "symbolic link"), ("directory", "directory"), ("pipe", "")],
)
def test_a_file_that_is_something_else_by_now_is_not_read(
    tmp_path: Path, becomes: str, reason: str
) -> None:
    (tmp_path / "other").write_bytes(b"secret")
    file = tmp_path / "f"
    if becomes == "link":
        file.symlink_to("other")
    elif becomes == "directory":
        file.mkdir()
    elif becomes == "pipe":
        os.mkfifo(file)  # must not wait for a writer; there is nothing in it
        content = HostTree(tmp_path).open(b"f")
        assert content.size_bytes == 0
        content.close()
        return
    with pytest.raises(SessionError, match=reason) as caught:
        HostTree(tmp_path).open(b"f").read(0, 10)
    assert caught.value.path == str(file)
    assert pickle.loads(pickle.dumps(caught.value)).path == str(file)


def test_the_root_may_be_a_link_but_has_to_be_a_directory(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "f").touch()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "circle").symlink_to("circle")
    assert list(entries(tmp_path / "link")) == ["f"]
    for wrong in ("nowhere", "real/f", "circle"):
        with pytest.raises(ContextError) as caught:
            HostTree(tmp_path / wrong)
        assert caught.value.path == str(tmp_path / wrong)


def test_the_root_may_not_be_entered(nobodys_tree: Path) -> None:
    (nobodys_tree / "locked" / "inner").mkdir(parents=True)
    (nobodys_tree / "locked").chmod(0)
    with pytest.raises(ContextError, match="may not be entered"):
        HostTree(nobodys_tree / "locked" / "inner")
    (nobodys_tree / "locked").chmod(0o700)


def test_the_root_that_disappears_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    tree = HostTree(tmp_path / "d")
    (tmp_path / "d").rmdir()
    with pytest.raises(SessionError) as caught:
        list(tree.walk(ALL))
    assert caught.value.path.rstrip("/") == str(tmp_path / "d")


def test_names_and_targets_for_follow_paths(tmp_path: Path) -> None:
    odd = os.fsdecode(b"\xff")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / odd).symlink_to("x")
    tree = HostTree(tmp_path)
    assert tree.names("d") == [odd]
    assert tree.names(".") == ["d"]
    assert tree.names("nowhere") == []
    assert tree.names(f"d/{odd}") == []
    assert tree.target(f"d/{odd}") == "x"
    assert tree.target("d") is None
    assert tree.target("nowhere/x") is None


def test_thousand_directories_deep(tmp_path: Path) -> None:
    nested = [str(tmp_path) + "/d" * depth for depth in range(1, 1001)]
    for path in nested:
        os.mkdir(path)
    try:
        assert len(entries(tmp_path)) == len(nested)
    finally:
        for path in reversed(nested):  # shutil.rmtree would recurse too deeply
            os.rmdir(path)
