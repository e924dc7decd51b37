"""A tree that arrives, and the directory that it becomes. On a real disk, with the packets of a sender."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from depotlab._transfer import Entry, Receiver, Staging, disk, filemode, treewriter
from depotlab.errors import DepotlabError, ProtocolError, SessionError
from tests.conftest import unavailable
from tests.support.trees import snapshot
from tests.support.treesend import content, end_of, listing

ROOT = os.geteuid() == 0


def file(path: bytes, size_bytes: int = 0, mode: int = 0o644) -> Entry:
    return Entry(path, mode, size_bytes, 7)


def folder(path: bytes, mode: int = 0o755, modified_ns: int = 7) -> Entry:
    return Entry(path, filemode.DIR | mode, 0, modified_ns)


def link(path: bytes, target: bytes) -> Entry:
    return Entry(path, filemode.SYMLINK | 0o777, len(target), 7, target)


def receive(staging: Staging, *entries: Entry, contents: dict[bytes, bytes] | None = None) -> None:
    """Send a tree to a staging directory; files have the content that is given, or none."""
    contents = contents or {}
    entries = tuple(
        e._replace(size_bytes=len(contents.get(e.path, b""))) if not e.link else e for e in entries
    )
    machine, writer = Receiver(), staging.writer()
    try:
        writer.perform(machine.receive(listing(*entries)))
        machine.requests()
        packets = []
        for entry_id, entry in enumerate(entries):
            if not (entry.mode & filemode.TYPES or entry.link):
                if data := contents.get(entry.path):
                    packets.append(content(entry_id, data))
                packets.append(end_of(entry_id))
        writer.perform(machine.receive(packets))
        writer.finish()
    finally:
        writer.close()


def put(
    dest: Path, *entries: Entry, contents: dict[bytes, bytes] | None = None, **options
) -> Staging:
    """Send a tree and put it in place."""
    staging = Staging(dest, **options)
    try:
        receive(staging, *entries, contents=contents)
        staging.commit()
    finally:
        staging.clear()
    return staging


def names(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


@pytest.fixture
def around(tmp_path: Path) -> Iterator[Path]:
    """A directory in which nothing may change but `dest`."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").write_text("other")
    before = snapshot(tmp_path, directory_times=False)
    yield tmp_path
    after = snapshot(tmp_path, directory_times=False)
    assert {p: f for p, f in after.items() if p.split("/")[0] != "dest"} == before


# ------------------------------------------------------------------------------- a new directory


def test_a_new_directory_appears_only_when_it_is_whole(around: Path) -> None:
    dest = around / "dest"
    staging = Staging(dest)
    receive(staging, folder(b"a"), file(b"a/b"), contents={b"a/b": b"hello"})
    assert not dest.exists()
    hidden = [path for path in around.iterdir() if path.name.startswith(".depotlab-")]
    assert [stat.S_IMODE(path.stat().st_mode) for path in hidden] == [0o700]
    staging.commit()
    assert (dest / "a/b").read_bytes() == b"hello"
    assert stat.S_IMODE(dest.stat().st_mode) == 0o700
    staging.clear()
    assert staging.n_files == 1
    assert staging.n_bytes == 5


def test_directories_above_are_made_and_removed_again_if_nothing_comes_of_it(around: Path) -> None:
    put(around / "dest/x/y", file(b"f"))
    assert names(around / "dest") == ["x", "x/y", "x/y/f"]
    staging = Staging(around / "dest/new/one")
    receive(staging, file(b"f"))
    staging.clear()
    assert names(around / "dest") == ["x", "x/y", "x/y/f"]


def test_what_is_discarded_leaves_nothing_and_cannot_begin_again(around: Path) -> None:
    staging = Staging(around / "dest")
    receive(staging, folder(b"a", 0o000), folder(b"a/b", 0o000), file(b"a/b/c", 0, 0o000))
    staging.clear()
    staging.clear()
    with pytest.raises(SessionError, match="the build is over"):
        staging.writer()


def test_a_link_to_a_directory_is_followed_where_the_user_put_it(around: Path) -> None:
    (around / "dest").mkdir()
    (around / "dest/real").mkdir()
    (around / "dest/link").symlink_to("real")
    put(around / "dest/link", file(b"f"))
    assert (around / "dest/real/f").is_file()
    assert (around / "dest/link").is_symlink()


