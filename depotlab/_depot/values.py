"""What the Depot API is about: projects, builds, tokens, trust, organizations. Frozen values; and how they are read.

Names that servers of tomorrow may add (hardware, a build's status) are kept as text, so that an unknown one does
no harm: it reads as `unknown(17)`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, cast

from depotlab._depot.reading import enum_name, moment_in
from depotlab._proto import depot_core_pb2 as core
from depotlab._values import Value
from depotlab.errors import UsageError

__all__ = [
    "HARDWARE",
    "Build",
    "CachePolicy",
    "NewToken",
    "Organization",
    "Project",
    "Token",
    "TrustPolicy",
    "hardware_number",
    "read_build",
    "read_organization",
    "read_project",
    "read_trust_policy",
]

GIGABYTE: Final = 1_000_000_000

HARDWARE: Final = tuple(
    name.removeprefix("HARDWARE_").lower()
    for name, number in sorted(core.Hardware.items(), key=lambda item: item[1])
    if number
)
"""Sizes of machines, as cores, `x`, and gigabytes of memory."""


@dataclass(frozen=True, slots=True, repr=False)
class CachePolicy(Value):
    """How much of a project's cache is kept, and for how long.

    Attributes:
        keep_gb: In gigabytes of 10^9 bytes.
        keep_days: Since the last use, in days.
    """

    keep_gb: int = 50
    keep_days: int = 14

    def __post_init__(self) -> None:
        for name in ("keep_gb", "keep_days"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
                raise UsageError(
                    f"CachePolicy({name}={value!r}) is no whole number from 0.",
                    hint="for example CachePolicy(keep_gb=50, keep_days=14)",
                )

    def message(self) -> core.CachePolicy:
        """Return it as the wire has it: with both fields for the size, because old servers know only one."""
        return core.CachePolicy(
            keep_bytes=self.keep_gb * GIGABYTE, keep_gb=self.keep_gb, keep_days=self.keep_days
        )


@dataclass(frozen=True, slots=True, repr=False)
class Project(Value):
    """A cache and its machines.

    Attributes:
        id: Ten letters and digits.
        name: For people; several projects may have the same.
        organization_id: Who owns it.
        region: Where its machines are, such as `us-east-1`.
        created_at: UTC, or None if the server does not say.
        cache_policy: None if the server does not say.
        hardware: One of `HARDWARE`, or empty for the default.
    """

    id: str
    name: str
    organization_id: str = ""
    region: str = ""
    created_at: datetime | None = None
    cache_policy: CachePolicy | None = None
    hardware: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Token(Value):
    """A project's token. Its secret was shown once, when it was made."""

    id: str
    description: str


@dataclass(frozen=True, slots=True, repr=False)
class NewToken(Value):
    """A token that was just made. The server never shows `secret` again; the repr does not either.

    Attributes:
        id: To update or delete it.
        secret: What goes into DEPOT_TOKEN.
    """

    id: str
    secret: str = field(repr=False)

    def __repr__(self) -> str:
        return f"NewToken(id={self.id!r}, secret=•••)"


@dataclass(frozen=True, slots=True, repr=False)
class TrustPolicy(Value):
    """Lets the jobs of one CI pipeline build in a project, without a token.

    Made by `TrustPolicy.github`, `.buildkite` and `.circleci`.

    Attributes:
        provider: `github`, `buildkite` or `circleci`; or empty for one that we do not know.
        owner: The repository's owner, the organization's slug or its UUID.
        name: The repository, the pipeline's slug or the project's UUID.
        id: Empty until the server has given one.
    """

    provider: str
    owner: str
    name: str
    id: str = ""

    @classmethod
    def github(cls, repository: str) -> TrustPolicy:
        """Trust the Actions of a repository, given as `owner/name`.

        Raises:
            UsageError: It is not given so.
        """
        owner, slash, name = repository.partition("/")
        if not (owner and slash and name) or "/" in name:
            raise UsageError(
                f"TrustPolicy.github({repository!r}) is not owner/name.",
                hint="for example TrustPolicy.github('octo-org/app')",
            )
        return cls("github", owner, name)

    @classmethod
    def buildkite(cls, organization_slug: str, pipeline_slug: str) -> TrustPolicy:
        """Trust a pipeline of Buildkite."""
        return cls("buildkite", organization_slug, pipeline_slug)

    @classmethod
    def circleci(cls, organization_uuid: str, project_uuid: str) -> TrustPolicy:
        """Trust a project of CircleCI."""
        return cls("circleci", organization_uuid, project_uuid)

    def request(self, project_id: str) -> core.AddTrustPolicyRequest:
        """Return the message that adds it to a project.

        Raises:
            UsageError: Its provider is none that we know.
        """
        request = core.AddTrustPolicyRequest(project_id=project_id)
        if self.provider == "github":
            request.github.repository_owner, request.github.repository = self.owner, self.name
        elif self.provider == "buildkite":
            request.buildkite.organization_slug = self.owner
            request.buildkite.pipeline_slug = self.name
        elif self.provider == "circleci":
            request.circleci.organization_uuid = self.owner
            request.circleci.project_uuid = self.name
        else:
            raise UsageError(
                f"{self.provider!r} is no provider of trust that we know.",
                hint="make it with TrustPolicy.github, .buildkite or .circleci",
            )
        return request


