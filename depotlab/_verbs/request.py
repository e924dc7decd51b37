"""From the arguments of a verb to a request that can be sent: everything is checked here, in the caller's line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path

from depotlab import export, secret, ssh
from depotlab._oci import Layout
from depotlab._session import Credentials
from depotlab._values import Value, is_unicode
from depotlab._verbs.graphs import parse_platforms
from depotlab.buildkit import attestations
from depotlab.cache import Cache, Exports, Imports, as_exports, as_imports, inline
from depotlab.errors import ContextError, ReferenceInvalid, UsageError
from depotlab.export import Output
from depotlab.frontend import Dockerfile, FrontendCall, FrontendFunction
from depotlab.llb import Definition, Platform, State, parse_reference
from depotlab.secret import Secret
from depotlab.ssh import Agent

__all__ = [
    "Attest",
    "Auth",
    "BuildRequest",
    "Caches",
    "OciLayouts",
    "Outputs",
    "Platforms",
    "Save",
    "Secrets",
    "SshAgents",
    "Target",
    "check_auth",
    "check_locals",
    "prepare",
]

Target = State | Dockerfile | FrontendCall | Mapping[str, State]
"""What can be built: a graph, one for each platform, a Dockerfile, or a call of a frontend function."""
Outputs = Output | Sequence[Output] | None
Auth = Mapping[str, Credentials | tuple[str, str]] | None
Caches = Cache | Sequence[Cache] | None
Secrets = Mapping[str, Secret | str | bytes] | None
SshAgents = Agent | Mapping[str, Agent] | None
Attest = bool | str | Mapping[str, str | bool] | None
Platforms = str | Sequence[str] | None
Save = bool | str | Sequence[str]
OciLayouts = Mapping[str, Layout | str | PathLike[str]] | None

ENTITLEMENTS = ("network.host", "security.insecure", "device")
"""Rights that a build must ask for. Source: moby/buildkit `util/entitlements`."""

_SAVE_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_PLATFORM = re.compile(r"[a-z0-9]+/[a-z0-9_]+(/[a-z0-9]+)?")
_IMAGE_TYPES = ("image", "oci", "docker")


@dataclass(frozen=True, slots=True, repr=False)
class BuildRequest(Value):
    """One build, checked.

    Attributes:
        target: A graph or a Dockerfile build.
        title: For the progress view.
        name: The title that was given; empty when it was found.
        outputs: What to make of the result; empty leaves it in the builder's cache.
        load: Where to load the image: True is the Docker Engine (or podman) of this computer, text an
            address of one, False nowhere.
        load_names: What the loaded image is called.
        platforms: As `linux/arm64`; empty is the builder's own.
        no_cache: Run every step again.
        auth: Credentials given in code, by registry host.
        finds_logins: For other registries, those of the Docker configuration of this computer are used.
        secrets: By id, read already.
        ssh: Agents by id, looked at already.
        cache_imports: Where to look for finished steps, prepared.
        cache_exports: Where to leave them, prepared.
        stores: Image layouts of this machine that a graph reads, by the name in `llb.oci_layout`.
        attests: Attestations by type.
        source_date_epoch: The time that the outputs are dated by, seconds since 1970 UTC, or None.
        allow: Rights that the daemon must grant.
        timeout_s: Limit for the whole build, or None.
        save: Depot is to keep the image.
        save_tags: More names for it there.
        also: Graphs of which parts are going to be solved in the same build: their directories are offered too.
        sent: The graphs that were sent for it, by platform, as they become known while it runs.
    """

    target: Target
    title: str
    outputs: tuple[Output, ...] = ()
    load: bool | str = False
    load_names: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    no_cache: bool = False
    auth: Mapping[str, Credentials] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    ssh: Mapping[str, Agent] = field(default_factory=dict)
    cache_imports: Imports = field(default_factory=lambda: as_imports(None))
    cache_exports: Exports = field(default_factory=lambda: as_exports(None))
    stores: Mapping[str, Layout] = field(default_factory=dict)
    attests: Mapping[str, str] = field(default_factory=dict)
    source_date_epoch: int | None = None
    allow: tuple[str, ...] = ()
    timeout_s: float | None = None
    save: bool = False
    save_tags: tuple[str, ...] = ()
    also: tuple[State, ...] = ()
    name: str = ""
    finds_logins: bool = True
    sent: list[Mapping[Platform, Definition]] = field(
        default_factory=list, repr=False, compare=False
    )

    @property
    def platform(self) -> str:
        """The platforms as the Dockerfile frontend takes them."""
        return ",".join(self.platforms)


def prepare(
    target: Target,
    *,
    output: Outputs = None,
    tags: str | Sequence[str] | None = None,
    push: bool = False,
    load: bool | str = False,
    platform: Platforms = None,
    no_cache: bool = False,
    secrets: Secrets = None,
    ssh: SshAgents = None,
    cache_from: Caches = None,
    cache_to: Caches = None,
    oci_layouts: OciLayouts = None,
    provenance: Attest = None,
    sbom: Attest = None,
    source_date_epoch: int | None = None,
    reproducible: bool = False,
    allow: str | Sequence[str] = (),
    auth: Auth = None,
    name: str | None = None,
    timeout_s: float | None = None,
    save: Save = False,
) -> BuildRequest:
    """Check the arguments of `build` and `submit`. Reads secrets and keys; sends nothing.

    Raises:
        UsageError: With the argument that is wrong and what it may be.
    """
    platforms = _platforms(platform)
    target, platforms = _target(target, platforms)
    _check_load(load)
    names = (tags,) if isinstance(tags, str) else tuple(tags or ())
    outputs = _outputs(output, names, push=push, load=load)
    for tag in (*names, *(tag for item in outputs for tag in item.names)):
        if tag != "*":
            _check_tag(tag)
    if timeout_s is not None and timeout_s <= 0:
        raise UsageError(f"timeout_s={timeout_s!r} must be above zero.", hint="in seconds")
    epoch = _epoch(source_date_epoch, reproducible)
    if reproducible:
        outputs = tuple(_with_clamped_times(item) for item in outputs)
    if isinstance(target, Dockerfile):
        target.check()
    return BuildRequest(
        target=target,
        title=name or _title(target, outputs, names),
        outputs=outputs,
        load=load,
        load_names=names if load else (),
        platforms=platforms,
        no_cache=no_cache,
        auth=check_auth(auth),
        secrets=secret.check_all(secrets),
        ssh=_agents(ssh),
        cache_imports=as_imports(cache_from),
        cache_exports=as_exports(_with_inline(cache_to, target)),
        stores=_stores(oci_layouts),
        attests=attestations(provenance=provenance, sbom=sbom),
        source_date_epoch=epoch,
        allow=_entitlements(allow),
        timeout_s=timeout_s,
        save=bool(save),
        save_tags=_save_tags(save),
        name=name or "",
    )


def _target(target: Target, platforms: tuple[str, ...]) -> tuple[Target, tuple[str, ...]]:
    """Check what is to be built, and for which platforms."""
    if isinstance(target, State | Dockerfile | FrontendCall):
        return target, platforms
    if isinstance(target, Mapping) and target:
        for word, state in target.items():
            Platform.parse(_platforms(word)[0])
            if not isinstance(state, State):
                raise UsageError(
                    f"build({{{word!r}: …}}) needs a graph for each platform, not {state!r}.",
                    hint="for example build({'linux/amd64': app, 'linux/arm64': app_arm})",
                )
        parse_platforms(tuple(target))
        wanted = platforms or tuple(target)
        if missing := [word for word in wanted if word not in target]:
            raise UsageError(
                f"platform= has {missing[0]}, which the mapping has no graph for.",
                hint=f"it has {', '.join(target)}",
            )
        return {word: target[word] for word in wanted}, wanted
    hint = "pass a graph made with depotlab.llb, or depotlab.dockerfile(...)"
    if isinstance(target, str | Path):
        hint = (
            f"for a directory with a Dockerfile write build(depotlab.dockerfile({str(target)!r}))"
        )
    if isinstance(target, FrontendFunction):
        hint = f"call it with its arguments: {target.name}(...)"
    raise UsageError(f"build() cannot build {target!r}.", hint=hint)


def _save_tags(save: Save) -> tuple[str, ...]:
    names = (save,) if isinstance(save, str) else () if isinstance(save, bool) else tuple(save)
    for name in names:
        if not isinstance(name, str) or not _SAVE_TAG.fullmatch(name):
            raise UsageError(
                f"save={name!r} is no tag.",
                hint="pass save=True, or bare tags without registry and project, such as save='v1'",
            )
    return names


def _agents(given: SshAgents) -> dict[str, Agent]:
    return ssh.check_all(given)


def _with_inline(given: Caches, target: Target) -> Caches:
    """Take the build argument that asks clients for an inline cache. Source: moby/buildkit `client/solve.go`."""
    argument = target.args.get("BUILDKIT_INLINE_CACHE") if isinstance(target, Dockerfile) else None
    if argument not in ("1", "true"):
        return given
    several = [given] if isinstance(given, Cache) else list(given or ())
    return several if any(one.type == "inline" for one in several) else [*several, inline()]


def _stores(given: OciLayouts) -> dict[str, Layout]:
    """Open the layouts that a graph names, and see that they are some."""
    found: dict[str, Layout] = {}
    for name, place in (given or {}).items():
        # Read only: the daemon could write to one that is not.
        layout = Layout(place.host_path if isinstance(place, Layout) else place, read_only=True)
        layout.tags()
        found[name] = layout
    return found


def _platforms(given: Platforms) -> tuple[str, ...]:
    if given is None:
        return ()
    several = given.split(",") if isinstance(given, str) else list(given)
    for one in several:
        if not isinstance(one, str) or not _PLATFORM.fullmatch(one):
            raise UsageError(
                f"platform={given!r} is not a platform.",
                hint="write os/architecture, such as linux/amd64 or linux/arm64/v8, or a list of them",
            )
    return tuple(dict.fromkeys(several))


def _entitlements(given: str | Sequence[str]) -> tuple[str, ...]:
    several = (given,) if isinstance(given, str) else tuple(given)
    for one in several:
        if not isinstance(one, str) or one.partition("=")[0] not in ENTITLEMENTS:
            raise UsageError(
                f"allow={given!r} is not a right that a build can ask for.",
                hint=f"use {', '.join(ENTITLEMENTS)} (a device as device=NAME)",
            )
    return several


def _epoch(given: int | None, reproducible: bool) -> int | None:
    if given is None:
        return 0 if reproducible else None
    if isinstance(given, bool) or not isinstance(given, int) or given < 0:
        raise UsageError(
            f"source_date_epoch={given!r} is not a time.",
            hint="whole seconds since 1970 in UTC, such as int(time.time())",
        )
    return given


def _with_clamped_times(output: Output) -> Output:
    """Let the files of layers be no younger than the time of the build."""
    if output.type not in _IMAGE_TYPES or "rewrite-timestamp" in output.attrs:
        return output
    return replace(output, attrs={**output.attrs, "rewrite-timestamp": "true"})


def _check_load(load: object) -> None:
    if isinstance(load, bool):
        return
    if not isinstance(load, str) or not load:
        raise UsageError(
            f"load={load!r} is neither True nor the place of a Docker Engine.",
            hint="True finds the engine of this computer; or write load='unix:///var/run/docker.sock', "
            "or the name of a Docker context",
        )


def _outputs(
    output: Outputs, names: tuple[str, ...], *, push: bool, load: bool | str
) -> tuple[Output, ...]:
    # Text and paths are mistakes that are told as a whole; neither is a list of outputs.
    given: object = () if output is None else output
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        given = (given,)
    outputs: tuple[Output, ...] = ()
    for item in given:
        if not isinstance(item, Output):
            raise UsageError(f"output={item!r} is not an output.", hint=_meant_by(item))
        outputs += (item,)
    export.destinations(outputs)
    if names and (push or not load):
        return (*outputs, export.image(*names, push=push))
    if push and not names:
        raise UsageError(
            "push=True needs tags= to say where to.",
            hint="for example tags='ghcr.io/me/app:dev'; with output= say push there",
        )
    return outputs


def _meant_by(item: object) -> str:
    if isinstance(item, str) and item in (*_IMAGE_TYPES, "tar", "local"):
        return f"use depotlab.export.{item}(...)"
    if isinstance(item, str | PathLike) and "=" not in str(item):
        return (
            f"for an archive write output=export.tar({str(item)!r}) or export.oci({str(item)!r}), "
            f"for a directory export.local({str(item)!r})"
        )
    return "use depotlab.export, for example export.image('ghcr.io/me/app:dev')"


def _check_tag(tag: str) -> None:
    """Refuse names that no image can be given, before anything is sent."""
    if isinstance(tag, str) and tag.startswith("None/"):
        raise ReferenceInvalid(
            f"{tag!r} begins with None: the builder that was asked for its registry has none.",
            ref=tag,
            hint=f"name yours, such as 'ghcr.io/me/{tag.removeprefix('None/')}'; bk.registry is there with "
            "depotlab.local() only",
        )
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


def _title(target: Target, outputs: tuple[Output, ...], names: tuple[str, ...]) -> str:
    if names:
        return names[0]
    for output in outputs:
        if output.names:
            return output.names[0]
    if isinstance(target, Dockerfile):
        if target.target:
            return target.target
        if target.text is not None:
            return "Dockerfile"
        path = target.context
        if path is None:
            return str(target.main.where)
        return path.name if isinstance(path, Path) else path.rstrip("/").rpartition("/")[2]
    return target.name if isinstance(target, FrontendCall) else "graph"


def check_auth(auth: Auth) -> dict[str, Credentials]:
    """Turn `{host: (user, password)}` into credentials, without ever showing a password."""
    checked: dict[str, Credentials] = {}
    if auth is not None and not isinstance(auth, Mapping):
        raise UsageError(
            f"auth= is {type(auth).__name__}, not a dictionary of logins by registry.",
            hint="for example auth={'ghcr.io': ('me', token)}",
        )
    for host, value in (auth or {}).items():
        if not isinstance(host, str) or not host:
            raise UsageError(
                f"auth= has {host!r} where the name of a registry belongs.",
                hint="for example auth={'ghcr.io': ('me', token)}",
            )
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
        one = checked[host]
        if not all(map(is_unicode, (host, one.username, one.secret, one.registry_token))):
            raise UsageError(
                f"auth={{{host!r}: …}} has something that cannot be written as UTF-8.",
                hint="registries take UTF-8 only",
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
