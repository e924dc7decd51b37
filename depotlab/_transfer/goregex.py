"""Regular expressions as Go writes them, for Python's engine.

The pattern matcher of BuildKit turns a pattern into a Go regular expression, and some patterns
mean something only because of that: `[[:alpha:]]` is a POSIX class, an escaped `d` is any digit,
`[*]` becomes a class followed by a star. To agree with it on every pattern, this file reads what
the matcher writes (a small part of Go's syntax) and says the same to `re`.

The text to match is a path decoded as UTF-8 with `surrogateescape`. Go sees each byte that is not
UTF-8 as U+FFFD, so that rune, and every class that has it, also takes the escaped bytes.

Source: golang/go `regexp/syntax/parse.go`, flags `Perl`.
"""

from __future__ import annotations

import re

__all__ = ["BadPattern", "translate"]


class BadPattern(ValueError):
    """A pattern that the matcher refuses; the text is for people."""


Ranges = list[tuple[int, int]]

_LAST_RUNE = 0x10FFFF
_RUNE_ERROR = 0xFFFD
_ESCAPED_BYTES = (0xDC80, 0xDCFF)


def _spans(text: str) -> Ranges:
    """Read pairs of first and last character."""
    return [(ord(a), ord(b)) for a, b in zip(text[::2], text[1::2], strict=True)]


def _complement(ranges: Ranges) -> Ranges:
    out: Ranges = []
    start = 0
    for low, high in sorted(ranges):
        if low > start:
            out.append((start, low - 1))
        start = max(start, high + 1)
    return [*out, (start, _LAST_RUNE)]


