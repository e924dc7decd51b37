"""What a request asks, without what is random in it: the same question has the same key in every session.

Clients put ids of their own making into requests: of builds and sessions, of local directories (so that the daemon
does not take one for another), of containers; and they name directories after where they are on one computer.
Answers bring ids of the daemon's making, which come back in later requests. Here the former are taken out, and the
latter are replaced by what they stand for, so that keys of a recording and of a later session can be compared.

An op is known by a digest over what it does and the digests of what it reads, as in BuildKit itself, but of the op
without such ids. Source: moby/buildkit `solver/pb/ops.proto`, `client/llb/source.go`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from depotlab._proto import control_pb2, gateway_pb2, ops_pb2

__all__ = ["AskedOp", "Graph", "Names", "header_names", "key_of", "local_name", "read_graph"]

_KEY_BYTES = 12
_RANDOM_ATTRS = ("local.unique", "local.session", "oci.session")
_HASHED = re.compile(r"-[0-9a-f]{8}$")
_UPLOAD = re.compile(r"^https?://buildkit-session(/.*)")
_LAYOUT = re.compile(r"^oci-layout://([^@]+)")
_PLACE_ATTRS = ("src", "dest")  # of caches in a directory of this machine
_LABEL_LENGTH = 100


def local_name(name: str) -> str:
    """Return the name of a local directory without the hash of its path, see `llb.local`."""
    return _HASHED.sub("", name)


def digest_of(*parts: bytes | str) -> str:
    """Return a short digest over parts, each told apart from the next."""
    found = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        found.update(len(data).to_bytes(8, "little") + data)
    return found.hexdigest()[: 2 * _KEY_BYTES]


@dataclass(frozen=True, slots=True)
class AskedOp:
    """One op of a graph that was asked for.

    Attributes:
        key: The same for equal ops of all sessions.
        digest: The hexadecimal digest that it was sent with.
        label: What it does, for people.
    """

    key: str
    digest: str
    label: str


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph as it was asked for.

    Attributes:
        key: Of its result.
        ops: In the order in which they were sent; what is read comes before what reads it.
        locals: The names of its local directories by the name without the hash.
        headers: What a daemon says in headers when it asks for archives and image layouts, by what that stands for.
    """

    key: str
    ops: tuple[AskedOp, ...] = ()
    locals: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


def read_graph(definition: ops_pb2.Definition) -> Graph:
    """Read a definition as it goes over the wire."""
    keys: dict[str, str] = {}
    ops: list[AskedOp] = []
    places: dict[str, str] = {}
    headers: dict[str, str] = {}
    result = ""
    for data in getattr(definition, "def"):
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        op = ops_pb2.Op.FromString(data)
        inputs = [f"{keys.get(one.digest, one.digest)}:{one.index}" for one in op.inputs]
        if op.WhichOneof("op") is None:
            result = digest_of("result", *inputs)
            continue
        label = _label(op, definition.metadata.get(digest))
        _strip(op, places, headers)
        del op.inputs[:]
        noted = ""
        if digest in definition.metadata:
            about = definition.metadata[digest]
            noted = f"{about.ignore_cache} {about.description.get('llb.customname', '')}"
        keys[digest] = digest_of(op.SerializeToString(deterministic=True), noted, *inputs)
        ops.append(AskedOp(keys[digest], digest.removeprefix("sha256:"), label))
    return Graph(result or digest_of("result"), tuple(ops), places, headers)


def header_names(request: control_pb2.SolveRequest) -> dict[str, str]:
    """Return what the daemon is going to say in headers, by what that stands for, as far as the request tells."""
    found: dict[str, str] = {}
    for name in sorted(request.FrontendInputs):
        found.update(read_graph(request.FrontendInputs[name]).headers)
    for name in sorted(request.FrontendAttrs):
        layout = _LAYOUT.match(request.FrontendAttrs[name])
        if layout is not None:
            found[f"oci:{local_name(layout[1])}"] = f"oci:{layout[1]}"
    for way, entries in (("to", request.Cache.Exports), ("from", request.Cache.Imports)):
        for number, entry in enumerate(entries):
            place = entry.Attrs.get("dest" if way == "to" else "src", "")
            if entry.Type == "local" and place:
                found[f"local:cache {way} {number}"] = f"local:{place}"
    return found


def _strip(op: ops_pb2.Op, places: dict[str, str], headers: dict[str, str]) -> None:
    """Take out what is random, and note what of this computer the op reads."""
    if op.WhichOneof("op") != "source":
        return
    source = op.source
    for name in _RANDOM_ATTRS:
        source.attrs.pop(name, None)
    kind, _, rest = source.identifier.partition("://")
    if kind == "local":
        places[local_name(rest)] = rest
        source.identifier = f"local://{local_name(rest)}"
    elif upload := _UPLOAD.match(source.identifier):
        headers[f"/upload {sum(one.startswith('/upload') for one in headers)}"] = upload[1]
        source.identifier = "http://buildkit-session/"
    elif kind == "oci-layout":
        name, at, digest = rest.partition("@")
        source.identifier = f"oci-layout://{local_name(name)}{at}{digest}"
        store = source.attrs.get("oci.store", "")
        headers[f"oci:{local_name(store)}"] = f"oci:{store}"
        source.attrs["oci.store"] = local_name(store)


