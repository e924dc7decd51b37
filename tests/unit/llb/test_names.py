"""Names from outside: image references, platforms, Git URLs, guest paths, words of a command."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depotlab import llb
from depotlab.errors import ReferenceInvalid, UsageError
from depotlab.llb import Platform, host_platform, parse_reference
from depotlab.llb._giturl import parse_git_url
from depotlab.llb._paths import change_dir, clean, guest_path, join
from depotlab.llb._platform import as_platform

A64 = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("given_ref", "expected"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        ("me/app", "docker.io/me/app:latest"),
        ("a/b/c", "docker.io/a/b/c:latest"),
        ("docker.io/busybox", "docker.io/library/busybox:latest"),
        ("index.docker.io/me/app:1", "docker.io/me/app:1"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("ghcr.io/me/app", "ghcr.io/me/app:latest"),
        ("Registry/app", "Registry/app:latest"),
        ("[::1]:5000/app", "[::1]:5000/app:latest"),
        ("a__b/c.d-e---f", "docker.io/a__b/c.d-e---f:latest"),
        (f"busybox@{A64}", f"docker.io/library/busybox@{A64}"),
        (f"busybox:1@{A64}", f"docker.io/library/busybox:1@{A64}"),
        ("x:" + "t" * 128, "docker.io/library/x:" + "t" * 128),
        ("library/" + "a" * 247, "docker.io/library/" + "a" * 247 + ":latest"),
        # A dot makes the first part a host, which this is not, so all of it is the path.
        ("index.docker.io__x/y", "index.docker.io__x/y:latest"),
    ],
)
def test_image_references_are_normalised(given_ref: str, expected: str) -> None:
    assert str(parse_reference(given_ref).tagged()) == expected


@pytest.mark.parametrize(
    ("ref", "why"),
    [
        ("", "empty"),
        ("a" * 64, "64 hexadecimal digits"),
        ("Busybox", "must be lowercase"),
        ("me/App", "must be lowercase"),
        ("busybox:", "the tag ''"),
        ("busybox:-x", "the tag '-x'"),
        ("busybox:" + "t" * 129, "the tag"),
        ("busybox:a b", "the tag 'a b'"),
        ("busy box", "the repository name 'busy box'"),
        ("a//b", "the repository name"),
        ("a..b", "the repository name"),
        ("-a", "the repository name"),
        ("é", "the repository name"),
        ("busybox\n", "the repository name"),
        ("https://ghcr.io/a", "looks like a URL"),
        ("-x.y/a", "'-x.y' is not a registry host"),
        ("a" * 256, "more than 255 characters"),
        ("a" * 5000, "5000 characters"),
        ("busybox@sha256:abc", "64 hexadecimal digits, this one has 3"),
        ("busybox@" + A64.upper().replace("SHA", "sha"), "lowercase hexadecimal"),
        ("busybox@md5:" + "a" * 32, "the digest algorithm 'md5'"),
        ("busybox@abc", "not of the form sha256:HEX"),
    ],
)
def test_what_is_wrong_with_a_reference_is_said(ref: str, why: str) -> None:
    with pytest.raises(ReferenceInvalid) as caught:
        parse_reference(ref)
    assert why in caught.value.message
    assert caught.value.ref == ref or len(ref) > 2048


def test_a_reference_of_another_type_is_refused() -> None:
    with pytest.raises(ReferenceInvalid, match="not text but int"):
        llb.image(3)


def test_a_capital_letter_is_offered_in_small() -> None:
    with pytest.raises(ReferenceInvalid) as caught:
        parse_reference("BusyBox:1")
    assert caught.value.hint == "did you mean 'busybox:1'?"


@given(st.text(max_size=30))
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    try:
        found = parse_reference(text)
    except ReferenceInvalid:
        return
    assert parse_reference(str(found)) == found


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("linux/amd64", Platform("linux", "amd64")),
        ("linux/arm64", Platform("linux", "arm64")),
        ("linux/arm64/v8", Platform("linux", "arm64", "v8")),
        ("linux/arm/v7", Platform("linux", "arm", "v7")),
        ("linux/arm", Platform("linux", "arm")),
        ("linux/arm/v6", Platform("linux", "arm", "v6")),
        ("Linux/x86_64", Platform("linux", "amd64")),
        ("macos/aarch64", Platform("darwin", "arm64")),
        ("windows/amd64", Platform("windows", "amd64")),
    ],
)
def test_platforms_in_words(words: str, expected: Platform) -> None:
    assert as_platform("platform", words) == expected


def test_platforms_are_written_as_people_read_them() -> None:
    assert str(Platform("linux", "arm", "v7")) == "linux/arm/v7"
    assert host_platform().os == "linux"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://h/a/b.git", ("https", "h", "/a/b.git", "https://h/a/b.git")),
        ("HTTPS://h/a", ("https", "h", "/a", "https://h/a")),
        ("github.com/a/b", ("https", "github.com", "/a/b", "https://github.com/a/b")),
        ("git@h:a/b.git", ("ssh", "h", "a/b.git", "git@h:a/b.git")),
        ("git@h:a?x=1#f", ("ssh", "h", "a", "git@h:a")),
        ("ssh://u@h:22/a", ("ssh", "h:22", "/a", "ssh://u@h:22/a")),
        ("https://h/a?x=1#f", ("https", "h", "/a", "https://h/a")),
        ("https://h/a?", ("https", "h", "/a", "https://h/a?")),
        ("https://h/a%20b", ("https", "h", "/a b", "https://h/a%20b")),
        ("https://h/a b", ("https", "h", "/a b", "https://h/a%20b")),
        ("https://u:p%40s@h/a", ("https", "h", "/a", "https://u:p%40s@h/a")),
        ("https://u!:p@h/a", ("https", "h", "/a", "https://u%21:p@h/a")),
        ("https://[::1]:8/a", ("https", "[::1]:8", "/a", "https://[::1]:8/a")),
    ],
)
def test_git_urls_are_read_as_buildkit_reads_them(url: str, expected: tuple) -> None:
    assert parse_git_url(url)[:4] == expected


@given(st.text(alphabet="htps:/@.#?%[]aé \n", max_size=20))
def test_any_text_is_a_git_url_or_refused(text: str) -> None:
    try:
        parse_git_url(text)
    except UsageError:
        return


@given(st.text(alphabet="a./", max_size=12))
def test_clean_agrees_with_the_standard_library(path: str) -> None:
    expected = posixpath.normpath(path)
    # POSIX lets two slashes at the start mean something else; Go does not.
    assert clean(path) == (expected[1:] if expected.startswith("//") else expected)


@given(st.lists(st.text(alphabet="a./", max_size=5), max_size=4))
def test_join_leaves_empty_parts_out(parts: list[str]) -> None:
    present = [part for part in parts if part]
    assert join(*parts) == (clean("/".join(present)) if present else "")


@given(st.text(alphabet="a./", max_size=8), st.text(alphabet="a./", max_size=8))
def test_guest_paths_are_absolute_and_clean(directory: str, path: str) -> None:
    found = guest_path(directory, path, keep_slash=False)
    assert found.startswith("/")
    assert clean(found) == found


@given(st.lists(st.text(alphabet="a./", max_size=5), max_size=5))
def test_relative_directories_can_be_learned_late(steps: list[str]) -> None:
    """Changing directory step by step from a known one is the same as joining at the end."""
    late = ""
    early = "/base/dir"
    for step in steps:
        late, early = change_dir(late, step), change_dir(early, step)
    assert (late if late.startswith("/") else join("/base/dir", late)) == (
        early if early.startswith("/") and late.startswith("/") else clean(early)
    )


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("app", "app"),
        ("./app/", "app"),
        ("a/../b/c", "b/c"),
        ("../x", "../x"),
        (".", "context"),
    ],
)
def test_local_sources_are_named_by_their_relative_path(path: str, name: str) -> None:
    assert llb.local(path).marshal().ops[0].name == f"local://{name}"


def test_absolute_paths_do_not_leave_the_machine() -> None:
    name = llb.local("/home/me/secret-project").marshal().ops[0].name
    assert name.startswith("local://secret-project-")
    assert "home" not in name
    assert llb.local("/").marshal().ops[0].name.startswith("local://root-")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("a b", ["a", "b"]),
        ("a  'b c'\t\"d e\"", ["a", "b c", "d e"]),
        ("a\\ b", ["a b"]),
        ('"a\\"b\\n"', ['a"bn']),
        ("'a\\b'", ["a\\b"]),
        ("a '' \"\"", ["a", "", ""]),
        ("a # b", ["a"]),
        ("a#b", ["a#b"]),
        ("# a\nb", ["b"]),
        ("", []),
    ],
)
def test_words_of_a_command(command: str, words: list[str]) -> None:
    assert llb.shlex(command) == words
