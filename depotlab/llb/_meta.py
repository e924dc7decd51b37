"""What can be said of any op: name, platform, cache behaviour, worker, source lines.

Of these only the platform and the worker filters are part of the op and of its digest. The rest
is metadata beside it (buildkit solver/pb/ops.proto, OpMetadata).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypedDict

from depotlab._values import Value
from depotlab.llb._check import boolean, integer, refuse, some, string, strings, unknown_option
from depotlab.llb._frozen import NOTHING, FrozenMap
from depotlab.llb._platform import Platform, as_platform
from depotlab.llb._sourcemap import Location
from depotlab.llb._wire import field as wire_field
from depotlab.llb._wire import flag, text, text_map, texts
from depotlab.llb._wire import integer as wire_integer

CUSTOM_NAME = "llb.customname"
_INT64 = 2**63 - 1


@dataclass(frozen=True, slots=True, repr=False)
class ProgressGroup(Value):
    """Steps that progress displays show as one.

    Attributes:
        id: Equal ids are one group.
        name: What is shown.
        weak: Give way to another group of the same step.
    """

    id: str
    name: str = ""
    weak: bool = False

    def __post_init__(self) -> None:
        some("ProgressGroup id", self.id)
        string("ProgressGroup name", self.name)
        boolean("ProgressGroup weak", self.weak)

    def encode(self) -> bytes:
        """Return the message `pb.ProgressGroup`."""
        return text(1, self.id) + text(2, self.name) + flag(3, self.weak)


@dataclass(frozen=True, slots=True, repr=False)
class Resources(Value):
    """Limits for the processes of a step, on Linux. They never change a digest or a cache key.

    Zero and empty mean: not set.

    Attributes:
        memory_bytes: Most memory.
        memory_swap_bytes: Most memory and swap together.
        cpu_shares: Relative weight; 1024 is usual.
        cpu_period_us: Length of a scheduling period, in microseconds.
        cpu_quota_us: Processor time in each period, in microseconds; -1 is no limit.
        cpuset_cpus: Processors by number, such as `0-3`.
        cpuset_mems: Memory nodes by number, such as `0,1`.
    """

    memory_bytes: int = 0
    memory_swap_bytes: int = 0
    cpu_shares: int = 0
    cpu_period_us: int = 0
    cpu_quota_us: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""

    def __post_init__(self) -> None:
        for name in ("memory_bytes", "memory_swap_bytes", "cpu_quota_us"):
            integer(f"Resources {name}", getattr(self, name), -_INT64 - 1, _INT64)
        for name in ("cpu_shares", "cpu_period_us"):
            integer(f"Resources {name}", getattr(self, name), 0, 2 * _INT64 + 1)
        string("Resources cpuset_cpus", self.cpuset_cpus)
        string("Resources cpuset_mems", self.cpuset_mems)

    def encode(self) -> bytes:
        """Return the message that says how much a step may use."""
        return (
            wire_integer(1, self.memory_bytes)
            + wire_integer(2, self.memory_swap_bytes)
            + wire_integer(3, self.cpu_shares)
            + wire_integer(4, self.cpu_period_us)
            + wire_integer(5, self.cpu_quota_us)
            + text(6, self.cpuset_cpus)
            + text(7, self.cpuset_mems)
        )


@dataclass(frozen=True, slots=True, repr=False)
class OpMetadata(Value):
    """What a definition says beside an op, under the op's digest.

    Attributes:
        ignore_cache: Run the step even if its result is cached.
        description: Free text by key; `llb.customname` is the name that progress shows.
        export_cache: Whether the step's result goes into an exported cache; None leaves it to the build.
        caps: Features a daemon must know to build this.
        progress_group: The group that progress shows it in.
        resources: Limits for its processes.
    """

    ignore_cache: bool = False
    description: Mapping[str, str] = NOTHING
    export_cache: bool | None = None
    caps: frozenset[str] = frozenset()
    progress_group: ProgressGroup | None = None
    resources: Resources | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.description, FrozenMap):
            object.__setattr__(self, "description", FrozenMap(self.description))

    def merged(self, other: OpMetadata) -> OpMetadata:
        """Return both together; where they disagree, `other` wins.

        Source: buildkit client/llb/state.go, mergeMetadata.
        """
        return OpMetadata(
            self.ignore_cache or other.ignore_cache,
            {**self.description, **other.description},
            self.export_cache if other.export_cache is None else other.export_cache,
            self.caps | other.caps,
            other.progress_group or self.progress_group,
            other.resources or self.resources,
        )

    def with_caps(self, caps: frozenset[str]) -> OpMetadata:
        """Return it with other capabilities that the op needs."""
        return replace(self, caps=caps) if caps else self

    def encode(self) -> bytes:
        """Return the `pb.OpMetadata` message, maps sorted by key."""
        if (
            not self.description
            and not self.ignore_cache
            and self.export_cache is None
            and self.progress_group is None
            and self.resources is None
        ):
            return _encode_caps(self.caps)
        return b"".join(
            (
                flag(1, self.ignore_cache),
                text_map(2, self.description),
                b"" if self.export_cache is None else wire_field(4, flag(1, self.export_cache)),
                _encode_caps(self.caps),
                b"" if self.progress_group is None else wire_field(6, self.progress_group.encode()),
                b"" if self.resources is None else wire_field(7, self.resources.encode()),
            )
        )


@functools.lru_cache(maxsize=1024)
def _encode_caps(caps: frozenset[str]) -> bytes:
    return b"".join(wire_field(5, text(1, cap) + b"\x10\x01") for cap in sorted(caps))


@functools.lru_cache(maxsize=1024)
def caps_only(caps: frozenset[str]) -> OpMetadata:
    """Return the metadata of an op that nothing is said of: one shared value per set."""
    return OpMetadata(caps=caps)


NO_METADATA = OpMetadata()


class Options(TypedDict, total=False):
    """`OpOptions` without the name, for calls whose `name` is something else or comes first.

    Attributes:
        description: Free text by key, carried to errors and provenance.
        ignore_cache: Run the step even if its result is cached.
        export_cache: Force or deny the step's result in an exported cache.
        progress_group: Show it together with the steps of the same group.
        resources: Limits for its processes; they do not change the digest.
        platform: Of this op only, as given; `state.platform()` is for all that follow.
        require: Worker filters such as `worker.label.zone==a`; all must match.
        locations: Places in a source file, instead of the line that made the call.
    """

    description: Mapping[str, str]
    ignore_cache: bool
    export_cache: bool | None
    progress_group: ProgressGroup
    resources: Resources
    platform: str | Platform
    require: Iterable[str]
    locations: Iterable[Location]


class OpOptions(Options, total=False):
    """Options that every call takes which makes an op.

    Attributes:
        name: What progress shows instead of the command. See `Options` for the others.
    """

    name: str


OPTION_NAMES = frozenset(OpOptions.__annotations__)


class Constraints(NamedTuple):
    """`OpOptions`, checked. `tail` is the encoded worker filter, part of the op."""

    metadata: OpMetadata = NO_METADATA
    platform: Platform | None = None
    filters: tuple[str, ...] = ()
    tail: bytes = b"\x5a\x00"
    locations: tuple[Location, ...] = ()


NO_CONSTRAINTS = Constraints()


def constraints_tail(filters: Iterable[str]) -> bytes:
    """Return the constraints field of an op; it is written even when empty."""
    return wire_field(11, texts(1, filters))


def as_constraints(
    call: str, options: Mapping[str, Any], also: Callable[..., Any] | Collection[str] = ()
) -> Constraints:
    """Return the checked options of one call.

    Args:
        call: The name of the call, for the error.
        options: As the user gave them.
        also: The function that was called, or names of its other arguments; they are suggested when a name is unknown.
    """
    if not options:
        return NO_CONSTRAINTS
    for option in options:
        if option not in OPTION_NAMES:
            names = inspect.signature(also).parameters if callable(also) else also
            unknown_option(call, option, OPTION_NAMES.union(names) - {"self", "options"})
    platform = options.get("platform")
    filters = strings("require", options.get("require", ()))
    return Constraints(
        as_metadata(options),
        None if platform is None else as_platform("platform", platform),
        filters,
        constraints_tail(filters),
        as_locations(options.get("locations", ())),
    )


def as_metadata(options: Mapping[str, Any]) -> OpMetadata:
    """Return the metadata part of `OpOptions`."""
    name = options.get("name")
    description = as_description(options.get("description") or {})
    if name is not None:
        description[CUSTOM_NAME] = some("name", name)
    export_cache = options.get("export_cache")
    if export_cache is not None:
        boolean("export_cache", export_cache)
    group = options.get("progress_group")
    if group is not None and not isinstance(group, ProgressGroup):
        refuse(f"progress_group={group!r} is not a ProgressGroup.")
    resources = options.get("resources")
    if resources is not None and not isinstance(resources, Resources):
        refuse(f"resources={resources!r} is not a Resources.")
    found = OpMetadata(
        boolean("ignore_cache", options.get("ignore_cache", False)),
        description,
        export_cache,
        frozenset(),
        group,
        resources,
    )
    return NO_METADATA if found == NO_METADATA else found


def as_description(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        refuse(f"description={value!r} is not a mapping of text to text.")
    return {
        string("description key", key): string(f"description[{key!r}]", text)
        for key, text in value.items()
    }


def as_locations(value: Any) -> tuple[Location, ...]:
    found = (value,) if isinstance(value, Location) else tuple(value)
    for item in found:
        if not isinstance(item, Location):
            refuse(
                f"locations has {item!r}, which is not a Location.",
                hint="make one with SourceMap.at()",
            )
    return found
