"""What differs for a build on a Docker Engine's own BuildKit. Decisions only; nothing is sent.

An engine keeps images in one of two stores. The classic store has the exporter `moby` beside `local` and
`tar`, keeps neither manifests nor more than one platform, and pushes only by the engine's own API after the
build. The containerd store (the default of new installations since Docker 29) has all exporters, and `moby`
is `image` with a name in the store. A worker of the second kind says so in a label.

Source: docker/buildx `driver/docker/driver.go`, `build/opt.go`; moby/moby
`daemon/internal/builder-next/worker/worker.go`, `daemon/internal/builder-next/worker/containerdworker.go`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import Field, dataclass, field, replace
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from depotlab.errors import UsageError

__all__ = ["EnginePlan", "has_containerd_store", "host_gateway_ip", "plan_for_engine"]

SNAPSHOTTER_LABEL = "org.mobyproject.buildkit.worker.snapshotter"
HOST_GATEWAY_LABEL = "org.mobyproject.buildkit.worker.moby.host-gateway-ip"

_CLASSIC_ATTRS = frozenset(("name", "push", "unpack"))
"""Attributes of `image` that mean something to the classic store, or ask for what it does anyway."""

_CLASSIC_CACHE_SOURCES = frozenset(("registry", "local"))
_TURN_ON = (
    "turn on the containerd image store in the engine's settings, or build with depotlab.local()"
)


class OutputLike(Protocol):
    """What `depotlab.export` makes."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def type(self) -> str: ...
    @property
    def attrs(self) -> Mapping[str, str]: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def push(self) -> bool: ...


O = TypeVar("O", bound=OutputLike)  # noqa: E741


@dataclass(frozen=True, slots=True)
class EnginePlan(Generic[O]):
    """How a build goes on an engine.

    Attributes:
        outputs: To send, in the order of those asked for.
        frontend_attrs: To add to the options of the frontend, unless the caller has set them.
        pushes: Image names to push by the engine's API once the build is done, in order. The digest
            that the registry then has replaces `containerimage.digest` of the answer, which is the image id.
    """

    outputs: tuple[O, ...]
    frontend_attrs: Mapping[str, str] = field(default_factory=dict)
    pushes: tuple[str, ...] = ()


def has_containerd_store(labels: Iterable[Mapping[str, str]]) -> bool:
    """Say whether an engine keeps images in containerd, from the labels of its workers."""
    return any(SNAPSHOTTER_LABEL in one for one in labels)


def host_gateway_ip(labels: Iterable[Mapping[str, str]]) -> str:
    """Return the address that `host-gateway` stands for in host entries; empty when the engine has none."""
    return next((one[HOST_GATEWAY_LABEL] for one in labels if one.get(HOST_GATEWAY_LABEL)), "")


def plan_for_engine(
    labels: Iterable[Mapping[str, str]],
    outputs: Sequence[O],
    *,
    n_platforms: int = 1,
    attestations: bool = False,
    cache_exports: Sequence[str] = (),
    cache_imports: Sequence[str] = (),
    loads_elsewhere: bool = False,
) -> EnginePlan[O]:
    """Fit a build to what an engine can do.

    Args:
        labels: Of the engine's workers.
        outputs: What was asked for. To load the result into this very engine, ask for an image.
        n_platforms: How many platforms are built.
        attestations: Whether provenance or an SBOM was asked for.
        cache_exports: Types of the caches to write, such as `inline`.
        cache_imports: Types of the caches to read.
        loads_elsewhere: Whether the image is to be loaded into another engine.

    Raises:
        UsageError: The engine cannot do it; the hint says what to do instead.
    """
    attrs = {"image-resolve-mode": "local"}
    if has_containerd_store(labels):
        return EnginePlan(
            tuple(replace(o, type="moby") if o.type == "image" else o for o in outputs), attrs
        )
    if n_platforms > 1:
        raise _cannot("keep an image for several platforms")
    if attestations:
        raise _cannot("keep provenance or an SBOM")
    if loads_elsewhere:
        raise _cannot(
            "send an image to another engine",
            f"push it to a registry that both reach; or {_TURN_ON}",
        )
    for kind in cache_exports:
        if kind != "inline":
            raise _cannot(f"write a cache of type {kind!r}", "use cache.inline(); or " + _TURN_ON)
    for kind in cache_imports:
        if kind not in _CLASSIC_CACHE_SOURCES:
            raise _cannot(
                f"read a cache of type {kind!r}", "it reads registry and local; or " + _TURN_ON
            )
    return EnginePlan(
        tuple(_classic(output) for output in outputs),
        attrs,
        tuple(name for output in outputs if output.push for name in output.names),
    )


def _classic(output: O) -> O:
    if output.type in ("moby", "local", "tar"):
        return output
    if output.type != "image":
        raise _cannot(
            f"make an output of type {output.type!r}",
            f"export.image() keeps the image in the engine, docker save writes it to a file; or {_TURN_ON}",
        )
    if "*" in output.names:
        raise _cannot("take an image's name from the result", f"give it a name; or {_TURN_ON}")
    for key, value in output.attrs.items():
        as_it_is = "true" if key == "store" else "false"
        if key not in _CLASSIC_ATTRS and value != as_it_is:
            raise _cannot(
                f"keep the attribute {key}={value} of an image", f"leave it out; or {_TURN_ON}"
            )
    kept = {key: value for key, value in output.attrs.items() if key == "name"}
    return replace(output, type="moby", attrs=kept)


def _cannot(what: str, hint: str = _TURN_ON) -> UsageError:
    return UsageError(
        f"This Docker Engine has the classic image store, which cannot {what}.", hint=hint
    )
