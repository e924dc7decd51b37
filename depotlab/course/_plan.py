"""What a reader's graph says, in the few words that rules ask about."""

from __future__ import annotations

from dataclasses import dataclass

from depotlab._proto import ops_pb2
from depotlab.llb import State

__all__ = ["Planned", "plan_of"]

_SHELL = ("/bin/sh", "-c")


@dataclass(frozen=True, slots=True)
class Planned:
    """One operation of a graph.

    Attributes:
        kind: `source`, `exec`, `file`, `merge` or `diff`.
        digest: Its digest.
        name: As progress shows it.
        reads: Digests of the operations that it reads.
        what: Of a source where it comes from, of a run its command; of a file operation its actions and their paths,
            such as `mkfile /a`.
        cwd: Of a run, the directory it starts in.
        env: Of a run, its variables.
        mounts: Of a run, where something is mounted beside the root.
    """

    kind: str
    digest: str
    name: str
    reads: tuple[str, ...]
    what: str = ""
    cwd: str = ""
    env: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()


def plan_of(state: State) -> tuple[Planned, ...]:
    """Return the operations of a graph, inputs first, without the last one that only points at the result."""
    planned = []
    for view in state.marshal(local_unique_id="").ops:
        if view.kind == "final":
            continue
        op = ops_pb2.Op.FromString(view.data)
        reads = tuple(digest for digest, _ in view.inputs)
        said = Planned(view.kind, view.digest, view.name, reads, what=_what(op))
        if view.kind == "exec":
            said = Planned(
                view.kind,
                view.digest,
                view.name,
                reads,
                what=_command(list(op.exec.meta.args)),
                cwd=op.exec.meta.cwd,
                env=tuple(op.exec.meta.env),
                mounts=tuple(mount.dest for mount in op.exec.mounts if mount.dest != "/"),
            )
        planned.append(said)
    return tuple(planned)


def _command(args: list[str]) -> str:
    """The script of a shell, or the words of an argv."""
    return args[2] if tuple(args[:2]) == _SHELL and len(args) == 3 else " ".join(args)


def _what(op: ops_pb2.Op) -> str:
    if op.WhichOneof("op") == "source":
        return op.source.identifier
    if op.WhichOneof("op") == "file":
        return "; ".join(map(_action, op.file.actions))
    return ""


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
        case _:
            return f"symlink {action.symlink.oldpath} {action.symlink.newpath}"
