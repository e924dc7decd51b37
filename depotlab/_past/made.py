"""From a build that has just ended to the past build that is kept of it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from depotlab._past.build import (
    PastBuild,
    PastGraph,
    PastOp,
    PastStep,
    hidden,
    marked,
    without_secrets,
)
from depotlab._past.listing import Row, pack
from depotlab._past.store import listing_digest
from depotlab._proto import ops_pb2
from depotlab.buildkit import Provenance, looks_secret, without_passwords
from depotlab.llb import Definition
from depotlab.progress import Snapshot

__all__ = ["Ended", "past_of"]

_MIN_HIDDEN = 4
_IMPORT_WORDS = ("importing cache", "cache manifest", "failed to configure", "cache import")


@dataclass(frozen=True, slots=True)
class Ended:
    """A build that has succeeded, with what is to be kept of it.

    Attributes:
        name: Builds of one name are compared.
        title: For readers.
        builder: Which daemon or project built it.
        ref: Its name on the daemon.
        options: What it was asked for beside the graph.
        snapshot: The final state of all steps.
        definitions: The graphs that were sent, by platform; empty when a frontend of the daemon made them.
        listed: What was sent, by context.
        provenance: What the daemon attested, by platform; empty when it keeps no record.
        hide: Texts that were given as secrets.
        no_cache: All steps were asked to run, or those of these stages.
    """

    name: str
    title: str
    builder: str
    ref: str
    options: Mapping[str, str]
    snapshot: Snapshot
    definitions: Mapping[str, Definition] = field(default_factory=dict)
    listed: Mapping[str, Sequence[Row] | Any] = field(default_factory=dict)
    provenance: Mapping[str, Provenance] = field(default_factory=dict)
    hide: Sequence[str] = field(default=(), repr=False)
    no_cache: bool | tuple[str, ...] = False


def past_of(ended: Ended) -> tuple[PastBuild, dict[str, bytes]]:
    """Return what is kept of a build, and its listings by context. Takes a moment: not for the I/O thread."""
    # A text of one or two letters is everywhere; without it nothing could be read any more.
    hide = [text for text in ended.hide if len(text) >= _MIN_HIDDEN]
    listings = {name: pack(rows) for name, rows in ended.listed.items() if len(rows)}
    if ended.definitions:
        graphs = [_sent(platform, one, hide) for platform, one in ended.definitions.items()]
    else:
        names = {d: step.name for step in ended.snapshot.steps for d in step.members}
        graphs = [
            _attested(platform, one, names, ended, hide)
            for platform, one in ended.provenance.items()
        ]
    steps = tuple(
        PastStep(
            step.members or (step.digest,), hidden(step.name, hide), step.state.value, step.inputs
        )
        for step in ended.snapshot.steps
    )
    build = PastBuild(
        name=ended.name,
        title=ended.title,
        builder=ended.builder,
        ref=ended.ref,
        at_s=time.time(),
        options={key: _option(key, value, hide) for key, value in ended.options.items()},
        graphs=tuple(graph for graph in graphs if graph.ops),
        steps=steps,
        listings={name: listing_digest(data) for name, data in listings.items()},
        sources=dict(_sources(ended.provenance)),
        remarks=tuple(hidden(remark, hide) for remark in _remarks(ended.snapshot)),
    )
    return build, listings


def _option(key: str, value: str, hide: Sequence[str]) -> str:
    if value and looks_secret(key.rpartition(":")[2].removeprefix("build argument ")):
        return marked(value)
    return without_passwords(hidden(value, hide))


def _sent(platform: str, definition: Definition, hide: Sequence[str]) -> PastGraph:
    places = definition.locations
    ops = []
    for view in definition.ops:
        place = places.get(view.digest)
        ops.append(
            PastOp(
                view.digest,
                without_secrets(view.data, hide),
                hidden(view.description.get("llb.customname", ""), hide),
                view.metadata.ignore_cache,
                "" if place is None else f"{_short(place.filename)}:{place.line}",
            )
        )
    return PastGraph(platform, tuple(ops))


def _short(filename: str) -> str:
    path = Path(filename)
    return path.name if path.is_absolute() else filename


# ---------------------------------------------------------------------- from what a daemon attested


def _attested(
    platform: str,
    found: Provenance,
    names: Mapping[str, str],
    ended: Ended,
    hide: Sequence[str],
) -> PastGraph:
    """Read the graph that a frontend of the daemon made.

    Source: moby/buildkit `solver/llbsolver/provenance/buildconfig.go`, `solver/pb/json.go`.
    """
    graph = found.graph
    digests = {step: digest for digest, step in (graph.get("digestMapping") or {}).items()}
    places = _places(found.raw)
    ops = []
    for step in graph.get("llbDefinition") or ():
        step_id = step.get("id", "")
        digest = digests.get(step_id) or _own_digest(step_id)
        data = _op_bytes(step, digests)
        name = hidden(names.get(digest, ""), hide)
        ops.append(
            PastOp(
                digest,
                without_secrets(data, hide),
                name,
                _asked_again(name, ended.no_cache),
                places.get(step_id, ""),
            )
        )
    return PastGraph(platform, tuple(ops))


def _own_digest(step_id: str) -> str:
    return "sha256:" + hashlib.sha256(step_id.encode()).hexdigest()


def _op_bytes(step: Mapping[str, Any], digests: Mapping[str, str]) -> bytes:
    told = step.get("op") or {}
    message = {key: value for key, value in told.items() if key in ("platform", "constraints")}
    kind = dict(told.get("Op") or {})
    if "file" in kind:
        actions = [
            {**{k: v for k, v in one.items() if k != "Action"}, **(one.get("Action") or {})}
            for one in (kind["file"] or {}).get("actions") or ()
        ]
        kind["file"] = {**kind["file"], "actions": actions}
    message.update(kind)
    op = ops_pb2.Op()
    # Newer daemons may say more than we know; what they add then does not count in comparisons.
    json_format.ParseDict(message, op, ignore_unknown_fields=True)
    for place in step.get("inputs") or ():
        number, _, output = str(place).rpartition(":")
        op.inputs.add(digest=digests.get(number) or _own_digest(number), index=int(output or 0))
    return op.SerializeToString(deterministic=True)


def _places(raw: Mapping[str, Any]) -> dict[str, str]:
    about = (raw.get("runDetails") or raw).get("metadata") or {}
    source = (about.get("buildkit_metadata") or {}).get("source") or {}
    files = [info.get("filename", "") for info in source.get("infos") or ()]
    found: dict[str, str] = {}
    for step_id, places in (source.get("locations") or {}).items():
        for place in places.get("locations") or ():
            number = int(place.get("sourceIndex") or 0)
            ranges = place.get("ranges") or ()
            if ranges and number < len(files):
                line = (ranges[0].get("start") or {}).get("line") or 0
                found.setdefault(step_id, f"{files[number]}:{line}")
    return found


def _asked_again(name: str, no_cache: bool | tuple[str, ...]) -> bool:
    if isinstance(no_cache, bool):
        return no_cache
    stage = name.partition("]")[0].lstrip("[").split()
    return any(word in no_cache for word in stage)


def _sources(attested: Mapping[str, Provenance]) -> Iterator[tuple[str, str]]:
    for one in attested.values():
        for material in one.materials:
            if not material.uri.startswith("pkg:"):
                yield (
                    material.uri,
                    " ".join(f"{kind}:{value}" for kind, value in material.digests.items()),
                )


def _remarks(snapshot: Snapshot) -> Iterator[str]:
    for step in snapshot.steps:
        if step.error and "cache" in step.name:
            yield f"{step.name}: {step.error}"
    for warning in snapshot.warnings:
        if any(words in warning.short for words in _IMPORT_WORDS):
            yield warning.short