def test_modes_times_and_attributes_are_those_of_the_list(around: Path) -> None:
    seconds = 10**9
    entries = [
        Entry(
            b"d", filemode.DIR | filemode.STICKY | 0o751, 0, 5 * seconds, xattrs={"user.d": b"1"}
        ),
        Entry(b"d/f", filemode.SETUID | 0o755, 0, -(10**18), xattrs={"user.f": b"2"}),
        Entry(b"g", filemode.SETGID | 0o2755 & 0o777, 0, 2**62),
        Entry(b"h", 0o000, 0, 1),
        Entry(b"l", filemode.SYMLINK | 0o777, 1, 3 * seconds, b"h"),
        Entry(b"p", filemode.FIFO | 0o622, 0, 4 * seconds),
    ]
    put(around / "dest", *entries)
    found = snapshot(around / "dest")
    modes = {path: oct(facts[0]) for path, facts in found.items()}
    assert modes == {
        "d": "0o41751", "d/f": "0o104755", "g": "0o102755", "h": "0o100000", "l": "0o120777", "p": "0o10622",
    }  # fmt: skip
    assert {path: facts[3] for path, facts in found.items() if path != "g"} == {
        "d": 5 * seconds, "d/f": -(10**18), "h": 1, "l": 3 * seconds, "p": 4 * seconds,
    }  # fmt: skip
    assert found["d"][4] == {"user.d": b"1"}
    assert found["d/f"][4] == {"user.f": b"2"}


def test_the_umask_takes_no_permission_away(around: Path) -> None:
    before = os.umask(0o077)
    try:
        put(
            around / "dest",
            folder(b"d", 0o777),
            file(b"d/f", 0, 0o666),
            Entry(b"p", filemode.FIFO | 0o666, 0, 1),
        )
    finally:
        os.umask(before)
    modes = {path: facts[0] & 0o777 for path, facts in snapshot(around / "dest").items()}
    assert modes == {"d": 0o777, "d/f": 0o666, "p": 0o666}


def test_attributes_that_mean_something_to_systems_are_left_out(around: Path) -> None:
    kept = {"user.note": b"1"}
    foreign = {"trusted.overlay.opaque": b"y", "security.selinux": b"x", "user.\0": b"z"}
    put(around / "dest", Entry(b"f", 0o644, 0, 1, xattrs=kept | foreign))
    assert snapshot(around / "dest")["f"][4] == kept


def test_attributes_that_cannot_be_set_are_named_and_do_no_harm(around: Path) -> None:
    staging = put(around / "dest", Entry(b"f", 0o644, 0, 1, xattrs={"security.capability": b"?"}))
    assert (around / "dest/f").is_file()
    assert "security.capability could not be set" in staging.warnings[0]


def test_names_of_one_file_stay_one_file(around: Path) -> None:
    first = file(b"a")
    put(
        around / "dest",
        first,
        folder(b"b"),
        Entry(b"b/c", 0o644, 0, 7, b"a"),
        contents={b"a": b"x"},
    )
    assert (around / "dest/a").stat().st_ino == (around / "dest/b/c").stat().st_ino


def test_a_large_file_may_come_in_many_bursts_among_others(around: Path) -> None:
    staging, machine = Staging(around / "dest"), Receiver()
    writer = staging.writer()
    writer.perform(machine.receive(listing(file(b"a", 9), file(b"b", 3))))
    machine.requests()
    for packets in ([content(0, b"abc")], [content(1, b"xyz"), content(0, b"def")], [end_of(1)]):
        writer.perform(machine.receive(packets))
    writer.perform(machine.receive([content(0, b"ghi"), end_of(0)]))
    assert machine.has_all
    writer.finish()
    writer.close()
    staging.commit()
    staging.clear()
    assert (around / "dest/a").read_bytes() == b"abcdefghi"
    assert (around / "dest/b").read_bytes() == b"xyz"


def test_a_deep_tree_can_be_received_and_removed(around: Path) -> None:
    depth = 1000
    entries = [folder(b"/".join([b"d"] * (n + 1))) for n in range(depth)]
    put(around / "dest", *entries, file(b"/".join([b"d"] * depth) + b"/f"))
    directory = os.open(around, disk.DIRECTORY)
    disk.remove_tree("dest", directory)
    os.close(directory)
    assert not (around / "dest").exists()


# ------------------------------------------------------------- what a sender must not bring about


def test_a_link_that_was_received_is_not_written_through(around: Path) -> None:
    """The list may not name anything below a link; a hard link may, and must not reach through it either."""
    through = Entry(b"z", 0o644, 0, 7, b"l/secret")
    with pytest.raises(ProtocolError, match="did not send"):
        put(around / "dest", link(b"l", os.fsencode(around)), through)


