"""Follow-paths: from "the build will use app/config" to the include patterns that bring it.

A Dockerfile frontend asks for a context with the paths that COPY and ADD name. When one of them
leads through a symbolic link, both the link and what it points to have to be sent. A link never
leads out of the tree: absolute targets start at its root, and `..` stops there.

    app      ->  ./src          "app/main.py"  gives  "app", "src/main.py"
    etc/new  ->  /conf          "etc/*"        gives  "etc/*", "conf"

A name may have wildcards; the links among what it matches are followed. A path that does not
exist stays a pattern, and matches nothing.

The Go client stops at a link that it has resolved before, and so forgets the second of two paths
through one link ("app/a", "app/b" give no "src/b"). This goes on, since what the build named is
wanted, and so may give more than Go does, never less. Paths that start above the tree are kept as
patterns and not looked up.

Source: tonistiigi/fsutil `followlinks.go`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from depotlab._transfer import paths
from depotlab._transfer.goregex import BadPattern

__all__ = ["Links", "resolve"]

# As many as Go's filepath.EvalSymlinks takes; only a link that leads to itself needs more.
_MAX_LINKS = 255


class Links(Protocol):
    """What has to be known of a tree. Paths are relative, clean, decoded with surrogateescape."""

    def names(self, path: str) -> list[str]:
        """Return the names in a directory (`.` is the root), or nothing if it is none."""

    def target(self, path: str) -> str | None:
        """Return where a symbolic link points, as stored, or None if it is no link."""


def resolve(tree: Links, follow: Iterable[str]) -> list[str] | None:
    """Return the include patterns for some follow-paths, sorted; None if the root is among them."""
    resolved: set[str] = set()
    seen: set[tuple[str, str, str]] = set()
    todo = [(paths.join(".", path), 0) for path in follow]
    while todo:
        path, n_links = todo.pop()
        done, _, rest = path.partition("/")
        current = done
        while True:
            targets = _targets(tree, current)
            if targets:
                resolved.add(current)
                for target in targets:
                    step = (current, target, rest)
                    if step not in seen and n_links < _MAX_LINKS:
                        seen.add(step)
                        todo.append((paths.join(".", target, rest), n_links + 1))
                break
            if not rest:
                resolved.add(current)
                break
            part, _, rest = rest.partition("/")
            current = paths.join(current, part)
    return None if "." in resolved else sorted(resolved)


def _targets(tree: Links, path: str) -> list[str]:
    """Return where the link, or the links that a name with wildcards matches, lead in the tree."""
    directory, _, name = path.rpartition("/")
    directory = directory or "."
    if name == ".." or path.startswith("../"):
        return []
    if not paths.has_wildcards(name):
        return _target(tree, path)
    out: list[str] = []
    for found in sorted(tree.names(directory)):
        if _matches(name, found):
            out += _target(tree, paths.join(directory, found))
    return out


def _matches(pattern: str, name: str) -> bool:
    try:
        return paths.match(pattern, name)
    except BadPattern:  # whether a malformed pattern is noticed depends on the name
        return False


def _target(tree: Links, path: str) -> list[str]:
    if path == ".":
        return []
    link = tree.target(path)
    if link is None:
        return []
    if link.startswith("/"):
        return [paths.clean(link)]
    return [paths.join("/", path.rpartition("/")[0], link)]
