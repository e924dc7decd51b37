"""What to say when something was not recorded: what was asked, what comes nearest, and how to go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from depotlab._proto import control_pb2, gateway_pb2, ops_pb2
from depotlab._recorded.canonical import AskedOp, read_graph
from depotlab._recorded.describing import describe
from depotlab._recorded.tape import Call, OpNote, Tape, TapedBuild
from depotlab.errors import NotRecorded

__all__ = ["Asked", "not_recorded"]

_MOST = 3
HINT = (
    "ask for what was recorded, or go live: with depotlab.local(), depotlab.connect() or depotlab.depot() in place of "
    "depotlab.recorded()"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that has no answer.

    Attributes:
        method: Full name.
        request: The serialised message.
        words: What it is, when the message does not say. An empty message has nothing that could come near.
    """

    method: str
    request: bytes
    words: str = ""


def not_recorded(
    tape: Tape, path: str, asked: Asked, *, files_of: Sequence[TapedBuild] = ()
) -> NotRecorded:
    """Return the error to raise.

    Args:
        tape: The recording.
        path: Its file.
        asked: The question.
        files_of: Builds that were asked for in the same words, but of other files.
    """
    name = PurePath(path).name
    if files_of:
        places = sorted({request[0] for build in files_of for request, _ in build.contexts})
        listed = ", ".join(repr(place) for place in places)
        return NotRecorded(
            f"{name} has this build, but of other files: what {listed} holds has changed.",
            asked=asked.words or "a build of other files",
            nearest=tuple(f"the same build of the files that {place!r} had" for place in places),
            path=path,
            hint=f"put the files back as they were, or {HINT.partition(', or ')[2]}",
        )
    ops = _ops(asked)
    words = asked.words or _words(asked, ops)
    nearest: list[str] = []
    if asked.request:
        nearest = _graphs_like(tape, ops) if ops else _calls_like(tape, asked)
    return NotRecorded(
        f"{name} does not have {words}.",
        asked=words,
        nearest=tuple(nearest[:_MOST]),
        path=path,
        hint=HINT,
    )


def _ops(asked: Asked) -> tuple[AskedOp, ...]:
    if asked.method.rpartition("/")[2] != "Solve":
        return ()
    request: control_pb2.SolveRequest | gateway_pb2.SolveRequest
    if "Control/" in asked.method:
        request = control_pb2.SolveRequest.FromString(asked.request)
    else:
        request = gateway_pb2.SolveRequest.FromString(asked.request)
    graphs: list[ops_pb2.Definition] = list(request.FrontendInputs.values())
    if request.HasField("Definition"):
        graphs.append(request.Definition)
    return tuple(op for graph in graphs for op in read_graph(graph).ops)


def _words(asked: Asked, ops: Sequence[AskedOp]) -> str:
    told = dict(describe(asked.method, asked.request))
    match asked.method.rpartition("/")[2]:
        case "Solve" if "frontend" in told:
            return f"this build of a Dockerfile ({told['frontend']})"
        case "Solve" if ops:
            return f"a build that ends with {ops[-1].label!r}"
        case "Solve":
            return "this build"
        case "ReadFile" | "ReadFileContainer":
            return f"the file {told.get('path', '')} of this state"
        case "ReadDir" | "ReadDirContainer":
            return f"the listing of {told.get('path') or '/'} of this state"
        case "StatFile" | "StatFileContainer":
            return f"{told.get('path', '')} of this state"
        case "ResolveImageConfig":
            return f"the image {told.get('image', '')}"
        case "ExecProcess":
            return f"the command {told.get('command', '')!r} in this state"
        case "NewContainer":
            return "a container with this state"
        case name:
            return f"an answer to {name} asked like this"


def _graphs_like(tape: Tape, ops: Sequence[AskedOp]) -> list[str]:
    """Return the recorded graphs that have most ops in common, each with the first that differs."""
    ours = {op.key for op in ops}
    scored: list[tuple[int, int, str]] = []
    for call in tape.calls:
        if call.is_of_daemon or not call.ops:
            continue
        theirs = {op.key for op in call.ops}
        scored.append((len(ours & theirs), -len(ours ^ theirs), _difference(ops, call.ops)))
    scored.sort(key=lambda one: one[:2], reverse=True)
    return list(dict.fromkeys(words for _, _, words in scored))


def _difference(ours: Sequence[AskedOp], theirs: Sequence[OpNote]) -> str:
    here = {op.key for op in ours}
    there = {op.key for op in theirs}
    first = next((op for op in ours if op.key not in there), None)
    instead = next((op for op in theirs if op.key not in here), None)
    title = f"the build that ends with {theirs[-1].label!r}"
    if first is None and instead is None:
        return f"{title}: the same graph, asked for with other options"
    if first is None:
        assert instead is not None
        return f"{title}: it goes on with {instead.label!r}"
    if instead is None:
        return f"{title}: it does not have {first.label!r}"
    if first.label == instead.label:
        return f"{title}: its {instead.label!r} has other settings"
    return f"{title}: it has {instead.label!r}, not {first.label!r}"


def _calls_like(tape: Tape, asked: Asked) -> list[str]:
    """Return what was asked by the same method."""
    same = [call for call in tape.calls if call.method == asked.method]
    if asked.method.endswith("Control/Solve"):
        told = dict(describe(asked.method, asked.request))
        return list(dict.fromkeys(_options(told, call) for call in same if call.asked))
    return list(
        dict.fromkeys(" ".join(text for _, text in call.asked) for call in same if call.asked)
    )


def _options(told: dict[str, str], call: Call) -> str:
    recorded = dict(call.asked)
    differ = sorted(
        name for name in told.keys() | recorded.keys() if told.get(name) != recorded.get(name)
    )
    frontend = recorded.get("frontend", "a graph")
    return f"a build of {frontend} with other values of {', '.join(differ) or 'its options'}"
