"""What is listed, left out and read from ignore files, against the Go packages that BuildKit uses."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from depotlab._transfer import (
    BadPattern,
    HostTree,
    Matcher,
    TreeFilter,
    make_filter,
    read_rules,
    resolve,
)
from depotlab.errors import SessionError
from tests.conftest import unavailable
from tests.support import treecases
from tests.support.gomatch import GoUnavailable, ask, from_wire, to_wire
from tests.support.nobody import nobodys_directory


@pytest.fixture
def go():
    try:
        ask()
    except GoUnavailable as error:
        unavailable(str(error))
    return ask


def wire(texts: list[str] | None) -> list[str] | None:
    return list(map(to_wire, texts)) if texts else None


def rows(tree: HostTree, include: list[str], exclude: list[str], follow: list[str] | None):
    """Every field of every entry that we would list; None if a pattern is refused."""
    try:
        followed = resolve(tree, follow) if follow else None
        entries = list(filter(None, tree.walk(make_filter(include, exclude, followed))))
    except BadPattern:
        return None
    return [
        (
            e.path, e.mode, e.size_bytes, e.modified_ns, e.link, e.device or (0, 0),
            tuple(sorted((e.xattrs or {}).items())),
        )
        for e in entries
    ]  # fmt: skip


def go_rows(answer):
    if answer["error"]:
        return None
    return [
        (
            from_wire(e["path"]), e["mode"], e["size"], e["modified_ns"], from_wire(e["link"]),
            (e["devmajor"], e["devminor"]),
            tuple(sorted((name, from_wire(text)) for name, text in e.get("xattrs", {}).items())),
        )
        for e in answer["entries"]
    ]  # fmt: skip


def may_differ(include, exclude, follow, ours, theirs) -> bool:
    """Whether this is one of the two differences that we want.

    We follow a link again where Go forgets what comes after it, so we may list more (_transfer/follow.py); and
    we do not walk where nothing can match, so we may not come upon a pattern that Go refuses.
    """
    if follow and ours is not None and {*(theirs or [])} < {*ours}:
        return True
    rules = [*Matcher(include).patterns, *Matcher(exclude).patterns]
    return theirs is None and not all(rule.usable for rule in rules)


def test_random_patterns_mean_what_they_mean_in_go(go) -> None:
    rng = random.Random(1)
    cases = [treecases.match_case(rng, odd=n % 2 == 1) for n in range(800)]
    answers = go(match=[{key: list(map(to_wire, c[key])) for key in c} for c in cases])["match"]
    different = []
    for case, answer in zip(cases, answers, strict=True):
        ours = ""
        try:
            matcher = Matcher(case["patterns"])
        except BadPattern:
            ours = "refused"
        else:
            for path in case["paths"]:
                try:
                    ours += "1" if matcher.match_from_top(path) else "0"
                except BadPattern:
                    ours += "e"
        if ours != ("refused" if answer["refused"] else answer["walking"]):
            different.append((case, ours, answer))
    assert different == []


Case = tuple[Path, list[str], list[str], list[str] | None]
"""A tree, its include and exclude patterns, and its follow-paths."""


def differences(go, cases: list[Case]) -> list[object]:
    """Return the cases that are listed otherwise than in Go."""
    questions = [
        {"root": str(root), "include": wire(i), "exclude": wire(e), "follow": wire(f)}
        for root, i, e, f in cases
    ]
    found: list[object] = []
    for case, answer in zip(cases, go(walk=questions)["walk"], strict=True):
        ours, theirs = rows(HostTree(case[0]), *case[1:]), go_rows(answer)
        if ours != theirs and not may_differ(*case[1:], ours, theirs):
            found.append((case, ours, theirs))
    return found


def test_random_trees_are_listed_as_go_lists_them(go, tmp_path: Path) -> None:
    """Every field of every entry, for random trees, filters and follow-paths."""
    rng = random.Random(1)
    cases: list[Case] = []
    for n in range(300):
        root = tmp_path / str(n)
        root.mkdir()
        listing = treecases.tree_listing(rng)
        treecases.make_tree(root, listing)
        include = treecases.patterns(rng, odd=False) if n % 6 in (1, 2) else []
        exclude = treecases.patterns(rng, odd=n % 6 == 2) if n % 6 in (0, 2, 4) else []
        follow = treecases.follow_paths(rng, listing) if n % 6 >= 3 else None
        cases.append((root, include, exclude, follow))
    assert differences(go, cases) == []


@pytest.mark.parametrize("seed", range(2))
def test_rules_that_are_aimed_at_a_tree_leave_out_what_they_leave_out_in_go(
    go, seed: int, tmp_path: Path
) -> None:
    """Directories left out with things in them taken back, links as parents, wildcards, odd names, second names."""
    rng = random.Random(f"aimed {seed}")
    cases: list[Case] = []
    n_left_out = n_taken_back = 0
    for number in range(250):
        root = tmp_path / str(number)
        root.mkdir()
        listing = treecases.tree_listing(rng)
        treecases.make_tree(root, listing)
        include = treecases.aimed_patterns(rng, listing) if number % 3 == 0 else []
        exclude = treecases.aimed_patterns(rng, listing) if number % 3 != 2 else []
        follow = treecases.follow_paths(rng, listing)[:1] if number % 3 == 2 else None
        cases.append((root, include, exclude, follow))
        ours = rows(HostTree(root), include, exclude, follow) or []
        n_left_out += len(list(root.rglob("*"))) > len(ours)
        n_taken_back += any(p.startswith("!") for p in exclude) and bool(ours)
    assert differences(go, cases) == []
    assert n_left_out > 100  # they are aimed well
    assert n_taken_back > 50


def test_everything_that_a_file_system_has_is_listed_as_in_go(go, tmp_path: Path) -> None:
    treecases.make_special_tree(tmp_path, devices=os.geteuid() == 0)
    filters: list[tuple[list[str], list[str], list[str] | None]] = [
        ([], [], None),
        ([], ["a-first-name"], None),  # the second name of the file becomes its first
        ([], ["a-first-name", "d", "!d/up"], None),
        (["d/**", "pipe-*"], [], None),
        ([], [], ["loop/d/run"]),
        ([], [], ["d/up/*"]),
        ([], [], ["loop/outside"]),
    ]
    assert differences(go, [(tmp_path, *one) for one in filters]) == []


@pytest.fixture
def nobodys_tree() -> Iterator[Path]:
    with nobodys_directory() as root:
        yield root


def test_directories_that_may_not_be_read_stop_us_where_they_stop_go(
    go, nobodys_tree: Path
) -> None:
    (nobodys_tree / "a").touch()
    (nobodys_tree / "locked").mkdir(mode=0)
    (nobodys_tree / "z").touch()
    cases = [(["locked"], True), (["*", "!locked/x"], True), ([], False), (["z"], False)]
    questions = [{"root": str(nobodys_tree), "exclude": wire(exclude)} for exclude, _ in cases]
    for (exclude, works), answer in zip(cases, go(walk=questions)["walk"], strict=True):
        assert (answer["error"] == "") is works, exclude
        if works:
            assert rows(HostTree(nobodys_tree), [], exclude, None) == go_rows(answer)
        else:
            with pytest.raises(SessionError, match="permission denied"):
                rows(HostTree(nobodys_tree), [], exclude, None)


def test_ignore_files_are_read_as_in_go(go) -> None:
    rng = random.Random("ignore files")
    texts = [treecases.ignore_file(rng) for _ in range(2000)]
    texts += [
        "x" * 65535 + "\ny",
        "x" * 65536 + "\ny",
        "x" * 65535,
        "x" * 65536,
        "x" * 65534 + "\r\n",
    ]
    different = []
    for text, answer in zip(texts, go(ignore=list(map(to_wire, texts)))["ignore"], strict=True):
        theirs = answer["patterns"]
        try:
            content = text.encode("utf-8", "surrogateescape")
            ours = [to_wire(rule.pattern) for rule in read_rules(content, "x")]
        except BadPattern:
            ours = None
        if ours != theirs and not (ours == [] and theirs is None):  # Go has no empty list
            different.append((text, ours, theirs))
    assert different == []


def test_a_verdict_is_what_a_walk_does(tmp_path: Path) -> None:
    """Not only the listing but the explanation of it: `explain` keeps what the walk keeps."""
    rng = random.Random("explain")
    for number in range(150):
        root = tmp_path / str(number)
        root.mkdir()
        listing = treecases.tree_listing(rng)
        treecases.make_tree(root, listing)
        include = treecases.aimed_patterns(rng, listing) if number % 2 else []
        exclude = treecases.aimed_patterns(rng, listing)
        wanted = TreeFilter([p for p in include if not p.startswith("!")], exclude)
        sent = {e.path for e in filter(None, HostTree(root).walk(wanted)) if e.mode < 1 << 31}
        for line in listing:
            path = line.split(" -> ")[0].split(" = ")[0]
            if not path.endswith("/"):
                kept = wanted.explain(path).keeps
                assert kept is (path.encode("utf-8", "surrogateescape") in sent), (
                    path,
                    include,
                    exclude,
                )
        shutil.rmtree(root)
