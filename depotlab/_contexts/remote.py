"""Contexts that the builder fetches itself: git repositories and downloads.

A URL is a git repository in this order: `github.com/…`; `ssh://` and `git://`; `http(s)://` if its path ends in
`.git`; `user@host:path`. After the `#` comes `REF[:SUBDIR]`; or the same, and more, as a query. Every other
`http(s)://` URL is a download: an archive is unpacked, anything else is taken for the Dockerfile.

Credentials do not belong into a URL: it is part of cache records, logs and provenance. They are refused here,
and the message says which secret does it. Queries of downloads, which may hold a signature, are not shown.

Source: moby/buildkit `frontend/dockerfile/dfgitutil/git_ref.go`, `util/gitutil/git_url.go`,
`util/sshutil/scpurl.go`, `source/git/source.go`, `source/http/source.go`.
"""

from __future__ import annotations

import difflib
import posixpath
import re
from dataclasses import dataclass, field
from typing import NoReturn
from urllib.parse import parse_qsl, unquote, urlsplit

from depotlab._values import Value, is_unicode
from depotlab.errors import UsageError

__all__ = ["Git", "Http", "is_remote", "remote"]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SCP = re.compile(r"([a-zA-Z0-9_-]+)@([a-zA-Z0-9.-]+):(?!//)([^?#]*)(?:\?([^#]*))?(?:#(.*))?")
_COMMIT = re.compile(r"[0-9a-f]{7,40}|[0-9a-f]{64}")
_FLAGS = ("keep-git-dir", "submodules", "fetch-by-commit")
_KEYS = ("ref", "tag", "branch", "subdir", "checksum", "commit", "mtime", *_FLAGS)
_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")
# Pages of these are for people; the repository has the same address with `.git`.
_FORGES = ("github.com", "gitlab.com", "codeberg.org", "bitbucket.org")


@dataclass(frozen=True, slots=True, repr=False)
class Git(Value):
    """A git repository.

    Attributes:
        url: As the builder is given it.
        remote: The repository alone, as git is given it.
        ref: Branch, tag or commit; empty for the default branch.
        subdir: The directory in it that is the context.
        checksum: The commit, or the start of one, that `ref` must be.
        keep_git_dir: Keep `.git`; None leaves it to the builder.
        submodules: Fetch them; None leaves it to the builder.
        mtime: File times, `checkout` or `commit`; empty leaves it to the builder.
        fetch_by_commit: Fetch `checksum` without asking what `ref` is now.
    """

    url: str
    remote: str
    ref: str = ""
    subdir: str = ""
    checksum: str = ""
    keep_git_dir: bool | None = None
    submodules: bool | None = None
    mtime: str = ""
    fetch_by_commit: bool = False

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True, repr=False)
class Http(Value):
    """A download.

    Attributes:
        url: With its query, which may hold a signature: not for people.
    """

    url: str = field(repr=False)

    def __str__(self) -> str:
        head, question, _ = self.url.partition("?")
        return f"{head}?…" if question else head


def is_remote(text: str) -> bool:
    """Whether a text is a URL, or the address of a repository, rather than a path."""
    return bool(_SCHEME.match(text) or text.startswith("github.com/") or _SCP.fullmatch(text))


def remote(text: str) -> Git | Http:
    """Return what a URL names.

    Raises:
        UsageError: It is malformed, holds credentials, or is nothing that the builder can fetch.
    """
    if any(char.isspace() or ord(char) < 32 for char in text):
        _refuse("The URL of the context has white space in it.", "write %20 for a space")
    if not is_unicode(text):
        _refuse("The URL of the context cannot be written as UTF-8.", "write %XX for each byte")
    found = _SCP.fullmatch(text)
    if found is not None and not _SCHEME.match(text):
        user, host, path, query, fragment = found.groups(default="")
        return _git(text, f"{user}@{host}:{path}", query, fragment)
    if text.startswith("github.com/"):
        base, query, fragment = _split("https://" + text)
        return _git(text, base, query, fragment)
    scheme, colon, rest = text.partition("://")
    text = scheme.lower() + colon + rest  # the builder knows them in small letters only
    scheme = scheme.lower()
    if scheme not in ("http", "https", "ssh", "git"):
        _refuse(
            f"{scheme}:// is nothing that the builder fetches.",
            _nearest(scheme, ("http", "https", "ssh", "git", "docker-image", "oci-layout"))
            or "it fetches https://, http://, ssh:// and git://; pass directories as plain paths",
        )
    base, query, fragment = _split(text)
    if scheme in ("ssh", "git"):
        return _git(text, base, query, fragment)
    if urlsplit(base).path.endswith(".git"):
        return _git(text, base, query, fragment)
    _check_download(base, fragment)
    return Http(text)


