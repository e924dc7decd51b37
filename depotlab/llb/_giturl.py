"""Git URLs, read and written as BuildKit does (util/gitutil/git_url.go, which uses Go's net/url).

The identifier of a git source names host and path only, so that https and ssh forms of one repository coincide; the URL
itself, without fragment and query, is passed beside it.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from depotlab.llb._check import refuse, some

_scheme = re.compile(r"([a-zA-Z0-9]+)://(.*)", re.DOTALL)
_scp = re.compile(r"([a-zA-Z0-9_-]+)@([a-zA-Z0-9.-]+):(.*?)(?:\?(.*?))?(?:#(.*))?")
_userinfo = re.compile(r"[A-Za-z0-9\-._:~!$&'()*+,;=%@]*")
# Of ASCII only what needs no escape in a host, and `%25`; escapes of other bytes are allowed.
_host = re.compile(
    r"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=\]<>\"]|%25|%[89A-Fa-f][0-9A-Fa-f]|[^\x00-\x7f])+)"
    r"(?::[0-9]*)?"
)
_bad_escape = re.compile(r"%(?![0-9A-Fa-f]{2})")
_control = re.compile(r"[\x00-\x1f\x7f]")

SCHEMES = ("http", "https", "ssh", "git")
# What Go leaves as it is; letters, digits and -_.~ always. Source: Go net/url, encoding_table.
_PATH_SAFE = "$&+,/:;=@"
_PATH_VALID = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=:@\[\]%/]*")
_USER_SAFE = "$&+,;="
_HOST_SAFE = "!$&'()*+,;=:[]<>\""


class GitUrl(NamedTuple):
    """A repository address.

    Attributes:
        scheme: `https`, `http`, `ssh` or `git`.
        host: With the port.
        path: Decoded.
        remote: The whole without fragment and query, as git is given it.
        dropped: The fragment, which is not part of any of these.
    """

    scheme: str
    host: str
    path: str
    remote: str
    dropped: str


def parse_git_url(url: str) -> GitUrl:
    """Return the parts of a URL or of `user@host:path`; without a scheme it is https.

    Raises:
        GraphError: It is neither.
    """
    text = some("url", url)
    found = _scheme.match(text)
    if found is None:
        scp = _scp.fullmatch(text)
        if scp is not None:
            user, host, path = scp[1], scp[2], scp[3]
            return GitUrl("ssh", host, path, f"{user}@{host}:{path}", scp[5] or "")
        text = f"https://{text}"
        found = _scheme.match(text)
        assert found is not None
    scheme = found[1].lower()
    if scheme not in SCHEMES:
        refuse(
            f"url={url!r} has the scheme {scheme!r}.",
            hint=f"git knows {', '.join(SCHEMES)} and user@host:path",
        )
    return _parse(url, scheme, found[2])


def _parse(url: str, scheme: str, rest: str) -> GitUrl:
    rest, _, fragment = rest.partition("#")
    if _control.search(rest):
        refuse(f"url={url!r} contains a control character.")
    # A lone `?` at the end survives in Go's URL.String.
    question = "?" if rest.endswith("?") and rest.count("?") == 1 else ""
    rest = rest.partition("?")[0]
    authority, slash, path = rest.partition("/")
    path = slash + path
    user, at, host = authority.rpartition("@")
    if not _userinfo.fullmatch(user):
        refuse(f"url={url!r} has a user part that must be percent-encoded.")
    if not _host.fullmatch(host):
        refuse(f"url={url!r} has no valid host.")
    for part in (user, host, path):
        if _bad_escape.search(part):
            refuse(f"url={url!r} has a % that is not followed by two hexadecimal digits.")
    decoded_host, decoded_path = _decode(host), _decode(path)
    shown_user = ""
    if at:
        name, colon, password = user.partition(":")
        shown_user = _encode(_decode(name), _USER_SAFE)
        shown_user += f":{_encode(_decode(password), _USER_SAFE)}@" if colon else "@"
    shown_path = path if _PATH_VALID.fullmatch(path) else _encode(decoded_path, _PATH_SAFE)
    remote = f"{scheme}://{shown_user}{_encode(decoded_host, _HOST_SAFE)}{shown_path}{question}"
    return GitUrl(scheme, decoded_host, decoded_path, remote, fragment)


def _decode(text: str) -> str:
    return unquote_to_bytes(text).decode("utf-8", "surrogateescape")


def _encode(text: str, safe: str) -> str:
    return quote(text.encode("utf-8", "surrogateescape"), safe=safe)
