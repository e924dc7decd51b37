"""Files of any state, read where they are: on the engine, without an export."""

from __future__ import annotations

import hashlib
import itertools
import tracemalloc
from pathlib import Path

import pytest

import depotlab as dl
from depotlab import aio, llb, mount
from depotlab.errors import FileMissing, PathError, StepFailed, UsageError

BASE = llb.image("busybox")
MADE = BASE.run(
    "mkdir -p /d/e; echo hi > /d/x; ln -s x /d/link; ln /d/x /d/twin; ln -s /d /dlink; "
    "ln -s nowhere /d/broken; mkfifo /d/pipe; echo o > '/d/a[b'; chmod 4755 /d/e; echo c > /d/main.conf"
).dir("/d")
BIG = BASE.run(
    "dd if=/dev/zero of=/big bs=1M count=100 2>/dev/null; echo end >> /big; "
    "mkdir /many; cd /many; for i in $(seq 1 10000); do : > file-number-$i; done"
)


def test_a_directory_is_listed_with_all_that_ls_says(bk):
    listing = bk.ls(MADE, "/d")
    assert listing.names == ("a[b", "broken", "e", "link", "main.conf", "pipe", "twin", "x")
    assert "x" in listing
    assert "y" not in listing
    kinds = {file.name: file.kind for file in listing}
    assert (kinds["e"], kinds["link"], kinds["pipe"]) == ("directory", "symlink", "pipe")
    assert listing["link"].link_target == "x"
    assert listing["e"].mode_text == "drwsr-xr-x"
    assert listing["x"].same_as == "/d/twin"
    assert listing["x"].size_bytes == 3


def test_links_to_directories_are_followed_and_names_filtered(bk):
    assert bk.ls(MADE, "/dlink").names == bk.ls(MADE, "/d").names
    assert bk.ls(MADE, "/d", pattern="*.conf").names == ("main.conf",)


def test_relative_paths_start_from_the_working_directory(bk):
    assert bk.read_text(MADE, "x") == "hi\n"
    assert "bin" in bk.ls(MADE)
    assert bk.ls(MADE, "..").path == "/"


def test_one_file_is_described_followed_or_not(bk):
    assert bk.stat(MADE, "/d/link").size_bytes == 3
    assert bk.stat(MADE, "/d/link", follow=False).kind == "symlink"
    assert bk.stat(MADE, "/d/a[b", follow=False).size_bytes == 2
    assert bk.stat(MADE, "/").is_dir


def test_what_exists(bk):
    found = [bk.exists(MADE, path) for path in ("/d/x", "/d", "/d/nope", "/d/broken", "/d/x/y")]
    assert found == [True, True, False, False, False]


def test_a_file_is_read_whole_and_in_ranges(bk):
    assert bk.read(MADE, "/d/x") == b"hi\n"
    assert bk.read(MADE, "/d/link", offset=1, length=1) == b"i"
    assert bk.read(MADE, "/d/x", offset=2, length=100) == b"\n"
    assert bk.read(MADE, "/d/x", offset=50) == b""


@pytest.mark.parametrize(
    ("path", "message", "hint"),
    [
        ("/d/main.config", "There is no /d/main.config", "did you mean /d/main.conf"),
        ("/nope/deep/down", "There is no /nope/deep/down", "/ has bin"),
        ("/d/broken", "points to nowhere", "follow=False"),
        ("/d/e/f", "There is no /d/e/f", "/d/e is empty"),
    ],
)
def test_what_is_missing_is_named_with_what_is_near(bk, path, message, hint):
    with pytest.raises(FileMissing, match=message) as caught:
        bk.read(MADE, path)
    assert hint in caught.value.hint
    assert caught.value.path == path
    assert isinstance(caught.value, FileNotFoundError)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/d", "is a directory"),
        ("/d/pipe", "is a pipe"),  # the daemon would wait for its other end for ever
        ("/d/x/y", "not a directory"),
    ],
)
def test_what_cannot_be_read_is_refused(bk, path, message):
    with pytest.raises(PathError, match=message):
        bk.read(MADE, path)


def test_a_file_is_no_directory(bk):
    with pytest.raises(PathError, match="not a directory"):
        bk.ls(MADE, "/d/x")


def test_the_empty_state_has_no_files(bk):
    nothing = llb.scratch()
    assert len(bk.ls(nothing)) == 0
    assert bk.tree(nothing).children == ()
    assert bk.du(nothing).total_bytes == 0
    assert not bk.exists(nothing, "/x")
    with pytest.raises(FileMissing, match="the state is empty"):
        bk.read(nothing, "/x")


def test_files_are_found_by_name_and_by_path(bk):
    assert bk.find(MADE, "*.conf").paths == ("/d/main.conf",)
    assert bk.find(MADE, "d/**/x").paths == ("/d/x",)
    assert bk.find(MADE, "*", "/d", kind="symlink").names == ("broken", "link")


def test_a_tree_has_as_many_levels_as_asked(bk):
    tree = bk.tree(MADE, "/", depth=1)
    assert {node.info.name for node in tree} >= {"bin", "d"}
    assert all(node.children is None for node in tree)
    deeper = bk.tree(MADE, "/", depth=2)
    inside = next(node for node in deeper if node.info.name == "d")
    assert [node.info.name for node in inside][:2] == ["a[b", "broken"]


