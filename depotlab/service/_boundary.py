"""What the parts of the service say to each other: values, and who may be asked what.

The state machine (`_builds`) keeps builds and decides whose turn it is; the runner (`_run`) makes one build happen on
Depot; `_storage` hands contexts over; `_http` answers clients. None of them imports the files of another, as the layers
in `pyproject.toml` say. Everything is called on the portal's event loop; only coroutines wait.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from depotlab._values import Value

__all__ = [
    "STAGES",
    "BuildContext",
    "BuildState",
    "Canceled",
    "ContextFacts",
    "EndUserError",
    "Failed",
    "GitContext",
    "Journal",
    "Line",
    "Order",
    "Outcome",
    "RunsBuilds",
    "Secrets",
    "Stage",
    "Storage",
    "Succeeded",
    "Upload",
    "UploadedContext",
]

BuildState = Literal["queued", "running", "succeeded", "failed", "canceled"]

Stage = Literal["queued", "context", "project", "machine", "solve", "drain", "finish"]
STAGES: tuple[Stage, ...] = ("queued", "context", "project", "machine", "solve", "drain", "finish")
"""What a build goes through, in order: waiting for its turn; its context is checked; its Depot project is found or
made; a machine is waited for; BuildKit builds and pushes; the rest of its log comes; Depot is told."""


# ------------------------------------------------------------------------------------- contexts


@dataclass(frozen=True, slots=True, repr=False)
class UploadedContext(Value):
    """An archive that was uploaded. `key` is its `build_context_path`: `PROJECT/NANOSECONDS.tar.gz`."""

    key: str


@dataclass(frozen=True, slots=True, repr=False)
class GitContext(Value):
    """A commit of a repository. Made by `depotlab.service.git(...)`, which checks every part.

    Attributes:
        host: Such as `github.com`.
        owner: Of the repository; may have several segments where the host has groups.
        repository: Without `.git`.
        ref: A commit (7 to 40 hexadecimal digits), branch, tag or full ref.
        subdir: Folder that is the context, without a leading slash; empty for the root.
        pull_request: Number of a pull request whose head is built, `ref` may then be empty; 0 for none.
        is_public: No token is to be used.
    """

    host: str
    owner: str
    repository: str
    ref: str
    subdir: str = ""
    pull_request: int = 0
    is_public: bool = False


BuildContext = UploadedContext | GitContext


@dataclass(frozen=True, slots=True, repr=False)
class Upload(Value):
    """Leave to upload one context.

    Attributes:
        upload_url: Where to PUT the archive. Who has it may upload: treat it as a secret.
        build_context_path: What `create_build` is given afterwards.
        expires_in_s: How long the address is good.
        max_bytes: Largest archive that is taken.
        headers: What the PUT must carry.
    """

    upload_url: str = field(repr=False)
    build_context_path: str
    expires_in_s: int
    max_bytes: int
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, repr=False)
class ContextFacts(Value):
    """What was found in an uploaded archive before a machine was asked for.

    Attributes:
        size_bytes: As it was uploaded.
        unpacked_bytes: What its files come to.
        n_entries: Files, folders and links.
        compression: `none`, `gzip`, `zstd`, `bzip2` or `xz`.
        digest: Of the archive as it was looked at, `sha256:…`, where it may be replaced afterwards: a machine builds
            that one or none. Empty where it cannot be replaced.
    """

    size_bytes: int
    unpacked_bytes: int
    n_entries: int
    compression: str
    digest: str = ""


class Storage(Protocol):
    """Where contexts wait between upload and build; `S3Storage` and `LocalStorage` are it.

    All may raise `StorageError` (the store is down; `is_transient` says whether a later try may do).
    """

    async def open(self) -> None:
        """Get ready; called once, before anything else. A store that is down is no reason to fail here."""

    async def close(self) -> None:
        """Let go of everything. Idempotent."""

    async def upload(self, key: str, *, expires_s: int, max_bytes: int) -> Upload:
        """Allow one upload under this key."""

    async def check(self, key: str, *, max_bytes: int, max_unpacked_bytes: int) -> ContextFacts:
        """Look at what was uploaded, without unpacking it to a disk.

        Raises:
            ContextRefused: There is nothing, it is too large, it is no archive, or it would unpack to too much.
        """

    async def download_url(self, key: str, *, expires_s: int) -> str:
        """Return an address from which a build machine can GET it. A secret while it is good."""

    async def delete(self, key: str) -> None:
        """Remove it; nothing there is no error."""


# --------------------------------------------------------------------------------------- builds


@dataclass(frozen=True, slots=True)
class Secrets:
    """What a build was given that is never written anywhere: lost when the process ends.

    Attributes:
        git_token: For the host of its git context.
        env: The customer's environment, for the steps that mount the secret `env`.
    """

    git_token: str = field(default="", repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __bool__(self) -> bool:
        return bool(self.git_token or self.env)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One build as it was asked for; everything in it may be written down.

    Attributes:
        build_id: Ours, unique over all projects.
        project: The customer's project.
        deployment: What the build is for; the image is tagged `PROJECT-DEPLOYMENT`.
        workspace: Whose project it is; may be empty.
        context: What is built.
        dockerfile_path: In the context.
        target: Stage to stop at; empty for the last.
        platform: `linux/amd64` or `linux/arm64`.
        args: Build arguments; not for secrets.
        labels: For the image.
    """

    build_id: str
    project: str
    deployment: str
    workspace: str = ""
    context: BuildContext
    dockerfile_path: str = "Dockerfile"
    target: str = ""
    platform: str = "linux/amd64"
    args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, repr=False)
