"""The tree of a preview as rows to show: the biggest first, what is left out with its rule, the rest summed up."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from depotlab._contexts.advice import shown
from depotlab._contexts.survey import Branch, Count
from depotlab._values import bytes_text

__all__ = ["Row", "bytes_text", "count_text", "files_text", "to_rows"]

RuleOf = Callable[[str], str]
"""Returns the rule that leaves a path out, for people; or nothing."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the tree.

    Attributes:
        label: The name; a directory has a slash at its end.
        is_sent: Whether it is sent.
        n_bytes: What is sent of it; if nothing is, what it holds.
        share: Of all that is sent, from 0 to 1.
        facts: For a directory how many files, and what of it is left out; for what is left out the rule.
        rows: What is in it, as far as there is room.
    """

    label: str
    is_sent: bool
    n_bytes: int
    share: float
    facts: str
    rows: tuple[Row, ...] = ()


def to_rows(top: Branch, rule_of: RuleOf, *, n_most: int) -> tuple[Row, ...]:
    """Return the rows for what is in the top directory, at most so many and a few to sum up the rest."""
    chosen = _chosen(top, n_most)
    return _rows(top, rule_of, chosen, max(1, top.kept.n_bytes))


def _chosen(top: Branch, n_most: int) -> set[bytes]:
    """Choose the directories to open: the biggest, as long as there is room for all that is in them."""
    opened = {top.path}
    left = n_most - len(top.children)
    known = [_key(child) for child in top.children if child.children]
    heapq.heapify(known)
    while known:
        *_, branch = heapq.heappop(known)
        needed = len(branch.children) + 1
        if needed > left:
            continue
        left -= needed
        opened.add(branch.path)
        for child in branch.children:
            if child.children:
                heapq.heappush(known, _key(child))
    return opened


def _key(branch: Branch) -> tuple[bool, int, bytes, Branch]:
    return not branch.is_sent, -branch.kept.n_bytes, branch.path, branch


def _rows(top: Branch, rule_of: RuleOf, opened: set[bytes], total: int) -> tuple[Row, ...]:
    rows: list[Row] = []
    for child in top.children:
        end, branch = child, child
        while _is_only_a_way(end) and end.path in opened:
            end = end.children[0]
        label = shown(end.path[len(top.path) :].lstrip(b"/")) + "/" * end.is_directory
        if not branch.is_sent:
            rows.append(_left_out(label, branch, rule_of))
            continue
        rows.append(
            Row(
                label,
                True,
                end.kept.n_bytes,
                end.kept.n_bytes / total,
                _facts(end) if end.is_directory else "",
                _rows(end, rule_of, opened, total) if end.path in opened else (),
            )
        )
    if top.more != Count():
        label = f"… {count_text(top.more)} more"
        rows.append(Row(label, True, top.more.n_bytes, top.more.n_bytes / total, ""))
    if top.more_dropped != Count():
        label = f"… {count_text(top.more_dropped)} more"
        rows.append(Row(label, False, top.more_dropped.n_bytes, 0.0, "left out"))
    return tuple(rows)


def _is_only_a_way(branch: Branch) -> bool:
    """Whether a directory holds nothing but another one."""
    return (
        len(branch.children) == 1
        and branch.children[0].is_directory
        and branch.children[0].is_sent
        and branch.more == branch.more_dropped == Count()
    )


def _left_out(label: str, branch: Branch, rule_of: RuleOf) -> Row:
    facts = rule_of(branch.path.decode("utf-8", "surrogateescape"))
    if branch.is_directory and branch.dropped.n_files:
        facts = f"{files_text(branch.dropped.n_files)}; {facts}"
    return Row(label, False, branch.dropped.n_bytes, 0.0, facts)


def _facts(branch: Branch) -> str:
    facts = files_text(branch.kept.n_files)
    if branch.dropped.n_files:
        facts += f", {branch.dropped.n_files:,} left out"
    return facts


def files_text(n_files: int) -> str:
    """Return `1 file` or `1,234 files`."""
    return f"{n_files:,} file{'' if n_files == 1 else 's'}"


def count_text(count: Count) -> str:
    """Return `12 files`, `12 files in 3 directories`, or `3 directories`."""
    n_dirs = count.n_directories
    directories = f"{n_dirs:,} director{'y' if n_dirs == 1 else 'ies'}"
    if not count.n_files:
        return directories if n_dirs else "nothing"
    return files_text(count.n_files) + (f" in {directories}" if n_dirs else "")
