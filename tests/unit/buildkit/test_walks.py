"""Search patterns, and paths in a state."""

from pathlib import PurePosixPath

import pytest

from depotlab.buildkit import check_range, decoded, guest_path, matcher
from depotlab.errors import PathError, UsageError


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        pytest.param("*.py", "src/deep/a.py", True, id="a name matches at any depth"),
        pytest.param("*.py", "src/a.pyc", False, id="the whole name must match"),
        pytest.param("src/*.py", "src/a.py", True, id="a path begins where the search does"),
        pytest.param("src/*.py", "src/deep/a.py", False, id="a star stays in one directory"),
        pytest.param("src/**/*.py", "src/deep/er/a.py", True, id="two stars do not"),
        pytest.param("src/**/*.py", "src/a.py", True, id="two stars are also none"),
        pytest.param("**/x", "x", True, id="two stars in front are also none"),
        pytest.param("a?c", "abc", True, id="a question mark is one letter"),
        pytest.param("a?c", "a/c", False, id="and no slash"),
        pytest.param("[a-c]x", "bx", True, id="a set"),
        pytest.param("[!a-c]x", "bx", False, id="not in a set"),
        pytest.param("a[b", "a[b", True, id="a bracket that does not close is itself"),
        pytest.param("a.b", "axb", False, id="a dot is a dot"),
        pytest.param("a(b)+", "a(b)+", True, id="nothing else is special"),
        pytest.param("/etc/passwd", "etc/passwd", True, id="a slash in front changes nothing"),
    ],
)
def test_patterns(pattern, path, matches):
    assert matcher(pattern)(path, path.rpartition("/")[2]) is matches


@pytest.mark.parametrize("pattern", ["", "/", 3, None, "[z-a]"])
def test_what_is_no_pattern_is_refused(pattern):
    with pytest.raises(UsageError, match="is no pattern"):
        matcher(pattern)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/a/b", "/a/b"),
        ("a", "/w/a"),
        (".", "/w"),
        ("../x", "/x"),
        ("/../../x", "/x"),
        ("//a", "/a"),
        ("", "/w"),
        (PurePosixPath("/a"), "/a"),
    ],
)
def test_a_path_is_absolute_and_stays_inside(path, found):
    assert guest_path(path, "/w") == found


@pytest.mark.parametrize("path", [3, None, b"/a", "/a\0b"])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(UsageError, match="is not a path in a state"):
        guest_path(path)


@pytest.mark.parametrize(
    "given",
    [
        {"offset": -1, "length": None},
        {"offset": 0, "length": -1},
        {"offset": True, "length": 1},
        {"offset": 0, "length": 1, "chunk_bytes": 0},
        {"offset": 0, "length": 1, "chunk_bytes": 9 << 20},
    ],
)
def test_a_wrong_range_is_named(given):
    with pytest.raises(UsageError, match="is not a number of bytes"):
        check_range(**given)


def test_text_in_another_encoding_says_where_it_breaks():
    assert decoded("ä".encode("latin-1"), "/f", "latin-1") == "ä"
    with pytest.raises(PathError, match="/f is no text in utf-8: byte 1") as caught:
        decoded(b"a\xff", "/f", "utf-8")
    assert caught.value.path == "/f"
    with pytest.raises(UsageError, match="is not known"):
        decoded(b"a", "/f", "klingon")
