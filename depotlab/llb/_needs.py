"""What the steps of a graph ask a session for: secrets and SSH agents.

Sources: buildkit solver/llbsolver/mounts/mount.go and ops/exec.go for steps, source/git and source/http for sources.
A git source goes on without its secrets, and not without its agent; an http source fails without a secret that it
names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from depotlab._values import Value
from depotlab.errors import GraphError
from depotlab.llb._decode import as_bytes, as_text, fields, map_entry
from depotlab.llb._meta import CUSTOM_NAME, NO_METADATA
from depotlab.llb._view import op_name, split_op

if TYPE_CHECKING:
    from depotlab.llb._definition import Definition
    from depotlab.llb._state import State

__all__ = ["Need", "check_needs", "needs"]

_DEFAULT_AGENT = "default"
_HINTS = {
    "secret": "pass it to the build, for example secrets={{{id!r}: secret.env('NAME')}}",
    "ssh": "pass it to the build, for example ssh={{{id!r}: ssh.agent()}}",
}
_WORDS = {"secret": "secret", "ssh": "SSH agent"}

# Field numbers in ExecOp, in Mount, and in SourceOp.
_MOUNT, _SECRET_ENV = 2, 5
_SECRET_OPTIONS, _SSH_OPTIONS = 21, 22
_ATTRS = 2


@dataclass(frozen=True, slots=True, repr=False)
class Need(Value):
    """Something that one step asks a session for.

    Attributes:
        kind: `secret` or `ssh`.
        id: The name that it asks for; `default` for an agent without one.
        optional: Whether it goes on without.
        step: The step, as progress shows it.
        digest: Of the op.
    """

    kind: Literal["secret", "ssh"]
    id: str
    optional: bool
    step: str
    digest: str


def needs(graph: State | Definition) -> tuple[Need, ...]:
    """List what the steps of a graph ask for, in their order."""
    definition = _marshalled(graph)
    found: dict[Need, None] = {}
    for data, digest in zip(definition.data, definition.digests, strict=True):
        _, kind, payload = split_op(data)
        if kind == "exec":
            wants = _exec_needs(payload)
        elif kind == "source":
            wants = _source_needs(payload)
        else:
            continue
        for what, name, optional in wants:
            metadata = definition.metadata.get(digest, NO_METADATA)
            step = metadata.description.get(CUSTOM_NAME) or op_name(kind, payload, ())
            found[Need(what, name, optional, step, digest)] = None
    return tuple(found)


def check_needs(
    graph: State | Definition, *, secrets: Collection[str] = (), ssh: Collection[str] = ()
) -> None:
    """Refuse a graph with a step that cannot run, because it asks for what the build was not given.

    Args:
        graph: What is to be built.
        secrets: Ids of the secrets that it was given.
        ssh: Ids of the agents that it was given.

    Raises:
        GraphError: Naming the first such step, and where it was made.
    """
    given = {"secret": secrets, "ssh": ssh}
    definition = _marshalled(graph)
    missing = [
        need for need in needs(definition) if not need.optional and need.id not in given[need.kind]
    ]
    if not missing:
        return
    first = missing[0]
    others = {f"{_WORDS[n.kind]} {n.id!r}" for n in missing} - {
        f"{_WORDS[first.kind]} {first.id!r}"
    }
    also = f" So are: {', '.join(sorted(others))}." if others else ""
    raise GraphError(
        f"The {_WORDS[first.kind]} {first.id!r} is needed by the step {first.step!r}, "
        f"and the build was not given it.{also}",
        hint=_HINTS[first.kind].format(id=first.id),
        location=definition.locations.get(first.digest),
    )


def _marshalled(graph: State | Definition) -> Definition:
    marshal = getattr(graph, "marshal", None)
    return graph if marshal is None else marshal()  # type: ignore[return-value]  # only a State has it


_Want = tuple[Literal["secret", "ssh"], str, bool]


def _exec_needs(payload: bytes) -> Iterator[_Want]:
    for number, value in fields(payload):
        if number == _SECRET_ENV:
            name, optional = _options(as_bytes(value), 3)
            yield "secret", name, optional
        elif number == _MOUNT:
            for inner, options in fields(as_bytes(value)):
                if inner == _SECRET_OPTIONS:
                    name, optional = _options(as_bytes(options), 5)
                    yield "secret", name, optional
                elif inner == _SSH_OPTIONS:
                    name, optional = _options(as_bytes(options), 5)
                    yield "ssh", name or _DEFAULT_AGENT, optional


def _options(data: bytes, optional_field: int) -> tuple[str, bool]:
    name, optional = "", False
    for number, value in fields(data):
        if number == 1:
            name = as_text(value)
        elif number == optional_field:
            optional = bool(value)
    return name, optional


def _source_needs(payload: bytes) -> Iterator[_Want]:
    attrs = dict(map_entry(value) for number, value in fields(payload) if number == _ATTRS)
    for key in ("git.authheadersecret", "git.authtokensecret"):
        if attrs.get(key):
            yield "secret", as_text(attrs[key]), True
    if attrs.get("http.authheadersecret"):
        yield "secret", as_text(attrs["http.authheadersecret"]), False
    if attrs.get("git.mountsshsock"):
        yield "ssh", as_text(attrs["git.mountsshsock"]), False
