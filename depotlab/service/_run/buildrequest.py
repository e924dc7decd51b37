"""From an order to what BuildKit is asked: context, Dockerfile, secrets, and where the image goes. Nothing is sent.

An uploaded archive is fetched and unpacked by two steps of our own in front of the Dockerfile, so that the names of
steps hold no address, and every kind of archive unpacks: the frontend, given the address itself, tells an archive by
its first kilobyte, knows no zstd, and takes a tar with an extended header in front for a Dockerfile. The Dockerfile is
looked for in the context by the daemon; a path of an order is never one on this computer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from depotlab import export
from depotlab._contexts import Context, context
from depotlab._depot import BuildOptions, DepotBuild
from depotlab._session import Credentials
from depotlab._verbs import BuildRequest, prepare
from depotlab.export import Output
from depotlab.frontend import Dockerfile
from depotlab.llb import State, copy, http, scratch
from depotlab.service._asking.git import git_url
from depotlab.service._boundary import GitContext, Order, UploadedContext
from depotlab.service._run.environment import ENV_ARG, ENV_SECRET
from depotlab.service._settings.registry import Registry, image_tag

__all__ = [
    "FETCH_STEP",
    "UNPACK_STEP",
    "Given",
    "build_request",
    "image_of",
    "options_of",
    "saved_at_depot",
]


FETCH_STEP = "[internal] load uploaded context"
UNPACK_STEP = "[internal] unpack uploaded context"
"""The names of the steps that get an uploaded archive."""


@dataclass(frozen=True, slots=True, repr=False)
class Given:
    """What one try of a build is given beside its order. Nothing of it is shown.

    Attributes:
        context_url: Where the machine gets an uploaded archive.
        context_digest: What it has to be; empty where it cannot have been replaced since it was looked at.
        git_token: For the host of a git context, or empty.
        env: The environment as a file; empty for none.
        env_hash: Names it.
        logins: For base images.
    """

    context_url: str = ""
    context_digest: str = ""
    git_token: str = ""
    env: bytes = b""
    env_hash: str = ""
    logins: Mapping[str, Credentials] = field(default_factory=dict)


def build_request(
    order: Order, given: Given, registry: Registry | None, *, timeout_s: float
) -> BuildRequest:
    """Return what to build. Without a registry it has no output yet: see `saved_at_depot`.

    Raises:
        UsageError: A value of the order cannot be used.
    """
    args = dict(order.args)
    secrets: dict[str, str | bytes] = {}
    if given.env:
        args[ENV_ARG] = given.env_hash
        secrets |= {ENV_SECRET: given.env, f"{ENV_SECRET}-{given.env_hash}": given.env}
    if isinstance(order.context, GitContext) and given.git_token:
        secrets[f"GIT_AUTH_TOKEN.{order.context.host.lower()}"] = given.git_token
    target = Dockerfile(
        main=_context(order.context, given),
        filename=order.dockerfile_path,
        target=order.target,
        args=args,
        labels=dict(order.labels),
    )
    outputs: list[Output] = []
    if registry is not None:
        image = registry.image(order.project, order.deployment)
        outputs.append(_pushed(image, insecure=registry.insecure))
    request = prepare(
        target,
        output=outputs,
        platform=order.platform,
        secrets=secrets,
        auth={**given.logins, **(registry.auth() if registry is not None else {})},
        name=f"{order.project} {order.deployment}",
        timeout_s=timeout_s,
    )
    # What the operator of the service may pull is not for the FROM lines of customers.
    return replace(request, finds_logins=False)


def options_of(order: Order, request: BuildRequest) -> BuildOptions:
    """Return what Depot is told of a build when it is registered."""
    names = tuple(name for output in request.outputs for name in output.names)
    saves = not request.outputs
    return BuildOptions(
        tags=names,
        outputs=request.outputs,
        push=bool(names),
        target_name=order.target,
        save=saves,
        save_tags=(image_tag(order.project, order.deployment),) if saves else (),
    )


def saved_at_depot(order: Order, request: BuildRequest, build: DepotBuild) -> BuildRequest:
    """Return the request with the registry of Depot as output; the login for it is good for this build only.

    Raises:
        DepotError: Depot names no place for the image.
    """
    tag = image_tag(order.project, order.deployment)
    names = build.tags_to_save((tag,))
    ours = [name for name in names if name.endswith(f":{tag}")]
    names = tuple(dict.fromkeys([*ours, *names]))
    return replace(request, outputs=(_pushed(*names),), auth={**request.auth, **build.credentials})


def _pushed(*names: str, insecure: bool = False) -> Output:
    return export.image(*names, push=True, oci_mediatypes=True, insecure=insecure)


def _context(asked: UploadedContext | GitContext, given: Given) -> Context:
    if isinstance(asked, GitContext):
        return context(git_url(asked))
    return context(_unpacked(given.context_url, given.context_digest))


def _unpacked(url: str, digest: str = "") -> State:
    """Return the files of an archive, without its address in the name of a step."""
    archive = http(
        url,
        checksum=digest or None,
        filename="context",
        description={"llb.customname": FETCH_STEP},
    )
    return scratch().file(
        copy(archive, "/context", "/", attempt_unpack=True),
        name=UNPACK_STEP,
    )


def image_of(outputs: Sequence[Output]) -> str:
    """Return the first name that an image is pushed under."""
    return next(name for output in outputs for name in output.names)
