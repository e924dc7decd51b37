"""Directories as trees and as sums of sizes: values, with their texts and pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from depotlab._values import Rows, Value, safe_html
from depotlab.buildkit.fileinfo import FileInfo
from depotlab.buildkit.shown import bar, bytes_text, cut, table_html

__all__ = ["FileTree", "SizeEntry", "Sizes", "node_html"]

_SHOWN_LINES = 200
_SHOWN_NODES = 300
_SHOWN_ROWS = 40


@dataclass(frozen=True, slots=True, repr=False)
class FileTree(Value):
    """A directory with what is in it, to a depth.

    Attributes:
        info: The file or directory itself.
        children: What is in it, by name; None when nobody has looked: it is no directory, or lies deeper.
    """

    info: FileInfo
    children: tuple[FileTree, ...] | None = None

    def __iter__(self) -> Iterator[FileTree]:
        return iter(self.children or ())

    def walk(self) -> Iterator[FileInfo]:
        """Yield all files of the tree, a directory before what is in it."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node.info
            waiting += reversed(node.children or ())

    def __repr__(self) -> str:
        n = sum(1 for _ in self.walk()) - 1
        return f"<FileTree of {self.info.path}: {n} {'entry' if n == 1 else 'entries'}>"

    def __str__(self) -> str:
        lines = [self.info.path]
        waiting: list[tuple[FileTree, str]] = []

        def queue(node: FileTree, indent: str) -> None:
            waiting.extend((child, indent) for child in reversed(node.children or ()))

        queue(self, "")
        last = {id(node.children[-1]) for node in _nodes(self) if node.children}
        while waiting and len(lines) <= _SHOWN_LINES:
            node, indent = waiting.pop()
            is_last = id(node) in last
            lines.append(f"{indent}{'└── ' if is_last else '├── '}{_label(node)}")
            queue(node, indent + ("    " if is_last else "│   "))
        if waiting:
            lines.append("…")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Return the tree with directories that open and close, at most some kilobytes."""
        left = [_SHOWN_NODES]
        inner = "".join(_details(child, left, is_open=False) for child in self)
        more = "<div>…</div>" if left[0] < 0 else ""
        head = f"<b>{safe_html(self.info.path)}</b>"
        return f'<div style="font-family:monospace;font-size:13px">{head}{inner}{more}</div>'


def _nodes(tree: FileTree) -> Iterator[FileTree]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += node.children or ()


def _label(node: FileTree) -> str:
    info = node.info
    if info.is_dir:
        return cut(info.name, 80) + ("/" if node.children is not None else "/ …")
    if info.kind == "symlink":
        return f"{cut(info.name, 60)} -> {cut(info.link_target, 60)}"
    return f"{cut(info.name, 80)} ({bytes_text(info.size_bytes)})" if info.is_file else info.name


def node_html(node: FileTree) -> str:
    """Return one line of a tree as HTML: the name, and what else there is to say, dimmed."""
    info = node.info
    if info.kind == "symlink":
        beside = f"→ {cut(info.link_target, 60)}"
    else:
        beside = bytes_text(info.size_bytes) if info.is_file else ""
    name = safe_html(cut(info.name, 80) + ("/" if info.is_dir else ""))
    special = f" {info.mode_text}" if info.mode & 0o7000 else ""
    return f'{name} <span style="opacity:.6">{safe_html(beside + special)}</span>'


def _details(node: FileTree, left: list[int], *, is_open: bool) -> str:
    left[0] -= 1
    if left[0] < 0:
        return ""
    pad = "margin-left:1.2em"
    if node.children is None or not node.children:
        return f'<div style="{pad}">{node_html(node)}</div>'
    inner = "".join(_details(child, left, is_open=False) for child in node)
    return (
        f'<details style="{pad}"{" open" if is_open else ""}>'
        f"<summary>{node_html(node)}</summary>{inner}</details>"
    )


@dataclass(frozen=True, slots=True, repr=False)
class SizeEntry(Value):
    """What one file or directory takes.

    Attributes:
        info: The file or directory.
        size_bytes: Of its regular files together, those below included; hard links of one directory once.
        n_files: How many regular files that are.
    """

    info: FileInfo
    size_bytes: int
    n_files: int


class Sizes(Rows[SizeEntry]):
    """What a directory takes, and of that each of its entries, the largest first.

    Args:
        path: The directory.
        entries: What is in it.
    """

    _columns = ("path", "kind", "size_bytes", "n_files")

    def __init__(self, path: str, entries: Sequence[SizeEntry]) -> None:
        self.path = path
        super().__init__(sorted(entries, key=lambda e: (-e.size_bytes, e.info.path)))

    @property
    def total_bytes(self) -> int:
        """Of all regular files together."""
        return sum(entry.size_bytes for entry in self)

    @property
    def n_files(self) -> int:
        """How many regular files there are, at any depth."""
        return sum(entry.n_files for entry in self)

    def rows(self) -> list[dict[str, Any]]:
        """Return a dictionary for each entry, for tables of any kind."""
        return [
            {
                "path": entry.info.path,
                "kind": entry.info.kind,
                "size_bytes": entry.size_bytes,
                "n_files": entry.n_files,
            }
            for entry in self
        ]

    def _headline(self) -> str:
        files = "file" if self.n_files == 1 else "files"
        return f"{self.path}: {bytes_text(self.total_bytes)} in {self.n_files} {files}"

    def __repr__(self) -> str:
        largest = ", ".join(
            f"{e.info.name} {bytes_text(e.size_bytes)}" for e in self[:4] if e.size_bytes
        )
        return f"<{self._headline()}{'; ' + largest if largest else ''}>"

    def __str__(self) -> str:
        return "\n".join(
            f"{bytes_text(e.size_bytes):>9}  {e.info.name}{'/' if e.info.is_dir else ''}"
            for e in self
        )

    def _repr_html_(self) -> str:
        whole = max(1, self.total_bytes)
        rows = [
            (
                cut(e.info.name, 80) + ("/" if e.info.is_dir else ""),
                bytes_text(e.size_bytes),
                bar(e.size_bytes / whole),
                str(e.n_files),
            )
            for e in self[:_SHOWN_ROWS]
        ]
        rest = len(self) - _SHOWN_ROWS
        return table_html(
            self._headline(),
            ("name", "size", "of all", "files"),
            rows,
            notes=[f"and {rest} smaller ones"] if rest > 0 else (),
            raw=frozenset({"of all"}),
            right=frozenset({"size", "files"}),
        )