def test_sizes_count_what_is_below_and_hard_links_once(bk):
    sizes = bk.du(MADE)
    by_name = {entry.info.name: entry for entry in sizes}
    assert by_name["d"].size_bytes == 3 + 2 + 2
    assert by_name["bin"].size_bytes > 100_000
    assert sizes.total_bytes == sum(entry.size_bytes for entry in sizes)
    assert bk.du(MADE, "/d/x").total_bytes == 3


def test_a_hundred_megabytes_are_read_in_bounded_memory(bk):
    bk.ls(BIG)
    tracemalloc.start()
    digest, n_bytes = hashlib.sha256(), 0
    for piece in bk.read_chunks(BIG, "/big"):
        digest.update(piece)
        n_bytes += len(piece)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    expected = hashlib.sha256(bytes(100 << 20) + b"end\n")
    assert n_bytes == (100 << 20) + 4
    assert digest.digest() == expected.digest()
    assert peak < 24 << 20


def test_a_loop_over_pieces_can_be_left_and_begun_again(bk):
    pieces = bk.read_chunks(BIG, "/big", offset=(100 << 20) - 2, length=5, chunk_bytes=2)
    assert list(pieces) == [b"\0\0", b"en", b"d"]
    assert list(itertools.islice(pieces, 1)) == [b"\0\0"]
    assert b"".join(pieces) == b"\0\0end"


def test_ten_thousand_entries_are_listed(bk):
    listing = bk.ls(BIG, "/many")
    assert len(listing) == 10_000
    assert "file-number-7777" in listing


def test_a_local_directory_is_never_stale(bk, tmp_path):
    (tmp_path / "a").write_text("one")
    source = llb.local(tmp_path)
    assert bk.ls(source).names == ("a",)
    (tmp_path / "a").write_text("two")
    (tmp_path / "b").write_text("")
    assert bk.ls(source).names == ("a", "b")
    assert bk.read_text(source, "a") == "two"


def test_what_a_mount_became_is_looked_at(bk):
    made = BASE.run("echo kept > /out/f", mounts=[mount.bind("/out", llb.scratch())])
    assert bk.read_text(made.mounted("/out"), "/f") == "kept\n"


def test_a_dockerfile_is_looked_at_with_its_working_directory(bk, tmp_path):
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox AS one\nWORKDIR /w\nCOPY a .\nRUN echo made > made\n"
        "FROM one AS two\nRUN rm made\n"
    )
    (tmp_path / "a").write_text("one")
    assert bk.ls(dl.dockerfile(tmp_path, target="one"), ".").names == ("a", "made")
    target = dl.dockerfile(tmp_path)
    assert bk.ls(target, ".").names == ("a",)
    (tmp_path / "a").write_text("two")
    assert bk.read_text(target, "a") == "two"


def test_a_dockerfile_as_text_stays_open_between_two_looks(bk):
    target = dl.dockerfile(text="FROM busybox\nRUN echo 1 > /one\n")
    assert bk.read(target, "/one") == b"1\n"
    assert bk.exists(target, "/one")


def test_steps_of_a_finished_build_are_looked_at(bk, tmp_path):
    (tmp_path / "f").write_text("1")
    app = BASE.copy(llb.local(tmp_path), ".", "/src/").run("echo a > /one", name="first")
    result = bk.build(app.run("echo b > /two; rm /one", name="second"), progress="quiet")
    assert bk.read_text(result.at("first"), "/one") == "a\n"
    assert not bk.exists(result.at("second"), "/one")
    assert bk.ls(result.at("first"), "/src").names == ("f",)
    by_name = {step.name: step for step in result.steps}
    assert bk.exists(by_name["second"], "/two")


def test_steps_of_a_dockerfile_are_looked_at_by_name(bk, tmp_path):
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox\nCOPY f /f\nRUN echo a > /one\nRUN rm /one /f\n"
    )
    (tmp_path / "f").write_text("1")
    result = bk.build(dl.dockerfile(tmp_path), progress="quiet")
    assert bk.read_text(result.at("RUN echo a"), "/one") == "a\n"
    assert not bk.exists(result.at("RUN rm"), "/one")
    with pytest.raises(UsageError, match="no step"):
        bk.ls(result.at("load build definition"))


def test_a_step_that_fails_says_so_with_its_output(bk):
    with pytest.raises(StepFailed) as caught:
        bk.ls(BASE.run("echo why; exit 4"))
    assert caught.value.exit_code == 4
    assert caught.value.log_tail == ("why",)
    assert Path(caught.value.cell.filename).name == Path(__file__).name


def test_a_wrong_argument_is_refused_before_anything_is_sent(bk):
    for call, message in (
        (lambda: bk.ls("busybox"), r"ls\(\) cannot look into 'busybox'"),
        (lambda: bk.ls(BASE, 3), "path=3"),
        (lambda: bk.ls(BASE, platfrom="x"), "does not know platfrom="),
        (lambda: bk.find(BASE, kind="folder"), "kind='folder'"),
        (lambda: bk.tree(BASE, depth=0), "depth=0"),
        (lambda: bk.read(BASE, "/x", offset=-1), "offset=-1"),
    ):
        with pytest.raises(UsageError, match=message):
            call()


async def _awaited(address):
    async with await aio.connect(address) as bk:
        assert (await bk.read_text(MADE, "/d/x")) == "hi\n"
        pieces = [piece async for piece in bk.read_chunks(MADE, "/d/x", chunk_bytes=2)]
        assert pieces == [b"hi", b"\n"]
        return await bk.ls(MADE, "/d")


def test_the_awaitable_face_sees_the_same(bk, engine):
    import asyncio

    assert asyncio.run(_awaited(engine.address)) == bk.ls(MADE, "/d")