def _split(url: str) -> tuple[str, str, str]:
    """Return a URL without query and fragment, its query, and its fragment; refuse what is malformed."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        # Not chained: its text may quote the host part, and so a password.
        raise UsageError(
            "The URL of the context is malformed: its host or port is not valid.",
            hint="it looks like https://host[:port]/path",
        ) from None
    user, at, _ = parts.netloc.rpartition("@")
    if at and (":" in user or parts.scheme in ("http", "https")):
        _refuse_credentials(parts.scheme, host or "", parts.path)
    if not host:
        _refuse(f"The URL {url!r} has no host.", "it looks like https://host[:port]/path")
    base = url.partition("#")[0].partition("?")[0]
    return base, parts.query, unquote(parts.fragment)


def _refuse_credentials(scheme: str, host: str, path: str) -> NoReturn:
    if scheme not in ("http", "https"):
        hint = "forward an SSH agent instead, with ssh=, and leave the password out"
    elif path.endswith(".git"):
        hint = f"pass the token as a secret: secrets={{'GIT_AUTH_TOKEN.{host}': depotlab.secret.env('…')}}"
    else:
        hint = (
            f"pass it as a secret: secrets={{'HTTP_AUTH_TOKEN_{host}': depotlab.secret.env('…')}}"
        )
    _refuse(
        f"The URL of the context at {host} holds credentials, which caches, logs and provenance would keep.",
        hint,
    )


def _git(url: str, remote: str, query: str, fragment: str) -> Git:
    ref, _, subdir = fragment.partition(":")
    given = _query(query)
    refs = {"#": ref, "ref": given.get("ref", "")}
    if "tag" in given:
        refs["tag"] = "refs/tags/" + given["tag"].removeprefix("refs/tags/")
    if "branch" in given:
        refs["branch"] = "refs/heads/" + given["branch"].removeprefix("refs/heads/")
    subdir = _one("subdir", {"#": subdir, "subdir": given.get("subdir", "")})
    if ".." in subdir.split("/"):
        _refuse(
            f"The subdirectory {subdir!r} of a git context has '..' in it.", "name it from the top"
        )
    checksum = _one(
        "commit", {"checksum": given.get("checksum", ""), "commit": given.get("commit", "")}
    )
    if checksum and not _COMMIT.fullmatch(checksum):
        _refuse(
            f"checksum={checksum} is no commit.", "it is the commit, or at least its first 7 digits"
        )
    mtime = given.get("mtime", "")
    if mtime not in ("", "checkout", "commit"):
        _refuse(f"mtime={mtime} is neither checkout nor commit.", "")
    flags = {name: _flag(name, given) for name in _FLAGS}
    if flags["fetch-by-commit"] and not checksum:
        _refuse("fetch-by-commit needs the commit.", "add checksum=COMMIT to the URL")
    return Git(
        url=url,
        remote=remote,
        ref=_one("ref", refs),
        subdir=posixpath.normpath("/" + subdir).lstrip("/"),
        checksum=checksum,
        keep_git_dir=flags["keep-git-dir"],
        submodules=flags["submodules"],
        mtime=mtime,
        fetch_by_commit=bool(flags["fetch-by-commit"]),
    )


def _query(query: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in _KEYS:
            _refuse(
                f"The URL of a git context has the unknown part {key!r}.",
                _nearest(key, _KEYS) or f"known are {', '.join(_KEYS)}",
            )
        if key in found:
            _refuse(f"The URL of a git context has {key} twice.", "leave one of them out")
        if not value and key not in _FLAGS:
            _refuse(f"The URL of a git context has {key} without a value.", f"write {key}=…")
        found[key] = value
    return found


def _one(what: str, given: dict[str, str]) -> str:
    """Return the value that is given, in one or several equal ways."""
    values = {value for value in given.values() if value}
    if len(values) > 1:
        ways = " and ".join(
            f"#{value}" if name == "#" else f"{name}={value}"
            for name, value in given.items()
            if value
        )
        _refuse(
            f"The URL of a git context names its {what} in two ways: {ways}.",
            "leave one of them out",
        )
    return values.pop() if values else ""


def _flag(name: str, given: dict[str, str]) -> bool | None:
    if name not in given:
        return None
    value = given[name] or "1"
    if value not in _TRUE + _FALSE:
        _refuse(f"{name}={value} is neither true nor false.", f"write {name}=1 or {name}=0")
    return value in _TRUE


def _check_download(base: str, fragment: str) -> None:
    parts = urlsplit(base)
    if fragment:
        _refuse(
            f"{base} does not end in .git, so it is a download, and #{fragment} means nothing.",
            f"for a repository write {base}.git#{fragment}",
        )
    path = parts.path.strip("/")
    if parts.hostname in _FORGES and path.count("/") == 1 and "." not in path.rpartition("/")[2]:
        _refuse(f"{base} is a page for people.", f"for the repository write {base.rstrip('/')}.git")


def _nearest(word: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else ""


def _refuse(message: str, hint: str) -> NoReturn:
    raise UsageError(message, hint=hint)
