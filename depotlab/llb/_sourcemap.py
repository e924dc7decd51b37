"""Source maps: which file and lines an op came from, for the errors of a daemon.

Source: buildkit client/llb/sourcemap.go. Lines count from 1, characters from 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from depotlab._values import Value
from depotlab.llb._check import integer as check_integer
from depotlab.llb._check import refuse, string
from depotlab.llb._wire import field as wire_field
from depotlab.llb._wire import integer, text

if TYPE_CHECKING:
    from depotlab.llb._state import State

_INT32 = 2**31 - 1


class Range(NamedTuple):
    """A piece of a source file.

    Attributes:
        start_line: Counted from 1.
        start_character: Counted from 0.
        end_line: None when the end is not known.
        end_character: Counted from 0.
    """

    start_line: int
    start_character: int = 0
    end_line: int | None = None
    end_character: int = 0

    def encode(self) -> bytes:
        start = wire_field(1, integer(1, self.start_line) + integer(2, self.start_character))
        if self.end_line is None:
            return start
        return start + wire_field(2, integer(1, self.end_line) + integer(2, self.end_character))


@dataclass(frozen=True, slots=True, repr=False)
class SourceMap(Value):
    """A file that ops can point into.

    Attributes:
        filename: As it is shown.
        data: Its content.
        language: For highlighting, in GitHub Linguist's words, such as `Dockerfile`.
        state: The graph that the file was read from, if a debugger should be able to see it.
    """

    filename: str
    data: bytes = b""
    language: str = ""
    state: State | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        string("SourceMap filename", self.filename)
        string("SourceMap language", self.language)
        given: Any = self.data
        if isinstance(given, str):
            object.__setattr__(self, "data", string("SourceMap data", given).encode())
        elif not isinstance(given, bytes):
            refuse(f"SourceMap data is not bytes or text but {type(given).__name__}.")

    def at(self, *ranges: Range | tuple[int, ...]) -> Location:
        """Return a location in this file, for the option `locations` of an op.

        Example:
            >>> SourceMap("Dockerfile", b"FROM busybox").at((1, 0, 1, 12)).ranges[0].end_character
            12
        """
        return Location(self, tuple(map(_as_range, ranges)))


class Location(NamedTuple):
    """Ranges in one file."""

    source: SourceMap
    ranges: tuple[Range, ...]


def _as_range(value: Any) -> Range:
    try:
        found = Range(*value)
    except TypeError:
        refuse(
            f"{value!r} is not a range.",
            hint="write (start_line, start_character, end_line, end_character)",
        )
    for name, number in zip(Range._fields, found, strict=True):
        if number is not None:
            check_integer(name, number, -_INT32 - 1, _INT32)
    return found


class Collector:
    """Gathers the locations of the ops of one definition; equal files become one."""

    def __init__(self) -> None:
        self.files: dict[tuple[str, str, bytes], int] = {}
        self.maps: list[SourceMap] = []
        self.located: dict[str, list[bytes]] = {}

    def add(self, digest: str, locations: Iterable[Location]) -> None:
        encoded = self.located.setdefault(digest, [])
        for location in locations:
            source = location.source
            key = (source.filename, source.language, source.data)
            index = self.files.setdefault(key, len(self.maps))
            if index == len(self.maps):
                self.maps.append(source)
            ranges = b"".join(wire_field(2, r.encode()) for r in location.ranges)
            encoded.append(wire_field(1, integer(1, index) + ranges))


def encode_info(source: SourceMap, definition: bytes | None) -> bytes:
    """Return the `pb.SourceInfo` message of one file."""
    return (
        text(1, source.filename)
        + (wire_field(2, source.data) if source.data else b"")
        + (b"" if definition is None else wire_field(3, definition))
        + text(4, source.language)
    )
