"""What is sent of a tree, against what the Go walk sends (see test_patterns.py)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from depotlab._transfer import (
    HostTree,
    MemoryTree,
    Tree,
    TreeFilter,
    Verdict,
    make_filter,
    resolve,
)
from depotlab._transfer.patterns import BadPattern
from tests.support import treecases
from tests.support.gomatch import from_wire, to_wire

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "patterns-go.json").read_text())


def texts(wire: list[str] | None) -> list[str]:
    return [from_wire(one).decode("utf-8", "surrogateescape") for one in wire or []]


def sent(
    tree: Tree, include: list[str], exclude: list[str], follow: list[str] | None = None
) -> list[str]:
    followed = resolve(tree, follow) if follow else None
    out = []
    for entry in filter(None, tree.walk(make_filter(include, exclude, followed))):
        line = to_wire(entry.path.decode("utf-8", "surrogateescape"))
        if entry.link:
            line += (" -> " if entry.mode & 1 << 27 else " = ") + entry.link.decode("latin-1")
        out.append(line)
    return out


def test_filtered_trees_are_sent_as_in_go(tmp_path: Path) -> None:
    different = []
    for index, case in enumerate(GOLDEN["walk"]):
        root = tmp_path / str(index)
        root.mkdir()
        treecases.make_tree(root, texts(case["tree"]))
        args = texts(case["include"]), texts(case["exclude"]), texts(case["follow"])
        ours: list[str] | str
        try:
            ours = sent(HostTree(root), *args)
        except BadPattern:
            ours = "refused"
        if ours != ("refused" if case["error"] else case["sent"]):
            different.append((case, ours))
    assert different == []


TREE = MemoryTree(
    dict.fromkeys(
        ["Dockerfile", "app/main.py", "app/tests/a.py", "docs/index.md", "docs/old/b.md", "x.log"],
        "",
    )
)


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        pytest.param([], ["docs", "*.log"], "Dockerfile app app/main.py app/tests app/tests/a.py",
                     id="what is excluded is not sent, nor anything in it"),
        pytest.param(["app/tests/a.py"], [], "app app/tests app/tests/a.py",
                     id="directories on the way to what is wanted are sent before it"),
        pytest.param(["**/*.md"], [], "docs docs/index.md docs/old docs/old/b.md",
                     id="directories in which nothing is wanted are not sent"),
        pytest.param([], ["docs", "!docs/old/b.md", "app", "*.log"],
                     "Dockerfile docs docs/old docs/old/b.md",
                     id="an excluded directory is walked for what is taken back"),
        pytest.param(["docs"], ["docs/old"], "docs docs/index.md",
                     id="first include, then exclude"),
        pytest.param([" "], [], "", id="include patterns that are all blank let nothing through"),
        pytest.param(["nothing"], [], "", id="nothing matches"),
    ],
)  # fmt: skip
def test_filters(include: list[str], exclude: list[str], expected: str) -> None:
    assert " ".join(sent(TREE, include, exclude)) == expected


def test_directories_that_cannot_lead_to_anything_wanted_are_not_walked() -> None:
    wanted = make_filter(["app/*"], [], None)
    assert wanted.judge("docs", wanted.top, is_dir=True)[:2] == (False, False)
    assert wanted.judge("app", wanted.top, is_dir=True)[:2] == (False, True)
    wanted = make_filter(["*.py", "a?/b*/c", "a?/b*/d/**"], [], None)
    for path, enter in {"docs": False, "ab": True, "ab/b": True, "ab/x": False, "ab/b/d": True,
                        "ab/b/x": False, "x.py": True}.items():  # fmt: skip
        assert wanted.judge(path, wanted.top, is_dir=True)[1] is enter
    for anywhere in ("**/x", "a/[bc]/d", "a\\*/b", "a|b/c*", "a/x{2}/y*"):
        wanted = make_filter([anywhere], [], None)
        assert wanted.judge("docs", wanted.top, is_dir=True)[:2] == (False, True)
    for named in ("a|b/c", "a|b/*", "a{1}/**"):  # odd, but Go goes by the names in them
        wanted = make_filter([named], [], None)
        assert wanted.judge("docs", wanted.top, is_dir=True)[:2] == (False, False)
        assert wanted.judge(named.partition("/")[0], wanted.top, is_dir=True)[1] is True
    wanted = make_filter([], ["docs", "!docs/old/**"], None)
    keep, enter, inherited = wanted.judge("docs", wanted.top, is_dir=True)
    assert (keep, enter) == (False, True)
    assert wanted.judge("docs/other", inherited, is_dir=True)[:2] == (False, False)
    assert wanted.judge("docs/old", inherited, is_dir=True)[:2] == (False, True)


def kept(tree: Tree, wanted: TreeFilter) -> str:
    return " ".join(entry.path.decode() for entry in tree.walk(wanted) if entry is not None)


def test_what_is_offered_and_what_is_asked_for_have_to_agree() -> None:
    offered = TreeFilter(["app", "docs", "x.log"], ["**/old"])
    asked = TreeFilter([], ["docs/index.md", "*.log"])
    assert kept(TREE, asked.within(offered)) == "app app/main.py app/tests app/tests/a.py docs"
    assert asked.within(None) is asked
    assert asked.within(TreeFilter()) is asked
    assert TreeFilter().within(offered) is offered


def test_a_directory_on_the_way_is_sent_only_if_both_want_what_is_below() -> None:
    offered = TreeFilter(["**/*.py"])
    assert kept(TREE, TreeFilter(["app/tests"]).within(offered)) == "app app/tests app/tests/a.py"
    assert kept(TREE, TreeFilter(["docs"]).within(offered)) == ""
    # In either order.
    assert kept(TREE, offered.within(TreeFilter(["docs"]))) == ""


def test_trees_send_no_more_than_they_offer(tmp_path: Path) -> None:
    for name in ("app/main.py", "app/data.csv", "docs/a.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    offered = TreeFilter([], ["docs", "*.csv", "**/*.csv"])
    everything = TreeFilter()
    assert kept(HostTree(tmp_path, offered=offered), everything) == "app app/main.py"
    files = {"app/main.py": "", "app/data.csv": "", "docs/a.md": ""}
    assert kept(MemoryTree(files, offered=offered), everything) == "app app/main.py"
    assert not HostTree(tmp_path, offered=offered).offers_all
    assert HostTree(tmp_path).offers_all


@pytest.mark.parametrize(
    ("include", "exclude", "path", "verdict"),
    [
        pytest.param([], [], "a/b", Verdict(True, "", None, "a/b"), id="nothing speaks of it"),
        pytest.param([], ["x", "a"], "a/b/c", Verdict(False, "exclude", 1, "a"),
                     id="a directory above it is left out"),
        pytest.param([], ["*.log", "!keep.log"], "keep.log", Verdict(True, "exclude", 1, "keep.log"),
                     id="the last rule that holds counts"),
        pytest.param([], ["*.log", "!keep.log", "*.log"], "keep.log", Verdict(False, "exclude", 2, "keep.log"),
                     id="and a later one undoes it"),
        pytest.param([], ["a", "!a/b"], "a/b/c", Verdict(True, "exclude", 1, "a/b"),
                     id="taken back below a directory that is left out"),
        pytest.param([], ["a", "!a/b"], "a/c/d", Verdict(False, "exclude", 0, "a"),
                     id="left out beside what is taken back"),
        pytest.param(["a"], [], "b/c", Verdict(False, "include", None, "b"), id="nothing includes it"),
        pytest.param(["a", "a/b"], [], "a/b/c", Verdict(True, "include", 0, "a"), id="included from above"),
        pytest.param(["a"], ["a/b"], "a/b", Verdict(False, "exclude", 0, "a/b"), id="first include, then exclude"),
    ],
)  # fmt: skip
def test_a_verdict_names_the_rule_that_decides(
    include: list[str], exclude: list[str], path: str, verdict: Verdict
) -> None:
    assert TreeFilter(include, exclude).explain(path) == verdict


def test_of_two_filters_the_one_that_drops_gives_the_verdict() -> None:
    both = TreeFilter([], ["b"]).within(TreeFilter([], ["a"]))
    assert both.explain("a/x") == Verdict(False, "exclude", 0, "a")
    assert both.explain("b/x") == Verdict(False, "exclude", 0, "b")
    assert both.explain("c/x").keeps
