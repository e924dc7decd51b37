"""The lines of a source that made each op of a graph, as a definition carries them.

Graphs made here know their lines themselves; those that a frontend made bring the text of the Dockerfile along.
Source: moby/buildkit `solver/pb/ops.proto`, message `Source`.
"""

from __future__ import annotations

from depotlab._proto import ops_pb2
from depotlab.errors import SourceLocation

__all__ = ["source_lines"]


def source_lines(definition: bytes) -> dict[str, SourceLocation]:
    """Return the first place of each op, by digest, as far as the definition says.

    Args:
        definition: A serialised `pb.Definition`.
    """
    source = ops_pb2.Definition.FromString(definition).Source
    texts = [info.data.decode("utf-8", "replace") for info in source.infos]
    found: dict[str, SourceLocation] = {}
    for digest, places in source.locations.items():
        for place in places.locations:
            if not place.ranges or place.sourceIndex >= len(texts):
                continue
            start, end = place.ranges[0].start.line, place.ranges[-1].end.line
            name = source.infos[place.sourceIndex].filename
            found[digest] = SourceLocation(name, start, max(start, end), texts[place.sourceIndex])
            break
    return found
