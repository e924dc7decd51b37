"""A tree that exists only in memory: a Dockerfile given as text, a few files given as values.

Such a file has no time of its own. Receivers tell a changed file by size and time, so the time is
made from the content: equal content has an equal time, other content another one, in every
process, and an old copy at the receiver is never taken for the new one. The times lie in the
year 2020; BuildKit leaves times out of its cache keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from depotlab._transfer import filemode, paths
from depotlab._transfer.filters import TreeFilter
from depotlab._transfer.packets import Entry
from depotlab.errors import ContextError

__all__ = ["MemoryTree"]

_START_OF_2020_NS = 1_577_836_800 * 10**9
_YEAR_NS = 365 * 24 * 3600 * 10**9


class MemoryFile:
    """An open file of a tree in memory. See `Content`."""

    inode = 0

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.size_bytes = len(content)

    def read(self, start: int, n_bytes: int) -> bytes:
        return self._content[start : start + n_bytes]

    def close(self) -> None:
        pass


class MemoryTree:
    """Files given as text or bytes, by path. See `Tree` for its methods.

    Args:
        files: Content by relative path with `/` between its parts; directories follow from the
            paths. Text is written as UTF-8.
        mode: Permission bits of the files that `modes` does not name.
        modes: Permission bits by path.
        offered: What may be sent of it at all, whatever is asked for; None is everything.

    Raises:
        ContextError: A path is absolute, leads out of the tree, or is a directory for another.
    """

    def __init__(
        self,
        files: Mapping[str, str | bytes],
        *,
        mode: int = 0o644,
        modes: Mapping[str, int] | None = None,
        offered: TreeFilter | None = None,
    ) -> None:
        self._files: dict[bytes, bytes] = {}
        self._modes: dict[bytes, int] = {}
        self._offered = offered
        self._names: dict[str, list[str]] | None = None  # by directory; made when asked for
        directories: set[bytes] = set()
        for name, content in files.items():
            path = _encode(name)
            outside = name.startswith(("/", "../")) or name in (".", "..", ".fsutil-metadata")
            if path is None or outside or "\0" in name or paths.clean(name) != name:
                raise ContextError(
                    f"{name!r} cannot be the path of a file in a context.",
                    path=name.encode("utf-8", "backslashreplace").decode(),
                    hint="use a relative path such as 'app/main.py'",
                )
            self._files[path] = content.encode() if isinstance(content, str) else content
            self._modes[path] = (modes or {}).get(name, mode)
            parts = path.split(b"/")
            directories.update(b"/".join(parts[:end]) for end in range(1, len(parts)))
        for path in directories & self._files.keys():
            name = path.decode("utf-8", "surrogateescape")
            raise ContextError(f"{name!r} is a file and a directory at once.", path=name)
        # Sorting the parts, not the paths, is the order that a walk has.
        self._order = sorted({*self._files, *directories}, key=lambda path: path.split(b"/"))

    def __repr__(self) -> str:
        return f"<MemoryTree of {len(self._files)} files>"

    def names(self, path: str) -> list[str]:
        if self._names is None:
            self._names = {}
            for entry in self._order:
                parent, _, name = entry.decode("utf-8", "surrogateescape").rpartition("/")
                self._names.setdefault(parent, []).append(name)
        return self._names.get("" if path == "." else path, [])

    def target(self, path: str) -> str | None:
        return None

    def describe(self, path: bytes) -> str:
        return f"{path.decode('utf-8', 'replace')} (in memory)"

    def open(self, path: bytes) -> MemoryFile:
        return MemoryFile(self._files[path])

    def walk(self, wanted: TreeFilter) -> Iterator[Entry]:
        wanted = wanted.within(self._offered)
        walked = {b"": wanted.top}
        waiting: list[Entry] = []
        for path in self._order:
            inherited = walked.get(path.rpartition(b"/")[0])
            if inherited is None:
                continue
            content = self._files.get(path)
            keep, enter, handed = wanted.judge(
                path.decode("utf-8", "surrogateescape"), inherited, is_dir=content is None
            )
            if enter:
                walked[path] = handed
            waiting = [above for above in waiting if path.startswith(above.path + b"/")]
            if keep:
                yield from waiting
                waiting = []
                yield self._entry(path, content)
            elif enter:
                waiting.append(self._entry(path, content))

    def _entry(self, path: bytes, content: bytes | None) -> Entry:
        if content is None:
            return Entry(path, filemode.DIR | 0o755, 0, _START_OF_2020_NS)
        digest = hashlib.sha256(content).digest()
        modified_ns = _START_OF_2020_NS + int.from_bytes(digest[:8]) % _YEAR_NS
        return Entry(path, self._modes[path], len(content), modified_ns)


def _encode(name: str) -> bytes | None:
    """Return a path as bytes; None for surrogates that stand for none."""
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return None
