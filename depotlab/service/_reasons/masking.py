"""Covers secrets in what builds print and in what errors say, before anybody keeps it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final
from urllib.parse import parse_qsl, quote, urlsplit

__all__ = ["COVER", "Mask"]

COVER: Final = "•••"

# What is shorter guards little, and stands in ordinary words: `true`, `8080`.
_MIN_LETTERS: Final = 8
# Of a query: `900` and `host` are none, signatures are.
_MIN_QUERY_LETTERS: Final = 16


class Mask:
    """Texts that must not be seen.

    Args:
        secrets: Tokens, passwords, values. Of one with several lines each line is covered, since what is printed
            comes line by line. Those of fewer than 8 letters are not: they occur everywhere.
        urls: Addresses that are good for who has them: their queries are covered, and so are the values in those.

    Example:
        >>> mask = Mask(["hunter2-hunter2"], ["http://store/a.tar?X-Signature=0123456789abcdef"])
        >>> mask('Get "http://store/a.tar?X-Signature=0123456789abcdef": with hunter2-hunter2')
        'Get "http://store/a.tar?•••": with •••'
    """

    def __init__(self, secrets: Iterable[str] = (), urls: Iterable[str] = ()) -> None:
        words: set[str] = set()
        for text in secrets:
            words.update(line.strip() for line in (text, *text.splitlines()))
        words = {word for word in words if len(word) >= _MIN_LETTERS}
        words |= {written for word in words for written in _as_written(word)}
        for url in urls:
            words |= set(_parts_of(url))
        self._words = tuple(sorted(words, key=lambda word: (-len(word), word)))

    def __call__(self, text: str) -> str:
        """Return a text with the secrets in it covered."""
        for word in self._words:
            if word in text:
                text = text.replace(word, COVER)
        return text

    def each(self, texts: list[str]) -> list[str]:
        """Return texts with the secrets in them covered. Many are as fast as one, as long as none has a secret."""
        whole = "\n".join(texts)
        if not any(word in whole for word in self._words):
            return texts
        return [self(text) for text in texts]

    def __repr__(self) -> str:
        return "<Mask>"


def _as_written(word: str) -> Iterable[str]:
    """Yield a text as addresses, JSON and shells have it: programs print what they were given in their own way."""
    yield quote(word, safe="")
    yield json.dumps(word)[1:-1]
    yield json.dumps(word, ensure_ascii=False)[1:-1]
    yield word.replace("'", "'\\''")


def _parts_of(url: str) -> Iterable[str]:
    parts = urlsplit(url)
    if parts.password:
        yield parts.password
    if parts.query:
        yield parts.query
        for _, value in parse_qsl(parts.query):
            if len(value) >= _MIN_QUERY_LETTERS:
                yield value
                yield quote(value, safe="")
