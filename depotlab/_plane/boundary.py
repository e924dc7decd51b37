"""What the plane's API and its machines say to each other: values, and who may be asked what.

Two halves of one process meet here. The API half keeps projects, builds and tokens, and answers
clients; the machine half runs daemons, the gate in front of them, and the registry. Neither imports
the other's files. Everything is called on the plane's one event loop; nothing here waits unless it
is a coroutine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from depotlab.errors import EngineError

Platform = Literal["amd64", "arm64"]
Phase = Literal["starting", "ready", "idle", "stopping"]


class MachineFailed(EngineError):
    """A machine could not be started, or its project cannot be used now. The text is for users."""


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """How much of a project's cache is kept.

    Attributes:
        keep_gb: Most that is kept, in units of 2^30 bytes as BuildKit counts them; at least 1.
        keep_days: What nothing used for so many days goes; 0 means that age does not matter.
    """

    keep_gb: int = 50
    keep_days: int = 14


@dataclass(frozen=True, slots=True)
class Connection:
    """How one build reaches its machine.

    Attributes:
        endpoint: `tcp://HOST:PORT` of the gate, the same for all machines of the plane.
        server_name: What the client asks for in TLS, and what the gate's certificate says; it
            tells the gate which machine is meant.
        cert_pem: Client certificate of this build, good for this machine only.
        key_pem: Its private key, PKCS8.
        ca_pem: The authority that both sides trust.
    """

    endpoint: str
    server_name: str
    cert_pem: str = field(repr=False)
    key_pem: str = field(repr=False)
    ca_pem: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class MachineState:
    """What one machine does now.

    Attributes:
        project_id: Whose cache it holds.
        platform: `amd64` or `arm64`.
        state: `starting`, `ready` (has builds), `idle` (has none), `stopping`.
        builds: Ids of the builds that hold it, oldest first.
        since: When it came into that state, Unix time in seconds.
        emulated: Its platform is not this computer's: copying files works, running needs emulation.
    """

    project_id: str
    platform: Platform
    state: Phase
    builds: tuple[str, ...]
    since: float
    emulated: bool


@dataclass(frozen=True, slots=True)
class Image:
    """One tag of a project's repository.

    Attributes:
        tag: Without the repository's name.
        digest: Of the manifest or index that it names, `sha256:` and 64 hexadecimal digits.
        pushed_at: When the registry got it.
        size_bytes: Manifests, configurations and layers together, each blob once.
    """

    tag: str
    digest: str
    pushed_at: datetime
    size_bytes: int


class Keeper(Protocol):
    """The API half, as the machine half sees it. Called on the event loop; must return at once."""

    def status(self, build_id: str, message: bytes) -> None:
        """Take a serialized `moby.buildkit.v1.StatusResponse` of that build, each as it comes."""

    def lost(self, build_id: str, why: str) -> None:
        """Hear that the machine died under this build. `why` is for users."""

    def allowed(self, build_id: str) -> bool:
        """Say whether the build exists and runs; asked at each connection to the gate."""


class Admit(Protocol):
    """Who may use a project's repository; the registry's front asks."""

    def __call__(self, user: str, password: str, project_id: str, push: bool) -> bool:
        """Return whether this login may pull from the repository, and push to it when `push`.

        Args:
            user: As the client sent it, `x-token` or anything.
            password: A token.
            project_id: Whose repository; empty for the question "is this login any good at all",
                which `docker login` asks.
            push: Whether it wants to write or delete.
        """


class AnyMachines(Protocol):
    """What the API half needs of machines; `machines.Machines` is it, and tests may have another."""

    async def start(self) -> None:
        """Open the gate. No daemon is started yet."""

    async def close(self) -> None:
        """Stop every daemon and the gate; returns when nothing of it runs. Idempotent."""

    async def connection(
        self, build_id: str, project_id: str, platform: Platform, policy: CachePolicy
    ) -> Connection | None:
        """Return how the build reaches its machine, or None while that is not ready: ask again.

        Returns quickly. The first call starts the machine in the background and holds it for
        the build until `release`.

        Raises:
            MachineFailed: It could not be started. The next call tries again.
        """

    async def release(self, build_id: str, platform: Platform | None = None) -> None:
        """Let go of the build's machine (None: all of them) and cut its connections. Idempotent."""

    async def reset(self, project_id: str) -> None:
        """Stop every machine of the project and drop its cache; builds in it are told `lost`."""

    async def drop(self, project_id: str) -> None:
        """As `reset`, and forget everything that was kept for the project."""

    def states(self) -> list[MachineState]:
        """Return what runs now; a machine that does not run is not in it."""


class AnyRegistry(Protocol):
    """What the API half needs of the registry; `registry.Registry` is it."""

    @property
    def host_port(self) -> str:
        """Where clients reach it, such as `127.0.0.1:20123`; the same at each start if possible."""

    async def start(self) -> None:
        """Start the registry and its front; returns when it answers."""

    async def close(self) -> None:
        """Stop both; returns when nothing of it runs. Idempotent."""

    async def images(self, project_id: str) -> list[Image]:
        """Return the tags of a project's repository, newest first; none is no error."""

    async def delete(self, project_id: str, tag: str) -> None:
        """Remove one tag. A tag that is not there is no error."""

    async def tidy(self) -> None:
        """Delete what no tag leads to, if it is time and nobody uses the registry; who comes meanwhile is refused."""
