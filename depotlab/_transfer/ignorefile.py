"""Ignore files: from the lines of a `.dockerignore` to patterns, each with the place it came from.

A line is a comment only if `#` is its very first character. A leading slash means nothing, and everything is
made clean before it is matched: `/a/./b/` is `a/b`. Lines are bytes; what is not UTF-8 stays as it is.

Source: moby/patternmatcher `ignorefile/ignorefile.go`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from depotlab._transfer import paths
from depotlab._transfer.patterns import SPACE, BadPattern

__all__ = ["IgnoreRule", "listed_rules", "read_rules"]

# The longest line that Go's bufio.Scanner takes, without its end.
_MAX_LINE_BYTES = (64 << 10) - 1


class IgnoreRule(NamedTuple):
    """One pattern and where it stands.

    Attributes:
        text: As it was written, without white space around it.
        pattern: As it is matched.
        source: The file that has it, or the argument with an equals sign at its end.
        line: Its line in the file, from 1; for an argument its place in the list, from 1.
    """

    text: str
    pattern: str
    source: str
    line: int

    def __str__(self) -> str:
        if self.source.endswith("="):
            return f"{self.source}{self.text}"
        return f"{self.source}:{self.line}: {self.text}"


def read_rules(content: bytes, source: str) -> tuple[IgnoreRule, ...]:
    """Return the rules of an ignore file.

    Raises:
        BadPattern: A line is too long for the builder. Whether patterns are well-formed shows when they are used.
    """
    lines = content.split(b"\n")
    if not lines[-1]:
        lines.pop()
    rules = []
    for number, raw in enumerate(lines, 1):
        if len(raw) > _MAX_LINE_BYTES:
            raise BadPattern(f"line {number} of {source} is longer than {_MAX_LINE_BYTES} bytes")
        line = raw.removesuffix(b"\r")
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        text = line.decode("utf-8", "surrogateescape")
        if not text.startswith("#") and (rule := _rule(text, source, number)) is not None:
            rules.append(rule)
    return tuple(rules)


def listed_rules(patterns: Iterable[str], source: str) -> tuple[IgnoreRule, ...]:
    """Return rules for patterns that were given in a list; they mean what they would mean in a file."""
    found = (_rule(text, source, number) for number, text in enumerate(patterns, 1))
    return tuple(rule for rule in found if rule is not None)


def _rule(line: str, source: str, number: int) -> IgnoreRule | None:
    text = line.strip(SPACE)
    if not text:
        return None
    takes_back = text.startswith("!")
    pattern = text[1:].strip(SPACE) if takes_back else text
    if pattern:
        pattern = paths.clean(pattern)
        if len(pattern) > 1:
            pattern = pattern.removeprefix("/")
    return IgnoreRule(text, f"!{pattern}" if takes_back else pattern, source, number)
