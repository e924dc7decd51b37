"""Where finished images go: one repository for all projects, one for each, or the registry of Depot itself."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from depotlab._serving import is_loopback
from depotlab._session import Credentials
from depotlab._values import Value
from depotlab.errors import ReferenceInvalid, ServiceError, UsageError
from depotlab.llb import parse_reference

__all__ = ["Registry", "image_tag", "is_here"]

PROJECT = "{project}"

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


def image_tag(project: str, deployment: str) -> str:
    """Return the tag of a deployment's image, `PROJECT-DEPLOYMENT`.

    Raises:
        ServiceError: `invalid_argument`: together they are no tag.

    Example:
        >>> image_tag("shop", "d42")
        'shop-d42'
    """
    tag = f"{project}-{deployment}"
    if not _TAG.fullmatch(tag):
        raise ServiceError(
            f"project={project!r} and deployment={deployment!r} do not make a tag of an image.",
            code="invalid_argument",
            hint="letters, digits, '_', '.' and '-', 128 characters at most together; the first is no '.' or '-'",
        )
    return tag


@dataclass(frozen=True, slots=True, repr=False)
class Registry(Value):
    """A repository that builds push to. Images are called `REPOSITORY:PROJECT-DEPLOYMENT`.

    With one repository for all projects, everybody who may pull from it sees the images of all; and the project `a`
    with the deployment `b-c` has the tag of `a-b` with `c`, so the service refuses the second of the two. A repository
    for each project keeps them apart: write `{project}` where its name goes.

    The daemon is given this login for the whole host, and `FROM` lines may use it too: take one that may push to this
    repository and do nothing else. Builds know no other logins than this and `Depot(logins=...)`: the Docker
    configuration of the computer that the service runs on is its operator's, and not for customers.

    Attributes:
        repository: With its host, without a tag, such as `ghcr.io/acme/apps` or `ghcr.io/acme/{project}`.
        user: For the registry; empty for one that wants no login.
        password: Or an access token. Never shown.
        insecure: Push over plain HTTP, which only a registry on this computer may want.

    Raises:
        UsageError: A value cannot be used; the message names it.

    Example:
        >>> Registry("ghcr.io/acme/apps", user="acme", password="secret")
        Registry(repository='ghcr.io/acme/apps', user='acme', insecure=False)
        >>> Registry("ghcr.io/acme/{project}").image("shop", "d42")
        'ghcr.io/acme/shop:shop-d42'
    """

    repository: str
    user: str = ""
    password: str = field(default="", repr=False)
    insecure: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.repository, str):
            raise UsageError(
                f"Registry({self.repository!r}) is no text.", hint="for example 'ghcr.io/acme/apps'"
            )
        host, slash, _ = self.repository.partition("/")
        if not slash or not (host == "localhost" or "." in host or ":" in host):
            raise UsageError(
                f"Registry({self.repository!r}) does not begin with the host of a registry.",
                hint="for example 'ghcr.io/acme/apps'; for Docker Hub 'docker.io/acme/apps'",
            )
        try:
            found = parse_reference(self.repository.replace(PROJECT, "project"))
        except ReferenceInvalid as error:
            raise UsageError(
                f"Registry({self.repository!r}) is no repository: {error.message}",
                hint=error.hint or "for example 'ghcr.io/acme/apps'",
            ) from None
        if found.tag or found.digest:
            raise UsageError(
                f"Registry({self.repository!r}) has a tag or a digest.",
                hint="leave it out: each image is tagged PROJECT-DEPLOYMENT",
            )
        for name in ("user", "password"):
            if not isinstance(getattr(self, name), str):
                raise UsageError(f"Registry({name}=...) is a text.", hint="leave it out for none")
        if bool(self.user) != bool(self.password):
            raise UsageError(
                "Registry(user=..., password=...) go together.",
                hint="give both, or none for a registry that wants no login",
            )
        if self.insecure and not is_here(host):
            raise UsageError(
                f"Registry(insecure=True) is for a registry on this computer, and {host} is none.",
                hint="leave insecure= out: a password would go over the network for all to read",
            )

    @property
    def host(self) -> str:
        """Of the registry, with its port if it has one."""
        return self.repository.partition("/")[0]

    def image(self, project: str, deployment: str) -> str:
        """Return the name that a deployment's image is pushed under.

        Raises:
            ServiceError: `invalid_argument`: the project's or the deployment's name cannot be in it.
        """
        name = f"{self.repository.replace(PROJECT, project)}:{image_tag(project, deployment)}"
        try:
            parse_reference(name)
        except ReferenceInvalid as error:
            raise ServiceError(
                f"project={project!r} cannot be in the name of a repository: {error.message}",
                code="invalid_argument",
                hint="names of repositories have small letters, digits, '.', '_' and '-'",
            ) from None
        return name

    @property
    def is_shared(self) -> bool:
        """All projects push to one repository."""
        return PROJECT not in self.repository

    def auth(self) -> dict[str, Credentials]:
        """Return what opens it, by host; nothing when it wants no login."""
        return {self.host: Credentials(self.user, self.password)} if self.user else {}


def is_here(address: str) -> bool:
    """Whether an address, with or without a scheme, is one of this computer.

    Example:
        >>> is_here("http://127.0.0.1:80/a"), is_here("localhost:5000"), is_here("ghcr.io")
        (True, True, False)
    """
    return is_loopback(urlsplit(address if "://" in address else f"//{address}").hostname or "")
