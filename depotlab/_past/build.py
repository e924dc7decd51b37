"""One past build as it is kept: its graphs, what became of each step, and the names of its listings.

Nothing secret is kept. Secrets are not part of graphs; what a graph may carry in plain sight (variables and build
arguments whose names say so, passwords in URLs, texts that were given as secrets) is replaced by a mark of four digits,
which tells a change and not the value.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import zstandard

from depotlab._proto import ops_pb2
from depotlab._values import Value
from depotlab.buildkit import looks_secret
from depotlab.llb import Definition, OpMetadata

__all__ = ["PastBuild", "PastGraph", "PastOp", "PastStep", "hidden", "marked", "without_secrets"]

_FORMAT = 1
_MAX_BYTES = 256 << 20
_NAME = "llb.customname"
_URL_USER = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.\-]*://)(?P<user>[^/@\s\"']+)@")


@dataclass(frozen=True, slots=True, repr=False)
class PastOp(Value):
    """One operation of a graph.

    Attributes:
        digest: As it was sent, and as progress names it.
        data: Its bytes, without secrets.
        name: What the user called it, or empty.
        no_cache: It was asked to run whatever the cache has.
        place: File and line that made it, as `Dockerfile:4`, or empty.
    """

    digest: str
    data: bytes
    name: str = ""
    no_cache: bool = False
    place: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class PastGraph(Value):
    """The graph of one platform.

    Attributes:
        platform: Such as `linux/amd64`, or empty.
        ops: Inputs before users; the last one only points at the result.
    """

    platform: str
    ops: tuple[PastOp, ...]

    def definition(self) -> Definition:
        """Return it as a definition, to be compared."""
        metadata = {
            op.digest: OpMetadata(op.no_cache, {_NAME: op.name} if op.name else {})
            for op in self.ops
        }
        return Definition(
            data=[op.data for op in self.ops],
            digests=[op.digest for op in self.ops],
            head=self.ops[-1].digest if self.ops else "",
            head_output=0,
            metadata=metadata,
            source=None,
            host_paths={},
            wheres={},
        )


@dataclass(frozen=True, slots=True, repr=False)
class PastStep(Value):
    """What became of one step.

    Attributes:
        digests: Of the operations it stands for.
        name: As progress showed it.
        state: A value of `progress.StepState`.
        inputs: Digests of the steps that it needed.
    """

    digests: tuple[str, ...]
    name: str
    state: str
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, repr=False)
class PastBuild(Value):
    """One past build.

    Attributes:
        name: Builds of one name are compared.
        title: For readers.
        builder: Which daemon or project built it.
        ref: Its name on the daemon.
        at_s: When it ended, seconds since 1970 UTC.
        options: What it was asked for beside the graph, by name.
        graphs: Empty when nobody knows them; then only steps can be compared.
        steps: In the order in which they began.
        listings: Names of the listings of what was sent, by context.
        sources: What moving sources pointed at, such as the commit of a branch, by address.
        remarks: What the build said that bears on the cache, such as an import that failed.
    """

    name: str
    title: str
    builder: str
    ref: str
    at_s: float
    options: Mapping[str, str] = field(default_factory=dict)
    graphs: tuple[PastGraph, ...] = ()
    steps: tuple[PastStep, ...] = ()
    listings: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        """Return it as bytes."""
        document: dict[str, Any] = {
            "format": _FORMAT,
            **{name: getattr(self, name) for name in _PLAIN},
            "steps": [asdict(step) for step in self.steps],
            "graphs": [
                {
                    "platform": graph.platform,
                    "ops": [
                        [
                            op.digest,
                            base64.b64encode(op.data).decode(),
                            op.name,
                            op.no_cache,
                            op.place,
                        ]
                        for op in graph.ops
                    ],
                }
                for graph in self.graphs
            ],
        }
        return zstandard.ZstdCompressor(level=3).compress(json.dumps(document).encode())

    @classmethod
    def from_bytes(cls, data: bytes) -> PastBuild | None:
        """Return what `to_bytes` wrote, None if it is not that."""
        try:
            plain = zstandard.ZstdDecompressor().decompress(data, max_output_size=_MAX_BYTES)
            found = json.loads(plain)
            if found["format"] != _FORMAT:
                return None
            return cls(
                **{name: found[name] for name in _PLAIN if name != "remarks"},
                remarks=tuple(found["remarks"]),
                steps=tuple(
                    PastStep(tuple(one["digests"]), one["name"], one["state"], tuple(one["inputs"]))
                    for one in found["steps"]
                ),
                graphs=tuple(
                    PastGraph(
                        graph["platform"],
                        tuple(
                            PastOp(digest, base64.b64decode(op), name, no_cache, place)
                            for digest, op, name, no_cache, place in graph["ops"]
                        ),
                    )
                    for graph in found["graphs"]
                ),
            )
        except (zstandard.ZstdError, ValueError, KeyError, TypeError):
            return None


_PLAIN = (
    "name",
    "title",
    "builder",
    "ref",
    "at_s",
    "options",
    "listings",
    "sources",
    "remarks",
)


def marked(text: str) -> str:
    """Return a mark in place of a text: the same for the same text, and no way back.

    Sixteen bits of a hash: enough to see a change, and too few to try words against.
    """
    return f"***{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:4]}"


def without_secrets(data: bytes, hide: Sequence[str]) -> bytes:
    """Return an operation without what may be a secret in it. Its inputs and its shape stay.

    Args:
        data: A serialised `pb.Op`.
        hide: Texts that were given as secrets or passwords.
    """
    needles = [text.encode() for text in hide if text]
    op = ops_pb2.Op.FromString(data)
    if op.HasField("exec"):
        meta = op.exec.meta
        meta.env[:] = [_variable(text, hide) for text in meta.env]
        meta.args[:] = [hidden(text, hide) for text in meta.args]
    elif op.HasField("source"):
        op.source.identifier = hidden(op.source.identifier, hide)
        for key, value in list(op.source.attrs.items()):
            op.source.attrs[key] = hidden(value, hide)
    elif op.HasField("file"):
        for action in op.file.actions:
            if action.HasField("mkfile") and any(n in action.mkfile.data for n in needles):
                action.mkfile.data = marked(action.mkfile.data.decode("latin-1")).encode()
    return op.SerializeToString()


def _variable(text: str, hide: Iterable[str]) -> str:
    name, equals, value = text.partition("=")
    if value and looks_secret(name):
        return f"{name}={marked(value)}"
    return f"{name}{equals}{hidden(value, hide)}"


def hidden(text: str, hide: Iterable[str]) -> str:
    """Return a text with marks in place of what is to be hidden, and of passwords in a URL."""
    for secret in hide:
        if secret and secret in text:
            text = text.replace(secret, marked(secret))
    return _URL_USER.sub(_without_user, text)


def _without_user(found: re.Match[str]) -> str:
    scheme, user = found["scheme"], found["user"]
    # `git@` before a host is no secret, and a token before one may come without a name.
    is_secret = ":" in user or scheme.startswith("http")
    return f"{scheme}{marked(user)}@" if is_secret else found[0]
