"""Parts of a marshalled graph: the files of one step, and the steps that a file system went through.

What an op starts from is told by its bytes, so graphs that came from elsewhere (a frontend, a Go client) can be
taken apart as well. Source: moby/buildkit `solver/pb/ops.proto`, `client/llb/exec.go`, `client/llb/fileop.go`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from depotlab._values import Value
from depotlab.errors import UsageError
from depotlab.llb._decode import as_bytes, as_signed, as_text, fields
from depotlab.llb._definition import Definition
from depotlab.llb._load import load
from depotlab.llb._state import State
from depotlab.llb._view import OpView, split_op
from depotlab.llb._wire import field, integer, text

_Output = tuple[str, int]


@dataclass(frozen=True, slots=True, repr=False)
class Stage(Value):
    """One step that a file system went through.

    Attributes:
        op: The step.
        before: The files it started from; scratch for a source.
        after: The files it left.
    """

    op: OpView
    before: State
    after: State

    def __repr__(self) -> str:
        return f"<Stage {self.op.kind} {self.op.name!r}>"


def step_state(definition: Definition, digest: str) -> State:
    """Return the files that one step of a graph makes: its root file system, for a run.

    Raises:
        UsageError: The graph has no such step.
    """
    op = next((op for op in definition.ops if op.digest == digest), None)
    if op is None or op.kind == "final":
        raise UsageError(
            f"The graph has no step {digest[:19] or 'without a digest'}.",
            hint="only steps of the graph have files; loading a Dockerfile or exporting an image has none",
        )
    return _part(definition, (digest, _root(op)[1]))


def lineage(definition: Definition) -> tuple[Stage, ...]:
    """Return the steps that the result of a graph went through, the first one first.

    A run comes from the root it ran in, files from what they were changed in, a merge from its first input. What
    was only mounted or copied from is not among them.
    """
    found = [
        Stage(op, _part(definition, before), _part(definition, after))
        for op, before, after in _ancestors(definition)
    ]
    return tuple(reversed(found))


def _ancestors(definition: Definition) -> Iterator[tuple[OpView, _Output | None, _Output]]:
    ops = {op.digest: op for op in definition.ops}
    here: _Output | None = (definition.head, definition.head_output) if definition.head else None
    while here is not None:
        op = ops[here[0]]
        if op.kind == "passthrough":
            here = _passed(op, here[1])
            continue
        # An output of a run other than its root began as what was mounted there.
        before = _mount_of(op, here[1]) if op.kind == "exec" else _root(op)[0]
        yield op, before, here
        here = before


def _part(definition: Definition, output: _Output | None) -> State:
    if output is None:
        return load(b"")
    digest, index = output
    final = field(1, text(1, digest) + (integer(2, index) if index else b""))
    cut = Definition(
        data=(*definition.data[:-1], final),
        digests=(*definition.digests[:-1], ""),
        head=digest,
        head_output=index,
        metadata=definition.metadata,
        source=None,
        host_paths={},
        wheres={},
    )
    return load(cut.to_bytes(), locals=dict(definition.locals))


def _root(op: OpView) -> tuple[_Output | None, int]:
    """Return what an op starts from, and which of its outputs is what that becomes."""
    _, kind, payload = split_op(op.data)
    match kind:
        case "exec":
            for target, read, output in _mounts(payload):
                if target == "/":
                    # A root that is read only has no output: what it reads is what it leaves.
                    return _input(op, read), max(output, 0)
        case "file":
            return _input(op, _file_base(payload, len(op.inputs))), 0
        case "merge":
            return _input(op, 0), 0
    return None, 0


def _mount_of(op: OpView, wanted: int) -> _Output | None:
    _, _, payload = split_op(op.data)
    reads = [read for _, read, output in _mounts(payload) if output == wanted]
    return _input(op, reads[0]) if reads else None


def _mounts(payload: bytes) -> Iterator[tuple[str, int, int]]:
    """Yield target, input and output of each mount of an exec."""
    for number, value in fields(payload):
        if number == 2:
            read, target, output = 0, "", 0
            for inner, each in fields(as_bytes(value)):
                if inner == 1:
                    read = as_signed(each)
                elif inner == 3:
                    target = as_text(each)
                elif inner == 4:
                    output = as_signed(each)
            yield target, read, output


def _file_base(payload: bytes, n_inputs: int) -> int:
    """Follow the actions of a file op back to the input that they change."""
    inputs: list[int] = []
    last = -1
    for number, value in fields(payload):
        if number == 2:
            read, output = 0, 0
            for inner, each in fields(as_bytes(value)):
                if inner == 1:
                    read = as_signed(each)
                elif inner == 3:
                    output = as_signed(each)
            inputs.append(read)
            if output == 0:
                last = len(inputs) - 1
    while last >= 0:
        read = inputs[last]
        if read < n_inputs or read - n_inputs >= last:  # an action reads only earlier ones
            return read
        last = read - n_inputs
    return -1


def _passed(op: OpView, output: int) -> _Output | None:
    _, _, payload = split_op(op.data)
    numbers: list[int] = []
    for number, value in fields(payload):
        if number == 2:
            numbers += _packed(value)
    return _input(op, numbers[output]) if output < len(numbers) else None


def _packed(value: object) -> list[int]:
    if isinstance(value, int):
        return [value]
    found, shift, current = [], 0, 0
    for byte in as_bytes(value):  # type: ignore[arg-type]
        current |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            found.append(current)
            shift, current = 0, 0
    return found


def _input(op: OpView, number: int) -> _Output | None:
    return op.inputs[number] if 0 <= number < len(op.inputs) else None
