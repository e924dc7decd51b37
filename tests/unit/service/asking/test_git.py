"""Git contexts: what passes means one thing to everybody who takes the address apart."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depotlab._contexts.remote import Git, remote
from depotlab.errors import UsageError
from depotlab.service._asking.git import git, git_url
from depotlab.service._boundary import GitContext

SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("given", "url"),
    [
        pytest.param(
            git("github.com", "acme", "shop", "main"),
            "https://github.com/acme/shop.git#main",
            id="a branch",
        ),
        pytest.param(
            git("github.com", "acme", "shop.git", SHA, subdir="/api/"),
            f"https://github.com/acme/shop.git#{SHA}:api",
            id="a commit and a folder",
        ),
        pytest.param(
            git("gitlab.com", "acme/web", "shop", "refs/tags/v1.2"),
            "https://gitlab.com/acme/web/shop.git#refs/tags/v1.2",
            id="a group and a full ref",
        ),
        pytest.param(
            git("github.com", "acme", "shop", pull_request=12, subdir="api"),
            "https://github.com/acme/shop.git#refs/pull/12/head:api",
            id="a pull request is a ref of the repository it is made to",
        ),
        pytest.param(
            git("Git.Example.COM:8443", "~me", ".github", "feature/a+b"),
            "https://git.example.com:8443/~me/.github.git#feature/a+b",
            id="a host with a port",
        ),
        pytest.param(
            git("https://github.com/acme/shop"),
            "https://github.com/acme/shop.git",
            id="an address without a ref is the default branch",
        ),
        pytest.param(
            git("https://github.com/acme/shop", subdir="api"),
            "https://github.com/acme/shop.git#:api",
            id="a folder of the default branch",
        ),
        pytest.param(
            git("https://github.com/acme/shop/tree/main/api/src"),
            "https://github.com/acme/shop.git#main:api/src",
            id="the page of a folder",
        ),
        pytest.param(
            git("https://github.com/acme/shop/tree/feature/x/api", ref="feature/x"),
            "https://github.com/acme/shop.git#feature/x:api",
            id="the page of a folder on a branch with a slash",
        ),
        pytest.param(
            git(f"https://github.com/acme/shop/commit/{SHA}"),
            f"https://github.com/acme/shop.git#{SHA}",
            id="the page of a commit",
        ),
        pytest.param(
            git("github.com/acme/shop/pull/12/files"),
            "https://github.com/acme/shop.git#refs/pull/12/head",
            id="the page of a pull request",
        ),
        pytest.param(
            git("https://gitlab.com/acme/web/shop/-/tree/main/api"),
            "https://gitlab.com/acme/web/shop.git#main:api",
            id="the page of a folder at a forge with groups",
        ),
        pytest.param(
            git("https://gitlab.com/acme/web/shop/-/merge_requests/7/diffs"),
            "https://gitlab.com/acme/web/shop.git#refs/merge-requests/7/head",
            id="the page of a merge request",
        ),
        pytest.param(
            git("https://github.com/acme/shop.git#v1:api"),
            "https://github.com/acme/shop.git#v1:api",
            id="as the builder writes it",
        ),
        pytest.param(
            git("http://127.0.0.1:8080/acme/shop.git#main"),
            "http://127.0.0.1:8080/acme/shop.git#main",
            id="loopback needs no TLS",
        ),
    ],
)
def test_a_context_has_one_address(given: GitContext, url: str) -> None:
    assert git_url(given) == url


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        pytest.param(("github.com", "acme", "shop", ""), "ref", id="no ref"),
        pytest.param(("", "acme", "shop", "main"), "host", id="no host"),
        pytest.param(("github.com", "", "shop", "main"), "owner", id="no owner"),
        pytest.param(("github.com", "acme", "", "main"), "repository", id="no repository"),
        pytest.param(("github.com/x", "acme", "shop", "main"), "host", id="a path in the host"),
        pytest.param(("-x.com", "acme", "shop", "main"), "host", id="an option for a host"),
        pytest.param(("github.com:0", "acme", "shop", "main"), "host", id="port 0"),
        pytest.param(("github.com:65536", "acme", "shop", "main"), "host", id="a port too high"),
        pytest.param(("a@github.com", "acme", "shop", "main"), "credentials", id="a login"),
        pytest.param(("github.com", "..", "shop", "main"), "owner", id="a way up as owner"),
        pytest.param(("github.com", "a//b", "shop", "main"), "owner", id="an empty group"),
        pytest.param(("github.com", "-a", "shop", "main"), "owner", id="an option as owner"),
        pytest.param(("github.com", "acme", "...git", "main"), "repository", id="a way up"),
        pytest.param(("github.com", "acme", "a/b", "main"), "repository", id="two repositories"),
        pytest.param(("github.com", "acme", "shop", "--upload-pack=x"), "ref", id="an option"),
        pytest.param(("github.com", "acme", "shop", "main:api"), "ref", id="a folder in the ref"),
        pytest.param(("github.com", "acme", "shop", "a..b"), "ref", id="a range"),
        pytest.param(("github.com", "acme", "shop", "a.lock"), "ref", id="a lock of git"),
        pytest.param(("github.com", "acme", "shop", "a/.b"), "ref", id="a hidden ref"),
        pytest.param(("github.com", "acme", "shop", "@{u}"), "ref", id="a reflog"),
        pytest.param(("github.com", "acme", "shop", "@"), "ref", id="a lone @"),
        pytest.param(("github.com", "acme", "shop", "a%2e"), "ref", id="a letter in disguise"),
        pytest.param(("github.com", "acme", "shop", "a\nb"), "ref", id="two lines"),
        pytest.param(("github.com", "acme", "shop", "a" * 256), "ref", id="a ref too long"),
    ],
)
def test_a_part_that_would_mean_something_else_is_refused(
    parts: tuple[str, str, str, str], named: str
) -> None:
    with pytest.raises(UsageError, match=named) as caught:
        git(*parts)
    assert caught.value.hint or "letters" in caught.value.message


@pytest.mark.parametrize("subdir", ["..", "a/../b", "a//b", "a b", "a:b", "a#b", "a%2fb", "./a"])
def test_a_folder_is_named_from_the_top(subdir: str) -> None:
    with pytest.raises(UsageError, match="subdir"):
        git("github.com", "acme", "shop", "main", subdir=subdir)


@pytest.mark.parametrize("number", [-1, True, 2**31, 1.5, "12"])
def test_a_pull_request_has_a_number(number: object) -> None:
    with pytest.raises(UsageError, match="pull_request"):
        git("github.com", "acme", "shop", pull_request=number)  # type: ignore[arg-type]


def test_a_pull_request_and_a_commit_are_two_things() -> None:
    with pytest.raises(UsageError, match="both given"):
        git("github.com", "acme", "shop", SHA, pull_request=3)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        pytest.param("https://me:hunter2@github.com/acme/shop", "credentials", id="a login"),
        pytest.param("https://hunter2@github.com/acme/shop", "credentials", id="a token"),
        pytest.param("http://github.com/acme/shop", "http://", id="no TLS"),
        pytest.param("ssh://git@github.com/acme/shop", "ssh://", id="SSH"),
        pytest.param("git@github.com:acme/shop.git", "SSH", id="the short form for SSH"),
        pytest.param("https://github.com/acme", "no owner and repository", id="one name"),
        pytest.param("https://github.com/acme/shop?tab=x", "query", id="a query"),
        pytest.param(
            "https://github.com/acme/shop/releases/tag/v1",
            "no owner",
            id="a page of something else",
        ),
        pytest.param("https://github.com/acme/shop/pulls", "no owner", id="a page of several"),
        pytest.param("https://github.com/acme/shop/blob/main/x", "no context", id="a file"),
        pytest.param("https://github.com/acme/shop/tree/main/x#y", "'#'", id="a page and more"),
        pytest.param("https://[::1/acme/shop", "malformed", id="half an address of IPv6"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused(address: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        git(address)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "more"),
    [
        pytest.param("https://github.com/a/b/tree/main/x", {"ref": "dev"}, id="ref"),
        pytest.param("https://github.com/a/b.git#main", {"ref": "dev"}, id="ref of the builder"),
        pytest.param("https://github.com/a/b/tree/main/x", {"subdir": "y"}, id="subdir"),
        pytest.param("https://github.com/a/b/pull/1", {"pull_request": 2}, id="pull_request"),
    ],
)
def test_an_address_and_an_argument_agree(address: str, more: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="leave one"):
        git(address, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        pytest.param("ref", 5, id="ref"),
        pytest.param("subdir", ["api"], id="subdir"),
        pytest.param("pull_request", 1.0, id="pull_request"),
        pytest.param("is_public", "false", id="is_public, which would be true"),
    ],
)
def test_a_part_of_another_kind_is_named(argument: str, value: object) -> None:
    with pytest.raises(UsageError, match=argument):
        git("https://github.com/acme/shop/tree/main/api", **{argument: value})  # type: ignore[arg-type]


def test_a_context_that_was_made_by_hand_is_checked_too() -> None:
    with pytest.raises(UsageError, match="ref"):
        git_url(GitContext("github.com", "acme", "shop", "main#x"))


LETTERS = "aZ09~_.-+=,@/:#?&%[]\\ \n\t\0é{}^*'\""


def part(*good: str) -> st.SearchStrategy[str]:
    """Good parts, parts with one letter too many, and anything."""
    spoilt = st.tuples(st.sampled_from(good), st.sampled_from(LETTERS), st.sampled_from(["", "x"]))
    return st.one_of(
        st.sampled_from(good), spoilt.map("".join), st.text(st.sampled_from(LETTERS), max_size=8)
    )


@given(
    host=part("github.com", "git.example.com:8443"),
    owner=part("acme", "acme/web"),
    repository=part("shop", "shop.git"),
    ref=part("main", "refs/heads/x", SHA),
    subdir=part("", "api", "a/b"),
)
def test_what_passes_is_read_back_as_it_was_written(
    host: str, owner: str, repository: str, ref: str, subdir: str
) -> None:
    try:
        made = git(host, owner or "a", repository, ref, subdir=subdir)
        url = git_url(made)
    except UsageError:
        return
    parts = urlsplit(url)
    assert (parts.netloc, parts.query) == (made.host, "")
    assert parts.path == f"/{made.owner}/{made.repository}.git"
    assert unquote(parts.fragment) == parts.fragment
    assert parts.fragment.partition(":") == (
        made.ref,
        ":" if made.subdir else "",
        made.subdir,
    )
    assert ".." not in parts.path.split("/") + made.subdir.split("/")
    assert not made.ref.startswith("-")
    assert "@" not in parts.netloc
    read = remote(url)
    assert isinstance(read, Git)
    assert (read.ref, read.subdir) == (made.ref, made.subdir)
