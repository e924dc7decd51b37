"""A preview as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from depotlab._contexts.advice import shown
from depotlab._contexts.rows import Row, bytes_text, count_text, files_text, to_rows
from depotlab._contexts.survey import Count

if TYPE_CHECKING:
    from depotlab._contexts.preview import ContextFile, Preview

__all__ = ["headline", "ignore_text", "rule_of", "to_text"]

_MAX_ROWS = 36
_MAX_BIGGEST = 6


def headline(preview: Preview) -> str:
    """Return the whole of it in a few words."""
    text = f"{files_text(preview.kept.n_files)}, {bytes_text(preview.kept.n_bytes)}"
    if preview.dropped != Count():
        text += f"; {files_text(preview.dropped.n_files)}, {bytes_text(preview.dropped.n_bytes)} left out"
    n = len(preview.warnings)
    return text + (f"; {n} warning{'' if n == 1 else 's'}" if n else "")


def to_text(preview: Preview) -> str:
    """Return everything, some dozens of lines."""
    return "\n".join(_lines(preview)) + "\n"


def ignore_text(preview: Preview) -> str:
    """Say where the rules stand, and how many there are."""
    n = sum(rule.source == preview.ignore_file for rule in preview.rules)
    n_own = len(preview.rules) - n
    parts = []
    if preview.ignore_file:
        parts.append(f"{n} rule{'' if n == 1 else 's'} in {preview.ignore_file}")
    if n_own:
        parts.append(f"{n_own} given by include= and exclude=")
    return ", ".join(parts) or "no rules"


def rule_of(preview: Preview, path: str) -> str:
    """Return the rule that leaves a path out, for people."""
    decision = preview.decide(path)
    if decision.rule is not None:
        return str(decision.rule)
    return "not in include=" if not decision.keeps else ""


def _lines(preview: Preview) -> Iterator[str]:
    kept, dropped = preview.kept, preview.dropped
    yield f"Context {preview.title}"
    yield f"  would be sent  {count_text(kept)}, {bytes_text(kept.n_bytes)}"
    if dropped != Count():
        least = "at least " if preview.dropped_is_partial else ""
        yield f"  left out       {least}{count_text(dropped)}, {bytes_text(dropped.n_bytes)}"
    yield f"  rules          {ignore_text(preview)}"
    for note in preview.notes:
        yield f"  {note}"
    if preview.problems:
        yield ""
        yield from (f"✖ {problem}" for problem in preview.problems)
    if preview.warnings:
        yield ""
        for finding in preview.warnings:
            yield f"! {finding.places} ({bytes_text(finding.n_bytes)}): {finding.why}"
        yield "  To leave these out, add to the end of .dockerignore:"
        yield from (f"    {finding.rule}" for finding in preview.warnings)
    biggest = preview.biggest_files
    if len(biggest) > 1:
        yield ""
        yield "Biggest files"
        yield from _biggest(biggest, "")
    if preview.biggest_directories:
        yield ""
        yield "Biggest directories"
        yield from _biggest(preview.biggest_directories, "/")
    yield ""
    yield "Tree"
    rows = to_rows(preview.tree, lambda path: rule_of(preview, path), n_most=_MAX_ROWS)
    yield from _tree(rows, "")


def _biggest(found: tuple[ContextFile, ...], end: str) -> Iterator[str]:
    for file in found[:_MAX_BIGGEST]:
        path = shown(file.path.encode("utf-8", "surrogateescape"))
        yield f"  {bytes_text(file.size_bytes):>8}  {path}{end}"


def _tree(rows: tuple[Row, ...], indent: str) -> Iterator[str]:
    for number, row in enumerate(rows, 1):
        is_last = number == len(rows)
        mark = "" if row.is_sent else "✗ "
        facts = f"  ({row.facts})" if row.facts else ""
        branch = "└─ " if is_last else "├─ "
        yield f"  {bytes_text(row.n_bytes):>8}  {indent}{branch}{mark}{row.label}{facts}"
        yield from _tree(row.rows, indent + ("   " if is_last else "│  "))
