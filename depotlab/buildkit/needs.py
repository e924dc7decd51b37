"""What a build needs of a daemon, and the refusal when the daemon does not have it.

Most builds need only what the oldest daemons have: for them nobody is asked. Source: moby/buildkit
`solver/pb/caps.go`; `capstable.py` says since when.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from depotlab._proto import ops_pb2
from depotlab._rpc import Channel
from depotlab.buildkit.caps import (
    Capabilities,
    capabilities,
    known_capabilities,
    version_numbers,
)
from depotlab.buildkit.capstable import GATEWAY, LLB, RELEASE_MARKS, known_from_the_start
from depotlab.buildkit.control import daemon_info
from depotlab.buildkit.spec import EPOCH_ATTR, SolveSpec
from depotlab.errors import DaemonTooOld, GraphError, SourceLocation, UsageError
from depotlab.llb import Definition

__all__ = ["Need", "graph_needs", "refusal", "require", "spec_needs"]


@dataclass(frozen=True, slots=True)
class Need:
    """Something that a build asks for and not every daemon has.

    Attributes:
        cap: The capability by name.
        words: What the user asked for, such as `llb.merge()`; empty takes the table's.
        digest: The first step that needs it, for a graph.
        release: The first release with it, when `cap` is only the mark of that release.
    """

    cap: str
    words: str = ""
    digest: str = ""
    release: str = field(default="", kw_only=True)


def graph_needs(definition: Definition) -> list[Need]:
    """List what a graph needs, each with the first step that needs it. Microseconds for each step."""
    found: dict[str, Need] = {}
    seen: set[frozenset[str]] = set()
    for digest, op in zip(definition.digests, definition.data, strict=True):
        metadata = definition.metadata.get(digest)
        if metadata is None:
            continue
        if metadata.caps not in seen:
            seen.add(metadata.caps)
            for cap in metadata.caps:
                found.setdefault(cap, Need(cap, digest=digest))
        if "file.base" in metadata.caps:
            for need in _file_needs(op, digest):
                found.setdefault(need.words or need.cap, need)
    return list(found.values())


def _file_needs(op: bytes, digest: str) -> Iterator[Need]:
    """What single file actions need. No client records it, and old daemons ignore fields that they do not know.

    Source: moby/buildkit `client/llb/fileop.go`.
    """
    for action in ops_pb2.Op.FromString(op).file.actions:
        match action.WhichOneof("action"):
            case "symlink":
                yield Need("file.symlink.create", digest=digest)
            case "copy":
                copy = action.copy
                if copy.include_patterns or copy.exclude_patterns:
                    yield Need("file.copy.includeexcludepatterns", digest=digest)
                if copy.required_paths:
                    yield Need("file.copy.requiredpaths", digest=digest)
                if copy.alwaysReplaceExistingDestPaths:
                    yield Need("file.copy.alwaysreplaceexistingdestpaths", digest=digest)
                if copy.modeStr:
                    # Its own name is in the table of names, but no daemon lists it.
                    yield _mark("0.17.0", "copy() with a mode as text", digest)


def spec_needs(spec: SolveSpec) -> list[Need]:
    """List what a build needs beside its frontend's own: outputs, caches, attestations, the graph."""
    return [*_needs(spec), *(graph_needs(spec.plan) if spec.plan is not None else ())]


# Options of the Dockerfile frontend that it took no notice of before its graphs could have them.
_FRONTEND_NEEDS = (
    ("ulimit", Need("exec.meta.ulimit", "ulimits=")),
    ("cgroup-parent", Need("exec.meta.cgroup.parent", "cgroup_parent=")),
)


def _needs(spec: SolveSpec) -> Iterator[Need]:
    yield from (need for key, need in _FRONTEND_NEEDS if spec.frontend and key in spec.attrs)
    if len(spec.exporters) > 1:
        yield Need("exporter.multiple")
    for output in spec.exporters:
        if any(key.startswith("annotation") for key in output.attrs):
            yield Need("exporter.image.annotations")
        if spec.source_date_epoch is not None or EPOCH_ATTR in output.attrs:
            yield Need("exporter.sourcedateepoch")
        if "rewrite-timestamp" in output.attrs:
            yield _mark("0.13.0", "rewrite_timestamp=True")
        if output.attrs.get("compression") in ("zstd", "estargz"):
            yield _mark("0.10.0", f"compression={output.attrs['compression']!r}")
        if output.attrs.get("tar") == "false":
            yield _mark("0.10.0", "an output as a directory in OCI layout")
    for kind, _ in (*spec.cache_exports, *spec.cache_imports):
        if f"cache.{kind}" in LLB:
            yield Need(f"cache.{kind}")
    if len(spec.cache_exports) > 1:
        yield _mark("0.11.0", "more than one cache to export to")
    if spec.attests:
        yield Need("exporter.image.attestations")
    if any(right.startswith("device") for right in spec.entitlements):
        yield Need("exec.meta.cdi")


