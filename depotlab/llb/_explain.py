"""States in words, on one line: their repr."""

# ruff: noqa: SLF001  (a State hides its pieces from users, not from the files of its room)
from __future__ import annotations

import shlex

from depotlab.llb._execop import ExecOp
from depotlab.llb._fileop import FileOp
from depotlab.llb._load import LoadedOp
from depotlab.llb._op import BuildOp, DiffOp, LazyOp, MergeOp, Op, PassthroughOp
from depotlab.llb._reference import parse_reference
from depotlab.llb._sourceop import SourceOp
from depotlab.llb._state import State
from depotlab.llb._view import op_name, split_op

_MAX_WORDS = 48
_MAX_LINE = 200
_SHELL = ("/bin/sh", "-c")


def one_line(state: State) -> str:
    """Return the repr of a state."""
    count = _count(state)
    steps = _chain(state._op)
    shown = " → ".join(steps)
    parts = [f"{shown}; {count} op{'' if count == 1 else 's'}"] if count else ["scratch"]
    config = state._config.describe(skip=shared_with_steps(state))
    if config:
        parts.append(f"config only: {config}" if count else f"config {config}")
    text = f"{type(state).__name__}({'; '.join(parts)})"
    return text if len(text) <= _MAX_LINE else text[: _MAX_LINE - 2] + "…)"


def shared_with_steps(state: State) -> list[str]:
    """Return the fields of the image config that steps see as well, so that they are not config only."""
    settings, config = state._settings, state._config
    same = {
        "env": dict(settings.env) == config.env,
        "working_dir": settings.directory == config.working_dir,
        "user": settings.user == config.user,
    }
    return [name for name, is_same in same.items() if is_same]


def _count(state: State) -> int:
    if state._op is None:
        return 0
    seen = {state._op}
    stack = [state._op]
    while stack:
        for dep in stack.pop().deps:
            if dep not in seen:
                seen.add(dep)
                stack.append(dep)
    return len(seen)


def _chain(op: Op | None) -> list[str]:
    """Return words for the ops along the first inputs, oldest first; the middle is left out."""
    chain: list[Op] = []
    bottom: Op | None = op
    while bottom is not None:
        chain.append(bottom)
        bottom = _below(bottom)
    chain.reverse()
    if len(chain) > 4:
        middle = [f"… {len(chain) - 3} more …"]
        return [words(chain[0]), *middle, *map(words, chain[-2:])]
    listed = [words(each) for each in chain]
    starts_empty = bool(chain) and isinstance(chain[0], (ExecOp, FileOp))
    return ["scratch", *listed] if starts_empty else listed


def _below(op: Op) -> Op | None:
    if isinstance(op, ExecOp):
        return None if op.root is None else op.root[0]
    if isinstance(op, FileOp):
        base = op.places[op.steps[-1].base].edge
        return None if base is None else base[0]
    if isinstance(op, (PassthroughOp, BuildOp, LoadedOp)):
        return op.deps[0] if op.deps else None
    return None


def words(op: Op) -> str:
    """Return what an op does in a few words."""
    custom = op.constraints.metadata.description.get("llb.customname")
    return _short(custom or _plain_words(op))


def _plain_words(op: Op) -> str:
    match op:
        case SourceOp():
            return _source_words(op.identifier)
        case ExecOp():
            return _run_words(op.args)
        case FileOp():
            return op.words()
        case MergeOp():
            leaves = [_short(_leaf(dep), 20) for dep in op.deps[:4]]
            return f"merge ({', '.join(leaves)}{', …' if len(op.deps) > 4 else ''})"
        case DiffOp():
            sides = (op.lower, op.upper)
            below, above = ("scratch" if e is None else _short(_leaf(e[0]), 24) for e in sides)
            return f"diff ({below}, {above})"
        case PassthroughOp():
            return f"passthrough {op.id}"
        case LazyOp():
            return f"lazy {getattr(op.function, '__name__', 'function')}"
        case LoadedOp():
            _, kind, payload = split_op(op.data)
            name = op_name(kind, payload, ["…"] * len(op.deps))
            return _source_words(name) if kind == "source" else name
        case _:
            return op.kind


def _leaf(op: Op) -> str:
    """Return words for an op without going into what it reads."""
    if isinstance(op, (MergeOp, DiffOp)):
        return f"{op.kind} of {len(op.deps)}"
    return _plain_words(op)


def _run_words(args: tuple[str, ...]) -> str:
    if len(args) == 3 and args[:2] == _SHELL:
        return f"run {args[2]!r}"
    return f"run {shlex.join(args)}"


def _source_words(identifier: str) -> str:
    scheme, _, rest = identifier.partition("://")
    match scheme:
        case "docker-image":
            return f"image {parse_reference(rest).familiar()}"
        case "local" | "git" | "oci-layout":
            return f"{scheme} {rest}"
        case "docker-image+blob" | "oci-layout+blob":
            return f"blob {rest}"
        case _:
            return identifier


def _short(text: str, limit: int = _MAX_WORDS) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
