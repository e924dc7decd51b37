"""The lines that made ops, as source maps for a daemon."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from depotlab.errors import SourceLocation
from depotlab.llb._sourcemap import Location, Range, SourceMap
from depotlab.llb._where import Locator, Where

# A larger file is sent with the lines around the calls only, the others empty: a daemon returns
# sources in error trailers, which have limits (16 MiB in the Go client, less elsewhere).
_MAX_SOURCE_BYTES = 65536
_LINES_AROUND = 20


class CallLines:
    """Makes one source map for each file that ops were made in.

    Args:
        wheres: Places by digest.
        hide: See `Locator`.
    """

    def __init__(self, wheres: Mapping[str, Where], hide: Iterable[str] = ()) -> None:
        self._locate = Locator(hide)
        files: dict[str, list[SourceLocation]] = {}
        for where in wheres.values():
            found = self._locate(where)
            files.setdefault(found.filename, []).append(found)
        self._maps = {name: _source_map(name, places) for name, places in files.items()}

    def location(self, where: Where) -> Location:
        """Return the lines of a call in its file."""
        found = self._locate(where)
        source = self._maps.get(found.filename)
        if source is None:
            source = self._maps[found.filename] = _source_map(found.filename, [found])
        return Location(source, (Range(found.line, 0, found.end_line, 0),))


def _source_map(filename: str, places: Iterable[SourceLocation]) -> SourceMap:
    listed = list({id(place): place for place in places}.values())
    text = max((place.text for place in listed), key=len, default="")
    data = text.encode("utf-8", "replace")
    if len(data) > _MAX_SOURCE_BYTES:
        data = _only_near(text, listed).encode("utf-8", "replace")
    return SourceMap(filename, data, "Python")


def _only_near(text: str, places: Iterable[SourceLocation]) -> str:
    lines = text.splitlines()
    kept: set[int] = set()
    for place in places:
        kept.update(range(place.line - _LINES_AROUND, place.end_line + _LINES_AROUND + 1))
    return "\n".join(line if number in kept else "" for number, line in enumerate(lines, start=1))
