"""The recordings that lessons are played from, where no engine can run."""

from __future__ import annotations

from pathlib import Path

RECORDED = Path(__file__).parents[3] / "notebooks" / "course" / "recorded"
MOST_BYTES = 30_000
"""docs/recorded.md promises it."""


def test_a_recorded_lesson_is_small() -> None:
    sizes = {path.name: path.stat().st_size for path in RECORDED.glob("*.depotlab")}
    assert len(sizes) == 12
    assert {name: size for name, size in sizes.items() if size >= MOST_BYTES} == {}
