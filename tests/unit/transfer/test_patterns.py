"""Patterns mean what the Go matcher says they mean.

The golden file was written by `python -m tests.support.gomatch`; an integration test asks the Go
packages again, with other random cases.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depotlab._transfer import paths
from depotlab._transfer.goregex import translate
from depotlab._transfer.patterns import BadPattern, Matcher
from tests.support import treecases
from tests.support.gomatch import from_wire

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "patterns-go.json").read_text())


def text(wire: str) -> str:
    return from_wire(wire).decode("utf-8", "surrogateescape")


def answers(matcher: Matcher, names: Iterable[str]) -> str:
    out = ""
    for name in names:
        try:
            out += "1" if matcher.match_from_top(name) else "0"
        except BadPattern:
            out += "e"
    return out


def test_lists_of_patterns_match_what_they_match_in_go() -> None:
    different = []
    for case in GOLDEN["match"]:
        try:
            matcher = Matcher(map(text, case["patterns"]))
        except BadPattern:
            ours = "refused"
        else:
            ours = answers(matcher, map(text, case["paths"]))
        if ours != ("refused" if case["refused"] else case["walking"]):
            different.append((case, ours))
    assert different == []


def test_file_name_patterns_match_what_they_match_in_go() -> None:
    different = []
    for case in GOLDEN["glob"]:
        try:
            ours = "1" if paths.match(text(case["pattern"]), text(case["name"])) else "0"
        except BadPattern:
            ours = "e"
        if ours != case["answer"]:
            different.append((case, ours))
    assert different == []


@pytest.mark.parametrize(
    ("patterns", "path", "matches"),
    [
        pytest.param(["a"], "a/b/c", True, id="a directory takes all below it"),
        pytest.param(["*.md", "!README.md"], "README.md", False, id="a later rule takes back"),
        pytest.param(["!README.md", "*.md"], "README.md", True, id="the last rule wins"),
        pytest.param(["a", "!a/b"], "a/b/c", False, id="below a directory that was taken back"),
        pytest.param(["**"], "a/b", True, id="two stars take everything"),
        pytest.param(["**/x"], "x", True, id="two stars also take no directory"),
        pytest.param(["**/x"], "a/b/x", True, id="two stars take several directories"),
        pytest.param(["a/**"], "a", False, id="what is in a directory is not the directory"),
        pytest.param(["*"], "a/b", True, id="one star takes the directory, so what is in it"),
        pytest.param(["*/b"], "a/c", False, id="one star stays within a name"),
        pytest.param(["?"], "é", True, id="a question mark takes a character, not a byte"),
        pytest.param(["?"], "\udcff", True, id="or one byte that is no character"),
        pytest.param(["[a-c]x"], "bx", True, id="class"),
        pytest.param(["[^a-c]x"], "bx", False, id="negated class"),
        pytest.param([r"\*"], "*", True, id="an escaped star is a star"),
        pytest.param([r"\*"], "a", False, id="and takes nothing else"),
        pytest.param([" a/./b/ "], "a/b", True, id="patterns are cleaned"),
        pytest.param(["a.c"], "abc", False, id="a dot is a dot"),
        pytest.param(["a+"], "aa", False, id="a plus is a plus"),
        pytest.param(["/a"], "a", False, id="an absolute pattern matches nothing"),
        pytest.param(["", "  "], "a", False, id="blank lines match nothing"),
        pytest.param(["a/*/c"], "a/x\ny/c", True, id="a star takes a newline"),
        pytest.param(["a/**/c"], "a/x\ny/c", False, id="two stars in the middle do not, in Go"),
        pytest.param(["[[:digit:]]*"], "7up", True, id="POSIX classes exist"),
        pytest.param([r"\d*"], "7up", True, id="an escaped letter means what it means in Go"),
        pytest.param(["*|b"], "xb", True, id="a bar next to a wildcard separates, in Go"),
        pytest.param(["x|b"], "x|b", True, id="a bar alone is a bar"),
    ],
)
def test_one_rule_at_a_time(patterns: list[str], path: str, matches: bool) -> None:
    assert Matcher(patterns).match_from_top(path) is matches


@pytest.mark.parametrize("patterns", [["!"], ["[a"], ["a", "[]"], ["\\"]])
def test_malformed_patterns_are_refused_and_named(patterns: list[str]) -> None:
    with pytest.raises(BadPattern, match="pattern"):
        Matcher(patterns)


def test_some_malformed_patterns_are_only_noticed_when_they_are_used() -> None:
    matcher = Matcher(["a", "!x[z-a]"])
    assert matcher.match_from_top("b") is False  # nothing to take back, so not looked at
    with pytest.raises(BadPattern, match="x"):
        matcher.match_from_top("a")


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_the_quick_way_past_untouched_paths_decides_nothing_else(seed: int) -> None:
    rng = random.Random(seed)
    patterns = treecases.patterns(rng, odd=False)
    try:
        quick, slow = Matcher(patterns), Matcher(patterns)
    except BadPattern:
        return
    slow._touches = None
    for path in treecases.match_case(rng, odd=False)["paths"]:
        parts = path.split("/")
        inherited = 0
        for end in range(1, len(parts) + 1):
            one = "/".join(parts[:end])
            try:
                expected = slow.match(one, inherited)
            except BadPattern:
                break
            assert quick.match(one, inherited) == expected
            _, inherited = expected


@pytest.mark.parametrize(
    ("expression", "matching", "other"),
    [
        pytest.param(r"^\Qa.b\E$", "a.b", "axb", id="quoted"),
        pytest.param(r"^\x41\101\t$", "AA\t", "AAt", id="characters by number"),
        pytest.param("^[^[:^alpha:]x]$", "y", "x", id="negated classes in a negated class"),
        pytest.param(r"^[\]\d-]$", "]", "\\", id="escapes in a class"),
        pytest.param("^[^a]$", "\n", "a", id="a negated class takes a newline"),
        pytest.param("^a$", "a", "a\n", id="the end is the end, not a newline before it"),
        pytest.param("^a{2,3}$", "aaa", "a", id="repetition"),
        pytest.param("^a{,3}$", "a{,3}", "aa", id="braces without a first number are themselves"),
        pytest.param(r"^\ba\b$", "a", "é", id="word boundaries"),
        pytest.param("^\ufffd$", "\udc80", "a", id="bytes that are no character are U+FFFD"),
        pytest.param("^[\u0100-\uffff]$", "\udc80", "a", id="also in a class that has it"),
        pytest.param(
            "^[\u0100-\ue000]$", "\u0100", "\udc80", id="but not in one around surrogates"
        ),
    ],
)
def test_go_expressions_find_in_python_what_they_find_in_go(
    expression: str, matching: str, other: str
) -> None:
    assert translate(expression).match(matching)
    assert not translate(expression).match(other)


@pytest.mark.parametrize(
    "expression",
    [r"^\pL$", r"^[\pL]$", r"^\q$", r"^\9$", "^[a", "^[b-a]$", "^[[:nope:]]$", "^a{2}{3}$", "^a{1001}$",
     "^a{3,2}$", "^a|{2}$", "^a\\", "^[a-", r"^\xg$"],
)  # fmt: skip
def test_expressions_that_go_or_python_cannot_read_are_refused(expression: str) -> None:
    with pytest.raises(BadPattern):
        translate(expression)


@pytest.mark.parametrize(
    ("path", "cleaned"),
    [
        ("", "."),
        ("./a//b/", "a/b"),
        ("a/../..", ".."),
        ("/../a", "/a"),
        ("/", "/"),
        ("../a/..", ".."),
    ],
)
def test_paths_are_cleaned_as_go_does(path: str, cleaned: str) -> None:
    assert paths.clean(path) == cleaned