def _mark(release: str, words: str, digest: str = "") -> Need:
    return Need(RELEASE_MARKS[release], words, digest, release=release)


async def require(
    channel: Channel, needs: Iterable[Need], *, plan: Definition | None = None
) -> None:
    """Refuse what the daemon does not have. Sends nothing in the common case.

    Args:
        channel: A connection to the daemon.
        needs: As `spec_needs` lists them.
        plan: The graph that they come from, for the line of the step.

    Raises:
        DaemonTooOld: It needs a newer daemon; with the line of the step that does, if it is one.
        UsageError: The daemon has the feature switched off.
        LinkError: The daemon had to be asked and cannot be reached.
    """
    asked = [need for need in needs if not known_from_the_start(need.cap)]
    if not asked:
        return
    remembered = known_capabilities(channel)
    found = await capabilities(channel)
    missing = [need for need in asked if not found.has(need.cap)]
    if missing and found is remembered:
        found = await capabilities(channel, newer_than=remembered)
        missing = [need for need in asked if not found.has(need.cap)]
    if missing:
        info = await daemon_info(channel)
        address = channel.endpoint.address
        raise refusal(missing, found, address=address, version=info.version, plan=plan)


def refusal(
    missing: list[Need],
    found: Capabilities,
    *,
    address: str,
    version: str,
    plan: Definition | None = None,
) -> UsageError:
    """Return the error for what a daemon does not have: first what it has switched off, then what is newest.

    Args:
        missing: At least one need that `found` does not meet.
        found: What the daemon has.
        address: Of the daemon, for the message.
        version: As the daemon says it, or empty.
        plan: The graph, for the line of the step.
    """
    off = next((need for need in missing if found.find(need.cap) is not None), None)
    if off is not None:
        state = found.find(off.cap)
        assert state is not None
        because = f": {state.reason}" if state.reason else ""
        message = f"The daemon at {address} has {_words(off)} switched off{because}."
        hint = "build on another daemon; depotlab.local() starts one on this computer"
        if off.cap in ("mergeop", "diffop") and not state.alternative:
            hint = "a Docker Engine has it when it uses the containerd image store; or build on another daemon"
        hint = state.alternative or hint
        if not off.digest:
            return UsageError(message, hint=hint)
        return GraphError(message, hint=hint, location=_location(off, plan))
    worst = max(missing, key=lambda need: version_numbers(_release(need)))
    named = list(dict.fromkeys(_words(n) for n in missing if _release(n) == _release(worst)))
    release = _release(worst)
    needs = f"BuildKit {_short(release)} or newer" if release else "a newer BuildKit"
    message = (
        f"This build needs {needs} for {' and '.join(named)}; {_what_is(address, version, found)}."
    )
    return DaemonTooOld(
        message,
        needs=_short(release),
        found=version.removeprefix("v"),
        features=tuple(named),
        hint="update the daemon, or build with the one that depotlab.local() starts",
        location=_location(worst, plan),
    )


def _location(need: Need, plan: Definition | None) -> SourceLocation | None:
    return plan.locations.get(need.digest) if plan is not None and need.digest else None


def _what_is(address: str, version: str, found: Capabilities) -> str:
    if any(version_numbers(version)):
        return f"the daemon at {address} is {version.removeprefix('v')}"
    if found.release:
        return f"the daemon at {address} does not say its version, but has that of {_short(found.release)}"
    return f"the daemon at {address} is older than all that list what they can do"


def _words(need: Need) -> str:
    since = LLB.get(need.cap) or GATEWAY.get(need.cap)
    return need.words or (since.words if since else f"the feature {need.cap}")


def _release(need: Need) -> str:
    since = LLB.get(need.cap) or GATEWAY.get(need.cap)
    return need.release or (since.release if since else "")


def _short(release: str) -> str:
    return release.removesuffix(".0")
