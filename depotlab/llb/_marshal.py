"""A state becomes a definition: every op once, inputs before users, with Go's bytes and digests.

Source of the rules: buildkit client/llb/state.go (Marshal, marshal), marshal.go, sourcemap.go.
"""

# ruff: noqa: SLF001  (a State hides its pieces from users, not from the files of its room)
from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depotlab.llb._check import choice, refuse, string, strings
from depotlab.llb._definition import Definition
from depotlab.llb._meta import NO_METADATA, OpMetadata, as_metadata
from depotlab.llb._op import INPUT_HEAD, Context, Op
from depotlab.llb._platform import Platform, as_platform, host_platform
from depotlab.llb._rewrite import expanded
from depotlab.llb._sourcemap import Collector, Location, encode_info
from depotlab.llb._view import op_name, split_op
from depotlab.llb._where import Where
from depotlab.llb._wherelines import CallLines
from depotlab.llb._wire import field

if TYPE_CHECKING:
    from depotlab.llb._state import State

_SOURCES = ("explicit", "calls")
# Source maps may hold graphs whose ops have source maps; nobody nests deeper by hand.
_MAX_SOURCE_DEPTH = 16


def marshal(
    state: State,
    platform: str | Platform | None,
    *,
    local_unique_id: str | None,
    require: Iterable[str],
    ignore_cache: bool,
    description: Mapping[str, str] | None,
    export_cache: bool | None,
    progress_group: Any,
    resources: Any,
    caps: Iterable[str] | None,
    source: str,
    hide: Iterable[str],
) -> Definition:
    """See `State.marshal`."""
    choice("source", source, _SOURCES)
    base = as_metadata(
        {
            "ignore_cache": ignore_cache,
            "description": description,
            "export_cache": export_cache,
            "progress_group": progress_group,
            "resources": resources,
        }
    )
    # Random as in the Go client: two builds that run at once with equal ops share a vertex, and
    # with it the files of one of them.
    unique_id = (
        secrets.token_hex(12)
        if local_unique_id is None
        else string("local_unique_id", local_unique_id)
    )
    call = _Call(
        host_platform() if platform is None else as_platform("platform", platform),
        unique_id,
        strings("require", require),
        None if caps is None else frozenset(strings("caps", caps)),
        base,
        description is not None,
        source == "calls",
        _hidden(hide),
    )
    return call.definition(state)


def _hidden(texts: Iterable[str]) -> tuple[str, ...]:
    """Return what is left out of sources. Nothing of it is shown or sent, so it may hold any character."""
    if isinstance(texts, str):
        refuse("hide= is one string.", hint="write hide=[…]")
    found = tuple(texts)
    if not all(isinstance(one, str) for one in found):
        refuse("hide= has something that is not text.")
    return found


