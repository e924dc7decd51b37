"""Which files of a context a step reads."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Sequence

from depotlab._past.listing import FileChange
from depotlab._proto import ops_pb2
from depotlab.llb import OpView

__all__ = ["relevant_files", "source_of"]

_WILD = re.compile(r"[*?\[]")


def source_of(view: OpView) -> str:
    """Return the address of a source, such as `local://context`; empty for other operations."""
    if view.kind != "source":
        return ""
    return ops_pb2.Op.FromString(view.data).source.identifier


def relevant_files(
    view: OpView, source: str, changes: Sequence[FileChange]
) -> tuple[FileChange, ...]:
    """Return those of the changes that a step can see; certain ones come first.

    Args:
        view: A step that reads a context.
        source: Digest of the operation that is the context.
        changes: What changed in the context.
    """
    roots = list(_roots(view, source))
    found = [change for change in changes if any(_is_below(change.path, root) for root in roots)]
    return tuple(sorted(found, key=lambda change: change.what == "touched"))


def _roots(view: OpView, source: str) -> Iterator[str]:
    """Yield what a step takes of a context, relative to its root; empty is all of it."""
    op = ops_pb2.Op.FromString(view.data)
    numbers = {number for number, (digest, _) in enumerate(view.inputs) if digest == source}
    if op.HasField("file"):
        for action in op.file.actions:
            if action.HasField("copy") and action.secondaryInput in numbers:
                yield action.copy.src.strip("/")
        return
    if op.HasField("exec"):
        for mount in op.exec.mounts:
            if mount.input in numbers:
                yield mount.selector.strip("/")
        return
    yield ""


def _is_below(path: str, root: str) -> bool:
    if root in ("", "."):
        return True
    if not _WILD.search(root):
        return path == root or path.startswith(f"{root}/")
    parts = path.split("/")
    depth = root.count("/") + 1
    return len(parts) >= depth and fnmatch.fnmatchcase("/".join(parts[:depth]), root)
