"""Questions to the Dockerfile frontend: what can be given to a Dockerfile, what is wrong in it, which graph it is.

They are asked inside a build of our own, which builds nothing: the frontend reads the Dockerfile, and for a graph asks
about base images. A question asked of a plain Solve has no answer.
Source: moby/buildkit `frontend/subrequests`, `client/llb/definition.go`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from depotlab._contexts import Directory, read_inside
from depotlab._proto import ops_pb2
from depotlab._verbs import AnyBuilder, BuildRequest, prepare
from depotlab.buildkit import (
    Attempt,
    Bridge,
    Lint,
    Outline,
    SolvedResult,
    Stages,
    lint_of,
    new_ref,
    outline_of,
    solve_with_retry,
    stages_of,
)
from depotlab.errors import DockerfileError, SourceLocation, UsageError
from depotlab.frontend import Dockerfile
from depotlab.llb import State, load

__all__ = ["Asked", "ask", "lint", "outline", "stages", "to_state"]

_LINE = re.compile(r"on line (\d+)")
_SESSION_KEYS = ("local.session", "local.unique")


@dataclass(frozen=True, slots=True)
class Asked:
    """The graph that a frontend made of a Dockerfile.

    Attributes:
        state: The graph, to be extended or built.
        source: The Dockerfile as the frontend read it.
        definition: The graph as bytes.
    """

    state: State
    source: str
    definition: bytes


def _checked(dockerfile: Any, platform: str | None) -> BuildRequest:
    if not isinstance(dockerfile, Dockerfile):
        raise UsageError(
            f"{dockerfile!r} is no Dockerfile build.",
            hint="make one with depotlab.dockerfile('.') or depotlab.dockerfile(text=...)",
        )
    return prepare(dockerfile, platform=platform)


async def _solve(builder: AnyBuilder, request: BuildRequest, question: str) -> SolvedResult:
    """Ask the frontend; an empty question asks for the graph, and runs none of it."""
    answers: list[SolvedResult] = []
    async with builder.borrowed(request.platforms) as here:
        aim = await here.aim(request)
        options = {**aim.spec.attrs, **({"requestid": question} if question else {})}

        async def run(bridge: Bridge) -> None:
            answers.append(
                await bridge.solve_frontend(
                    aim.spec.frontend, options, aim.spec.inputs, evaluate=False
                )
            )
            await bridge.finish("", {})

        def attempt() -> Attempt:
            spec = replace(
                aim.spec, ref=new_ref(), frontend="", attrs={}, inputs={}, run=run, is_internal=True
            )
            return Attempt(spec, here.session(request, aim.offer))

        try:
            await solve_with_retry(here.connect, attempt, lambda _: None)
        except DockerfileError as error:
            raise _placed(error, request.target) from error
    return answers[-1]


def _placed(error: DockerfileError, dockerfile: Any) -> DockerfileError:
    """Return the error with its line: of a question the frontend says it only in words."""
    number = _LINE.search(error.message)
    if error.locations or number is None:
        return error
    line = int(number[1])
    source = dockerfile.text
    if source is None and dockerfile.directory is not None:
        found = read_inside(dockerfile.directory, dockerfile.filename)
        source = "" if found is None else found.decode("utf-8", "replace")
    place = SourceLocation(dockerfile.filename, line, line, source or "")
    return DockerfileError(error.message, hint=error.hint, code=error.code, locations=(place,))


async def outline(builder: AnyBuilder, dockerfile: Dockerfile) -> Outline:
    """Ask what a target can be given; see `Client.outline`."""
    found = await _solve(builder, _checked(dockerfile, None), "frontend.outline")
    return outline_of(found.metadata.get("result.json", b""))


async def stages(builder: AnyBuilder, dockerfile: Dockerfile) -> Stages:
    """Ask which stages there are; see `Client.targets`."""
    found = await _solve(builder, _checked(dockerfile, None), "frontend.targets")
    return stages_of(found.metadata.get("result.json", b""))


async def lint(builder: AnyBuilder, dockerfile: Dockerfile) -> Lint:
    """Ask what is wrong in a Dockerfile; see `Client.lint`."""
    found = await _solve(builder, _checked(dockerfile, None), "frontend.lint")
    return lint_of(found.metadata.get("result.json", b""))


async def to_state(builder: AnyBuilder, dockerfile: Dockerfile, *, platform: str | None) -> State:
    """Ask which graph a Dockerfile is; see `Client.to_state`."""
    return (await ask(builder, dockerfile, platform=platform)).state


async def ask(builder: AnyBuilder, dockerfile: Dockerfile, *, platform: str | None = None) -> Asked:
    """Ask which graph a Dockerfile is, with its source.

    Raises:
        UsageError: Several platforms, or a context that is no directory.
    """
    request = _checked(dockerfile, platform)
    if len(request.platforms) > 1:
        raise UsageError(
            f"platform={platform!r}: a graph is for one platform.", hint="ask once for each"
        )
    folders = _folders(dockerfile)
    found = await _solve(builder, request, "")
    name, ref = next(iter(found.refs.items()))
    config = found.config(name) or next(
        (v for key, v in found.metadata.items() if key.startswith("containerimage.config")), b""
    )
    if not ref.definition:
        raise UsageError(
            "The frontend made no graph of this Dockerfile: its result is empty.",
            hint="a target FROM scratch without any step has none: llb.scratch()",
        )
    definition = _without_session(ref.definition)
    _check_sources(definition, folders)
    state = load(definition, locals=folders)
    if config:
        state = state.with_image_config(config)
        user = state.image_config().user
        state = state.user(user) if user else state
    return Asked(state, _source(definition, dockerfile), definition)


def _folders(dockerfile: Dockerfile) -> Mapping[str, Path]:
    """Return the directories that the graph reads, by the names that the frontend gives them."""
    found: dict[str, Path] = {}
    for name, context in (("context", dockerfile.main), *dockerfile.contexts.items()):
        if isinstance(context.where, Directory):
            key = name if context is dockerfile.main else f"context-{name}"
            found[key] = context.where.host_path
    return found


def _check_sources(data: bytes, folders: Mapping[str, Path]) -> None:
    """Refuse a graph that reads what only the session of the question could serve.

    Raises:
        UsageError: A context is in memory, or an archive.
    """
    for raw in getattr(ops_pb2.Definition.FromString(data), "def"):
        identifier = ops_pb2.Op.FromString(raw).source.identifier
        name = identifier.removeprefix("local://") if identifier.startswith("local://") else None
        gone = name is not None and name not in folders
        if gone or identifier.startswith("http://buildkit-session/"):
            what = f"the context {name!r}" if name is not None else "an archive"
            raise UsageError(
                f"This Dockerfile copies from {what}, which is no directory, so its graph could not be built.",
                hint="write the files into a directory, or build the Dockerfile itself",
            )


def _without_session(data: bytes) -> bytes:
    """Return a definition that any session can serve.

    The frontend binds what it reads of this machine to the session that asked, which ends with the question. Only
    those operations, and what reads them, get other digests; all others stay as they are, byte by byte.
    """
    definition = ops_pb2.Definition.FromString(data)
    renamed: dict[str, str] = {}
    old_ops = list(getattr(definition, "def"))
    new_ops = []
    for old in old_ops:
        op = ops_pb2.Op.FromString(old)
        is_changed = False
        if op.HasField("source") and op.source.identifier.startswith("local://"):
            for key in _SESSION_KEYS:
                is_changed |= op.source.attrs.pop(key, None) is not None
        for each in op.inputs:
            if each.digest in renamed:
                each.digest = renamed[each.digest]
                is_changed = True
        new = op.SerializeToString(deterministic=True) if is_changed else old
        if is_changed:
            renamed[_digest(old)] = _digest(new)
        new_ops.append(new)
    del getattr(definition, "def")[:]
    getattr(definition, "def").extend(new_ops)
    metadata, locations = definition.metadata, definition.Source.locations
    for digest, digest_now in renamed.items():
        if digest in metadata:
            metadata[digest_now].CopyFrom(metadata[digest])
            del metadata[digest]
        if digest in locations:
            locations[digest_now].CopyFrom(locations[digest])
            del locations[digest]
    return definition.SerializeToString(deterministic=True)


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _source(definition: bytes, dockerfile: Dockerfile) -> str:
    infos = ops_pb2.Definition.FromString(definition).Source.infos
    if infos:
        return infos[0].data.decode("utf-8", "replace")
    return dockerfile.text or ""
