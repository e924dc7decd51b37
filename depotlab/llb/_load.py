"""A definition read back into a state that can be extended.

Ops keep the very bytes they came in, so that marshalling again gives the same digests, also of ops that a newer
BuildKit wrote. Source of the rules: buildkit client/llb/definition.go.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from depotlab.llb._check import refuse
from depotlab.llb._decode import (
    as_bytes,
    as_signed,
    as_text,
    as_unsigned,
    fields,
    malformed,
    map_entry,
)
from depotlab.llb._dump import definition_of_dump, is_dump
from depotlab.llb._meta import (
    NO_CONSTRAINTS,
    Constraints,
    OpMetadata,
    ProgressGroup,
    Resources,
    constraints_tail,
)
from depotlab.llb._op import Context, Edge, Op, Rewriter
from depotlab.llb._platform import Platform
from depotlab.llb._sourcemap import Location, Range, SourceMap
from depotlab.llb._sources import HostPath, host_directory
from depotlab.llb._state import State, fresh_state
from depotlab.llb._view import op_name, read_input, split_op

# Bounds for bytes that nobody vouches for. Real graphs have some thousand ops; an output number
# counts the writable mounts of one run.
_MAX_OPS = 1_000_000
_MAX_OUTPUT = 2**31 - 1
_MAX_DEPTH = 16


class LoadedOp(Op):
    """An op that came as bytes. One for every output that is used, as in the Go client."""

    __slots__ = ("_metadata", "data", "host_path")
    kind = "loaded"
    passes_platform = True
    takes_defaults = False

    def __init__(
        self,
        data: bytes,
        deps: tuple[Op, ...],
        metadata: OpMetadata | None,
        constraints: Constraints,
        host_path: Path | None,
    ) -> None:
        super().__init__(deps, constraints, None)
        self.data = data
        self.host_path = host_path
        self._metadata = metadata

    def encode(self, context: Context) -> bytes:
        return self.data

    def caps(self, context: Context) -> frozenset[str]:
        return frozenset() if self._metadata is None else self._metadata.caps

    def metadata(self, context: Context) -> OpMetadata | None:
        return self._metadata

    def rewritten(self, rewriter: Rewriter) -> Op | Edge | None:
        edges = [rewriter.edge((dep, 0)) for dep in self.deps]
        deps = tuple(edge[0] for edge in edges if edge is not None)
        if deps == self.deps:
            return self
        return LoadedOp(self.data, deps, self._metadata, self.constraints, self.host_path)

    def identity(self) -> bytes:
        return b"loaded"


@dataclass(slots=True)
class _Parsed:
    """A `pb.Definition` message taken apart; ops by digest."""

    ops: dict[str, bytes] = field(default_factory=dict)
    last: str = ""
    metadata: dict[str, bytes] = field(default_factory=dict)
    locations: dict[str, list[Location]] = field(default_factory=dict)
    host_paths: Mapping[str, Path] = field(default_factory=dict)


def load(data: bytes, *, locals: Mapping[str, HostPath] | None = None) -> State:  # noqa: A002
    """Return the state that a marshalled definition describes.

    Its settings are fresh (no variables, directory `/`) except for the platform of its last op.

    Args:
        data: What `Definition.to_bytes()` or a Go client wrote, or what `buildctl debug dump-llb`
            printed of it.
        locals: Directories on this machine for its local sources, by name.

    Raises:
        GraphError: The bytes are no definition, or one that lacks ops.
    """
    given: Any = data
    if not isinstance(given, (bytes, bytearray, memoryview)):
        refuse(f"load() needs bytes, not {type(given).__name__}.")
    plain = bytes(given)
    if is_dump(plain):
        plain = definition_of_dump(plain)
    return _load(plain, 0, {name: host_directory(path) for name, path in (locals or {}).items()})


def _load(data: bytes, depth: int, host_paths: Mapping[str, Path]) -> State:
    parsed = _parse(data, depth)
    parsed.host_paths = host_paths
    if not parsed.ops:
        return fresh_state(None)
    inputs, kind, _ = split_op(parsed.ops[parsed.last])
    if kind != "final" or len(inputs) != 1:
        malformed("the last op does not point at one result")
    return fresh_state((_build(parsed, inputs[0]), inputs[0][1]))


def _parse(data: bytes, depth: int) -> _Parsed:
    if depth > _MAX_DEPTH:
        malformed(f"source maps are nested more than {_MAX_DEPTH} deep")
    parsed = _Parsed()
    sources: list[bytes] = []
    for number, value in fields(data):
        if number == 1:
            op = as_bytes(value)
            parsed.last = "sha256:" + sha256(op).hexdigest()
            parsed.ops[parsed.last] = op
            if len(parsed.ops) > _MAX_OPS:
                malformed(f"it has more than {_MAX_OPS} ops")
        elif number == 2:
            digest, metadata = map_entry(value)
            parsed.metadata[digest] = as_bytes(metadata)
        elif number == 3:
            sources.append(as_bytes(value))
    if sources:
        _read_source(sources[-1], parsed, depth)
    return parsed


def _build(parsed: _Parsed, head: tuple[str, int]) -> Op:
    """Return the op of `head`, and all that it reads, walking without recursion."""
    built: dict[tuple[str, int], Op] = {}
    split: dict[str, tuple[list[tuple[str, int]], Constraints, OpMetadata | None]] = {}
    stack = [head]
    while stack:
        key = stack[-1]
        digest, index = key
        if key in built:
            stack.pop()
            continue
        if not 0 <= index <= _MAX_OUTPUT:
            malformed(f"there is no output {index}")
        data = parsed.ops.get(digest)
        if data is None:
            malformed(f"the op {digest[:80]!r} is missing")
        if digest not in split:
            split[digest] = _read_op(data, digest, parsed)
        inputs, constraints, metadata = split[digest]
        waiting = [each for each in inputs if each not in built]
        if waiting:
            stack += reversed(waiting)
            continue
        stack.pop()
        deps = tuple(built[each] for each in inputs)
        built[key] = LoadedOp(data, deps, metadata, constraints, _host_path(data, parsed))
    return built[head]


def _host_path(data: bytes, parsed: _Parsed) -> Path | None:
    if not parsed.host_paths:
        return None
    _, kind, payload = split_op(data)
    name = op_name(kind, payload, ())
    if kind != "source" or not name.startswith("local://"):
        return None
    return parsed.host_paths.get(name.removeprefix("local://"))


def _read_op(
    data: bytes, digest: str, parsed: _Parsed
) -> tuple[list[tuple[str, int]], Constraints, OpMetadata | None]:
    inputs: list[tuple[str, int]] = []
    platform = constraints = b""
    for number, value in fields(data):
        if number == 1:
            inputs.append(read_input(as_bytes(value)))
        elif number == 10:
            platform = as_bytes(value)
        elif number == 11:
            constraints = as_bytes(value)
    filters = tuple(as_text(value) for number, value in fields(constraints) if number == 1)
    raw = parsed.metadata.get(digest)
    found = Constraints(
        platform=_read_platform(platform) if platform else None,
        filters=filters,
        tail=constraints_tail(filters) if filters else NO_CONSTRAINTS.tail,
        locations=tuple(parsed.locations.get(digest, ())),
    )
    return inputs, found, None if raw is None else read_metadata(raw)


# Most ops of a graph have the same platform and the same metadata.
@functools.lru_cache(maxsize=256)
def _read_platform(data: bytes) -> Platform:
    names = {1: "architecture", 2: "os", 3: "variant", 4: "os_version"}
    found = {"architecture": "", "os": ""}
    features = []
    for number, value in fields(data):
        if number in names:
            found[names[number]] = as_text(value)
        elif number == 5:
            features.append(as_text(value))
    return Platform(**found, os_features=tuple(features))


@functools.lru_cache(maxsize=256)
def read_metadata(data: bytes) -> OpMetadata:
    """Return a `pb.OpMetadata` message as a value. A cap counts as required whatever its value."""
    ignore_cache = False
    description: dict[str, str] = {}
    export_cache: bool | None = None
    caps: set[str] = set()
    group: ProgressGroup | None = None
    resources: Resources | None = None
    for number, value in fields(data):
        match number:
            case 1:
                ignore_cache = bool(as_unsigned(value))
            case 2:
                key, text = map_entry(value)
                description[key] = as_text(text)
            case 4:
                export_cache = any(bool(v) for n, v in fields(as_bytes(value)) if n == 1)
            case 5:
                caps.add(map_entry(value)[0])
            case 6:
                group = _read_group(as_bytes(value))
            case 7:
                resources = _read_resources(as_bytes(value))
    return OpMetadata(ignore_cache, description, export_cache, frozenset(caps), group, resources)


def _read_group(data: bytes) -> ProgressGroup:
    found: dict[str, Any] = {"id": ""}
    for number, value in fields(data):
        if number in (1, 2):
            found["id" if number == 1 else "name"] = as_text(value)
        elif number == 3:
            found["weak"] = bool(as_unsigned(value))
    return ProgressGroup(**found)


def _read_resources(data: bytes) -> Resources:
    readers = {
        1: ("memory_bytes", as_signed),
        2: ("memory_swap_bytes", as_signed),
        3: ("cpu_shares", as_unsigned),
        4: ("cpu_period_us", as_unsigned),
        5: ("cpu_quota_us", as_signed),
    }
    texts = {6: "cpuset_cpus", 7: "cpuset_mems"}
    found: dict[str, Any] = {}
    for number, value in fields(data):
        if number in readers:
            name, read = readers[number]
            found[name] = read(value)
        elif number in texts:
            found[texts[number]] = as_text(value)
    return Resources(**found)


# --------------------------------------------------------------------------------- source maps


def _read_source(data: bytes, parsed: _Parsed, depth: int) -> None:
    maps: list[SourceMap] = []
    entries: list[tuple[str, bytes]] = []
    for number, value in fields(data):
        if number == 1:
            digest, locations = map_entry(value)
            entries.append((digest, as_bytes(locations)))
        elif number == 2:
            maps.append(_read_info(as_bytes(value), depth))
    for digest, locations in entries:
        found = [
            _read_location(as_bytes(value), maps)
            for number, value in fields(locations)
            if number == 1
        ]
        if found:
            parsed.locations.setdefault(digest, []).extend(found)


def _read_info(data: bytes, depth: int) -> SourceMap:
    filename = language = ""
    content = b""
    state: State | None = None
    for number, value in fields(data):
        if number == 1:
            filename = as_text(value)
        elif number == 2:
            content = as_bytes(value)
        elif number == 3:
            state = _load(as_bytes(value), depth + 1, {})
        elif number == 4:
            language = as_text(value)
    return SourceMap(filename, content, language, state)


def _read_location(data: bytes, maps: list[SourceMap]) -> Location:
    index = 0
    ranges = []
    for number, value in fields(data):
        if number == 1:
            index = as_signed(value)
        elif number == 2:
            ranges.append(_read_range(as_bytes(value)))
    if not 0 <= index < len(maps):
        malformed(f"there is no source file {index}")
    return Location(maps[index], tuple(ranges))


def _read_range(data: bytes) -> Range:
    start, end = (0, 0), None
    for number, value in fields(data):
        if number in (1, 2):
            position = dict(fields(as_bytes(value)))
            line, character = (as_signed(position.get(n, 0)) for n in (1, 2))
            if number == 1:
                start = line, character
            else:
                end = line, character
    return Range(*start) if end is None else Range(*start, *end)