class EndUserError(Value):
    """Why a build failed, in words for the customer, with what was really said.

    Attributes:
        category: Which advice it is, such as `dockerfile_syntax`; `unknown` for none that fits.
        message: One or two sentences for the customer.
        raw: What the daemon, Depot or the store said; no secrets are in it.
    """

    category: str
    message: str
    raw: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line that a step printed.

    Attributes:
        step_id: Digest of the vertex.
        step: Its name, when that is known by then.
        stream: 1 for standard output, 2 for standard error, 0 for words of the service itself.
        at: When.
        text: Without its end.
    """

    step_id: str
    step: str
    stream: int
    at: datetime
    text: str


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The image is pushed."""

    image: str
    digest: str
    cached_steps: int
    total_steps: int


@dataclass(frozen=True, slots=True)
class Failed:
    """It did not work out. `is_transient`: another try may."""

    error: EndUserError
    is_transient: bool = False
    cached_steps: int = 0
    total_steps: int = 0


@dataclass(frozen=True, slots=True)
class Canceled:
    """It was cancelled by Depot or the daemon, not by our own `cancel_build` (that one cancels the task)."""

    why: str


Outcome = Succeeded | Failed | Canceled


class Journal(Protocol):
    """What the runner tells of one attempt while it goes on. All return at once."""

    @property
    def attempt(self) -> int:
        """Which try this is, from 1."""

    def stage(self, stage: Stage) -> None:
        """A stage begins; the one before is over."""

    def depot(self, *, project_id: str, build_id: str = "", build_url: str = "") -> None:
        """What Depot calls the project and, once that is known, the build."""

    def lines(self, lines: Sequence[Line]) -> int:
        """Keep lines, in order; return the offset of the first of them in the build's log."""


class RunsBuilds(Protocol):
    """What the state machine needs of the runner; `Runner` of `_run` is it, and tests may have another."""

    async def run(self, order: Order, secrets: Secrets, journal: Journal) -> Outcome:
        """Make one attempt, from checking the context to Depot having been told how it ended.

        Cancelling the task cancels the build on the machine and finishes it as canceled at Depot, then raises
        `CancelledError`. Any other exception is a mistake of ours: the build fails with `internal`.
        """

    async def close(self) -> None:
        """Let go of connections. Idempotent."""