def _label(op: ops_pb2.Op, about: ops_pb2.OpMetadata | None) -> str:
    named = about.description.get("llb.customname", "") if about is not None else ""
    match op.WhichOneof("op"):
        case "exec":
            words = "run " + " ".join(_command(op.exec.meta.args))
        case "source":
            kind, _, rest = op.source.identifier.partition("://")
            words = f"{kind} {local_name(rest) if kind == 'local' else rest}"
        case "file":
            words = "file " + ", ".join(_action(action) for action in op.file.actions)
        case other:
            words = str(other)
    text = " ".join((named or words).split())
    return text if len(text) <= _LABEL_LENGTH else f"{text[: _LABEL_LENGTH - 1]}…"


def _command(args: Iterable[str]) -> list[str]:
    words = list(args)
    return words[2:] if words[:2] == ["/bin/sh", "-c"] else words


def _action(action: ops_pb2.FileAction) -> str:
    match action.WhichOneof("action"):
        case "copy":
            return f"copy {action.copy.src} {action.copy.dest}"
        case "mkfile":
            return f"mkfile {action.mkfile.path}"
        case "mkdir":
            return f"mkdir {action.mkdir.path}"
        case "rm":
            return f"rm {action.rm.path}"
        case "symlink":
            return f"symlink {action.symlink.oldpath} {action.symlink.newpath}"
        case other:
            return str(other)


class Names:
    """What ids stand for. Ids of the daemon are in it, and those that clients have made up."""

    def __init__(self, known: Mapping[str, str] | None = None) -> None:
        self._known: dict[bytes, bytes] = {}
        for name, meaning in (known or {}).items():
            self.add(name, meaning)

    def add(self, name: str, meaning: str) -> None:
        """Say what an id stands for."""
        if name:
            self._known[name.encode()] = f"<{meaning}>".encode()

    def replace(self, data: bytes) -> bytes:
        """Return bytes with all ids in them replaced; only good for comparing."""
        for name, meaning in self._known.items():
            if name in data:
                data = data.replace(name, meaning)
        return data


def key_of(method: str, request: bytes, names: Names) -> str:
    """Return the key of a request.

    Args:
        method: Such as `/moby.buildkit.v1.Control/Solve`.
        request: The serialised message.
        names: What the ids in it stand for.
    """
    match method.rpartition("/")[2], "Control/" in method:
        case "Solve", True:
            return _control_key(control_pb2.SolveRequest.FromString(request), names)
        case "Solve", False:
            return _solve_key(gateway_pb2.SolveRequest.FromString(request), names)
        case "Return", _:
            return _return_key(gateway_pb2.ReturnRequest.FromString(request), names)
        case "NewContainer", _:
            asked = gateway_pb2.NewContainerRequest.FromString(request)
            asked.ContainerID = ""
            return digest_of(method, names.replace(asked.SerializeToString(deterministic=True)))
        case "ExecProcess", _:
            started = gateway_pb2.ExecMessage.FromString(request)
            started.ProcessID = ""
            return digest_of(method, names.replace(started.SerializeToString(deterministic=True)))
        case _:
            return digest_of(method, names.replace(request))


def _control_key(request: control_pb2.SolveRequest, names: Names) -> str:
    parts = ["Control.Solve", request.Frontend, *_options(request.FrontendAttrs, names)]
    parts += ["internal" if request.Internal else "kept", *sorted(request.Entitlements)]
    if request.HasField("Definition"):
        parts.append(read_graph(request.Definition).key)
    parts += _inputs(request.FrontendInputs)
    for output in request.Exporters:
        parts += ["output", output.Type, *_options(output.Attrs, names)]
    for way, entries in (("to", request.Cache.Exports), ("from", request.Cache.Imports)):
        for entry in entries:
            attrs = {k: v for k, v in entry.Attrs.items() if k not in _PLACE_ATTRS}
            parts += [f"cache {way}", entry.Type, *_options(attrs, names)]
    return digest_of(*parts)


def _solve_key(request: gateway_pb2.SolveRequest, names: Names) -> str:
    parts = ["Solve", request.Frontend, *_options(request.FrontendOpt, names)]
    if request.HasField("Definition"):
        parts.append(read_graph(request.Definition).key)
    parts += _inputs(request.FrontendInputs)
    for entry in request.CacheImports:
        attrs = {k: v for k, v in entry.Attrs.items() if k not in _PLACE_ATTRS}
        parts += ["cache from", entry.Type, *_options(attrs, names)]
    return digest_of(*parts)


def _return_key(request: gateway_pb2.ReturnRequest, names: Names) -> str:
    if request.HasField("error"):
        return digest_of("Return an error")
    result = request.result
    for ref in (result.ref, *result.refs.refs.values()):
        ref.ClearField("def")
    return digest_of("Return", names.replace(result.SerializeToString(deterministic=True)))


def _options(options: Mapping[str, str], names: Names) -> list[str]:
    return [
        text
        for name in sorted(options)
        for text in (
            name,
            names.replace(_plain(name, options[name]).encode()).decode("utf-8", "replace"),
        )
    ]


def _plain(name: str, value: str) -> str:
    """Return an option without where things are on this computer."""
    layout = _LAYOUT.match(value)
    if layout is not None:
        return f"oci-layout://{local_name(layout[1])}{value[layout.end() :]}"
    if name == "cache-imports":
        entries = json.loads(value)
        for entry in entries:
            for place in _PLACE_ATTRS:
                entry.get("Attrs", {}).pop(place, None)
        return json.dumps(entries, sort_keys=True)
    return value


def _inputs(inputs: Mapping[str, ops_pb2.Definition]) -> list[str]:
    return [text for name in sorted(inputs) for text in (name, read_graph(inputs[name]).key)]
