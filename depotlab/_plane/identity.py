"""Who is who at the gate: names of machines, and of builds in certificates. Pure.

A machine is known by its TLS server name, `PLATFORM.PROJECT.machines.depotlab.internal`. A build is known by the URI
in its client certificate, `spiffe://depotlab.internal/project/PROJECT/platform/PLATFORM/build/BUILD`; the form is
that of SPIFFE, by which the vendor's machines know a build too. `internal` is reserved for private use, so neither
name can ever belong to somebody (ICANN resolution 2024.07.29.06).
"""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass

from depotlab._plane.boundary import Platform
from depotlab.errors import UsageError

_DOMAIN = "depotlab.internal"
PLATFORMS: tuple[Platform, ...] = ("amd64", "arm64")

# A project's id is a folder, a label of a host name and a repository of the registry.
_PROJECT = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,58}[a-z0-9])?")
_BUILD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_URI = re.compile(rf"spiffe://{re.escape(_DOMAIN)}/project/([^/]+)/platform/([^/]+)/build/([^/]+)")


@dataclass(frozen=True, slots=True)
class MachineKey:
    """What tells one machine from all others of the plane."""

    project_id: str
    platform: Platform

    def __post_init__(self) -> None:
        if not _PROJECT.fullmatch(self.project_id):
            raise UsageError(
                f"{self.project_id!r} cannot be the id of a project.",
                hint="ids have small letters, digits and dashes, at most 60",
            )
        if self.platform not in PLATFORMS:
            raise UsageError(
                f"There are no machines for the platform {self.platform!r}.",
                hint="machines are amd64 or arm64",
            )

    @property
    def server_name(self) -> str:
        """What a client asks for in TLS."""
        return f"{self.platform}.{self.project_id}.machines.{_DOMAIN}"

    @property
    def emulated(self) -> bool:
        """Whether this computer has another processor."""
        return self.platform != host_platform()


@dataclass(frozen=True, slots=True)
class Identity:
    """One build on one machine."""

    build_id: str
    machine: MachineKey

    def __post_init__(self) -> None:
        if not _BUILD.fullmatch(self.build_id):
            raise UsageError(
                f"{self.build_id!r} cannot be the id of a build.",
                hint="ids have letters, digits, dashes and underscores, at most 100",
            )

    @property
    def uri(self) -> str:
        """What the client certificate says."""
        where = f"project/{self.machine.project_id}/platform/{self.machine.platform}"
        return f"spiffe://{_DOMAIN}/{where}/build/{self.build_id}"


def parse_uri(uri: str) -> Identity | None:
    """Return who a certificate speaks of; None when it is not one of ours."""
    found = _URI.fullmatch(uri)
    if found is None:
        return None
    for known in PLATFORMS:
        if known == found[2]:
            try:
                return Identity(found[3], MachineKey(found[1], known))
            except UsageError:
                return None
    return None


def host_platform() -> Platform | None:
    """Return this computer's platform, or None where it is neither of the two."""
    machine = platform.machine().lower()
    if machine in ("x86_64", "amd64"):
        return "amd64"
    return "arm64" if machine in ("aarch64", "arm64") else None
