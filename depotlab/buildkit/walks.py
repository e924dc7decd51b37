"""Walks over the files of a result: search, tree, sums of sizes. Some directories are asked for at the same time.

Links are never followed, so a walk ends.
"""

from __future__ import annotations

import asyncio
import functools
import posixpath
import re
from collections.abc import AsyncIterator

from depotlab.buildkit.fileinfo import FileInfo, FileKind, Listing
from depotlab.buildkit.files import Files, guest_path
from depotlab.buildkit.filetree import FileTree, SizeEntry, Sizes
from depotlab.errors import PathError, UsageError

__all__ = ["find", "sizes", "tree", "walk"]

_AT_ONCE = 8
"""Directories that are asked for at the same time. The daemon answers one in a millisecond; more gain nothing there."""

_KINDS = ("file", "directory", "symlink", "device", "pipe", "socket")


async def walk(
    files: Files, path: object = "/", *, depth: int | None = None
) -> AsyncIterator[Listing]:
    """Iterate over directories, each before those in it.

    Args:
        files: Where to look.
        path: Where to begin.
        depth: Directories below each other, 1 is only the first; None is all.

    Raises:
        FileMissing: There is no such directory.
        PathError: It is none.
    """
    level = [guest_path(path, files.base)]
    below = 0
    while level and (depth is None or below < depth):
        found: list[str] = []
        for at in range(0, len(level), _AT_ONCE):
            some = level[at : at + _AT_ONCE]
            for listing in await asyncio.gather(*(files.list(each) for each in some)):
                yield listing
                found += [file.path for file in listing if file.is_dir]
        level = found
        below += 1


async def find(
    files: Files, pattern: str = "*", path: object = "/", *, kind: FileKind | None = None
) -> Listing:
    """Return the files below a directory that match a pattern, by path.

    Args:
        files: Where to look.
        pattern: Of a name, or, with a slash, of a path from `path` on: `*`, `?`, `[a-z]` stand for what is in
            one name, `**` for any number of directories.
        path: Where to begin.
        kind: Only files of this kind.

    Raises:
        UsageError: The pattern or the kind is none.
        FileMissing: There is no such directory.
    """
    if kind is not None and kind not in _KINDS:
        raise UsageError(f"kind={kind!r} is no kind of file.", hint=f"use {', '.join(_KINDS)}")
    matches = matcher(pattern)
    start = guest_path(path, files.base)
    found: list[FileInfo] = []
    async for listing in walk(files, start):
        found += [
            file
            for file in listing
            if (kind is None or file.kind == kind)
            and matches(posixpath.relpath(file.path, start), file.name)
        ]
    return Listing(start, sorted(found, key=lambda file: file.path), what="found in")


class _Matcher:
    def __init__(self, pattern: str) -> None:
        self._by_path = "/" in pattern.strip("/")
        self._match = _regex(pattern.strip("/")).fullmatch

    def __call__(self, path: str, name: str) -> bool:
        return self._match(path if self._by_path else name) is not None


def matcher(pattern: object) -> _Matcher:
    """Return what tells whether a path, or the name at its end, matches.

    Raises:
        UsageError: It is no pattern.
    """
    if not isinstance(pattern, str) or not pattern.strip("/"):
        raise UsageError(
            f"pattern={pattern!r} is no pattern.", hint="for example '*.py' or 'src/**/*.py'"
        )
    try:
        return _Matcher(pattern)
    except re.error as error:
        raise UsageError(
            f"pattern={pattern!r} is no pattern: {error}.", hint="for example '*.py'"
        ) from None


@functools.lru_cache(maxsize=64)
def _regex(pattern: str) -> re.Pattern[str]:
    parts, at = [], 0
    while at < len(pattern):
        letter = pattern[at]
        if pattern.startswith("**/", at):
            parts.append("(?:[^/]+/)*")
            at += 3
            continue
        if pattern.startswith("**", at):
            parts.append(".*")
            at += 2
            continue
        end = pattern.find("]", at + 2) if letter == "[" else -1
        if letter == "*":
            parts.append("[^/]*")
        elif letter == "?":
            parts.append("[^/]")
        elif end > 0:
            inner = pattern[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            parts.append("[^" + inner[1:] + "]" if inner[0] in "!^" else f"[{inner}]")
            at = end
        else:
            parts.append(re.escape(letter))
        at += 1
    return re.compile("".join(parts), re.DOTALL)


async def tree(files: Files, path: object = "/", *, depth: int = 2) -> FileTree:
    """Return a directory with what is in it.

    Args:
        files: Where to look.
        path: Of the directory, or of a file.
        depth: How many levels below it, 1 or more.

    Raises:
        UsageError: The depth is none.
        FileMissing: There is no such directory.
    """
    if isinstance(depth, bool) or not isinstance(depth, int) or depth < 1:
        raise UsageError(f"depth={depth!r} is not 1 or more.", hint="depth=1 is what ls shows")
    start = guest_path(path, files.base)
    root = await files.stat(start)
    if not root.is_dir:
        return FileTree(root)
    listed = {one.path: one async for one in walk(files, start, depth=depth)}

    def node(info: FileInfo) -> FileTree:
        inside = listed.get(info.path)
        return FileTree(info, None if inside is None else tuple(node(each) for each in inside))

    return node(root)


async def sizes(files: Files, path: object = "/") -> Sizes:
    """Return what a directory takes, and each of its entries, with all that is below.

    Raises:
        FileMissing: There is no such directory.
    """
    start = guest_path(path, files.base)
    try:
        top = await files.list(start)
    except PathError:
        info = await files.stat(start)
        return Sizes(start, [SizeEntry(info, info.size_bytes, 1)])
    sums = {file.path: [0, 0] for file in top}
    for file in top:
        _count(sums[file.path], [file])
    async for listing in walk(files, start):
        if listing.path == start:
            continue
        within = listing.path[len(start.rstrip("/")) + 1 :].partition("/")[0]
        _count(sums[posixpath.join(start, within)], listing)
    return Sizes(start, [SizeEntry(file, *sums[file.path]) for file in top])


def _count(into: list[int], found: Listing | list[FileInfo]) -> None:
    for file in found:
        if file.is_file:
            into[0] += 0 if file.same_as else file.size_bytes
            into[1] += 1
