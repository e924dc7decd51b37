"""Containers of a client-run build, described by an exec op: what it mounts and how it runs.

An exec op says everything that a container needs, so a command somebody wants to run, a step that failed and a
breakpoint before a step are all made the same way: the op, and for each of its mounts the id of what it shows.
Source: moby/buildkit `frontend/gateway/container/container.go`; docker/buildx `build/result.go`.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from depotlab._proto import gateway_pb2, ops_pb2
from depotlab._rpc import RpcFailed
from depotlab.buildkit.gateway import Bridge
from depotlab.buildkit.processes import Process, ProcessSpec, start_process
from depotlab.errors import ProtocolError

__all__ = ["Container", "ExecPlan", "MountPlan", "open_container", "part_of"]

_EXIT_CODE = re.compile(r"exit code: (\d+)")

MountKind = Literal["bind", "cache", "secret", "ssh", "tmpfs"]

_KINDS: dict[int, MountKind] = {
    ops_pb2.BIND: "bind",
    ops_pb2.CACHE: "cache",
    ops_pb2.SECRET: "secret",
    ops_pb2.SSH: "ssh",
    ops_pb2.TMPFS: "tmpfs",
}


@dataclass(frozen=True, slots=True)
class MountPlan:
    """One mount of an exec op.

    Attributes:
        target: Where the process sees it.
        kind: As `depotlab.mount` calls it.
        input: Which of the op's inputs it shows, -1 for none.
        selector: The directory of the input that it shows, `""` for its root.
        readonly: The process may not write to it.
    """

    target: str
    kind: MountKind
    input: int
    selector: str
    readonly: bool


class ExecPlan:
    """An exec op, read.

    Attributes:
        args: The argv.
        env: Variables by name.
        cwd: Working directory.
        user: Empty for root.
        mounts: In the op's order; the root is among them.
        inputs: Digest and output number of what it reads.
    """

    def __init__(self, op: bytes) -> None:
        self._op = ops_pb2.Op.FromString(op)
        run = self._op.exec
        meta = run.meta
        self.args: tuple[str, ...] = tuple(meta.args)
        self.env: dict[str, str] = {
            name: value for name, _, value in (pair.partition("=") for pair in meta.env)
        }
        self.cwd: str = meta.cwd or "/"
        self.user: str = meta.user
        self.inputs: tuple[tuple[str, int], ...] = tuple(
            (i.digest, i.index) for i in self._op.inputs
        )
        self.mounts: tuple[MountPlan, ...] = tuple(
            MountPlan(m.dest, _KINDS[m.mountType], int(m.input), m.selector, m.readonly)
            for m in run.mounts
        )

    @property
    def is_insecure(self) -> bool:
        """It runs with all privileges."""
        return self._op.exec.security == ops_pb2.INSECURE

    @property
    def root(self) -> int:
        """Number of the mount that is the root."""
        return next(n for n, mount in enumerate(self.mounts) if mount.target == "/")

    def container_request(self, container_id: str, ids: Sequence[str]) -> bytes:
        """Return the serialised `NewContainerRequest`.

        Args:
            container_id: New, of our choice.
            ids: What each mount shows: a result of the build, or empty.
        """
        run = self._op.exec
        request = gateway_pb2.NewContainerRequest(
            ContainerID=container_id,
            Network=run.network,
            extraHosts=run.meta.extraHosts,
            hostname=run.meta.hostname,
        )
        if self._op.HasField("platform"):
            request.platform.CopyFrom(self._op.platform)
        for mount, result in zip(run.mounts, ids, strict=True):
            added = request.Mounts.add()
            added.CopyFrom(mount)
            added.input, added.output, added.resultID = 0, 0, result
        return request.SerializeToString()

    def process(
        self,
        container_id: str,
        *,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        cwd: str = "",
        user: str = "",
        tty: bool = False,
        has_stdin: bool = False,
    ) -> ProcessSpec:
        """Say how to start a process in its container: its own, unless something else is given."""
        run = self._op.exec
        meta = ops_pb2.Meta()
        meta.CopyFrom(run.meta)
        if args:
            del meta.args[:]
            meta.args.extend(args)
        if env is not None:
            del meta.env[:]
            meta.env.extend(f"{name}={value}" for name, value in {**self.env, **env}.items())
        meta.cwd = cwd or self.cwd
        meta.user = user or self.user
        return ProcessSpec(
            container_id,
            meta.SerializeToString(),
            tty=tty,
            has_stdin=has_stdin,
            is_insecure=self.is_insecure,
            secret_env=[one.SerializeToString() for one in run.secretenv],
        )


class Container:
    """A container. Made by `open_container`; nothing runs in it before `start`.

    Attributes:
        id: Of our choice.
        plan: What it was made from.
    """

    def __init__(self, bridge: Bridge, container_id: str, plan: ExecPlan) -> None:
        self._bridge = bridge
        self.id = container_id
        self.plan = plan
        self._is_open = True

    async def start(
        self,
        *,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        cwd: str = "",
        user: str = "",
        tty: bool = False,
        has_stdin: bool = False,
    ) -> Process:
        """Start a process; the arguments are those of `ExecPlan.process`.

        Raises:
            RpcFailed: The daemon refused.
        """
        spec = self.plan.process(
            self.id, args=args, env=env, cwd=cwd, user=user, tty=tty, has_stdin=has_stdin
        )
        return await start_process(self._bridge, spec)

    async def release(self) -> int | None:
        """Let go of it: what runs in it is killed, what was written in it is gone.

        Returns:
            The exit code of its first process, when that is not 0 and the daemon tells it.
        """
        if not self._is_open:
            return None
        self._is_open = False
        request = gateway_pb2.ReleaseContainerRequest(ContainerID=self.id).SerializeToString()
        try:
            await self._bridge.call("ReleaseContainer", request)
        except RpcFailed as failure:
            # The answer repeats how its process failed; one that is gone with its build is released too.
            told = _EXIT_CODE.match(failure.message)
            return int(told[1]) if told else None
        return None


async def open_container(bridge: Bridge, plan: ExecPlan, ids: Sequence[str]) -> Container:
    """Make the container of an exec op.

    Args:
        bridge: The gateway of the build that the ids belong to.
        plan: The op.
        ids: What each mount shows: a result of the build, or empty for an empty directory.

    Raises:
        RpcFailed: The daemon refused.
    """
    container_id = secrets.token_hex(12)
    await bridge.call("NewContainer", plan.container_request(container_id, ids))
    return Container(bridge, container_id, plan)


def part_of(definition: bytes, digest: str, index: int) -> bytes:
    """Return the definition of one result inside another: that output of that op.

    Args:
        definition: A serialised `pb.Definition` that has the op.
        digest: Of the op.
        index: Of its output.
    """
    found = ops_pb2.Definition.FromString(definition)
    if digest not in found.metadata:
        raise ProtocolError(f"The graph has no op {digest}.")
    final = ops_pb2.Op()
    final.inputs.add(digest=digest, index=index)
    ops = getattr(found, "def")  # a word of Python's own
    del ops[-1]
    ops.append(final.SerializeToString())
    return found.SerializeToString()
