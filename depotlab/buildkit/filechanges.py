"""What differs between two results, found where they are: the builder makes the difference, we only list it.

Three file systems are read side by side: the lower one, the upper one, and their difference, which is small. The
difference says where to look; what was removed is in none of its directories, so the two others are asked there.
Source: moby/buildkit `solver/llbsolver/ops/diff.go`, `cache/refs.go`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal

from depotlab._values import Value
from depotlab.buildkit.fileinfo import FileInfo
from depotlab.buildkit.files import Files
from depotlab.buildkit.shown import bytes_text, cut
from depotlab.buildkit.walks import sizes
from depotlab.errors import PathError

__all__ = ["FileChange", "file_changes"]

_AT_ONCE = 8


@dataclass(frozen=True, slots=True, repr=False)
class FileChange(Value):
    """One file that differs.

    Attributes:
        kind: `added`, `changed` or `removed`.
        path: In the state.
        before: What it was; None when it was not there.
        after: What it is; None when it is not there any more.
        size_bytes: What the change takes: the size of the file as it is now, or of what was removed, for a
            directory with all that was in it.
        n_files: Files that it stands for: 1, or as many as a removed directory had.
    """

    kind: Literal["added", "changed", "removed"]
    path: str
    before: FileInfo | None
    after: FileInfo | None
    size_bytes: int
    n_files: int = 1

    @property
    def info(self) -> FileInfo:
        """The file as it is, or as it was."""
        found = self.after or self.before
        assert found is not None
        return found

    @property
    def what(self) -> str:
        """What has changed of it: `content`, `mode`, `owner`, `target` or `kind`; empty when it is new or gone."""
        if self.before is None or self.after is None:
            return ""
        a, b = self.before, self.after
        differs = {
            "kind": a.kind != b.kind,
            "content": a.kind == b.kind == "file"
            and (a.size_bytes, a.modified_at) != (b.size_bytes, b.modified_at),
            "target": a.link_target != b.link_target,
            "mode": a.mode != b.mode,
            "owner": (a.uid, a.gid) != (b.uid, b.gid),
        }
        return ", ".join(word for word, is_so in differs.items() if is_so) or "written again"

    def __repr__(self) -> str:
        sign = {"added": "+", "changed": "~", "removed": "-"}[self.kind]
        what = f" ({self.what})" if self.what else ""
        return f"<{sign} {cut(self.path, 100)} {bytes_text(self.size_bytes)}{what}>"


async def file_changes(lower: Files, upper: Files, difference: Files) -> AsyncIterator[FileChange]:
    """Iterate over what differs, directory by directory.

    A directory that was only written to is no change; one that is new or gone is, and of a new one also all that
    is in it.

    Args:
        lower: The files before.
        upper: The files after.
        difference: What the builder makes of `llb.diff(lower, upper)`.
    """
    level: list[tuple[str, bool]] = [("/", bool(lower.ref))]
    if not difference.ref:
        return
    while level:
        below: list[tuple[str, bool]] = []
        for at in range(0, len(level), _AT_ONCE):
            some = level[at : at + _AT_ONCE]
            for changes, deeper in await asyncio.gather(
                *(_in_directory(lower, upper, difference, *each) for each in some)
            ):
                for change in changes:
                    yield change
                below += deeper
        level = below


async def _in_directory(
    lower: Files, upper: Files, difference: Files, path: str, was_there: bool
) -> tuple[list[FileChange], list[tuple[str, bool]]]:
    """Return what differs in one directory, and which of its directories are to be looked into."""
    touched = await difference.list(path)
    before: dict[str, FileInfo] = {}
    after: dict[str, FileInfo] = {}
    if was_there:
        try:
            before = {file.path: file for file in await lower.list(path)}
            after = {file.path: file for file in await upper.list(path)}
        except PathError:
            before = after = {}  # a link to a directory was replaced by one
    changes: list[FileChange] = []
    deeper: list[tuple[str, bool]] = []
    for now in touched:
        was = before.get(now.path)
        if now.is_dir:
            deeper.append((now.path, was is not None and was.is_dir))
        size = 0 if now.same_as or not now.is_file else now.size_bytes
        if was is None:
            changes.append(FileChange("added", now.path, None, now, size))
        elif not (was.is_dir and now.is_dir) or _rights(was) != _rights(now):
            changes.append(FileChange("changed", now.path, was, now, size))
    for gone in [file for name, file in before.items() if name not in after]:
        size, n_files = gone.size_bytes if gone.is_file else 0, 1
        if gone.is_dir:
            inside = await sizes(lower, gone.path)
            size, n_files = inside.total_bytes, inside.n_files
        changes.append(FileChange("removed", gone.path, gone, None, size, n_files))
    return changes, deeper


def _rights(file: FileInfo) -> tuple[int, int, int]:
    return file.mode, file.uid, file.gid
