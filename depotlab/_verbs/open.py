"""Which daemon a client talks to, and what it must let go of at the end."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from depotlab import _local as engine_room
from depotlab._rpc import DEFAULT_ADDRESS, TLS, Endpoint
from depotlab._verbs.builder import Builder
from depotlab._verbs.request import Auth, check_auth
from depotlab.errors import UsageError

__all__ = ["Opened", "open_builder", "open_local"]


@dataclass(frozen=True, slots=True)
class Opened:
    """A builder, and the lease on the engine it uses when that is ours.

    Attributes:
        builder: For the I/O thread.
        engine: None for a daemon that somebody else runs.
    """

    builder: Builder
    engine: engine_room.Engine | None = None


def open_builder(address: str | None, *, tls: TLS | None, auth: Auth) -> Opened:
    """Find the daemon: the address given, `BUILDKIT_HOST`, the usual sockets, or the embedded engine.

    Nothing is sent yet. The rootless socket is the one that BuildKit's rootless mode uses.
    Source: moby/buildkit `util/appdefaults`.
    """
    if address is None:
        address = os.environ.get("BUILDKIT_HOST") or None
    if address is None:
        if tls is not None:
            raise UsageError(
                "tls= needs an address.", hint="write connect('tcp://host:port', tls=...)"
            )
        runtime = os.environ.get("XDG_RUNTIME_DIR", "")
        usual = [DEFAULT_ADDRESS]
        if runtime:
            usual.append(f"unix://{runtime}/buildkit/buildkitd.sock")
        address = next((a for a in usual if Path(a.removeprefix("unix://")).is_socket()), None)
    if address is None:
        return open_local(auth=auth)
    return Opened(Builder(Endpoint(address, tls), check_auth(auth)))


def _say(line: str) -> None:
    """Show what takes long: installing the engine, once, may take minutes."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def open_local(*, auth: Auth, state_dir: str | Path | None = None) -> Opened:
    """Start the embedded engine, or join the one that runs.

    Raises:
        EngineError: It cannot be installed or started; the message says what to do.
    """
    credentials = check_auth(auth)
    engine = engine_room.start(
        state_dir=Path(state_dir) if state_dir is not None else None, on_progress=_say
    )
    builder = Builder(Endpoint(engine.address), credentials, where="the engine on this computer")
    return Opened(builder, engine)
