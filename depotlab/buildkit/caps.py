"""What a daemon can do, asked before a build asks too much of it.

There is no list on the control service: a throw-away build that we run ourselves is asked instead, by `Ping`,
and returns nothing. It is internal, so no history shows it. A daemon that lists nothing has the
capabilities of the day on which lists were invented. A capability may be listed and switched off, with a reason.

Asking costs two round trips, so it happens when a build first needs something that not every daemon has, and
once for each address in this process. What is remembered may allow a build but never refuse
one: before a refusal the daemon is asked again, since it may have been updated meanwhile.
Source: moby/buildkit `util/apicaps`, `client/build.go`; as docker/buildx does it, `driver/features.go`.
"""

from __future__ import annotations

import asyncio
import re
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from depotlab._proto import apicaps_pb2, control_pb2, gateway_pb2
from depotlab._rpc import Channel, RpcFailed, Status
from depotlab.buildkit.capstable import (
    ASSUMED_GATEWAY,
    ASSUMED_LLB,
    GATEWAY,
    LLB,
    OLDEST,
)
from depotlab.buildkit.control import CONTROL
from depotlab.buildkit.faults import from_failure
from depotlab.buildkit.gateway import LLB_BRIDGE, build_metadata
from depotlab.buildkit.spec import new_ref

__all__ = [
    "Cap",
    "Capabilities",
    "ask_capabilities",
    "capabilities",
    "known_capabilities",
    "version_numbers",
]

ASK_S = 15.0
"""How long a daemon may take to answer. The Go client waits as long for `Ping`."""

REMEMBERED = 64
"""Daemons whose answers are kept, the newest."""


class Cap(NamedTuple):
    """One capability that a daemon lists.

    Attributes:
        is_enabled: False when the daemon knows it but has it switched off.
        reason: Why it is off, in the daemon's words, or empty.
        alternative: What the daemon recommends instead, or empty.
    """

    is_enabled: bool = True
    reason: str = ""
    alternative: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Capabilities:
    """What one daemon can do.

    Attributes:
        llb: Of graphs, outputs and caches, by name such as `mergeop`.
        gateway: Of the gateway, by name such as `gateway.exec`.
        is_assumed: True when the daemon lists nothing.
    """

    llb: Mapping[str, Cap]
    gateway: Mapping[str, Cap]
    is_assumed: bool = False

    @classmethod
    def assumed(cls) -> Capabilities:
        """Return what a daemon has that lists nothing."""
        return cls(
            dict.fromkeys(ASSUMED_LLB, Cap()),
            dict.fromkeys(ASSUMED_GATEWAY, Cap()),
            is_assumed=True,
        )

    def find(self, cap: str) -> Cap | None:
        """Return what the daemon says of a capability, or None when it does not know it."""
        return self.llb.get(cap) or self.gateway.get(cap)

    def has(self, cap: str) -> bool:
        """Say whether the daemon has a capability, and has it switched on."""
        found = self.find(cap)
        return found is not None and found.is_enabled

    @property
    def release(self) -> str:
        """The newest BuildKit release that it has something of, as `0.13.0`; for daemons that do not say."""
        releases = [s.release for cap, s in (*LLB.items(), *GATEWAY.items()) if self.find(cap)]
        return max(releases, key=version_numbers, default="" if self.is_assumed else OLDEST)

    def __repr__(self) -> str:
        off = [
            cap for cap, state in (*self.llb.items(), *self.gateway.items()) if not state.is_enabled
        ]
        return (
            f"<Capabilities {len(self.llb)} of graphs, {len(self.gateway)} of the gateway"
            f"{', off: ' + ', '.join(off) if off else ''}>"
        )


_known: dict[str, Capabilities] = {}
_asking: weakref.WeakKeyDictionary[Channel, asyncio.Lock] = weakref.WeakKeyDictionary()


def known_capabilities(channel: Channel) -> Capabilities | None:
    """Return what was last heard of the daemon at this address, or None. Asks nobody."""
    return _known.get(_place(channel))


def _place(channel: Channel) -> str:
    """Where the daemon really is: `docker://` means another engine whenever the environment changes."""
    endpoint = channel.endpoint
    return endpoint.address if endpoint.docker is None else endpoint.docker.address


async def capabilities(channel: Channel, *, newer_than: Capabilities | None = None) -> Capabilities:
    """Return what a daemon can do, remembered or asked. Builds that wait together ask once.

    Args:
        channel: A connection to the daemon.
        newer_than: An answer that is not good enough any more.

    Raises:
        LinkError: The daemon cannot be reached.
        DaemonError: It refuses to say.
    """
    async with _asking.setdefault(channel, asyncio.Lock()):
        known = known_capabilities(channel)
        if known is None or known is newer_than:
            known = await ask_capabilities(channel)
            place = _place(channel)
            _known.pop(place, None)
            _known[place] = known
            while len(_known) > REMEMBERED:
                del _known[next(iter(_known))]
    return known


async def ask_capabilities(channel: Channel, *, timeout_s: float = ASK_S) -> Capabilities:
    """Ask a daemon what it can do, in a build that leaves nothing behind. Two round trips.

    Raises:
        LinkError: The daemon cannot be reached.
        DaemonError: It refuses to say.
    """
    await channel.ready()
    ref = new_ref()
    request = control_pb2.SolveRequest(Ref=ref, Internal=True).SerializeToString()
    metadata = build_metadata(ref)
    solving = asyncio.create_task(
        channel.unary(CONTROL + "Solve", request, timeout_s=timeout_s), name="depotlab capabilities"
    )
    try:
        answer = await channel.unary(
            LLB_BRIDGE + "Ping", b"", metadata=metadata, timeout_s=timeout_s
        )
        nothing = gateway_pb2.ReturnRequest(result=gateway_pb2.Result()).SerializeToString()
        await channel.unary(LLB_BRIDGE + "Return", nothing, metadata=metadata, timeout_s=timeout_s)
        await solving
    except RpcFailed as failure:
        if failure.status is Status.UNIMPLEMENTED:
            return Capabilities.assumed()
        raise from_failure(failure, address=channel.endpoint.address) from failure
    finally:
        solving.cancel()
        await asyncio.gather(solving, return_exceptions=True)
    pong = gateway_pb2.PongResponse.FromString(answer)
    if not pong.LLBCaps and not pong.FrontendAPICaps:
        return Capabilities.assumed()
    return Capabilities(_caps(pong.LLBCaps), _caps(pong.FrontendAPICaps))


def _caps(sent: Iterable[apicaps_pb2.APICap]) -> dict[str, Cap]:
    return {
        cap.ID: Cap(
            cap.Enabled, cap.DisabledReasonMsg or cap.DisabledReason, cap.DisabledAlternative
        )
        for cap in sent
        if cap.ID
    }


def version_numbers(version: str) -> tuple[int, ...]:
    """Return `v0.13.1-rc2` as (0, 13, 1); nothing for what is no version."""
    found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", version)
    return tuple(int(part or 0) for part in found.groups()) if found else ()
