"""What every service of the API works on, and small translations that several of them need."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp

from depotlab._plane.boundary import AnyMachines, AnyRegistry, CachePolicy, Platform
from depotlab._plane.builds import Builds
from depotlab._plane.history import BuildRecord, History
from depotlab._plane.logins import Logins
from depotlab._plane.store import Project, Store
from depotlab._plane.tokens import Caller, Tokens
from depotlab._proto import depot_cli_pb2 as cli
from depotlab._serving import Fault

__all__ = [
    "GB_BYTES",
    "Parts",
    "nanoseconds",
    "options_of",
    "platform_of",
    "policy_from",
    "timestamp",
]

GB_BYTES = 2**30
"""What the command line takes for one gigabyte when it sends `keep_bytes`."""

_PULL_TOKEN_LASTS_S = 3600.0
_PLATFORMS: dict[int, Platform] = {1: "amd64", 2: "arm64"}


@dataclass(frozen=True)
class Parts:
    """The pieces of one plane.

    Attributes:
        url: Where the status page is, without a slash at the end.
    """

    store: Store
    history: History
    tokens: Tokens
    builds: Builds
    machines: AnyMachines
    registry: AnyRegistry
    logins: Logins
    url: str

    def build(self, caller: Caller, build_id: str) -> BuildRecord:
        """Return a build that the caller may carry on.

        Raises:
            Fault: not_found, permission_denied.
        """
        record = self.history.build(build_id)
        caller.may_run(record.project_id, build_id)
        return record

    def project(self, caller: Caller, project_id: str) -> Project:
        """Return a project that the caller may build in; for no id, its own or the default one.

        Raises:
            Fault: not_found, permission_denied.
        """
        if not project_id:
            chosen = self.store.default_project() if not caller.project_id else None
            project_id = chosen.project_id if chosen else caller.project_id
        caller.may_build_in(project_id)
        return self.store.project(project_id)

    def repository(self, project_id: str) -> str:
        """Return the name of a project's repository, with its registry."""
        return f"{self.registry.host_port}/{project_id}"

    def pull_token(self, project_id: str) -> str:
        """Make a token that can read a project's repository for an hour."""
        return self.tokens.make("pull", project_id=project_id, lasts_s=_PULL_TOKEN_LASTS_S).secret

    def build_url(self, build_id: str) -> str:
        """Return the address of a build on the status page."""
        return f"{self.url}/builds/{build_id}"


def timestamp(at_ns: int | None) -> Timestamp | None:
    """Return an instant as a message, or None for none."""
    if at_ns is None:
        return None
    return Timestamp(seconds=at_ns // 1_000_000_000, nanos=at_ns % 1_000_000_000)


def nanoseconds(at: Timestamp) -> int:
    """Return an instant as nanoseconds since 1970."""
    return at.seconds * 1_000_000_000 + at.nanos


def platform_of(number: int) -> Platform:
    """Return the platform that a number stands for, in every package of the API the same.

    Raises:
        Fault: invalid_argument: it is neither amd64 nor arm64.
    """
    if number not in _PLATFORMS:
        raise Fault("invalid_argument", "platform must be AMD64 (1) or ARM64 (2)")
    return _PLATFORMS[number]


def options_of(record: BuildRecord) -> list[cli.BuildOptions]:
    """Return what the build was registered to do; nothing for one of the SDK."""
    return list(cli.CreateBuildRequest.FromString(record.options).options)


def policy_from(keep_bytes: int, keep_gb: int, keep_days: int) -> CachePolicy:
    """Return a policy from a message's fields: clients fill either size; 0 days means no limit of age."""
    size_gb = keep_gb or (
        max(1, round(keep_bytes / GB_BYTES)) if keep_bytes else CachePolicy().keep_gb
    )
    if size_gb < 0 or keep_days < 0 or keep_bytes < 0:
        raise Fault("invalid_argument", "a cache policy has no negative numbers")
    return CachePolicy(size_gb, keep_days)
