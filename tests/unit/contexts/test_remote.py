"""URLs: which is a repository, what it says, and what is refused. What a daemon makes of them: tests/integration."""

from __future__ import annotations

import pytest

from depotlab._contexts import Git, Http, context
from depotlab.errors import UsageError


def git(url: str) -> Git:
    where = context(url).where
    assert isinstance(where, Git), where
    assert where.url == url
    return where


@pytest.mark.parametrize(
    ("url", "remote"),
    [
        ("https://github.com/moby/buildkit.git", "https://github.com/moby/buildkit.git"),
        ("http://host:8080/x.git#main", "http://host:8080/x.git"),
        ("ssh://git@host:2222/x", "ssh://git@host:2222/x"),
        ("git://host/x", "git://host/x"),
        ("github.com/moby/buildkit", "https://github.com/moby/buildkit"),
        ("git@github.com:moby/buildkit.git", "git@github.com:moby/buildkit.git"),
        ("me@host:dir/x?ref=v1#", "me@host:dir/x"),
    ],
)
def test_repositories_are_told_by_their_form(url: str, remote: str) -> None:
    assert git(url).remote == remote


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("", ("", "")),
        ("#main", ("main", "")),
        ("#main:docs/api", ("main", "docs/api")),
        ("#:docs/", ("", "docs")),
        ("?ref=v1&subdir=docs", ("v1", "docs")),
        ("?tag=v1", ("refs/tags/v1", "")),
        ("?branch=refs/heads/x", ("refs/heads/x", "")),
        ("?ref=a#a", ("a", "")),
        ("#feature%2Fx", ("feature/x", "")),
    ],
)
def test_reference_and_subdirectory(end: str, expected: tuple[str, str]) -> None:
    where = git(f"https://host/x.git{end}")
    assert (where.ref, where.subdir) == expected


def test_everything_that_a_query_can_say() -> None:
    where = git(
        "https://host/x.git?checksum=0123abc&keep-git-dir&submodules=false&mtime=commit&fetch-by-commit=1"
    )
    assert where.checksum == "0123abc"
    assert (where.keep_git_dir, where.submodules, where.mtime) == (True, False, "commit")
    assert where.fetch_by_commit


@pytest.mark.parametrize(
    "url",
    ["http://host/x.tar.gz", "https://host/dir?x=1", "https://github.com/a/b/archive/v1.tar.gz"],
)
def test_other_urls_are_downloads(url: str) -> None:
    where = context(url).where
    assert isinstance(where, Http)
    assert where.url == url


def test_a_scheme_in_capitals_is_written_as_the_builder_knows_it() -> None:
    assert str(context("HTTPS://host/x.tar").where) == "https://host/x.tar"


@pytest.mark.parametrize(
    ("url", "words", "hint"),
    [
        ("https://host/x.git?brnach=x", "unknown part 'brnach'", "did you mean 'branch'"),
        ("https://host/x.git?ref=a#b", "its ref in two ways: #b and ref=a", ""),
        ("https://host/x.git?ref=a&ref=b", "ref twice", ""),
        ("https://host/x.git?tag=v1&branch=v1", "its ref in two ways", ""),
        ("https://host/x.git?ref=", "ref without a value", "ref=…"),
        ("https://host/x.git#main:../up", "'..'", ""),
        ("https://host/x.git?checksum=main", "no commit", ""),
        ("https://host/x.git?mtime=now", "neither checkout nor commit", ""),
        ("https://host/x.git?submodules=maybe", "neither true nor false", ""),
        ("https://host/x.git?fetch-by-commit", "needs the commit", "checksum"),
        (
            "https://github.com/moby/buildkit",
            "page for people",
            "https://github.com/moby/buildkit.git",
        ),
        ("https://host/x#main", "does not end in .git", "https://host/x.git#main"),
        ("ftp://host/x.tar", "ftp://", "http"),
        ("htps://host/x", "htps://", "did you mean 'https'"),
        ("file:///x", "file://", "plain paths"),
        ("s3://bucket/x.tar", "s3://", "plain paths"),
        ("https:///x.git", "no host", ""),
        ("https://host:port/x.git", "malformed", ""),
        ("https://ho st/x.git", "white space", "%20"),
        ("https://[::1/x.git", "malformed", ""),
    ],
)
def test_what_cannot_be_fetched_is_refused_with_what_would_be_right(
    url: str, words: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        context(url)
    assert words in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("https://user:s3cret@host/x.git", "GIT_AUTH_TOKEN.host"),
        ("https://s3cret@host/x.git#main", "GIT_AUTH_TOKEN.host"),
        ("https://user:s3cret@host:8443/x.tar.gz", "HTTP_AUTH_TOKEN_host"),
        ("ssh://git:s3cret@host/x.git", "ssh="),
        ("https://user:s3cret@host:port/x.git", ""),
        ("https://user:s3cret@/x.git", ""),
        ("https://user:s3cret@host/x.git?nonsense=1", "GIT_AUTH_TOKEN.host"),
    ],
)
def test_credentials_in_a_url_are_refused_and_never_shown(url: str, secret: str) -> None:
    with pytest.raises(UsageError) as caught:
        context(url)
    shown = f"{caught.value} {caught.value!r} {caught.value.__cause__!r}"
    assert "s3cret" not in shown
    assert secret in caught.value.hint


def test_the_signature_in_a_download_is_not_shown() -> None:
    found = context("https://host/x.tar?X-Signature=s3cret")
    assert "s3cret" not in f"{found!r} {found.where!r} {found.where}"
    assert repr(found) == "<context: http https://host/x.tar?…>"
