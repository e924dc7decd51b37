r"""Patterns as `.dockerignore` and BuildKit's include and exclude lists have them.

A list of patterns decides about a path by its last rule that matches; a rule that starts with `!`
takes back what earlier ones said. A rule that matches a directory holds for everything below it.

    **     any number of directories, also none       ?       one character, not `/`
    *      any characters except `/`                  [a-z]   one of a class; `[^a]` is not
    \*     a star                                     !       takes back

The daemon applies the same rules to what arrives, and decides by them what belongs to a cache key,
so this is the Go matcher rule for rule, with what follows only from how that one is made: which
patterns are compared as plain text, what an escaped letter means, that `.` in its regular
expressions does not take a newline, that a rule which cannot change the outcome is not looked at
and so counts as not matching for what lies below.

Source: moby/patternmatcher `patternmatcher.go` (`New`, `compile`, `MatchesUsingParentResults`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from depotlab._transfer import paths
from depotlab._transfer.goregex import BadPattern, translate

__all__ = ["SPACE", "BadPattern", "Matcher", "Pattern"]

# What Go's strings.TrimSpace takes off; str.strip takes off more.
SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)


class Pattern:
    """One rule.

    Attributes:
        text: The cleaned pattern, without the `!`.
        takes_back: Whether the rule started with `!`.
        matches: Whether a path is what the rule says; parents do not count here.
            Raises BadPattern if the rule is malformed in a way that only shows when it is used.
    """

    __slots__ = ("expression", "matches", "takes_back", "text", "way")

    def __init__(self, text: str, *, takes_back: bool) -> None:
        self.text = text
        self.takes_back = takes_back
        self.way, self.expression = _analyse(text)
        self.matches = self._matcher()

    def __repr__(self) -> str:
        return f"<Pattern {'!' if self.takes_back else ''}{self.text}>"

    def _matcher(self) -> Callable[[str], bool]:
        text = self.text
        if self.way == "exact":
            return text.__eq__
        if self.way == "prefix":
            prefix = text[:-2]
            return lambda path: path.startswith(prefix)
        if self.way == "suffix":
            suffix = text[2:]
            return lambda path: path.endswith(suffix) or (suffix[:1] == "/" and path == suffix[1:])
        try:
            regex = translate(self.expression)
        except BadPattern as error:
            reason = str(error)

            def refuse(_path: str) -> bool:
                raise BadPattern(f"the pattern {text!r} is malformed: {reason}")

            return refuse
        search = regex.match
        return lambda path: search(path) is not None

    @property
    def usable(self) -> bool:
        """Whether the rule can be used at all."""
        try:
            self.matches("")
        except BadPattern:
            return False
        return True


def _analyse(text: str) -> tuple[str, str]:
    """Return how a cleaned pattern is compared, and the Go expression it becomes.

    The first is `exact`, `prefix` (text up to a final `**`), `suffix` (text after a leading `**`)
    or `regex`.
    """
    # Go's scanner drops a byte order mark and reads bytes that are not UTF-8 as U+FFFD.
    source = re.sub("[\ud800-\udfff]", "\ufffd", text.removeprefix("\ufeff"))
    out = ["^"]
    way = "exact"
    at = n_read = 0
    while at < len(source):
        char = source[at]
        at += 1
        if char == "*" and source[at : at + 1] == "*":
            at += 1
            if source[at : at + 1] == "/":
                at += 1
            if at == len(source) and way == "exact":
                way = "prefix"
            else:
                out.append(".*" if at == len(source) else "(.*/)?")
                way = "regex"
            if n_read == 0:
                way = "suffix"
        elif char in "*?":
            out.append("[^/]*" if char == "*" else "[^/]")
            way = "regex"
        elif char in ".+()$":  # not "{|}", which Go means to escape too, but does not
            out.append("\\" + char)
        elif char == "\\":
            out.append(char)
            if at < len(source):
                out.append(source[at])
                at += 1
                way = "regex"
        else:
            out.append(char)
            if char in "[]":
                way = "regex"
        n_read += 1
    return way, "".join(out) + "$"


class Matcher:
    """A list of patterns.

    Attributes:
        patterns: The rules that are not blank, in order.
        takes_back: Whether any of them starts with `!`.

    Raises:
        BadPattern: A pattern is malformed.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(filter(None, map(_parse, patterns)))
        self.takes_back = any(pattern.takes_back for pattern in self.patterns)
        self._touches = _any_of(self.patterns)
        self._untouched: dict[int, tuple[bool, int]] = {}

    def match(self, path: str, parent: int = 0) -> tuple[bool, int]:
        """Tell whether a path matches, and what its children inherit.

        Args:
            path: Relative, clean, decoded with `surrogateescape`.
            parent: What this method returned second for the directory that the path is in; 0
                for the top of the tree.

        Raises:
            BadPattern: A rule is malformed in a way that only shows when it is used.
        """
        if self._touches is None or self._touches(path):
            return self._decide(path, parent)
        result = self._untouched.get(parent)
        if result is None:
            result = self._untouched[parent] = self._decide(None, parent)
        return result

    def match_from_top(self, path: str) -> bool:
        """Tell whether a path matches, itself or through the directories it is in."""
        parent = 0
        matched = False
        parts = path.split("/")
        for end in range(1, len(parts) + 1):
            matched, parent = self.match("/".join(parts[:end]), parent)
        return matched

    def _decide(self, path: str | None, parent: int) -> tuple[bool, int]:
        """Go through the rules in order; without a path, as if none of them matched by itself.

        Bit n of the mask says that rule n holds here, by itself or from a directory above.
        """
        matched = False
        mask = 0
        bit = 1
        for pattern in self.patterns:
            holds = bool(parent & bit)
            # A rule that cannot change the outcome is not looked at, and leaves its bit clear.
            if not holds and path is not None and pattern.takes_back is matched:
                holds = pattern.matches(path)
            if holds:
                mask |= bit
                matched = not pattern.takes_back
            bit <<= 1
        return matched, mask