@dataclass(frozen=True, slots=True, repr=False)
class Build(Value):
    """A build, as the API lists it.

    Attributes:
        id: Ten letters and digits.
        status: `running`, `success`, `failed`, `error` or `canceled`.
        created_at: These three are UTC, or None.
        started_at: When it got a machine.
        finished_at: None while it runs.
        duration_s: Whole seconds, or None.
        saved_s: What the cache saved, in whole seconds, or None.
        n_cached_steps: Or None.
        n_steps: Or None.
    """

    id: str
    status: str
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    duration_s: int | None = None
    saved_s: int | None = None
    n_cached_steps: int | None = None
    n_steps: int | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Organization(Value):
    """Who owns projects and pays.

    Attributes:
        id: Ten letters and digits.
        name: For people.
        created_at: UTC, or None if the server does not say.
    """

    id: str
    name: str
    created_at: datetime | None = None


def hardware_number(hardware: str) -> core.Hardware:
    """Return the number of a size of machines.

    Raises:
        UsageError: It is none of `HARDWARE`.
    """
    if hardware not in HARDWARE:
        raise UsageError(
            f"hardware={hardware!r} is no size of machines.",
            hint=f"use one of {', '.join(HARDWARE)}: cores x gigabytes",
        )
    return cast("core.Hardware", core.Hardware.Value(f"HARDWARE_{hardware.upper()}"))


def read_project(message: core.Project) -> Project:
    """Read a project."""
    return Project(
        id=message.project_id,
        name=message.name,
        organization_id=message.organization_id,
        region=message.region_id,
        created_at=moment_in(message, "created_at"),
        cache_policy=_policy(message.cache_policy) if message.HasField("cache_policy") else None,
        hardware=enum_name(core.Hardware, message.hardware, "HARDWARE_"),
    )


def read_build(message: core.Build) -> Build:
    """Read a build of depot.core.v1."""

    def number(name: str) -> int | None:
        return getattr(message, name) if message.HasField(name) else None

    return Build(
        id=message.build_id,
        status=enum_name(core.Build.Status, message.status, "STATUS_"),
        created_at=moment_in(message, "created_at"),
        started_at=moment_in(message, "started_at"),
        finished_at=moment_in(message, "finished_at"),
        duration_s=number("build_duration_seconds"),
        saved_s=number("saved_duration_seconds"),
        n_cached_steps=number("cached_steps"),
        n_steps=number("total_steps"),
    )


def read_organization(message: core.Organization) -> Organization:
    """Read an organization."""
    created_at = moment_in(message, "created_at")
    return Organization(message.org_id, message.name, created_at)


def read_trust_policy(message: core.TrustPolicy) -> TrustPolicy:
    """Read a trust policy."""
    match message.WhichOneof("provider"):
        case "github":
            found = ("github", message.github.repository_owner, message.github.repository)
        case "buildkite":
            buildkite = message.buildkite
            found = ("buildkite", buildkite.organization_slug, buildkite.pipeline_slug)
        case "circleci":
            circleci = message.circleci
            found = ("circleci", circleci.organization_uuid, circleci.project_uuid)
        case _:
            found = ("", "", "")
    return TrustPolicy(*found, id=message.trust_policy_id)


def _policy(message: core.CachePolicy) -> CachePolicy:
    """Old servers fill only the bytes. A negative number would be none of our values; it reads as 0."""
    keep_gb = message.keep_gb or message.keep_bytes // GIGABYTE
    return CachePolicy(keep_gb=min(max(keep_gb, 0), 2**31 - 1), keep_days=max(message.keep_days, 0))