@pytest.mark.parametrize("target", [b"nowhere", b"d/nowhere", b"f/x", b"secret"])
def test_a_link_to_something_that_was_not_sent_is_refused(around: Path, target: bytes) -> None:
    with pytest.raises(ProtocolError, match="did not send"):
        put(around / "dest", folder(b"d"), file(b"f"), Entry(b"h", 0o644, 0, 7, target))


def test_another_name_of_a_link_is_a_link_and_is_not_followed(around: Path) -> None:
    put(around / "dest", link(b"l", b"../secret"), Entry(b"m", 0o644, 0, 7, b"l"))
    assert (around / "dest/m").is_symlink()


def test_device_nodes_are_left_out_with_a_word(around: Path) -> None:
    null = Entry(b"null", filemode.DEVICE | filemode.CHAR_DEVICE | 0o666, 0, 7, device=(1, 3))
    socket = Entry(b"sock", filemode.SOCKET | 0o666, 0, 7)
    staging = put(around / "dest", file(b"f"), null, socket)
    assert names(around / "dest") == ["f"]
    assert len(staging.warnings) == 2
    assert "devices=True" in staging.warnings[0]


def test_device_nodes_are_made_when_asked_for(around: Path) -> None:
    if not ROOT:
        unavailable("only root can make device nodes")
    null = Entry(b"null", filemode.DEVICE | filemode.CHAR_DEVICE | 0o660, 0, 7, device=(1, 3))
    disk_node = Entry(b"sda", filemode.DEVICE | 0o600, 0, 7, device=(8, 0))
    put(around / "dest", null, disk_node, devices=True)
    found = {
        path: (stat.S_IFMT(f[0]), f[0] & 0o777, f[5])
        for path, f in snapshot(around / "dest").items()
    }
    assert found == {
        "null": (stat.S_IFCHR, 0o660, os.makedev(1, 3)),
        "sda": (stat.S_IFBLK, 0o600, os.makedev(8, 0)),
    }


def test_many_warnings_are_counted_not_kept(around: Path) -> None:
    sockets = [Entry(b"%03d" % n, filemode.SOCKET, 0, 7) for n in range(100)]
    staging = put(around / "dest", *sockets)
    assert len(staging.warnings) < 30
    assert "more were left out" in staging.warnings[-1]


def test_files_without_end_do_not_use_up_all_descriptors(around: Path, monkeypatch) -> None:
    monkeypatch.setattr(treewriter, "_MOST_OPEN", 3)
    staging, machine = Staging(around / "dest"), Receiver()
    writer = staging.writer()
    writer.perform(machine.receive(listing(*(file(b"%d" % n, 9) for n in range(5)))))
    machine.requests()
    for n in range(3):
        writer.perform(machine.receive([content(n, b"x")]))
    with pytest.raises(ProtocolError, match="more than 3 files at a time"):
        writer.perform(machine.receive([content(3, b"x")]))
    writer.close()
    staging.clear()


def test_names_that_the_file_system_does_not_take_are_blamed_on_it(around: Path) -> None:
    with pytest.raises(SessionError, match="name too long") as caught:
        put(around / "dest", file(b"x" * 300))
    assert "file system" in caught.value.hint
    assert caught.value.path == str(around / "dest" / ("x" * 300))


def test_two_streams_that_have_the_same_file_are_refused(around: Path) -> None:
    """So are two names that a file system takes for one: the second is there already."""
    staging = Staging(around / "dest")
    receive(staging, folder(b"d"), file(b"d/f"))
    with pytest.raises(SessionError, match="there twice"):
        receive(staging, folder(b"d"), file(b"d/f"))
    staging.clear()


def test_two_streams_share_directories(around: Path) -> None:
    staging = Staging(around / "dest")
    receive(staging, folder(b"d"), file(b"d/a"))
    receive(staging, folder(b"d"), file(b"d/b"), folder(b"e"))
    staging.commit()
    staging.clear()
    assert names(around / "dest") == ["d", "d/a", "d/b", "e"]


def test_a_directory_over_a_file_of_another_stream_is_refused(around: Path) -> None:
    staging = Staging(around / "dest")
    receive(staging, file(b"d"))
    with pytest.raises(SessionError, match="there twice"):
        receive(staging, folder(b"d"))
    staging.clear()


# --------------------------------------------------------------------- into what is there already


def old_tree(dest: Path) -> None:
    (dest / "both").mkdir(parents=True)
    (dest / "both/old").write_text("old")
    (dest / "both/replaced").write_text("old")
    (dest / "becomes file").mkdir()
    (dest / "becomes file/full").write_text("old")
    (dest / "becomes directory").write_text("old")
    (dest / "through").symlink_to("../other")
    (dest / "link").symlink_to("../secret")


