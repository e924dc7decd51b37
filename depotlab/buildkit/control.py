"""The daemon's control service: version, workers, and the three streams that make a build.

Messages of `_proto` are made and read here; behind it there are only our own values.
Source: moby/buildkit `api/services/control/control.proto`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, overload

from depotlab._proto import control_pb2, worker_pb2
from depotlab._rpc import Channel, RpcFailed, Status, call_once, endpoint_at
from depotlab._values import Rows, Value, table_html
from depotlab.buildkit.faults import from_failure
from depotlab.errors import ProtocolError

__all__ = ["CONTROL", "DaemonInfo", "Worker", "Workers", "daemon_info", "info", "list_workers"]

CONTROL = "/moby.buildkit.v1.Control/"
_LABEL = "org.mobyproject.buildkit.worker."


@dataclass(frozen=True, slots=True, repr=False)
class DaemonInfo(Value):
    """What a daemon says of itself.

    Attributes:
        version: Such as `v0.32.2`; empty for daemons before 0.11, which do not say.
        package: Go package it was built from.
        revision: Commit, when it was built with one.
        dockerfile_version: Of the built-in Dockerfile frontend.
    """

    version: str
    package: str = ""
    revision: str = ""
    dockerfile_version: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Worker(Value):
    """One worker of a daemon; the first one is the default.

    Attributes:
        id: Random, made by the daemon.
        platforms: What it can run, the native one first, as `linux/amd64`.
        labels: Such as the executor and the snapshotter.
    """

    id: str
    platforms: tuple[str, ...]
    labels: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<Worker {self.id[:12]}: {', '.join(self.platforms)}>"


class Workers(Rows[Worker]):
    """The workers of a daemon, the default one first. A notebook shows them as a table."""

    _columns = ("id", "platforms", "executor", "snapshotter", "hostname")

    @overload
    def __getitem__(self, index: int) -> Worker: ...
    @overload
    def __getitem__(self, index: slice) -> Workers: ...
    def __getitem__(self, index: int | slice) -> Worker | Workers:
        found = self._items[index]
        return Workers(found) if isinstance(found, tuple) else found

    def rows(self) -> list[dict[str, Any]]:
        """Return a dictionary for each worker, for tables of any kind."""
        return [
            {
                "id": worker.id,
                "platforms": ", ".join(worker.platforms),
                **{name: worker.labels.get(_LABEL + name, "") for name in self._columns[2:]},
            }
            for worker in self
        ]

    def _headline(self) -> str:
        return f"{len(self)} worker" + ("" if len(self) == 1 else "s")

    def __repr__(self) -> str:
        return f"<Workers {self._headline()}: {', '.join(worker.id[:12] for worker in self)}>"

    def _repr_html_(self) -> str:
        rows = ([row["id"][:12], *list(row.values())[1:]] for row in self.rows())
        return table_html(self._headline(), self._columns, rows)


async def daemon_info(channel: Channel, *, timeout_s: float = 10.0) -> DaemonInfo:
    """Ask a daemon for its version. Daemons before 0.11 answer with an empty one.

    Raises:
        Unreachable: Nothing answers at the address.
    """
    await channel.ready(timeout_s=timeout_s)
    try:
        answer = await channel.unary(
            CONTROL + "Info",
            control_pb2.InfoRequest().SerializeToString(),
            timeout_s=timeout_s,
        )
    except RpcFailed as failure:
        if failure.status is Status.UNIMPLEMENTED:
            return DaemonInfo(version="")
        if failure.status in (Status.UNAVAILABLE, Status.DEADLINE_EXCEEDED):
            raise await channel.diagnose() from failure
        raise from_failure(failure, address=channel.endpoint.address) from failure
    return _info(answer)


def _info(answer: bytes) -> DaemonInfo:
    version = control_pb2.InfoResponse.FromString(answer).buildkitVersion
    return DaemonInfo(
        version=version.version,
        package=version.package,
        revision=version.revision,
        dockerfile_version=version.dockerfileVersion,
    )


def info(address: str, *, timeout_s: float = 10.0) -> DaemonInfo:
    """Ask the daemon at an address for its version. Blocks; needs no event loop.

    Raises:
        LinkError: Nothing answers at the address within `timeout_s`.
    """
    request = control_pb2.InfoRequest().SerializeToString()
    return _info(call_once(endpoint_at(address), CONTROL + "Info", request, timeout_s=timeout_s))


async def list_workers(channel: Channel, *, timeout_s: float = 10.0) -> Workers:
    """List the workers of a daemon, the default one first."""
    request = control_pb2.ListWorkersRequest().SerializeToString()
    try:
        answer = await channel.unary(CONTROL + "ListWorkers", request, timeout_s=timeout_s)
    except RpcFailed as failure:
        raise from_failure(failure, address=channel.endpoint.address) from failure
    records = control_pb2.ListWorkersResponse.FromString(answer).record
    if not records:
        raise ProtocolError(
            "The daemon has no worker, so it cannot build.",
            hint="look into its log; the OCI worker needs runc or crun",
        )
    return Workers(_worker(record) for record in records)


def _worker(record: worker_pb2.WorkerRecord) -> Worker:
    platforms = tuple(
        "/".join(part for part in (p.OS, p.Architecture, p.Variant) if part)
        for p in record.platforms
    )
    return Worker(record.ID, platforms, dict(record.Labels))
