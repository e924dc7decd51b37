"""File actions: what a COPY user expects by default, and chains in one op."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import PurePosixPath

import pytest

from depotlab import llb
from depotlab.errors import GraphError

from .support import actions, last_op, messages

ALPINE = llb.image("alpine")
SRC = llb.local("/src", name="src")


def test_copy_behaves_as_a_dockerfile_copy_by_default() -> None:
    (copy,) = actions(ALPINE.dir("/app").copy(SRC, "pkg", "lib/"))
    assert (copy.src, copy.dest, copy.mode, copy.timestamp) == ("/pkg", "/app/lib/", -1, -1)
    assert copy.followSymlink
    assert copy.dirCopyContents
    assert copy.createDestPath
    assert copy.allowWildcard
    assert not copy.allowEmptyWildcard
    assert not copy.attemptUnpackDockerCompatibility
    assert not copy.alwaysReplaceExistingDestPaths


@pytest.mark.parametrize("dest", [".", "", "./"])
def test_copy_to_the_working_directory_puts_files_into_it(dest: str) -> None:
    (copy,) = actions(ALPINE.dir("/app").copy(SRC, "pyproject.toml", dest))
    assert copy.dest == "/app/"


def test_copy_with_dot_is_dir_off_reads_a_dot_as_the_go_client_does() -> None:
    (copy,) = actions(ALPINE.dir("/app").copy(SRC, "pyproject.toml", ".", dot_is_dir=False))
    assert copy.dest == "/app"


def test_copy_of_several_paths_is_one_op() -> None:
    state = ALPINE.copy(SRC, "a", "b", "/dest/")
    assert [(copy.src, copy.dest) for copy in actions(state)] == [
        ("/a", "/dest/"),
        ("/b", "/dest/"),
    ]
    assert len(messages(state)) == 3


def test_copy_from_none_copies_within_the_state() -> None:
    state = ALPINE.dir("/w").copy(None, "a", "b")
    assert [copy.src for copy in actions(state)] == ["/w/a"]
    assert len(last_op(state).inputs) == 1


def test_copy_sources_start_at_the_directory_of_their_state() -> None:
    (copy,) = actions(ALPINE.copy(llb.image("busybox").dir("/out"), "app", "/app"))
    assert copy.src == "/out/app"


def test_copy_takes_options_of_the_op_too() -> None:
    state = ALPINE.copy(SRC, "a", "/a", mode=0o600, name="the name", ignore_cache=True)
    assert state.marshal().ops[-2].name == "the name"
    assert actions(state)[0].mode == 0o600


def test_copy_mode_in_words_is_passed_on() -> None:
    (copy,) = actions(ALPINE.copy(SRC, "a", "/a", mode="u=rwX,go=rX"))
    assert (copy.mode, copy.modeStr) == (0, "u=rwX,go=rX")


def test_guest_paths_may_be_path_objects() -> None:
    state = ALPINE.dir(PurePosixPath("/w")).mkdir(PurePosixPath("a") / "b")
    assert actions(state)[0].path == "/w/a/b"


def test_each_method_makes_one_op_and_file_makes_one_of_many() -> None:
    apart = ALPINE.mkdir("/a").mkfile("/a/f", "x").rm("/b").symlink("/c", "/d")
    together = ALPINE.file(
        llb.mkdir("/a"), llb.mkfile("/a/f", "x"), llb.rm("/b"), llb.symlink("/c", "/d")
    )
    assert len(messages(apart)) == 5
    assert len(messages(together)) == 2
    assert len(actions(together)) == 4


def test_chains_and_single_actions_may_be_mixed() -> None:
    chain = llb.mkdir("/a").mkfile("/a/f", "x")
    assert ALPINE.file(chain, llb.rm("/b")) == ALPINE.file(
        llb.mkdir("/a"), llb.mkfile("/a/f", "x").rm("/b")
    )


def test_a_chain_is_a_value() -> None:
    start = llb.mkdir("/a")
    first, second = start.mkfile("/a/1", "1"), start.mkfile("/a/2", "2")
    assert start == llb.mkdir("/a")
    assert first != second
    assert hash(first) == hash(llb.mkdir("/a").mkfile("/a/1", "1"))
    assert repr(first) == "FileAction(mkdir /a, mkfile /a/1)"


@pytest.mark.parametrize(
    ("owner", "user", "group"),
    [
        ("root", 0, None),
        ("1000", 1000, None),
        ("1000:50", 1000, 50),
        ("app", "app", None),
        ("app:staff", "app", "staff"),
        ("app:0", "app", 0),
        (7, 7, None),
        ((7, 8), 7, 8),
    ],
)
def test_owners(owner: object, user: object, group: object) -> None:
    def half(message: object) -> object:
        kind = message.WhichOneof("user")
        return message.byID if kind == "byID" else message.byName.name

    (action,) = actions(ALPINE.mkdir("/a", owner=owner))
    assert half(action.owner.user) == user
    assert action.owner.HasField("group") == (group is not None)
    if group is not None:
        assert half(action.owner.group) == group


@pytest.mark.parametrize(
    ("instant", "expected_ns"),
    [
        (None, -1),
        (datetime(1970, 1, 1, tzinfo=UTC), 0),
        (datetime(2021, 2, 3, 4, 5, 6, 7, tzinfo=UTC), 1612325106000007000),
        (datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))), 0),
        (datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC), -1_000_000_000),
        (5, 5),
    ],
)
def test_created_times_are_exact(instant: object, expected_ns: int) -> None:
    assert actions(ALPINE.mkfile("/a", created_at=instant))[0].timestamp == expected_ns


def test_data_may_be_text_or_bytes() -> None:
    assert actions(ALPINE.mkfile("/a", "é"))[0].data == "é".encode()
    assert actions(ALPINE.mkfile("/a", b"\xff\x00"))[0].data == b"\xff\x00"
    assert actions(ALPINE.mkfile("/a", bytearray(b"x")))[0].data == b"x"


def test_an_action_bound_twice_to_one_state_is_done_once() -> None:
    made = llb.mkfile("/f", "x").on(llb.scratch())
    state = ALPINE.file(llb.copy(made, "/f", "/1"), llb.copy(made, "/f", "/2"))
    assert len(actions(state)) == 3


def test_actions_bound_to_bound_actions() -> None:
    inner = llb.mkfile("f", "x").on(llb.scratch().dir("/in"))
    middle = llb.copy(inner, "f", "g").on(llb.scratch().dir("/mid"))
    state = ALPINE.file(llb.copy(middle, "g", "/h"))
    assert [getattr(a, "dest", a.path if hasattr(a, "path") else "") for a in actions(state)] == [
        "/in/f",
        "/mid/g",
        "/h",
    ]


def test_copy_with_one_path_says_what_is_missing() -> None:
    with pytest.raises(GraphError, match="source path and a destination"):
        ALPINE.copy(SRC, "a")
