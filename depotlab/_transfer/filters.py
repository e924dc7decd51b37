"""Which entries of a tree are sent, and which directories are worth walking.

A tree is filtered twice, first by include patterns, then by exclude patterns. Either may say no
to a directory while something below it is wanted: then it is walked, and sent only when an entry
below is (the receiver wants parents first). It is not walked when no pattern could match below.
Filters of two parties (what the user offers, what the builder asks for) go one after the other.

Source: tonistiigi/fsutil `filter.go`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

from depotlab._transfer.patterns import Matcher, Pattern

__all__ = ["Inherited", "TreeFilter", "Verdict", "make_filter"]

Inherited = tuple[Any, Any]
"""What a directory hands to its children: the masks of the include and the exclude matcher, or what each
of two filters hands on."""

_NOTHING: Inherited = (0, 0)
# If none of the patterns has one of these (but for `/*` or `/**` at its end), the Go walk goes by names alone.
_WILD = re.compile(r"[*?\[\]^\\]")
# What may match a slash, or only a part of the path, or something else than itself.
_UNSTEADY = re.compile(r"\*\*|[\[\]^\\|{\ufeff\ufffd\ud800-\udfff]")


class Verdict(NamedTuple):
    """What a filter says of a path, and because of what.

    Attributes:
        keeps: Whether the entry itself is kept.
        by: The list that decided, or empty when nothing in either speaks of the path.
        rule: Which pattern of that list, from 0; None if it is the lack of one that includes the path.
        at: The path that the pattern matched: the path itself or a directory above it.
    """

    keeps: bool
    by: Literal["include", "exclude", ""]
    rule: int | None
    at: str


class TreeFilter:
    """Include and exclude patterns, made ready for a walk.

    Args:
        include: Patterns of which an entry or a directory above it has to match one. An empty
            list means no filter; a list of only blank patterns lets nothing through, as in Go.
        exclude: Patterns of what is left out.

    Attributes:
        top: What the root hands to its children.

    Raises:
        BadPattern: A pattern is malformed.
    """

    top: Inherited = _NOTHING

    def __init__(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        self._include = Matcher(include) if include else None
        self._exclude = Matcher(exclude) if exclude else None
        including = self._include.patterns if self._include else ()
        excluding = self._exclude.patterns if self._exclude else ()
        self._ways_to_included = _Ways(p for p in including if not p.takes_back)
        self._ways_back = _Ways(p for p in excluding if p.takes_back)

    @property
    def keeps_all(self) -> bool:
        """Whether there is nothing to filter by."""
        return self._include is None and self._exclude is None

    def judge(
        self, path: str, inherited: Inherited, *, is_dir: bool
    ) -> tuple[bool, bool, Inherited]:
        """Tell whether an entry is sent, whether to walk it, and what its children inherit.

        Args:
            path: Relative to the root, decoded with `surrogateescape`.
            inherited: What the directory handed down, or `top`.
            is_dir: Only directories are walked.

        Raises:
            BadPattern: A pattern is malformed in a way that only shows when it is used.
        """
        keep = True
        include_mask = exclude_mask = 0
        if self._include is not None:
            included, include_mask = self._include.match(path, inherited[0])
            if not included:
                if is_dir and not self._ways_to_included.lead_into(path):
                    return False, False, _NOTHING
                keep = False
        if self._exclude is not None:
            excluded, exclude_mask = self._exclude.match(path, inherited[1])
            if excluded:
                if is_dir and not self._ways_back.lead_into(path):
                    return False, False, _NOTHING
                keep = False
        return keep, is_dir, (include_mask, exclude_mask)

    def explain(self, path: str) -> Verdict:
        """Tell what decides about a path, as a walk from the top would come to it.

        Args:
            path: Relative to the root, decoded with `surrogateescape`.

        Raises:
            BadPattern: A pattern is malformed in a way that only shows when it is used.
        """
        parts = path.split("/")
        include, exclude = _Trace(self._include), _Trace(self._exclude)
        for end in range(1, len(parts) + 1):
            here = "/".join(parts[:end])
            is_last = end == len(parts)
            included = include.step(here) or self._include is None
            if not included and (is_last or not self._ways_to_included.lead_into(here)):
                return Verdict(False, "include", None, here)
            excluded = exclude.step(here)
            if excluded and (is_last or not self._ways_back.lead_into(here)):
                return Verdict(False, "exclude", *exclude.decider)
        if exclude.mask:
            return Verdict(True, "exclude", *exclude.decider)
        if include.mask:
            return Verdict(True, "include", *include.decider)
        return Verdict(True, "", None, path)

    def within(self, outer: TreeFilter | None) -> TreeFilter:
        """Return a filter that keeps what both keep."""
        if outer is None or outer.keeps_all:
            return self
        return outer if self.keeps_all else _Both(outer, self)


class _Trace:
    """One matcher on its way down to a path, and since which directory each rule holds."""

    def __init__(self, matcher: Matcher | None) -> None:
        self._matcher = matcher
        self._since: dict[int, str] = {}
        self.mask = 0

    def step(self, path: str) -> bool:
        if self._matcher is None:
            return False
        before = self.mask
        matched, self.mask = self._matcher.match(path, before)
        for rule in range(self.mask.bit_length()):
            if self.mask >> rule & 1 and not before >> rule & 1:
                self._since[rule] = path
        return matched

    @property
    def decider(self) -> tuple[int, str]:
        """The last rule that holds, which is the one that counts, and where it began to."""
        rule = self.mask.bit_length() - 1
        return rule, self._since[rule]


class _Both(TreeFilter):
    """Two filters, one after the other."""

    def __init__(self, first: TreeFilter, second: TreeFilter) -> None:
        super().__init__()
        self._first = first
        self._second = second
        self.top = (first.top, second.top)

    @property
    def keeps_all(self) -> bool:
        return False

    def judge(
        self, path: str, inherited: Inherited, *, is_dir: bool
    ) -> tuple[bool, bool, Inherited]:
        keep, enter, first = self._first.judge(path, inherited[0], is_dir=is_dir)
        if not (keep or enter):
            return False, False, _NOTHING
        keeps_too, enters_too, second = self._second.judge(path, inherited[1], is_dir=is_dir)
        return keep and keeps_too, enter and enters_too, (first, second)

    def explain(self, path: str) -> Verdict:
        """Return what the first says if it drops the path, else what the second says."""
        first = self._first.explain(path)
        return self._second.explain(path) if first.keeps else first


class _Ways:
    """The directories in which something may match that does not match itself.

    If all patterns are plain these are the directories that they name on their way. If not, the Go walk goes
    everywhere; this one has the same result with less walking: a pattern with `*` and `?` leads into
    directories as deep as it has names, if they match name by name, and all others may match anywhere.
    """

    def __init__(self, patterns: Iterable[Pattern]) -> None:
        self._anywhere = False
        self._plain: set[str] = set()
        globs: list[str] = []
        texts = [(p, p.text.removesuffix("/**").removesuffix("/*")) for p in patterns]
        is_wild = any(_WILD.search(text) for _, text in texts)
        for pattern, text in texts:
            parts = text.split("/")
            if not is_wild or not (_WILD.search(text) or _UNSTEADY.search(text)):
                self._plain.update("/".join(parts[:end]) for end in range(1, len(parts) + 1))
            elif _UNSTEADY.search(text):
                self._anywhere = True
            else:
                depth = len(parts) if text != pattern.text else len(parts) - 1
                names = [re.sub(r"[*?]|[^*?]+", _name_regex, part) for part in parts]
                globs += ["/".join(names[:end]) for end in range(1, depth + 1)]
        self._globs = re.compile("|".join(f"(?:{one})\\Z" for one in globs)) if globs else None

    def lead_into(self, path: str) -> bool:
        """Tell whether a directory has to be walked although it does not match itself."""
        if self._anywhere or path in self._plain:
            return True
        return self._globs is not None and self._globs.match(path) is not None


def _name_regex(found: re.Match[str]) -> str:
    return {"*": "[^/]*", "?": "[^/]"}.get(found[0]) or re.escape(found[0])


def _without_covered(patterns: Iterable[str]) -> list[str] | None:
    """Drop paths that lie below the one before them; None means that the root is among them.

    Follows the Go function on lists that are not sorted too: only the last kept one is compared.
    """
    out: list[str] = []
    last = ""
    for pattern in patterns:
        if pattern == ".":
            return None
        if pattern.startswith(last + "/"):
            continue
        out.append(pattern)
        last = pattern
    return out


def make_filter(
    include: Sequence[str], exclude: Sequence[str], followed: Sequence[str] | None
) -> TreeFilter:
    """Return the filter for a request.

    Args:
        include: Its include patterns.
        exclude: Its exclude patterns.
        followed: What its follow-paths resolve to, or None when there are none or the root is
            among them.
    """
    patterns: Sequence[str] | None = include
    if followed is not None:
        patterns = _without_covered([*include, *followed])
    return TreeFilter(patterns or (), exclude)