def _parse(line: str) -> Pattern | None:
    text = line.strip(SPACE)
    if not text:
        return None
    text = paths.clean(text)
    takes_back = text.startswith("!")
    if takes_back:
        text = text[1:]
        if not text:
            raise BadPattern("a pattern of only '!' takes back nothing")
    try:
        paths.match(text, ".")
    except BadPattern as error:
        raise BadPattern(f"the pattern {text!r} is malformed: {error}") from None
    return Pattern(text, takes_back=takes_back)


def _any_of(patterns: tuple[Pattern, ...]) -> Callable[[str], object] | None:
    """Return a quick test that says whether any rule matches a path by itself.

    Most paths of a tree touch no rule; for them the rules need not be gone through one by one.
    None if a rule is malformed, since then it matters which rules are looked at.
    """
    exact: set[str] = set()
    prefixes: list[str] = []
    suffixes: list[str] = []
    expressions: list[str] = []
    for pattern in patterns:
        if not pattern.usable:
            return None
        if pattern.way == "exact":
            exact.add(pattern.text)
        elif pattern.way == "prefix":
            prefixes.append(pattern.text[:-2])
        elif pattern.way == "suffix":
            suffixes.append(pattern.text[2:])
            if pattern.text[2:3] == "/":
                exact.add(pattern.text[3:])
        else:
            expressions.append(translate(pattern.expression).pattern)
    heads, tails = tuple(prefixes), tuple(suffixes)
    if not expressions:
        return lambda path: path in exact or path.startswith(heads) or path.endswith(tails)
    search = re.compile("|".join(f"(?:{one})" for one in expressions), re.ASCII).match
    return lambda path: (
        path in exact or path.startswith(heads) or path.endswith(tails) or search(path)
    )
