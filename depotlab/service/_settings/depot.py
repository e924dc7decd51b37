"""Where builds run: a Depot organization, or a Depot on this computer, and how its projects are made."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from depotlab._depot import DEFAULT_REGION, CachePolicy
from depotlab._session import Credentials
from depotlab._values import Value
from depotlab.errors import UsageError

__all__ = ["Depot"]

_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True, repr=False)
class Depot(Value):
    """Which Depot builds, and what its projects are like. Nothing is asked or started before the service begins.

    Each of the customers' projects gets a Depot project of its own, named `PREFIX-PROJECT`, so that no customer sees
    the cache of another.

    Attributes:
        token: Of an organization: it makes projects and builds in all of them. Found as `depotlab.depot` finds it
            when left out: DEPOT_TOKEN, the login of the `depot` command, the identity of a CI job.
        url: Of the API; DEPOT_API_URL, or Depot's own, when left out.
        organization: Owns the projects that are made; what the token belongs to when left out.
        local: Use the Depot of this computer, and start it if it does not run (extra `plane`); a path is its folder.
        region: Where the machines of new projects are.
        cache_gb: How much of the cache a new project keeps, in gigabytes.
        cache_days: How long it keeps what is not used, in days.
        name_prefix: Begins the names of Depot projects. Services that share an organization and are to share
            projects have the same one; others need different ones.
        machine_timeout_s: How long a build may wait for its machine.
        logins: For base images, user and password by host of a registry, such as `docker.io`. All builds may use them.
            There are no others: the Docker configuration of the computer that the service runs on is not for customers.

    Raises:
        UsageError: A value cannot be used; the message names it.

    Example:
        >>> Depot(local=True, cache_gb=50).cache_policy()
        CachePolicy(keep_gb=50, keep_days=7)
    """

    token: str | None = field(default=None, repr=False)
    url: str | None = None
    organization: str | None = None
    local: bool | str | Path = False
    region: str = DEFAULT_REGION
    cache_gb: int = 25
    cache_days: int = 7
    name_prefix: str = "depotlab"
    machine_timeout_s: float = 300.0
    logins: Mapping[str, tuple[str, str]] = field(default_factory=dict, repr=False, hash=False)

    def __post_init__(self) -> None:
        for name in ("token", "url", "organization"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str) or not value.strip()):
                # Not shown: it may be a token in the wrong shape.
                raise UsageError(
                    f"Depot({name}=...) is a text that is not empty, not {type(value).__name__}.",
                    hint=f"leave {name}= out to have it found",
                )
        if not isinstance(self.local, bool | str | os.PathLike):
            raise UsageError(
                f"Depot(local={self.local!r}) is neither True nor a folder.",
                hint="True is the Depot of this computer in its usual folder",
            )
        if self.local and (self.token or self.url):
            raise UsageError(
                "Depot(local=...) brings a token and an address of its own.",
                hint="leave token= and url= out, or leave local= out",
            )
        if not isinstance(self.region, str) or not self.region.strip():
            raise UsageError(
                f"Depot(region={self.region!r}) is no region.",
                hint=f"for example {DEFAULT_REGION!r}",
            )
        if not isinstance(self.name_prefix, str) or not _PREFIX.fullmatch(self.name_prefix):
            raise UsageError(
                f"Depot(name_prefix={self.name_prefix!r}) cannot begin the names of projects.",
                hint="1 to 64 letters, digits, '.', '_' and '-', such as 'acme-builds'",
            )
        timeout_s = self.machine_timeout_s
        if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float) or timeout_s <= 0:
            raise UsageError(
                f"Depot(machine_timeout_s={timeout_s!r}) must be a number of seconds above zero.",
                hint="leave it out for 5 minutes",
            )
        self.cache_policy()
        self.auth()

    def cache_policy(self) -> CachePolicy:
        """Return what a new project keeps.

        Raises:
            UsageError: `cache_gb` or `cache_days` is no whole number from 0.
        """
        for name in ("cache_gb", "cache_days"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
                raise UsageError(
                    f"Depot({name}={value!r}) is no whole number from 0.",
                    hint="for example Depot(cache_gb=25, cache_days=7)",
                )
        return CachePolicy(keep_gb=self.cache_gb, keep_days=self.cache_days)

    def auth(self) -> dict[str, Credentials]:
        """Return what opens the registries of base images, by host.

        Raises:
            UsageError: A login is no pair of texts.
        """
        if not isinstance(self.logins, Mapping):
            raise UsageError(
                "Depot(logins=...) is no mapping.",
                hint="for example Depot(logins={'docker.io': ('acme', token)})",
            )
        for host, login in self.logins.items():
            if not (
                isinstance(login, tuple)
                and len(login) == 2
                and all(isinstance(word, str) and word for word in login)
            ):
                raise UsageError(
                    f"Depot(logins={{{host!r}: ...}}) is no pair of texts, user and password.",
                    hint=f"for example Depot(logins={{{host!r}: ('acme', token)}})",
                )
        return {host: Credentials(*login) for host, login in self.logins.items()}

    def project_name(self, project: str) -> str:
        """Return what the Depot project of a customer's project is called.

        Example:
            >>> Depot(name_prefix="acme").project_name("shop")
            'acme-shop'
        """
        return f"{self.name_prefix}-{project}"
