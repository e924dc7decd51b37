"""What to ask of the daemon for one build, and the request that says it.

Cache imports are told twice: the outer Solve takes them for its own cache, and a frontend in the daemon
reads them from its option `cache-imports` for the graphs that it solves. Where we are the frontend, they go
with our own solves (`Bridge`), and not into the options, which the daemon keeps in its history for all to read.
Source: moby/buildkit `client/solve.go`, `control/control.go`.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from depotlab._proto import control_pb2
from depotlab.buildkit.gateway import Bridge
from depotlab.export import Output
from depotlab.llb import Definition

__all__ = ["CacheEntry", "SolveSpec", "new_ref", "solve_request"]

CacheEntry = tuple[str, Mapping[str, str]]
"""A cache by type, such as `registry`, with its attributes. They may hold credentials: never shown."""

EPOCH_ATTR = "source-date-epoch"


def new_ref() -> str:
    """Return a new name for a build. A name must not come back within ten seconds."""
    return secrets.token_hex(13)


@dataclass(frozen=True, slots=True)
class SolveSpec:
    """What to ask of the daemon.

    Attributes:
        ref: Name of the build, unique.
        frontend: `dockerfile.v0`, `gateway.v0`, or empty when `run` is the frontend.
        attrs: Options of the frontend.
        inputs: Serialised definitions by input name.
        exporters: What to make of the result; their order gives the exporter ids of the session.
        cache_exports: Where to leave the cache, as (type, attributes).
        cache_imports: Where to look for cached steps, as (type, attributes).
        entitlements: Rights that the daemon must grant, such as `network.host`.
        attests: Attestations by type, `provenance` or `sbom`, as `attestations` writes them.
        source_date_epoch: The time that the outputs are dated by, seconds since 1970 UTC, or None.
        plan: The graph that `run` is going to solve, so that what it needs is checked before anything is sent.
        is_internal: Leave no record in the daemon's history.
        run: A frontend of ours, which calls the gateway and must end with `Bridge.finish`.
    """

    ref: str
    frontend: str = ""
    attrs: Mapping[str, str] = field(default_factory=dict, repr=False)
    inputs: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    exporters: Sequence[Output] = ()
    cache_exports: Sequence[CacheEntry] = field(default=(), repr=False)
    cache_imports: Sequence[CacheEntry] = field(default=(), repr=False)
    entitlements: Sequence[str] = ()
    attests: Mapping[str, str] = field(default_factory=dict)
    source_date_epoch: int | None = None
    plan: Definition | None = field(default=None, repr=False)
    is_internal: bool = False
    run: Callable[[Bridge], Awaitable[None]] | None = None


def solve_request(spec: SolveSpec, session_id: str) -> bytes:
    """Return the serialised `SolveRequest`."""
    exporters = [
        control_pb2.Exporter(Type=output.type, Attrs=_dated(output.attrs, spec))
        for output in spec.exporters
    ]
    request = control_pb2.SolveRequest(
        Ref=spec.ref,
        Session=session_id,
        Frontend=spec.frontend,
        FrontendAttrs=_options(spec),
        Entitlements=spec.entitlements,
        Exporters=exporters,
        Internal=spec.is_internal,
    )
    for name, definition in spec.inputs.items():
        request.FrontendInputs[name].ParseFromString(definition)
    if exporters:  # daemons before 0.13 read only these two
        request.ExporterDeprecated = exporters[0].Type
        request.ExporterAttrsDeprecated.update(exporters[0].Attrs)
    for kind, attrs in spec.cache_exports:
        request.Cache.Exports.add(Type=kind, Attrs=attrs)
    for kind, attrs in spec.cache_imports:
        request.Cache.Imports.add(Type=kind, Attrs=attrs)
    return request.SerializeToString()


def _dated(attrs: Mapping[str, str], spec: SolveSpec) -> Mapping[str, str]:
    if spec.source_date_epoch is None:
        return attrs
    return {EPOCH_ATTR: str(spec.source_date_epoch), **attrs}


def _options(spec: SolveSpec) -> dict[str, str]:
    # Attestations are made by the daemon's solver, whoever the frontend is.
    options = {f"attest:{kind}": words for kind, words in spec.attests.items()}
    if spec.frontend:
        if spec.source_date_epoch is not None:
            options["build-arg:SOURCE_DATE_EPOCH"] = str(spec.source_date_epoch)
        if spec.cache_imports:
            options["cache-imports"] = json.dumps(
                [{"Type": kind, "Attrs": dict(attrs)} for kind, attrs in spec.cache_imports]
            )
    return {**options, **spec.attrs}
