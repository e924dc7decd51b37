"""Counting a tree while it is walked."""

from __future__ import annotations

import random
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from depotlab._contexts.survey import Branch, Count, Survey
from depotlab._transfer import MemoryTree, TreeFilter

Files = dict[str, tuple[int, bool]]


def survey(files: Files) -> tuple[Survey, Branch]:
    """Feed files with their size and whether they are kept; directories are kept."""
    found = Survey()
    open_dirs = [b""]
    for path, (n_bytes, keeps) in sorted(files.items(), key=lambda item: item[0].split("/")):
        raw = path.encode()
        above = raw.rpartition(b"/")[0]
        while open_dirs[-1] and not (above + b"/").startswith(open_dirs[-1] + b"/"):
            found.leave()
            open_dirs.pop()
        parts = above.split(b"/") if above else []
        for depth in range(len(open_dirs), len(parts) + 1):
            open_dirs.append(b"/".join(parts[:depth]))
            found.enter(open_dirs[-1], keeps=False)
        found.file(raw, n_bytes, keeps=keeps)
    for _ in open_dirs[1:]:
        found.leave()
    return found, found.finish()


paths = st.lists(st.sampled_from("abcd"), min_size=1, max_size=4).map(
    lambda parts: "/".join(parts) + "/f"
)


@given(st.dictionaries(paths, st.tuples(st.integers(0, 1000), st.booleans()), max_size=40))
def test_counts_are_those_of_the_files(files: Files) -> None:
    _, top = survey(files)
    kept = [n for n, keeps in files.values() if keeps]
    dropped = [n for n, keeps in files.values() if not keeps]
    directories = {path[:at] for path in files for at, char in enumerate(path) if char == "/"}
    sent = {
        path[:at]
        for path, (_, keeps) in files.items()
        if keeps
        for at, c in enumerate(path)
        if c == "/"
    }
    assert top.kept == Count(len(kept), len(sent), sum(kept))
    assert top.dropped == Count(len(dropped), len(directories - sent), sum(dropped))


@given(st.dictionaries(paths, st.tuples(st.integers(0, 1000), st.booleans()), max_size=40))
def test_what_is_shown_and_what_is_summed_up_make_the_whole(files: Files) -> None:
    _, top = survey(files)
    todo = [top]
    while todo:
        branch = todo.pop()
        if not branch.is_directory:
            continue
        kept, dropped = branch.more, branch.more_dropped
        for child in branch.children:
            itself = Count(0, int(child.is_directory), 0)
            kept += child.kept + (itself if child.is_sent else Count())
            dropped += child.dropped + (Count() if child.is_sent else itself)
        assert (kept, dropped) == (branch.kept, branch.dropped)
        todo += branch.children


def test_the_biggest_are_named() -> None:
    files = {f"d{n}/f{m}": (n * 100 + m, True) for n in range(30) for m in range(30)}
    found, top = survey(files)
    assert found.biggest_files[:2] == [(b"d29/f29", 2929), (b"d29/f28", 2928)]
    assert found.biggest_directories[0] == (b"d29", sum(2900 + m for m in range(30)))
    assert [child.name for child in top.children[:2]] == [b"d29", b"d28"]
    assert top.children[0].kept.n_files == 30


def test_of_directories_in_each_other_the_one_that_holds_the_files_is_named() -> None:
    found, _ = survey({"a/b/c/big": (1000, True), "a/small": (10, True), "x/y": (500, True)})
    assert found.biggest_directories == [(b"a/b/c", 1000), (b"x", 500)]


def test_memory_does_not_grow_with_the_tree() -> None:
    rng = random.Random(1)
    found = Survey()
    for n in range(300):
        found.enter(b"%d" % n, keeps=True)
        for m in range(20):
            found.enter(b"%d/%d" % (n, m), keeps=True)
            for k in range(20):
                found.file(b"%d/%d/%d" % (n, m, k), rng.randrange(10**6), keeps=k % 3 > 0)
            found.leave()
        found.leave()
    top = found.finish()
    assert top.kept.n_files + top.dropped.n_files == 300 * 20 * 20
    assert top.n_branches <= 500


def test_a_chain_of_two_thousand_directories_is_no_trouble() -> None:
    found = Survey()
    path = b""
    for _ in range(2000):
        path = path + b"/d" if path else b"d"
        found.enter(path, keeps=True)
    found.file(path + b"/f", 5, keeps=True)
    for _ in range(2000):
        found.leave()
    top = found.finish()
    assert top.kept == Count(1, 2000, 5)
    assert top.n_branches <= 500


def test_a_walk_and_a_survey_agree(tmp_path: Path) -> None:
    from depotlab._contexts import context

    files = {"a/b/c.txt": "123", "a/d.txt": "1", "e.log": "12345"}
    preview = context(files, exclude=["*.log"]).preview()
    entries = list(MemoryTree(files).walk(TreeFilter([], ["*.log"])))
    assert preview.kept == Count(2, 2, sum(e.size_bytes for e in entries))
    assert preview.dropped == Count(1, 0, 5)
