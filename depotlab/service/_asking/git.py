"""Commits as contexts: every part is checked before it gets into an address that a build machine fetches.

The address is `https://HOST/OWNER/REPOSITORY.git#REF[:SUBDIR]`. BuildKit takes it apart at `#` and the first `:` behind
it, undoes `%` in it, and runs `git` with what it finds, so a part may only have letters that mean nothing to any of
them. Credentials are no part of it: a token goes to the daemon as a secret of its session.

Source: moby/buildkit `frontend/dockerfile/dfgitutil/git_ref.go`, `util/gitutil/git_url.go`; git's own rules for names
of refs: git-check-ref-format(1).
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import NoReturn
from urllib.parse import urlsplit

from depotlab.errors import UsageError
from depotlab.service._boundary import GitContext

__all__ = ["git", "git_url"]

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*(?::[1-9][0-9]{{0,4}})?")
# A tilde begins the owners of some forges. What begins with a dash would be an option to git.
_OWNER = re.compile(r"[A-Za-z0-9_~][A-Za-z0-9_.-]*")
_REPOSITORY = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*")
_REF = re.compile(r"[A-Za-z0-9_.+=,@/-]+")
_FOLDER = re.compile(r"[A-Za-z0-9_.+=,@-]+")
_MOST_LETTERS = {"host": 253, "owner": 255, "repository": 100, "ref": 255, "subdir": 1024}
_MOST_PULL_REQUEST = 2**31 - 1
# What the daemon fetches from its own machine needs no TLS, as with registries.
_LOOPBACK = ("localhost", "127.0.0.1")


def git(
    host: str,
    owner: str = "",
    repository: str = "",
    ref: str = "",
    *,
    subdir: str = "",
    pull_request: int = 0,
    is_public: bool = False,
) -> GitContext:
    """Return a commit of a repository as the context of a build.

    Args:
        host: Such as `github.com`, with a port if it is not 443; or all in one address, as a forge shows it or BuildKit
            writes it: `https://github.com/acme/shop/tree/main/api`, `…/pull/12`, `…/shop.git#v1.2:api`. An address
            without a ref is the default branch.
        owner: Of the repository; with `/` between the segments of a group. Empty with an address.
        repository: Its name. Empty with an address.
        ref: A commit (7 to 40 hexadecimal digits; only whole ones are sure to be found), a branch, a tag, or a full
            ref. With an address of the form `…/tree/REF/FOLDER` it says where a ref that has slashes ends.
        subdir: Folder that is the context.
        pull_request: Its number: what it proposes is built, also when it comes from a fork. There is no `ref` then.
        is_public: No token is to be used, as is right for forks of public repositories.

    Raises:
        UsageError: A part is missing or has letters that would change what the address means, or it holds credentials.

    Example:
        >>> git("https://github.com/acme/shop/tree/main/api").subdir
        'api'
    """
    _check_kinds(GitContext(host, owner, repository, ref, subdir, pull_request, is_public))
    if owner or repository:
        if not ref and not pull_request:
            _refuse("ref is missing.", "name a commit, a branch or a tag")
        found = GitContext(host, owner, repository, ref)
    else:
        found = _from_address(host, ref)
    if subdir and found.subdir not in ("", subdir.strip("/")):
        _refuse(
            f"The address names the folder {found.subdir!r}, and subdir {subdir!r}.",
            "leave one of them out",
        )
    if pull_request and found.pull_request not in (0, pull_request):
        _refuse(
            f"The address is that of pull request {found.pull_request}, and pull_request is {pull_request}.",
            "leave one of them out",
        )
    return _checked(
        replace(
            found,
            subdir=subdir or found.subdir,
            pull_request=pull_request or found.pull_request,
            is_public=is_public,
        )
    )


def git_url(context: GitContext) -> str:
    """Return the address as BuildKit takes it: `https://HOST/OWNER/REPOSITORY.git[#REF[:SUBDIR]]`; it holds no secret.

    A pull request is the ref `refs/pull/NUMBER/head` of the repository that it is made to.

    Raises:
        UsageError: A part is missing, or has letters that would change what the address means.
    """
    given = _checked(context)
    ref = f"refs/pull/{given.pull_request}/head" if given.pull_request else given.ref
    scheme = "http" if given.host.partition(":")[0] in _LOOPBACK else "https"
    folder = f":{given.subdir}" if given.subdir else ""
    fragment = f"#{ref}{folder}" if ref or folder else ""
    return f"{scheme}://{given.host}/{given.owner}/{given.repository}.git{fragment}"


# ------------------------------------------------------------------------------------ the parts


def _checked(given: GitContext) -> GitContext:
    """Return a context whose parts are written in one way, or refuse it."""
    _check_kinds(given)
    for name, most in _MOST_LETTERS.items():
        n_letters = len(getattr(given, name))
        if n_letters > most:
            _refuse(f"{name} has {n_letters} letters, and may have {most}.", "")
    host = given.host.lower()
    if "@" in host:
        _refuse_credentials()
    if not _HOST.fullmatch(host) or int(host.partition(":")[2] or 1) > 65535:
        _refuse(f"host {given.host!r} is no host name.", "it looks like 'github.com'")
    repository = given.repository.removesuffix(".git")
    if not all(_is_name(part, _OWNER) for part in given.owner.split("/")):
        _refuse(
            f"owner {given.owner!r} is none.",
            "it has letters, digits, '-', '_' and '.', and '/' between the segments of a group",
        )
    if host == "github.com" and "/" in given.owner:
        _refuse(
            f"github.com has no owner {given.owner!r}.",
            "it looks like https://github.com/OWNER/REPOSITORY, or the page of a folder, a commit or a pull request",
        )
    if not _is_name(repository, _REPOSITORY):
        _refuse(
            f"repository {given.repository!r} is no name of one.",
            "it has letters, digits, '-', '_' and '.'; the owner stands for itself",
        )
    subdir = given.subdir.strip("/")
    if subdir and not all(_is_name(part, _FOLDER) for part in subdir.split("/")):
        _refuse(
            f"subdir {given.subdir!r} is no folder that can be named.",
            "name it from the top of the repository, without '..', blanks and signs that mean something in an address",
        )
    number = given.pull_request
    if not 0 <= number <= _MOST_PULL_REQUEST:
        _refuse(f"pull_request {number!r} is no number of one.", "it is a whole number from 1")
    if given.ref:
        if number:
            _refuse(
                f"ref {given.ref!r} and pull request {number} are both given.",
                "leave ref out for what the pull request proposes now, or pull_request for that commit",
            )
        _check_ref(given.ref)
    return replace(given, host=host, repository=repository, subdir=subdir)


def _check_kinds(given: GitContext) -> None:
    """Pass if each part is of its kind. Parts come from JSON, too, where `"false"` would be true."""
    for name in _MOST_LETTERS:
        value = getattr(given, name)
        if not isinstance(value, str):
            _refuse(f"{name} is {type(value).__name__}, and has to be a text.", "")
    number = given.pull_request
    if isinstance(number, bool) or not isinstance(number, int):
        _refuse(f"pull_request {number!r:.60} is no number of one.", "it is a whole number from 1")
    if not isinstance(given.is_public, bool):
        _refuse(f"is_public is {type(given.is_public).__name__}.", "it has to be True or False")


def _is_name(text: str, pattern: re.Pattern[str]) -> bool:
    """Whether a segment of a path has only letters that it may, and is not a way up."""
    return pattern.fullmatch(text) is not None and text not in (".", "..")


def _check_ref(ref: str) -> None:
    parts = ref.split("/")
    if (
        not _REF.fullmatch(ref)
        or ref.startswith("-")
        or ref == "@"
        or ref.endswith(".")
        or ".." in ref
        or any(not part or part.startswith(".") or part.endswith(".lock") for part in parts)
    ):
        _refuse(
            f"ref {ref!r} is no name that git and an address both take.",
            "name a commit by its 7 to 40 hexadecimal digits, a branch or a tag; for a branch with other signs in its "
            "name give the commit",
        )


# ---------------------------------------------------------------------------------- one address


def _from_address(text: str, ref: str) -> GitContext:
    """Take an address apart; what its parts are is checked by others."""
    if "://" not in text:
        _refuse_scp(text)
        text = "https://" + text
    try:
        address = urlsplit(text)
        host = address.netloc
        is_loopback = address.hostname in _LOOPBACK
    except ValueError:
        # Not chained: its text may quote credentials.
        raise UsageError(
            "The address of the repository is malformed.",
            hint="it looks like https://github.com/OWNER/REPOSITORY",
        ) from None
    if address.scheme != "https" and not (address.scheme == "http" and is_loopback):
        _refuse(
            f"{address.scheme}:// is not how machines fetch repositories.",
            "write https://HOST/OWNER/REPOSITORY; a token is given apart from it",
        )
    if "@" in host:
        _refuse_credentials()
    if address.query:
        _refuse("The address of the repository has a query.", "leave out what is behind the '?'")
    segments = [segment for segment in address.path.split("/") if segment]
    names, page = _split(segments)
    if len(names) < 2:
        _refuse(
            "The address names no owner and repository.",
            "it looks like https://github.com/OWNER/REPOSITORY",
        )
    found = GitContext(host, "/".join(names[:-1]), names[-1], "")
    said, _, folder = address.fragment.partition(":")
    if page and address.fragment:
        _refuse(
            "The address is that of a page, and has a '#'.",
            "leave it out, or write https://HOST/OWNER/REPOSITORY.git#REF:FOLDER",
        )
    found = _of_page(found, page, ref) if page else replace(found, ref=said, subdir=folder)
    if ref and found.ref not in ("", ref):
        _refuse(
            f"The address names the ref {found.ref!r}, and ref {ref!r}.", "leave one of them out"
        )
    return replace(found, ref=ref or found.ref)


def _split(segments: list[str]) -> tuple[list[str], list[str]]:
    """Return the names of groups and repository, and what says which page of it is meant."""
    if "-" in segments:  # GitLab
        at = segments.index("-")
        return segments[:at], segments[at + 1 :]
    if len(segments) > 3 and segments[2] in ("tree", "commit", "pull", "blob"):
        return segments[:2], segments[2:]
    return segments, []


def _of_page(found: GitContext, page: list[str], ref: str) -> GitContext:
    """Read `tree/REF/FOLDER`, `commit/SHA`, `pull/NUMBER` and GitLab's `merge_requests/NUMBER`."""
    read: GitContext | None = None
    match page:
        case ["tree", *rest] if rest:
            given = ref.split("/") if ref else rest[:1]
            if rest[: len(given)] != given:
                _refuse(f"The address does not have the ref {ref!r}.", "leave one of the two out")
            read = replace(found, ref="/".join(given), subdir="/".join(rest[len(given) :]))
        case ["commit", commit]:
            read = replace(found, ref=commit)
        case ["pull", number, *_] if number.isascii() and number.isdigit():
            read = replace(found, pull_request=int(number[:11]))
        case ["merge_requests", number, *_] if number.isascii() and number.isdigit():
            read = replace(found, ref=f"refs/merge-requests/{number}/head")
    if read is None:
        _refuse(
            "The address is that of a page that is no context.",
            "write https://HOST/OWNER/REPOSITORY.git#REF:FOLDER",
        )
    return read


def _refuse_scp(text: str) -> None:
    """Say how an address for SSH is written here; machines have no keys of customers."""
    user, at, rest = text.partition("@")
    host, colon, path = rest.partition(":")
    if at and colon and "/" not in user and ":" not in user:
        _refuse(
            "Repositories are fetched over https, not over SSH.",
            f"write https://{host}/{path}; a token is given apart from it",
        )


def _refuse_credentials() -> NoReturn:
    _refuse(
        "The address of the repository holds credentials, which caches, logs and provenance would keep.",
        "leave them out, and give the token with git_token= or git_tokens=",
    )


def _refuse(message: str, hint: str) -> NoReturn:
    raise UsageError(message, hint=hint)
