"""From the arguments of a verb to a request that can be sent: everything is checked here, in the caller's line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from depotlab import export
from depotlab._session import Credentials
from depotlab.errors import ContextError, ReferenceInvalid, UsageError
from depotlab.export import Output
from depotlab.frontend import Dockerfile
from depotlab.llb import State, parse_reference

__all__ = ["Auth", "BuildRequest", "Outputs", "Target", "check_auth", "prepare"]

Target = State | Dockerfile
Outputs = Output | Sequence[Output] | None
Auth = Mapping[str, Credentials | tuple[str, str]] | None

_PLATFORM = re.compile(r"[a-z0-9]+/[a-z0-9_]+(/[a-z0-9]+)?")


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """One build, checked.

    Attributes:
        target: A graph or a Dockerfile build.
        title: For the progress view.
        outputs: What to make of the result; empty leaves it in the builder's cache.
        platform: As `linux/arm64`, or empty for the builder's own.
        no_cache: Run every step again.
        auth: Credentials given in code, by registry host.
        timeout_s: Limit for the whole build, or None.
    """

    target: Target
    title: str
    outputs: tuple[Output, ...] = ()
    platform: str = ""
    no_cache: bool = False
    auth: Mapping[str, Credentials] = field(default_factory=dict)
    timeout_s: float | None = None


def prepare(
    target: Target,
    *,
    output: Outputs = None,
    tags: str | Sequence[str] | None = None,
    push: bool = False,
    platform: str | None = None,
    no_cache: bool = False,
    auth: Mapping[str, Credentials] | None = None,
    name: str | None = None,
    timeout_s: float | None = None,
) -> BuildRequest:
    """Check the arguments of `build` and `submit`.

    Raises:
        UsageError: With the argument that is wrong and what it may be.
    """
    if not isinstance(target, State | Dockerfile):
        hint = "pass a graph made with depotlab.llb, or depotlab.dockerfile(...)"
        if isinstance(target, str | Path):
            hint = f"for a directory with a Dockerfile write build(depotlab.dockerfile({str(target)!r}))"
        raise UsageError(f"build() cannot build {target!r}.", hint=hint)
    outputs = _outputs(output, tags, push)
    for item in outputs:
        for tag in item.names:
            _check_tag(tag)
    if platform is not None and not _PLATFORM.fullmatch(platform):
        raise UsageError(
            f"platform={platform!r} is not a platform.",
            hint="write os/architecture, such as linux/amd64 or linux/arm64/v8",
        )
    if timeout_s is not None and timeout_s <= 0:
        raise UsageError(f"timeout_s={timeout_s!r} must be above zero.", hint="in seconds")
    if isinstance(target, Dockerfile):
        target.check()
    return BuildRequest(
        target=target,
        title=name or _title(target, outputs),
        outputs=outputs,
        platform=platform or "",
        no_cache=no_cache,
        auth=auth or {},
        timeout_s=timeout_s,
    )


def _outputs(output: Outputs, tags: str | Sequence[str] | None, push: bool) -> tuple[Output, ...]:
    if output is None:
        outputs: tuple[Output, ...] = ()
    else:
        outputs = (output,) if isinstance(output, Output) else tuple(output)
        for item in outputs:
            if not isinstance(item, Output):
                raise UsageError(
                    f"output={item!r} is not an output.",
                    hint="use depotlab.export, for example export.image('ghcr.io/me/app:dev')",
                )
    names = (tags,) if isinstance(tags, str) else tuple(tags or ())
    if names:
        return (*outputs, export.image(*names, push=push))
    if push:
        raise UsageError(
            "push=True needs tags= to say where to.",
            hint="for example tags='ghcr.io/me/app:dev'; with output= say push there",
        )
    return outputs


def _check_tag(tag: str) -> None:
    """Refuse names that no image can be given, before anything is sent."""
    found = parse_reference(tag)
    if found.digest:
        raise ReferenceInvalid(
            f"{tag!r} names an image by digest; a digest is what a build gives, not what it is given.",
            ref=tag,
            hint=f"leave it out: {tag.partition('@')[0]!r}",
        )
    if found.name == "docker.io/library/scratch":
        raise ReferenceInvalid(
            "'scratch' is reserved: it is the name of the empty image.",
            ref=tag,
            hint="choose another name",
        )


def _title(target: Target, outputs: tuple[Output, ...]) -> str:
    for output in outputs:
        if output.names:
            return output.names[0]
    if isinstance(target, Dockerfile):
        if target.target:
            return target.target
        if target.text is None and target.context is not None:
            path = target.context
            return path.name if isinstance(path, Path) else path.rstrip("/").rpartition("/")[2]
        return "Dockerfile"
    return "graph"


def check_auth(auth: Auth) -> dict[str, Credentials]:
    """Turn `{host: (user, password)}` into credentials, without ever showing a password."""
    checked: dict[str, Credentials] = {}
    for host, value in (auth or {}).items():
        if isinstance(value, Credentials):
            checked[host] = value
        elif (
            isinstance(value, tuple) and len(value) == 2 and all(isinstance(v, str) for v in value)
        ):
            checked[host] = Credentials(*value)
        else:
            raise UsageError(
                f"auth={{{host!r}: …}} must be a pair of strings, user and password.",
                hint="for example auth={'ghcr.io': ('me', token)}",
            )
    return checked


def check_locals(folders: Mapping[str, Path]) -> None:
    """Look whether the directories of a graph are there.

    Raises:
        ContextError: With the first that is missing.
    """
    for name, path in folders.items():
        if not path.is_dir():
            kind = "is not a directory" if path.exists() else "does not exist"
            raise ContextError(
                f"The local source {name!r} cannot be sent: {path} {kind}.",
                path=str(path),
                hint=f"relative paths start from {Path.cwd()}",
            )