_PERL_GROUPS = {"d": _spans("09"), "s": _spans("\t\n\f\r  "), "w": _spans("09AZaz__")}
_PERL_GROUPS |= {name.upper(): _complement(group) for name, group in _PERL_GROUPS.items()}
_POSIX_GROUPS = {
    "alnum": _spans("09AZaz"),
    "alpha": _spans("AZaz"),
    "ascii": _spans("\x00\x7f"),
    "blank": _spans("\t\t  "),
    "cntrl": _spans("\x00\x1f\x7f\x7f"),
    "digit": _spans("09"),
    "graph": _spans("!~"),
    "lower": _spans("az"),
    "print": _spans(" ~"),
    "punct": _spans("!/:@[`{~"),
    "space": _spans("\t\r  "),
    "upper": _spans("AZ"),
    "word": _spans("09AZaz__"),
    "xdigit": _spans("09AFaf"),
}
_POSIX_GROUPS |= {f"^{name}": _complement(group) for name, group in _POSIX_GROUPS.items()}
_OPERATORS = {"^": "^", "$": r"\Z", "(": "(?:", ".": ".", "|": "|"}
_CONTROL_ESCAPES = {"a": 7, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_REPEAT = re.compile(r"\{(0|[1-9][0-9]*)(,(0|[1-9][0-9]*)?)?\}")
_MAX_REPEAT = 1000


def translate(expression: str) -> re.Pattern[str]:
    """Return the pattern whose `match` finds what Go's `MatchString` finds for `expression`.

    Knows literals, escapes, classes, one level of groups and the operators `^ $ . * ? | {n,m}`, which is
    all that the matcher can write. Unicode classes (an escaped `p` or `P`) are refused: `re` has
    no word for them.

    Raises:
        BadPattern: Go refuses the expression too, or it has a Unicode class.
    """
    return re.compile(_Reader(expression).read(), re.ASCII)


class _Reader:
    def __init__(self, expression: str) -> None:
        self.text = expression
        self.at = 0
        self.atoms: list[str] = []  # what a repetition may apply to; "(" and "|" are none

    def read(self) -> str:
        repeated = False
        while self.at < len(self.text):
            char = self.text[self.at]
            repeat = self._repeat(char)
            if repeat:
                self._apply(repeat, repeated=repeated)
            elif char == "[":
                self.atoms.append(self._class())
            elif char == "\\":
                self._escape_outside_class()
            else:
                self.at += 1
                self._literal_or_operator(char)
            repeated = bool(repeat)
        out = "".join(self.atoms)
        # Go searches; only the part before a first bar is held by the "^" at the start.
        return f"(?s:.*?)(?:{out})" if "|" in self.atoms else out

    def _repeat(self, char: str) -> str:
        """Read a repetition, or nothing; braces that hold no numbers are themselves."""
        if char in "*?":
            self.at += 1
            return char
        found = _REPEAT.match(self.text, self.at)
        if found is None:
            return ""
        least = int(found[1])
        most = int(found[3]) if found[3] else least
        if least > _MAX_REPEAT or most > _MAX_REPEAT or most < least:
            raise BadPattern(f"{found[0]} is no possible repetition")
        self.at = found.end()
        return found[0]

    def _apply(self, repeat: str, *, repeated: bool) -> None:
        if repeated:
            raise BadPattern("a repetition of a repetition")
        if not self.atoms or self.atoms[-1] in ("(?:", "|"):
            raise BadPattern("a repetition of nothing")
        self.atoms[-1] = f"(?:{self.atoms[-1]}){repeat}"

    def _literal_or_operator(self, char: str) -> None:
        if char == ")":
            start = len(self.atoms) - 1 - self.atoms[::-1].index("(?:")
            self.atoms[start:] = ["".join(self.atoms[start:]) + ")"]
        else:
            self.atoms.append(_OPERATORS.get(char) or _literal(char))

    def _escape_outside_class(self) -> None:
        letter = self.text[self.at + 1 : self.at + 2]
        if letter in ("A", "b", "B", "z"):
            self.at += 2
            self.atoms.append(r"\Z" if letter == "z" else "\\" + letter)
        elif letter == "Q":
            quoted, _, _ = self.text[self.at + 2 :].partition(r"\E")
            self.at = min(len(self.text), self.at + 4 + len(quoted))
            self.atoms += map(_literal, quoted)
        elif letter in _PERL_GROUPS:
            self.at += 2
            self.atoms.append(_class_text(_PERL_GROUPS[letter]))
        else:
            self.atoms.append(_literal(chr(self._escape())))

    def _escape(self) -> int:
        """Read an escape that stands for one rune."""
        self.at += 1
        if self.at >= len(self.text):
            raise BadPattern("a backslash at the end")
        char = self.text[self.at]
        self.at += 1
        if char in _CONTROL_ESCAPES:
            return _CONTROL_ESCAPES[char]
        if char == "x":
            digits = self.text[self.at : self.at + 2]
            if re.fullmatch("[0-9A-Fa-f]{2}", digits):
                self.at += 2
                return int(digits, 16)
        elif char in "01234567":
            more = re.compile("[0-7]{0,2}").match(self.text, self.at)
            assert more is not None
            if char == "0" or more[0]:
                self.at = more.end()
                return int(char + more[0], 8)
        elif char.isascii() and not char.isalnum():
            return ord(char)
        raise BadPattern(f"the escape \\{char} means nothing")

    def _class(self) -> str:
        self.at += 1
        negated = self.text.startswith("^", self.at)
        if negated:
            self.at += 1
        ranges: Ranges = []
        first = True
        while first or not self.text.startswith("]", self.at):
            first = False
            if self.at >= len(self.text):
                raise BadPattern("a [ without its ]")
            named = self._named_group()
            if named is not None:
                ranges += named
                continue
            group = None
            if self.text.startswith("\\", self.at):
                group = _PERL_GROUPS.get(self.text[self.at + 1 : self.at + 2])
            if group is not None:
                self.at += 2
                ranges += group
                continue
            low = high = self._class_rune()
            if self.text.startswith("-", self.at) and self.text[self.at + 1 : self.at + 2] not in (
                "",
                "]",
            ):
                self.at += 1
                high = self._class_rune()
                if high < low:
                    raise BadPattern("a range in [ ] that runs backwards")
            ranges.append((low, high))
        self.at += 1
        return _class_text(_complement(ranges) if negated else ranges)

    def _named_group(self) -> Ranges | None:
        if not self.text.startswith("[:", self.at):
            return None
        end = self.text.find(":]", self.at + 2)
        if end < 0:
            return None
        name = self.text[self.at + 2 : end]
        if name not in _POSIX_GROUPS:
            raise BadPattern(f"there is no class [:{name}:]")
        self.at = end + 2
        return _POSIX_GROUPS[name]

    def _class_rune(self) -> int:
        if self.at >= len(self.text):
            raise BadPattern("a [ without its ]")
        if self.text[self.at] == "\\":
            return self._escape()
        self.at += 1
        return ord(self.text[self.at - 1])


def _literal(char: str) -> str:
    return _class_text([(ord(char), ord(char))])


def _class_text(ranges: Ranges) -> str:
    """Write what takes one of these runes. Surrogates stand for bytes, never for themselves."""
    parts: list[str] = []
    for low, high in ranges:
        pieces = [(low, min(high, 0xD7FF)), (max(low, 0xE000), high)]
        if low <= _RUNE_ERROR <= high:
            pieces.append(_ESCAPED_BYTES)
        parts += [rf"\U{a:08x}-\U{b:08x}" for a, b in pieces if a <= b]
    if len(ranges) == 1 and ranges[0][0] == ranges[0][1] and len(parts) == 1:
        return re.escape(chr(ranges[0][0]))
    return f"[{''.join(parts)}]" if parts else r"(?!)"
