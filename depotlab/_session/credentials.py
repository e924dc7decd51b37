"""Credentials for one registry, and how registries are named in configurations."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

__all__ = ["ANONYMOUS", "HUB_KEY", "Credentials", "config_key", "host_of"]

HUB_KEY = "https://index.docker.io/v1/"
"""The key of Docker Hub in every Docker configuration and credential store, for historical reasons."""

_HUB_HOSTS = frozenset(("docker.io", "index.docker.io", "registry-1.docker.io"))


@dataclass(frozen=True, slots=True)
class Credentials:
    """What opens a registry. At most one of the three secrets is used; the repr shows none of them.

    Attributes:
        username: Empty for an identity token.
        password: Or an access token that is used like one.
        identity_token: Is exchanged for access tokens at the registry's token server.
        registry_token: Is given to the registry as it is.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    def __repr__(self) -> str:
        secrets = [
            name for name in ("password", "identity_token", "registry_token") if getattr(self, name)
        ]
        shown = [f"username={self.username!r}", *(f"{name}=•••" for name in secrets)]
        return f"Credentials({', '.join(shown)})"

    __str__ = __repr__

    @property
    def secret(self) -> str:
        """What proves who we are, to a token server or to the registry: token or password."""
        return self.identity_token or self.password

    @property
    def login(self) -> tuple[str, str]:
        """User name and secret as the daemon wants them: an identity token has no user name."""
        return ("", self.identity_token) if self.identity_token else (self.username, self.password)

    @property
    def anonymous(self) -> bool:
        """Whether there is nothing in it that could open anything."""
        return not (self.secret or self.registry_token)


ANONYMOUS = Credentials()


def host_of(address: str) -> str:
    """Return host and port of what may be a URL: `https://ghcr.io/v2/` is `ghcr.io`.

    Source: docker/cli `cli/config/credentials/file_store.go` (`ConvertToHostname`).
    """
    if "://" in address:
        netloc = urlsplit(address).netloc.rpartition("@")[2]
        if netloc:
            return netloc
    return address.partition("/")[0]


def config_key(address: str) -> str:
    """Return the key that a registry has in a Docker configuration."""
    host = host_of(address)
    return HUB_KEY if host in _HUB_HOSTS else host
