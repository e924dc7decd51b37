"""Texts without what may let somebody in: for what a daemon, a registry or a store said, and others will read.

It knows the shapes of logins, signatures and tokens, not their values; who knows the values covers them as well.
"""

from __future__ import annotations

import re

__all__ = ["scrubbed"]

_HIDDEN = "•••"
# What variables, options and attributes call their secrets.
_WORD = "[A-Za-z0-9_-]"
_SECRET = rf"(?={_WORD}*?(?:passw|secret|token|api[_-]?key|access_?key|private_?key|credential|signature))"
# Who quotes a command or an answer puts backslashes before its quotes; a value ends with the quote that it began with.
_QUOTE = r"\\*[\"']"
_QUOTED = rf"(?P<quote>{_QUOTE})(?:(?!(?P=quote))(?:\\.|[^\n]))*"
_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    # Logins in addresses; a digest behind an image's name is none.
    (re.compile(r"(://)[^/\s\"']+@(?!sha(?:256|512):)"), rf"\1{_HIDDEN}@"),
    # Signatures are in queries, and nothing else of a query helps who reads an error.
    (re.compile(r"(\bhttps?://[^\s\"'?#<>]+)\?[^\s\"'#<>]*", re.IGNORECASE), r"\1?…"),
    (
        re.compile(
            r"\b(bearer |basic |authorization: token |x-token:)[A-Za-z0-9._~+/=-]{16,}",
            re.IGNORECASE,
        ),
        rf"\1{_HIDDEN}",
    ),
    # Begins that forges, registries, Depot and clouds give to their tokens.
    (
        re.compile(
            r"\b(gh[pousr]_|github_pat_|glpat-|dckr_pat_|npm_|pypi-AgEI|depot_[a-z]+_|dop_v1_|AIza|AKIA|ASIA|xox[abps]-)[A-Za-z0-9_-]{8,}"
        ),
        rf"\1{_HIDDEN}",
    ),
    # A JSON Web Token, as registries give. Source: RFC 7519.
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]{8,}+(?:\.[A-Za-z0-9_-]*+)?"), _HIDDEN),
    # NAME=VALUE, and "NAME": "VALUE". A name is taken whole or not at all, so long words cost no more than short ones.
    (
        re.compile(
            rf"(?<!{_WORD}){_SECRET}({_WORD}++(?:{_QUOTE})?\s?=\s?)(?:{_QUOTED}|[^\s\"'&,;]+)",
            re.IGNORECASE,
        ),
        rf"\1\g<quote>{_HIDDEN}",
    ),
    (
        re.compile(rf"(?<=[\"']){_SECRET}({_WORD}++{_QUOTE}\s?:\s?){_QUOTED}", re.IGNORECASE),
        rf"\1\g<quote>{_HIDDEN}",
    ),
    # --NAME VALUE.
    (
        re.compile(
            rf"(?<!{_WORD}){_SECRET}(--{_WORD}++\s)(?:{_QUOTED}|[^\s\"'&,;]+)", re.IGNORECASE
        ),
        rf"\1\g<quote>{_HIDDEN}",
    ),
    # Headers, whose names have a dash; the names of images have slashes before it, and no blank behind their colon.
    (
        re.compile(
            r"(?<![\w./:-])((?:[A-Z0-9]++-)+(?:token|key|secret|password|signature):\s)[^\s\"'\\]+",
            re.IGNORECASE,
        ),
        rf"\1{_HIDDEN}",
    ),
)


def scrubbed(text: str) -> str:
    """Return a text without logins and queries of addresses, and without what looks like a token or password."""
    for secret, instead in _SECRETS:
        text = secret.sub(instead, text)
    return text