@dataclass(frozen=True, slots=True)
class _Call:
    """The arguments of one marshal call; the graphs inside source maps are marshalled alike."""

    platform: Platform
    unique_id: str
    filters: tuple[str, ...]
    caps: frozenset[str] | None
    base: OpMetadata
    shares_description: bool
    with_calls: bool
    hide: tuple[str, ...]

    def definition(self, state: State, depth: int = 0) -> Definition:
        ordered = self._encode(state)
        if ordered is None:
            # Something in the graph is computed only now.
            state = expanded(state)
            ordered = self._encode(state)
            assert ordered is not None
        if state._edge is None:
            return Definition.empty()
        context, ops, data, digests = ordered
        metadata = self._metadata(context, ops, digests)
        final = context.input(*state._edge)
        final_digest = "sha256:" + sha256(final).hexdigest()
        metadata[final_digest] = OpMetadata(caps=_final_caps(metadata.values()))
        wheres = {
            digest: op.where
            for op, digest in zip(reversed(ops), reversed(digests), strict=True)
            if op.where is not None
        }
        return Definition(
            data=(*data.values(), final),
            digests=(*data, final_digest),
            head=digests[-1],
            head_output=state._edge[1],
            metadata=metadata,
            source=self._source(ops, digests, wheres, depth),
            host_paths=_host_paths(ops),
            wheres=wheres,
            hide=self.hide,
        )

    def _encode(self, state: State) -> tuple[Context, list[Op], dict[str, bytes], list[str]] | None:
        """Return all ops in order, the bytes by digest, and the digest of each op.

        None means that the graph has lazy parts. This loop is where the time goes; it is the walk
        of `_op.walk` written out.
        """
        context = Context(
            self.platform, unique_id=self.unique_id, filters=self.filters, caps=self.caps
        )
        inputs = context.inputs
        ops: list[Op] = []
        digests: list[str] = []
        data: dict[str, bytes] = {}
        stack = [] if state._edge is None else [state._edge[0]]
        while stack:
            op = stack[-1]
            if op in inputs:
                stack.pop()
                continue
            ready = True
            for dep in reversed(op.deps):
                if dep not in inputs:
                    stack.append(dep)
                    ready = False
            if not ready:
                continue
            stack.pop()
            if op.lazy:
                return None
            encoded = op.encode(context)
            digest = "sha256:" + sha256(encoded).hexdigest()
            inputs[op] = INPUT_HEAD + digest.encode()
            ops.append(op)
            digests.append(digest)
            if digest not in data:
                data[digest] = encoded
        return context, ops, data, digests

    def _metadata(
        self, context: Context, ops: Sequence[Op], digests: Sequence[str]
    ) -> dict[str, OpMetadata]:
        """Return what is said of the ops; equal ops share an entry, later words win."""
        found: dict[str, OpMetadata] = {}
        plain = self.base is NO_METADATA and not self.shares_description
        # Go hands one map to all ops and writes their descriptions into it (MarshalConstraints).
        shared = dict(self.base.description)
        for op, digest in zip(ops, digests, strict=True):
            metadata = op.metadata(context)
            if metadata is None:
                continue
            if not plain and op.takes_defaults:
                metadata = self.base.merged(metadata)
                if self.shares_description:
                    shared.update(metadata.description)
                    metadata = OpMetadata(
                        metadata.ignore_cache,
                        dict(shared),
                        metadata.export_cache,
                        metadata.caps,
                        metadata.progress_group,
                        metadata.resources,
                    )
            before = found.get(digest)
            if before is None:
                found[digest] = metadata
            elif before is not metadata:
                found[digest] = before.merged(metadata)
        return found

    def _source(
        self,
        ops: Sequence[Op],
        digests: Sequence[str],
        wheres: Mapping[str, Where],
        depth: int,
    ) -> bytes:
        """Return the `pb.Source` message. Every op has an entry, most are empty."""
        if depth > _MAX_SOURCE_DEPTH:
            refuse(f"source maps are nested more than {_MAX_SOURCE_DEPTH} deep.")
        collector = Collector()
        lines = CallLines(wheres, self.hide) if self.with_calls else None
        for op, digest in zip(ops, digests, strict=True):
            locations: tuple[Location, ...] = op.constraints.locations
            if lines is not None and not locations and op.where is not None:
                locations = (lines.location(op.where),)
            if locations:
                collector.add(digest, locations)
        infos = []
        for source in collector.maps:
            inner = None if source.state is None else self.definition(source.state, depth + 1)
            infos.append(field(2, encode_info(source, None if inner is None else inner.to_bytes())))
        located = collector.located
        # The length of a digest is constant, so is that of an entry without places. Text of one byte a
        # character is put together faster than bytes are.
        entries = [
            f"\x0a\x4b\x0a\x47{digest}\x12\x00"
            if digest not in located
            else _located(digest, located[digest]).decode("latin-1")
            for digest in sorted(set(digests))
        ]
        return "".join(entries).encode("latin-1") + b"".join(infos)


def _located(digest: str, places: Iterable[bytes]) -> bytes:
    return field(1, field(1, digest.encode()) + field(2, b"".join(places)))


def _final_caps(metadata: Iterable[OpMetadata]) -> frozenset[str]:
    caps = {"constraints", "platform"}
    for each in metadata:
        if each.ignore_cache:
            caps.add("meta.ignorecache")
        if each.description:
            caps.add("meta.description")
        if each.export_cache is not None:
            caps.add("meta.exportcache")
    return frozenset(caps)


def local_name(op: Op) -> str:
    """Return the name of a local source."""
    _, _, payload = split_op(op.encode(Context(None, unique_id="")))
    return op_name("source", payload, ()).removeprefix("local://")


def _host_paths(ops: Iterable[Op]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for op in ops:
        if op.host_path is None:
            continue
        name = local_name(op)
        other = found.setdefault(name, op.host_path)
        if other != op.host_path:
            refuse(
                f"two directories have the local name {name!r}: {str(other)!r} and {str(op.host_path)!r}.",
                hint="give one of them another name: llb.local(path, name='...')",
            )
    return found
