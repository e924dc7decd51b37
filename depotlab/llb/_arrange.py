"""Where the root and the mounts of a run are, apart from what files they show.

Thousands of runs mount at the same few places. Each arrangement is one object, worked out once: the
order in which mounts are written, the numbers of their outputs, and their encoded form.
Source of the rules: buildkit client/llb/exec.go. Mounts are sorted by target; equal targets keep their order.
"""

from __future__ import annotations

from typing import Final

from depotlab.llb._mount import Place, place

ROOT: Final = place("/")
READONLY_ROOT: Final = place("/", readonly=True)

_MAX_KNOWN = 4096
_MAX_ENCODED = 1024


class Arrangement:
    """The places of one run, the root among them.

    Attributes:
        places: Sorted by target, as they are written.
        order: Where each of them was among the places given, or None when they came sorted.
        root_row: Which of them is the root: 0, unless a target sorts before `/`.
        caps: What a daemon must know when every place starts from files.
    """

    __slots__ = ("_encoded", "caps", "order", "places", "root_row")

    def __init__(self, given: tuple[Place, ...]) -> None:
        order = sorted(range(len(given)), key=lambda number: given[number].target)
        self.order = None if order == list(range(len(given))) else tuple(order)
        self.places = tuple(given[number] for number in order)
        self.root_row = order.index(0)
        self.caps = self.caps_of((True,) * len(given))
        self._encoded: dict[tuple[int, ...], bytes] = {}

    def output_of(self, row: int) -> int:
        """Return the output number of a place that has an output."""
        return sum(where.has_output for where in self.places[:row])

    def caps_of(self, from_files: tuple[bool, ...]) -> frozenset[str]:
        """Return what a daemon must know, by which of the places start from files."""
        pairs = zip(self.places, from_files, strict=True)
        return frozenset().union(*(where.caps[files] for where, files in pairs))

    def encode(self, numbers: tuple[int, ...]) -> bytes:
        """Return the fields `mounts` of `pb.ExecOp` by the input number of each place; -1 is none."""
        found = self._encoded.get(numbers)
        if found is None:
            parts = []
            outputs = 0
            for where, number in zip(self.places, numbers, strict=True):
                parts.append(where.encode(number, outputs if where.has_output else -1))
                outputs += where.has_output
            found = b"".join(parts)
            if len(self._encoded) < _MAX_ENCODED:
                self._encoded[numbers] = found
        return found


_known: dict[tuple[Place, ...], Arrangement] = {}


def arrange(given: tuple[Place, ...]) -> Arrangement:
    """Return the arrangement of the root, which comes first, and of the mounts in the order given."""
    found = _known.get(given)
    if found is None:
        found = Arrangement(given)
        if len(_known) < _MAX_KNOWN:
            _known[given] = found
    return found