NEW = (
    folder(b"becomes directory"),
    file(b"becomes directory/x"),
    file(b"becomes file"),
    folder(b"both", 0o750),
    file(b"both/replaced"),
    file(b"link"),
    folder(b"new"),
    folder(b"new/er"),
    file(b"new/er/x"),
    folder(b"through"),
    file(b"through/file"),
)


def test_a_tree_is_merged_into_what_is_there(around: Path) -> None:
    dest = around / "dest"
    old_tree(dest)
    dest.chmod(0o755)
    put(dest, *NEW, contents={b"both/replaced": b"new", b"link": b"new", b"through/file": b"new"})
    assert names(dest) == [
        "becomes directory", "becomes directory/x", "becomes file", "both", "both/old", "both/replaced",
        "link", "new", "new/er", "new/er/x", "through", "through/file",
    ]  # fmt: skip
    assert (dest / "both/replaced").read_text() == "new"
    assert (dest / "both/old").read_text() == "old"
    assert stat.S_IMODE((dest / "both").stat().st_mode) == 0o750
    assert (dest / "both").stat().st_mtime_ns == 7
    assert not (dest / "through").is_symlink()
    assert stat.S_IMODE(dest.stat().st_mode) == 0o755


def test_mode_delete_leaves_only_what_was_sent(around: Path) -> None:
    dest = around / "dest"
    old_tree(dest)
    (dest / "gone/deep").mkdir(parents=True)
    (dest / "gone/deep/file").touch()
    (dest / "gone/deep").chmod(0o500)
    put(dest, *NEW, delete=True)
    assert names(dest) == sorted(os.fsdecode(entry.path) for entry in NEW)
    put(dest, delete=True)
    assert names(dest) == []


def test_nothing_changes_until_the_end(around: Path) -> None:
    dest = around / "dest"
    old_tree(dest)
    before = snapshot(dest, directory_times=False)
    staging = Staging(dest, delete=True)
    receive(staging, *NEW)
    hidden = {
        path: facts
        for path, facts in snapshot(dest, directory_times=False).items()
        if "depotlab" not in path
    }
    assert hidden == before
    staging.clear()
    assert snapshot(dest, directory_times=False) == before


def test_a_hidden_directory_of_another_export_is_not_ours_to_remove(around: Path) -> None:
    dest = around / "dest"
    dest.mkdir()
    one, two = Staging(dest), Staging(dest)
    receive(one, folder(b"d"), file(b"d/a"))
    receive(two, folder(b"d"), file(b"d/b"))
    one.commit()
    two.commit()
    one.clear()
    two.clear()
    assert names(dest) == ["d", "d/a", "d/b"]


def test_a_file_of_the_user_that_is_open_keeps_its_content(around: Path) -> None:
    """Files are replaced, not rewritten: who reads the old one, reads the old one."""
    dest = around / "dest"
    dest.mkdir()
    (dest / "f").write_text("old")
    with (dest / "f").open() as reader:
        put(dest, file(b"f"), contents={b"f": b"new"})
        assert reader.read() == "old"
    assert (dest / "f").read_text() == "new"


def test_a_merge_that_breaks_off_says_what_is_there(around: Path, monkeypatch) -> None:
    dest = around / "dest"
    (dest / "m").mkdir(parents=True)
    staging = Staging(dest)
    receive(staging, file(b"a"), folder(b"b"), file(b"b/x"), folder(b"m"), file(b"m/y"))
    rename = os.rename

    def breaking(source, target, **where):
        if source == b"y":
            raise OSError(5, "Input/output error")
        rename(source, target, **where)

    monkeypatch.setattr(os, "rename", breaking)
    with pytest.raises(SessionError, match=r"2 are there: a, b/") as caught:
        staging.commit()
    assert "input/output error" in caught.value.message
    assert caught.value.path == str(dest / "m/y")
    assert staging.placed == ("a", "b/")
    monkeypatch.undo()
    staging.clear()
    assert names(dest) == ["a", "b", "b/x", "m"]


def test_a_directory_that_appears_meanwhile_is_not_replaced(around: Path) -> None:
    dest = around / "dest"
    staging = Staging(dest)
    receive(staging, file(b"f"))
    dest.mkdir()
    (dest / "mine").touch()
    with pytest.raises(SessionError, match="something else made it"):
        staging.commit()
    staging.clear()
    assert names(dest) == ["mine"]


