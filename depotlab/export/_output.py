"""One output as a value, and what several of them need of the session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from depotlab._values import Value
from depotlab.errors import UsageError
from depotlab.export._destination import (
    Destination,
    ToDirectory,
    ToFile,
    ToLayout,
    ToMemory,
    ToStream,
)

__all__ = ["Output", "destinations", "layout"]

_NEED_DESTINATION = ("local", "tar", "oci", "docker")


@dataclass(frozen=True, slots=True, repr=False)
class Output(Value):
    """One output of a build, as BuildKit's exporters take it.

    Made by the functions of this module.

    Attributes:
        type: The exporter, such as `image`.
        attrs: Its attributes, all strings.
        names: Image names it gives, for messages and checks.
        push: True when the result leaves the builder for a registry.
        destination: Where it goes on this machine, or None when it does not come here.
    """

    type: str
    attrs: Mapping[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    push: bool = False
    destination: Destination | None = None

    def __repr__(self) -> str:
        where = _where(self.destination)
        what = ", ".join(self.names) or ("" if where else "no name")
        parts = [part for part in (what, where, "pushed" if self.push else "") if part]
        return f"<output {self.type}: {', '.join(parts)}>"

    def __hash__(self) -> int:
        return hash((self.type, tuple(sorted(self.attrs.items()))))


def destinations(outputs: Sequence[Output]) -> dict[int, Destination]:
    """Return where outputs go that arrive as streams, by their position, which is BuildKit's exporter id.

    Raises:
        UsageError: One lacks a destination, two have the same, or one would remove the other.
    """
    found: dict[int, Destination] = {}
    taken: list[tuple[object, Output]] = []
    n_layouts = 0
    for index, output in enumerate(outputs):
        place = output.destination
        if place is None:
            if output.type in _NEED_DESTINATION:
                raise UsageError(
                    f"{output!r} does not say where it goes.",
                    hint=f"make it with export.{output.type}(...)",
                )
            continue
        for other, theirs in taken:
            if other is not None and _identity(place) == other:
                raise UsageError(
                    f"{theirs!r} and {output!r} go to the same place.",
                    hint="give each output a destination of its own",
                )
        taken.append((_identity(place), output))
        if isinstance(place, ToLayout):
            n_layouts += 1
        else:
            found[index] = place
    if n_layouts > 1:
        raise UsageError(
            "A build can write one OCI layout directory at most.",
            hint="the builder calls each of them 'export'; make the others archives, with tar=True",
        )
    _check_nested(outputs)
    return found


def layout(outputs: Sequence[Output]) -> Path | None:
    """Return the directory that the content store `export` of the session has to serve, if any.

    Source: moby/buildkit `exporter/oci/export.go` (one name, whichever exporter it is).
    """
    for output in outputs:
        if isinstance(output.destination, ToLayout):
            return output.destination.host_path
    return None


def _check_nested(outputs: Sequence[Output]) -> None:
    """Refuse a directory that becomes equal to the result, or appears as a whole, with another output in it."""
    paths = [_identity(output.destination) if output.destination else None for output in outputs]
    for outer, outer_path in zip(outputs, paths, strict=True):
        place = outer.destination
        if not isinstance(place, ToDirectory) or not isinstance(outer_path, Path):
            continue
        if place.mode != "delete" and outer_path.exists():
            continue
        for inner, inner_path in zip(outputs, paths, strict=True):
            if isinstance(inner_path, Path) and outer_path in inner_path.parents:
                raise UsageError(
                    f"{inner!r} would be inside of {outer!r} of the same build.",
                    hint="give each output a destination of its own, or make the outer directory first and leave "
                    "mode='delete' out",
                )


def _identity(place: Destination) -> object:
    """What two destinations may not share; None for memory, of which there is enough."""
    match place:
        case ToMemory():
            return None
        case ToStream():
            return id(place.stream)
        case ToFile() | ToDirectory() | ToLayout():
            return place.host_path.resolve()


def _where(place: Destination | None) -> str:
    match place:
        case None:
            return ""
        case ToMemory():
            return "to memory"
        case ToStream():
            return f"to a {type(place.stream).__name__}"
        case ToDirectory() if place.mode == "delete":
            return f"to {place.host_path}, which becomes equal"
        case ToFile() | ToDirectory() | ToLayout():
            return f"to {place.host_path}"
