"""What an op is and what it reads, in a few plain words: for pictures, listings and comparisons."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from depotlab.errors import GraphError, ReferenceInvalid
from depotlab.llb._decode import as_bytes, as_signed, as_text, fields
from depotlab.llb._fields import command_words
from depotlab.llb._meta import CUSTOM_NAME
from depotlab.llb._reference import parse_reference
from depotlab.llb._view import OpView, exec_args, op_name, split_op

__all__ = ["Facts", "Read", "facts_of", "numbered", "short_hashes"]

_MAX_WORDS = 400
_HASH = re.compile(r"\b(?:(?<=@)sha256:)?([0-9a-f]{12})[0-9a-f]{20,}\b")
_SCHEMES = {
    "docker-image": "image",
    "docker-image+blob": "image",
    "oci-layout": "oci",
    "oci-layout+blob": "oci",
    "local": "local",
    "git": "git",
    "http": "http",
    "https": "http",
}
# The Dockerfile front end names its steps "[linux/amd64 builder 2/5] RUN make".
_STAGE = re.compile(r"\[(?:\S+/\S+ )?(?P<stage>[^\]\s]+) +\d+/\d+\] +(?P<words>.+)", re.DOTALL)


class Read(NamedTuple):
    """One input of an op.

    Attributes:
        digest: Of the op that makes it.
        output: Which of its outputs.
        role: How it comes in, such as `bind /src`; empty for the main one.
    """

    digest: str
    output: int
    role: str


class Facts(NamedTuple):
    """One op in words.

    Attributes:
        kind: Of a source `image`, `oci`, `local`, `git`, `http` or `source`; else `exec`, `file`, `merge`, `diff`,
            `build` or `passthrough`.
        words: What it does, without the word for its kind, on one line.
        name: What progress shows, if the user gave a name.
        stage: The group it belongs to, or empty.
        reads: Its inputs, the main one first.
        targets: Of a run, the mount point that each output beside the root was at.
    """

    kind: str
    words: str
    name: str
    stage: str
    reads: tuple[Read, ...]
    targets: Mapping[int, str]

    @property
    def label(self) -> str:
        """The name if there is one, else the words."""
        return self.name or self.words

    @property
    def sentence(self) -> str:
        """The words with the kind before them, as in `run make`."""
        match self.kind:
            case "exec":
                return f"run {self.words}"
            case "image" | "local" | "git":
                return f"{self.kind} {self.words}"
            case "oci":
                return f"OCI layout {self.words}"
            case "http":
                return f"download {self.words}"
            case _:
                return self.words


def facts_of(view: OpView) -> Facts:
    """Return an op in words."""
    inputs, kind, payload = split_op(view.data)
    beside = view.metadata
    name = " ".join(beside.description.get(CUSTOM_NAME, "").split())
    group = beside.progress_group
    stage = "" if group is None else group.name or group.id
    match = _STAGE.fullmatch(name)
    if match is not None:
        stage, name = stage or match["stage"], match["words"]
    targets: dict[int, str] = {}
    roles: Sequence[str] = ()
    match kind:
        case "source":
            identifier = op_name("source", payload, ())
            kind, words = _source(identifier)
        case "exec":
            words = command_words(exec_args(payload))
            roles = _exec_roles(payload, len(inputs), targets)
        case "file":
            words = _file(payload)
            roles = _file_roles(payload, len(inputs))
        case "merge":
            words = f"merge of {len(inputs)}"
        case "diff":
            words = "what changes"
            roles = _diff_roles(payload, len(inputs))
        case "passthrough":
            id_ = op_name(kind, payload, ()).removeprefix("passthrough ")
            words = f"wait for {id_}"
            given = _outputs(payload)
            roles = ["" if number in given else "waits for" for number in range(len(inputs))]
        case "build":
            words = "build a stored definition"
            roles = [""]
        case _:
            words, roles = "the result", [""]
    reads = [
        Read(digest, output, roles[number] if number < len(roles) else "")
        for number, (digest, output) in enumerate(inputs)
    ]
    reads.sort(key=lambda read: read.role != "")  # stable: the main input first
    line = short_hashes(" ".join(words.split()))[:_MAX_WORDS]
    return Facts(kind, line, name, stage, tuple(reads), targets)


def short_hashes(text: str) -> str:
    """Return the text with long hexadecimal hashes cut to twelve digits."""
    return _HASH.sub(r"\1…", text)


def numbered(views: Iterable[OpView]) -> dict[str, int]:
    """Return the number of each op in a listing, by digest, from 1."""
    return {view.digest: number for number, view in enumerate(views, start=1)}


# ---------------------------------------------------------------------------------------- words


def _source(identifier: str) -> tuple[str, str]:
    scheme, _, rest = identifier.partition("://")
    kind = _SCHEMES.get(scheme, "source")
    if scheme == "docker-image":
        return kind, _image(rest)
    if scheme == "oci-layout":
        return kind, rest
    if scheme.endswith("+blob"):
        return kind, f"blob {_image(rest)}"
    if kind == "http":
        return kind, f"{scheme}://{rest}"
    return kind, rest if kind != "source" else identifier


def _image(ref: str) -> str:
    try:
        found = parse_reference(ref)
    except (ReferenceInvalid, GraphError):
        return ref  # bytes that another program wrote; shown as they are
    if found.tag and found.digest:
        return found._replace(digest="").familiar() + f"@{found.digest}"
    return found.familiar()


def _file(payload: bytes) -> str:
    """Return the actions in words; copies to one place from the same op are one."""
    words: list[str] = []
    before: tuple[Any, ...] = ()
    sources: list[str] = []
    for number, value in fields(payload):
        if number != 2:
            continue
        action = dict(fields(as_bytes(value)))
        copied = dict(fields(as_bytes(action[4]))) if 4 in action else {}
        here = (as_text(copied.get(2, b"")), action.get(2)) if copied else ()
        if here and here == before:
            sources.append(as_text(copied.get(1, b"")))
            words[-1] = " ".join(["copy", *sources, here[0]])
            continue
        sources = [as_text(copied.get(1, b""))]
        words.append(" ".join(["copy", *sources, here[0]]) if here else _other_action(action))
        before = here
    return ", ".join(words)


def _other_action(action: Mapping[int, int | bytes]) -> str:
    for number, word in ((5, "mkfile"), (6, "mkdir"), (7, "rm"), (8, "symlink")):
        if number in action:
            values = dict(fields(as_bytes(action[number])))
            path = as_text(values.get(1, b""))
            if word != "symlink":
                return f"{word} {path}"
            return f"symlink {as_text(values.get(2, b''))} -> {path}"
    return "unknown action"


# ---------------------------------------------------------------------------------------- roles


def _exec_roles(payload: bytes, count: int, targets: dict[int, str]) -> list[str]:
    roles: list[list[str]] = [[] for _ in range(count)]
    for number, value in fields(payload):
        if number != 2:
            continue
        mount = dict(fields(as_bytes(value)))
        index, target = as_signed(mount.get(1, 0)), as_text(mount.get(3, b""))
        output = as_signed(mount.get(4, 0))
        if output > 0:
            targets[output] = target
        if not 0 <= index < count:
            continue
        if target == "/":
            roles[index].insert(0, "")
        else:
            kind = "cache" if mount.get(6) == 3 else "bind"
            roles[index].append(f"{kind} {target}")
    return [_role(each) for each in roles]


def _file_roles(payload: bytes, count: int) -> list[str]:
    roles: list[list[str]] = [[] for _ in range(count)]
    for number, value in fields(payload):
        if number != 2:
            continue
        action = dict(fields(as_bytes(value)))
        base, second = as_signed(action.get(1, 0)), as_signed(action.get(2, 0))
        if 0 <= base < count:
            roles[base].insert(0, "")
        if 4 in action and 0 <= second < count:
            copied = dict(fields(as_bytes(action[4])))
            roles[second].append(as_text(copied.get(1, b"")) or "/")
    return [_role(each) for each in roles]


def _role(words: list[str]) -> str:
    """Return one role for an input that is used in several ways; the main one hides the others."""
    if not words or "" in words:
        return ""
    different = list(dict.fromkeys(words))
    return ", ".join(different[:3]) + (", …" if len(different) > 3 else "")


def _diff_roles(payload: bytes, count: int) -> list[str]:
    roles = [""] * count
    for number, value in fields(payload):
        if number in (1, 2):
            index = next((as_signed(v) for n, v in fields(as_bytes(value)) if n == 1), 0)
            if 0 <= index < count:
                roles[index] = "" if number == 2 else "without"
    return roles


def _outputs(payload: bytes) -> set[int]:
    from depotlab.llb._decode import read_varint

    found: set[int] = set()
    for number, value in fields(payload):
        if number == 2 and isinstance(value, bytes):
            at = 0
            while at < len(value):
                index, at = read_varint(value, at)
                found.add(index)
        elif number == 2:
            found.add(as_signed(value))
    return found
