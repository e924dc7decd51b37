"""Looking into marshalled ops: what each is, in words, and what a build must provide for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from depotlab._values import Value
from depotlab.llb._decode import as_bytes, as_signed, as_text, fields
from depotlab.llb._meta import CUSTOM_NAME, NO_METADATA, OpMetadata

KINDS = {2: "exec", 3: "source", 4: "file", 5: "build", 6: "merge", 7: "diff", 8: "passthrough"}
_MAX_NAME = 200


@dataclass(frozen=True, slots=True)
class OpView(Value):
    """One op of a definition.

    Attributes:
        kind: `source`, `exec`, `file`, `merge`, `diff`, `build`, `passthrough`; `final` for the
            last one, which only points at the result.
        digest: Hash of `data`.
        inputs: Digest and output number of what it reads.
        name: As progress shows it.
        metadata: What is said beside it.
        data: Its bytes.
    """

    kind: str
    digest: str
    inputs: tuple[tuple[str, int], ...]
    name: str
    metadata: OpMetadata
    data: bytes

    @property
    def description(self) -> Mapping[str, str]:
        """What is said of the op beside it, by key, such as `llb.customname`."""
        return self.metadata.description

    def __repr__(self) -> str:
        return f"OpView({self.kind} {self.name!r}, {self.digest[:19]}, {len(self.inputs)} inputs)"

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, str]:
        from depotlab.llb._story import op_bundle

        return op_bundle(self)


def split_op(data: bytes) -> tuple[list[tuple[str, int]], str, bytes]:
    """Return inputs, kind and the payload of the union member."""
    inputs: list[tuple[str, int]] = []
    kind, payload = "final", b""
    for number, value in fields(data):
        if number == 1:
            inputs.append(read_input(as_bytes(value)))
        elif number in KINDS:
            kind, payload = KINDS[number], as_bytes(value)
    return inputs, kind, payload


def read_input(data: bytes) -> tuple[str, int]:
    digest, index = "", 0
    for number, value in fields(data):
        if number == 1:
            digest = as_text(value)
        elif number == 2:
            index = as_signed(value)
    return digest, index


def view_ops(
    data: Sequence[bytes], digests: Sequence[str], metadata: Mapping[str, OpMetadata]
) -> tuple[OpView, ...]:
    """Return every op decoded; inputs come before users."""
    names: dict[str, str] = {}
    views = []
    for op, digest in zip(data, digests, strict=True):
        inputs, kind, payload = split_op(op)
        beside = metadata.get(digest, NO_METADATA)
        name = beside.description.get(CUSTOM_NAME) or op_name(
            kind, payload, [names.get(d, d) for d, _ in inputs]
        )
        names[digest] = name
        views.append(OpView(kind, digest, tuple(inputs), name, beside, op))
    return tuple(views)


def op_name(kind: str, payload: bytes, inputs: Sequence[str]) -> str:
    """Return the name that a daemon would show, shortened.

    Source: buildkit solver/llbsolver/vertex.go, llbOpName. Names of merges hold those of their inputs and would grow
    without bound in a chain of merges.
    """
    match kind:
        case "source":
            return _first_text(payload, 1)
        case "exec":
            name = " ".join(exec_args(payload))
        case "file":
            name = ", ".join(_action_name(as_bytes(v)) for n, v in fields(payload) if n == 2)
        case "merge":
            name = f"merge ({', '.join(inputs[:8])}{', …' if len(inputs) > 8 else ''})"
        case "diff":
            name = _diff_name(payload, inputs)
        case "passthrough":
            name = f"passthrough {_first_text(payload, 1)}"
        case "final":
            name = f"result of {inputs[0]}" if inputs else "nothing"
        case _:
            name = kind
    return name if len(name) <= _MAX_NAME else name[: _MAX_NAME - 1] + "…"


def exec_args(payload: bytes) -> list[str]:
    """Return the argv of an exec op."""
    return [
        as_text(value)
        for number, meta in fields(payload)
        if number == 1
        for inner, value in fields(as_bytes(meta))
        if inner == 1
    ]


def _first_text(payload: bytes, wanted: int) -> str:
    return next((as_text(value) for number, value in fields(payload) if number == wanted), "")


def _action_name(action: bytes) -> str:
    words = {4: "copy", 5: "mkfile", 6: "mkdir", 7: "rm", 8: "symlink"}
    for number, value in fields(action):
        if number not in words:
            continue
        inner = as_bytes(value)
        first = _first_text(inner, 1)
        if number == 8:
            return f"symlink {_first_text(inner, 2)} -> {first}"
        if number == 4:
            return f"copy {first} {_first_text(inner, 2)}"
        return f"{words[number]} {first}"
    return "unknown"


def _diff_name(payload: bytes, inputs: Sequence[str]) -> str:
    sides = []
    for wanted in (1, 2):
        index = 0
        for number, value in fields(payload):
            if number == wanted:
                index = next((as_signed(v) for n, v in fields(as_bytes(value)) if n == 1), 0)
        sides.append(inputs[index] if 0 <= index < len(inputs) else "scratch")
    return f"diff {sides[0]} -> {sides[1]}"