# --------------------------------------------------------------------------- the disk says no


def test_a_destination_that_cannot_be_written_is_found_before_the_build(around: Path) -> None:
    (around / "dest").write_text("a file")
    with pytest.raises(SessionError, match="no directory"):
        Staging(around / "dest").check()
    with pytest.raises(SessionError, match="no directory"):
        Staging(around / "dest/below").check()
    Staging(around / "other").check()
    Staging(around / "other/new/er").check()


AS_NOBODY = """
import os, sys
from pathlib import Path
sys.path.insert(0, {root!r})
import depotlab._transfer.receiver_packets  # now: nobody may not read all of the standard library
from tests.unit.transfer.test_staging import *
os.setgid(65534); os.setuid(65534)
dest = Path({dest!r})
{code}
"""


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory that everybody can reach; those of pytest are for its user alone."""
    path = Path(tempfile.mkdtemp(prefix="dl-nobody-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def as_nobody(code: str, dest: Path) -> str:
    """Run code in a process that is not root."""
    if not ROOT:
        unavailable("root is needed to become somebody else")
    program = AS_NOBODY.format(root=str(Path(__file__).parents[3]), dest=str(dest), code=code)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_root_a_forbidden_destination_is_an_error_with_its_path(shared: Path) -> None:
    out = as_nobody(
        "try: Staging(dest / 'x').check()\nexcept SessionError as e: print(e.path, e)", shared
    )
    assert out.startswith(f"{shared} ")
    assert "permission denied" in out


def test_without_root_sealed_directories_are_filled_merged_and_deleted(shared: Path) -> None:
    shared.chmod(0o777)
    code = """
tree = (folder(b"s", 0o555), file(b"s/f", 0, 0o444), folder(b"s/t", 0o500), file(b"s/t/g", 0, 0o400))
put(dest / "out", *tree)
put(dest / "out", *tree, contents={b"s/f": b"second"})
print((dest / "out/s/f").read_text(), oct((dest / "out/s").stat().st_mode))
put(dest / "out", file(b"s"), delete=True)
print(names(dest / "out"))
"""
    assert as_nobody(code, shared) == "second 0o40555\n['s']\n"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mount = tmp_path / "small"
    mount.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k,nr_inodes=64", "tmpfs", str(mount)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        unavailable(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    yield mount
    subprocess.run(["umount", str(mount)], check=True)


def test_a_full_disk_is_named_with_its_space(small_disk: Path) -> None:
    with pytest.raises(
        SessionError, match=r"no space left.* bytes are free on the file system of"
    ) as caught:
        put(small_disk / "dest", file(b"f"), contents={b"f": bytes(1 << 20)})
    assert caught.value.path == str(small_disk / "dest/f")
    assert list(small_disk.iterdir()) == []


def test_too_many_files_for_a_disk_are_a_full_disk_too(small_disk: Path) -> None:
    with pytest.raises(SessionError, match="no space left"):
        put(small_disk / "dest", *(file(b"%03d" % n) for n in range(100)))
    assert list(small_disk.iterdir()) == []


def test_what_is_mounted_inside_gets_copies(small_disk: Path, tmp_path: Path) -> None:
    """A mount point cannot be moved to or from: there, files are copied beside their place."""
    dest = small_disk.parent
    (small_disk / "old").mkdir()
    (small_disk / "old/full").touch()
    (small_disk / "file").write_text("old")
    entries = (
        folder(b"small"),
        Entry(
            b"small/file",
            0o640,
            0,
            10**18,
            xattrs={"user.k": b"v"} if sys.platform == "linux" else None,
        ),
        link(b"small/link", b"file"),
        folder(b"small/new", 0o700),
        file(b"small/new/x"),
        file(b"small/old"),
        Entry(b"small/pipe", filemode.FIFO | 0o600, 0, 10**18),
    )
    put(dest, *entries, contents={b"small/file": b"new"})
    assert names(small_disk) == ["file", "link", "new", "new/x", "old", "pipe"]
    assert (small_disk / "file").read_text() == "new"
    assert (small_disk / "file").stat().st_mtime_ns == 10**18
    assert stat.S_IMODE((small_disk / "file").stat().st_mode) == 0o640
    assert (small_disk / "old").is_file()
    put(dest, folder(b"small"), delete=True)
    assert names(small_disk) == []


def test_a_mount_point_in_the_way_is_an_error_that_says_so(small_disk: Path) -> None:
    with pytest.raises(DepotlabError, match="busy"):
        put(small_disk.parent, file(b"small"))
