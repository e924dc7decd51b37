from __future__ import annotations

import pytest

from depotlab._transfer import MemoryTree, TreeFilter, filemode
from depotlab.errors import ContextError

ALL = TreeFilter()


def test_directories_follow_from_paths_and_come_before_what_is_in_them() -> None:
    tree = MemoryTree({"a/b/c": "1", "a.txt": b"22", "a-b": "é"})
    assert [(e.path, e.mode & filemode.DIR > 0, e.size_bytes) for e in tree.walk(ALL)] == [
        (b"a", True, 0), (b"a/b", True, 0), (b"a/b/c", False, 1), (b"a-b", False, 2), (b"a.txt", False, 2),
    ]  # fmt: skip
    assert tree.open(b"a.txt").read(1, 10) == b"2"
    assert tree.names(".") == ["a", "a-b", "a.txt"]
    assert tree.names("a/b") == ["c"]
    assert tree.target("a") is None


def test_the_time_of_a_file_tells_its_content() -> None:
    def time(content: str) -> int:
        (entry,) = MemoryTree({"f": content}).walk(ALL)
        return entry.modified_ns

    assert time("same") == time("same")
    assert len({time(f"{n:04}") for n in range(1000)}) == 1000
    assert all(1_577_836_800 <= time(str(n)) // 10**9 < 1_609_459_200 for n in range(100))


@pytest.mark.parametrize("name", ["/a", "a//b", "../a", "..", ".", "", "a/", ".fsutil-metadata"])
def test_paths_that_no_file_of_a_context_can_have(name: str) -> None:
    with pytest.raises(ContextError) as caught:
        MemoryTree({name: ""})
    assert caught.value.path == name


def test_a_file_cannot_be_a_directory_too() -> None:
    with pytest.raises(ContextError, match="at once"):
        MemoryTree({"a": "", "a/b": ""})


def test_names_may_start_with_two_dots() -> None:
    assert [entry.path for entry in MemoryTree({"..a": ""}).walk(ALL)] == [b"..a"]


def test_files_may_have_permissions_of_their_own() -> None:
    tree = MemoryTree({"run": "#!/bin/sh", "data": ""}, modes={"run": 0o755})
    assert {e.path: e.mode for e in tree.walk(TreeFilter())} == {b"run": 0o755, b"data": 0o644}
