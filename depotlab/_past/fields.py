"""Which of the fields of an operation count for the cache, and what a change of them is called."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from depotlab._past.cause import CauseKind
from depotlab._past.files import source_of
from depotlab.llb import Field, OpView

__all__ = ["kind_of", "own_fields", "said_of"]

# Beside the operation: they change no digest. Source: moby/buildkit `solver/pb/ops.proto`, OpMetadata.
_BESIDE = ("description ", "progress group", "resources", "cache export", "cache", "proxy")
_MAX_VALUE = 60


def own_fields(fields: Sequence[Field]) -> tuple[Field, ...]:
    """Return the fields that make a step run when they change."""
    return tuple(
        field
        for field in fields
        if not field.name.startswith(_BESIDE) and field.name not in ("local.sharedkeyhint",)
    )


def kind_of(view: OpView, fields: Sequence[Field], arguments: Collection[str]) -> CauseKind:
    """Return what the first of the changes that say most is called.

    Args:
        view: The operation.
        fields: What changed in it; not empty.
        arguments: Build arguments that changed.
    """
    names = [field.name for field in fields]
    if view.kind == "source":
        source = next((field for field in fields if field.name == "source"), None)
        if source is not None and source_of(view).startswith(("docker-image", "oci-layout")):
            same = _without_digest(source.a) == _without_digest(source.b)
            return CauseKind.IMAGE_MOVED if same else CauseKind.IMAGE
        if names == ["platform"]:
            return CauseKind.PLATFORM
        return CauseKind.SOURCE
    if "platform" in names:
        return CauseKind.PLATFORM
    if "command" in names:
        return CauseKind.COMMAND
    variables = [name.removeprefix("env ") for name in names if name.startswith("env ")]
    if variables:
        known = any(name in arguments for name in variables)
        return CauseKind.ARGUMENT if known else CauseKind.VARIABLE
    if any(name.startswith("mount ") for name in names):
        return CauseKind.MOUNTS
    if any(name.startswith("action") for name in names):
        return CauseKind.FILE_ACTION
    if all(name.startswith("reads") for name in names):
        return CauseKind.INPUTS
    return CauseKind.SETTINGS


def said_of(kind: CauseKind, fields: Sequence[Field]) -> str:
    """Return one sentence on what changed."""
    prefixes = {
        CauseKind.COMMAND: "command",
        CauseKind.VARIABLE: "env ",
        CauseKind.ARGUMENT: "env ",
        CauseKind.MOUNTS: "mount ",
        CauseKind.PLATFORM: "platform",
        CauseKind.FILE_ACTION: "action",
        CauseKind.INPUTS: "reads",
        CauseKind.IMAGE: "source",
        CauseKind.IMAGE_MOVED: "source",
    }
    prefix = prefixes.get(kind, "")
    field = next((one for one in fields if one.name.startswith(prefix)), fields[0])
    name = field.name.removeprefix("env ") if kind is not CauseKind.SETTINGS else field.name
    words = {
        CauseKind.VARIABLE: f"variable {name}",
        CauseKind.ARGUMENT: f"build argument {name}",
        CauseKind.IMAGE_MOVED: "the image moved",
        CauseKind.IMAGE: "the image",
    }.get(kind, name)
    return f"{words}: {_value(field.a)} → {_value(field.b)}"


def _without_digest(ref: str | None) -> str:
    return (ref or "").partition("@")[0]


def _value(text: str | None) -> str:
    if text is None:
        return "(none)"
    line = " ".join(text.removeprefix("docker-image://").split()) or "(empty)"
    head, at, digest = line.partition("@sha256:")
    if at:
        line = f"{head}@sha256:{digest[:12]}"
    return line if len(line) <= _MAX_VALUE else line[: _MAX_VALUE - 1] + "…"
