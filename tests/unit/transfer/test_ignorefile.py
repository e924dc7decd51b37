"""Ignore files as rules; what random files mean is compared with Go in tests/integration/test_go_agreement.py."""

from __future__ import annotations

import pytest

from depotlab._transfer import BadPattern, IgnoreRule, listed_rules, read_rules


def patterns(content: bytes) -> list[str]:
    return [rule.pattern for rule in read_rules(content, ".dockerignore")]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"a\n\nb", ["a", "b"], id="empty lines say nothing"),
        pytest.param(b"# a\n #b\n", ["#b"], id="a comment starts with the line"),
        pytest.param(b"  a \t\r\n", ["a"], id="white space around it is dropped"),
        pytest.param(b"/a/./b//c/\n/\n", ["a/b/c", "/"], id="paths are made clean and relative"),
        pytest.param(b"!  /a\n!\n", ["!a", "!"], id="what is taken back is made clean too"),
        pytest.param(b"\xef\xbb\xbfa\n\xef\xbb\xbfb", ["a", "\ufeffb"], id="one byte order mark"),
        pytest.param(b"caf\xe9", ["caf\udce9"], id="bytes that are not UTF-8 stay"),
        pytest.param(b"", [], id="nothing"),
    ],
)
def test_lines_become_patterns(content: bytes, expected: list[str]) -> None:
    assert patterns(content) == expected


def test_a_rule_knows_its_line_and_its_words() -> None:
    rules = read_rules(b"# data\n\n /big/*.csv \n", ".dockerignore")
    assert rules == (IgnoreRule("/big/*.csv", "big/*.csv", ".dockerignore", 3),)
    assert str(rules[0]) == ".dockerignore:3: /big/*.csv"


def test_patterns_of_an_argument_mean_what_they_mean_in_a_file() -> None:
    rules = listed_rules(["/a/", " ", "#b"], "exclude=")
    assert [(rule.pattern, rule.line) for rule in rules] == [("a", 1), ("#b", 3)]
    assert str(rules[0]) == "exclude=/a/"


def test_a_line_that_the_builder_could_not_read_is_refused() -> None:
    assert patterns(b"x" * 65535 + b"\n") == ["x" * 65535]
    with pytest.raises(BadPattern, match=r"line 2 of \.dockerignore"):
        read_rules(b"a\n" + b"x" * 65536, ".dockerignore")
