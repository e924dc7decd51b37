"""Whether a directory is what it was when a build was recorded: one digest over all that the daemon was offered.

Compared are paths, kinds, whether a file can be executed, where links lead, and every byte of content. Times, owners
and the other permissions are not: they differ between computers that have checked out the same files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from urllib.parse import unquote_plus

from depotlab._transfer import Tree, is_requestable, make_filter, resolve

__all__ = ["ContextRequest", "digest_tree", "read_context_request"]

_PIECE_BYTES = 1 << 20
_EXECUTABLE = 0o100
_PERMISSIONS = 0o777
_DIGEST_LENGTH = 32

ContextRequest = tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...]]
"""A directory that the daemon asks for: its name, and the patterns to include, to exclude and to follow."""


def read_context_request(headers: Mapping[str, Sequence[str]]) -> ContextRequest:
    """Read the headers of `FileSync/DiffCopy`. Source: moby/buildkit `session/filesync/filesync.go`."""

    def values(key: str) -> tuple[str, ...]:
        found = tuple(headers.get(key, ()))
        if (headers.get(f"{key}-encoded") or ("",))[0].lower() in ("1", "t", "true"):
            found = tuple(unquote_plus(value, errors="surrogateescape") for value in found)
        return found

    name = (values("dir-name") or ("",))[0]
    return name, values("include-patterns"), values("exclude-patterns"), values("followpaths")


def digest_tree(tree: Tree, request: ContextRequest) -> str:
    """Return the digest of what a directory offers. Reads every file; blocks.

    Args:
        tree: The directory.
        request: What is asked of it; the name does not count.

    Raises:
        SessionError: Something in it cannot be read.
    """
    _, include, exclude, follow = request
    followed = resolve(tree, list(follow)) if follow else None
    found = hashlib.sha256()
    for entry in tree.walk(make_filter(list(include), list(exclude), followed)):
        if entry is None:
            continue
        is_file = is_requestable(entry.mode)
        kind = entry.mode & (_EXECUTABLE if is_file else ~_PERMISSIONS)
        for part in (entry.path, str(kind).encode(), entry.link):
            found.update(len(part).to_bytes(8, "little") + part)
        if is_file and not entry.link:
            found.update(_digest_file(tree, entry.path))
    return found.hexdigest()[:_DIGEST_LENGTH]


def _digest_file(tree: Tree, path: bytes) -> bytes:
    content = tree.open(path)
    found = hashlib.sha256()
    try:
        at = 0
        while piece := content.read(at, _PIECE_BYTES):
            found.update(piece)
            at += len(piece)
    finally:
        content.close()
    return found.digest()
