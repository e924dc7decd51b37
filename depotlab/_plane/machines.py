"""The machines of the plane: which run, for whom, and when they end.

A machine belongs to a project and a platform. It starts when the first build asks for it, and ends some time after the
last build has let it go; its cache stays. Each has one task (`_live`) that sees it through its life, and everything
else only says what it wants: hold, release, stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from depotlab._local import (
    HUB_HOST,
    Programs,
    ask_hub_in_background,
    install,
    lock_held,
    make_private_dir,
)
from depotlab._plane.authority import LEAF_LIFE, Authority, Leaf
from depotlab._plane.boundary import (
    CachePolicy,
    Connection,
    Keeper,
    MachineFailed,
    MachineState,
    Platform,
)
from depotlab._plane.daemon import Daemon, Kit, empty, find_kit, set_aside
from depotlab._plane.gate import Gate, Refused
from depotlab._plane.identity import PLATFORMS, Identity, MachineKey
from depotlab._plane.machine import Machine
from depotlab.errors import EngineError, UsageError

_CANNOT_START = (EngineError, OSError, subprocess.SubprocessError)


class Machines:
    """All machines of one plane. Belongs to the event loop on which it is started.

    Args:
        folder: Where caches, settings, logs and the certificate authority are kept; one plane at a time uses it.
        keeper: Told what happens in builds, and asked which of them run.
        registry_host: The plane's registry, `HOST:PORT`, plain http; also asked for images of docker.io.
        idle_s: A machine ends so long after the last build has let it go.
        host: Where the gate listens.
        programs: Finds the programs, and may install them; blocks.
    """

    def __init__(
        self,
        folder: Path,
        *,
        keeper: Keeper,
        registry_host: str,
        idle_s: float = 120.0,
        host: str = "127.0.0.1",
        programs: Callable[[], Programs] = install,
    ) -> None:
        self._folder = folder
        self._keeper = keeper
        self._registry_host = registry_host
        self._idle_s = idle_s
        self._host = host
        self._programs = programs
        self._machines: dict[MachineKey, Machine] = {}
        self._failures: dict[Identity, EngineError] = {}
        self._leaves: dict[Identity, Leaf] = {}
        self._resets: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._kit: asyncio.Future[tuple[Kit, list[str]]] | None = None
        self._held = contextlib.ExitStack()
        self._authority: Authority | None = None
        self._gate: Gate | None = None
        self._closing = False

    # ----------------------------------------------------------------------------- coming, going

    async def start(self) -> None:
        """Open the gate. No daemon is started yet.

        Raises:
            EngineError: Another plane uses the folder, or the gate cannot listen.
        """
        try:
            await asyncio.to_thread(self._take_folder)
            self._authority = await asyncio.to_thread(Authority, self._folder / "authority")
            self._gate = Gate(self._authority, admit=self._admit, tell=self._keeper.status)
            await self._gate.open(self._host)
        except BaseException:
            self._held.close()
            raise

    def _take_folder(self) -> None:
        make_private_dir(self._folder)
        make_private_dir(self._trash)
        lock = lock_held(
            self._folder / "machines.lock", timeout_s=0.0, waiting_for="running these machines"
        )
        self._held.enter_context(lock)

    async def close(self) -> None:
        """Stop every daemon and the gate; returns when nothing of it runs. Can be called twice.

        Builds that hold a machine are not told: whoever closes the plane knows.
        """
        self._closing = True
        if self._gate is not None:
            await self._gate.close()
        machines = list(self._machines.values())
        for machine in machines:
            machine.builds.clear()
            self._end(machine, "the plane is stopping")
        for machine in machines:
            await machine.gone.wait()
        if self._kit is not None:
            self._kit.cancel()
            await asyncio.wait([self._kit])
        self._held.close()

    @property
    def refused(self) -> tuple[str, ...]:
        """Why the last clients were refused at the gate, newest last; for people."""
        return tuple(self._gate.refused) if self._gate is not None else ()

    def states(self) -> list[MachineState]:
        """Return what runs now, by project and platform; a machine that does not run is not in it."""
        found = [machine.state() for machine in self._machines.values()]
        return sorted(found, key=lambda state: (state.project_id, state.platform))

    # ------------------------------------------------------------------------------ one build

    async def connection(
        self, build_id: str, project_id: str, platform: Platform, policy: CachePolicy
    ) -> Connection | None:
        """Return how the build reaches its machine, or None while that is not ready: ask again.

        Returns at once. The first call starts the machine in the background and holds it for the build until `release`.

        Args:
            build_id: Who asks.
            project_id: Whose cache.
            platform: `amd64` or `arm64`.
            policy: Holds from the next start of the machine on.

        Raises:
            MachineFailed: It could not be started. The next call tries again.
            UsageError: An id cannot be one, or there are no such machines.
        """
        if self._gate is None or self._closing:
            raise MachineFailed("The plane is not running.", hint="start it with `depotlab up`")
        _check(policy)
        identity = Identity(build_id, MachineKey(project_id, platform))
        failure = self._failures.pop(identity, None)
        if failure is not None:
            raise MachineFailed(
                failure.message, hint=failure.hint, log_tail=failure.log_tail
            ) from failure
        key = identity.machine
        if self._resets[project_id].locked():
            return None
        machine = self._machines.get(key)
        if machine is None:
            machine = self._begin(key, policy)
        if machine.why_stop or machine.phase == "stopping":
            return None  # a fresh one comes when this one has ended
        machine.hold(build_id)
        return self._connection_of(identity) if machine.phase == "ready" else None

    async def release(self, build_id: str, platform: Platform | None = None) -> None:
        """Let go of the build's machine (None: of all it has) and cut its connections. Can be called twice.

        Returns when the last status of the build has been told, or after five seconds.
        """
        if self._gate is None:
            return
        away = []
        for machine in list(self._machines.values()):
            if platform in (None, machine.key.platform) and build_id in machine.builds:
                machine.let_go(build_id)
                identity = Identity(build_id, machine.key)
                self._leaves.pop(identity, None)
                away.append(self._gate.send_away(identity))
        for identity in [i for i in self._failures if i.build_id == build_id]:
            if platform in (None, identity.machine.platform):
                del self._failures[identity]
        await asyncio.gather(*away)

    async def reset(self, project_id: str) -> None:
        """Stop every machine of the project and drop its cache; builds that hold one are told `lost`.

        Raises:
            EngineError: A daemon does not end, or its files cannot be deleted.
        """
        keys = [MachineKey(project_id, platform) for platform in PLATFORMS]
        async with self._resets[project_id]:
            await self._stop(keys, "the cache of its project was reset")
            for key in keys:
                set_aside(self._folder_of(key) / "root", self._trash)
            await asyncio.to_thread(empty, self._trash)

    async def drop(self, project_id: str) -> None:
        """As `reset`, and forget everything that was kept for the project."""
        keys = [MachineKey(project_id, platform) for platform in PLATFORMS]
        async with self._resets[project_id]:
            await self._stop(keys, "its project was deleted")
            set_aside(self._folder / "projects" / project_id, self._trash)
            await asyncio.to_thread(empty, self._trash)

    async def _stop(self, keys: list[MachineKey], why: str) -> None:
        machines = [found for key in keys if (found := self._machines.get(key)) is not None]
        for machine in machines:
            self._end(machine, why)
        for machine in machines:
            await machine.gone.wait()
            if machine.failure is not None:
                raise machine.failure

    def _end(self, machine: Machine, why: str) -> None:
        machine.stop(why)
        if machine.phase == "starting" and machine.task is not None:
            machine.task.cancel()

    # ------------------------------------------------------------------------- one machine's life

    def _begin(self, key: MachineKey, policy: CachePolicy) -> Machine:
        assert self._gate is not None
        self._gate.add_machine(key)
        machine = self._machines[key] = Machine(key, policy)
        machine.task = asyncio.create_task(
            self._live(machine), name=f"plane machine {key.project_id} {key.platform}"
        )
        machine.task.add_done_callback(partial(self._bury, machine))
        return machine

    async def _live(self, machine: Machine) -> None:
        assert self._gate is not None
        try:
            daemon = machine.daemon = await self._make_daemon(machine.key)
            await daemon.start(machine.policy)
            machine.enter("ready")
            machine.idle_at = time.monotonic()
            why = await self._until_end(machine, daemon)
            machine.enter("stopping")
            try:
                self._tell_lost(machine, why)
                await self._send_all_away(machine.key)
            finally:
                await daemon.stop()
        except _CANNOT_START as error:
            machine.failure = _engine_error(error)
            for build_id in machine.builds:
                self._failures[Identity(build_id, machine.key)] = machine.failure

    def _bury(self, machine: Machine, task: asyncio.Task[None]) -> None:
        """Called when the task has ended, or was cancelled before it began."""
        del self._machines[machine.key]
        if task.cancelled():
            self._tell_lost(machine, machine.why_stop)
        machine.gone.set()

    def _tell_lost(self, machine: Machine, why: str) -> None:
        builds, machine.builds = list(machine.builds), {}
        for build_id in builds:
            self._keeper.lost(build_id, why)

    async def _until_end(self, machine: Machine, daemon: Daemon) -> str:
        """Wait until the machine has to end or has ended; return what builds that hold it are told."""
        ended = asyncio.create_task(daemon.ended(), name="plane daemon's end")
        try:
            while True:
                machine.changed.clear()
                if machine.why_stop:
                    return machine.why_stop
                left_s: float | None = None
                if not machine.builds:
                    left_s = machine.idle_at + self._idle_s - time.monotonic()
                    if left_s <= 0:
                        return "it was idle"
                changed = asyncio.create_task(machine.changed.wait())
                try:
                    await asyncio.wait(
                        [ended, changed], timeout=left_s, return_when=asyncio.FIRST_COMPLETED
                    )
                finally:
                    changed.cancel()
                if ended.done():
                    return f"its machine died: {ended.result()}"
        finally:
            ended.cancel()
            await asyncio.wait([ended])

    async def _make_daemon(self, key: MachineKey) -> Daemon:
        if self._kit is None:
            self._kit = asyncio.ensure_future(asyncio.to_thread(self._find_kit))
        try:
            kit, mirrors = await asyncio.shield(self._kit)
        except _CANNOT_START:
            self._kit = None  # the next one looks again
            raise
        return Daemon(key, self._folder_of(key), kit, registry=self._registry_host, mirrors=mirrors)

    def _find_kit(self) -> tuple[Kit, list[str]]:
        hub = ask_hub_in_background()
        kit = find_kit(self._programs)
        with contextlib.suppress(EngineError):  # it stays until there is room to delete it
            empty(self._trash)
        return kit, [HUB_HOST, self._registry_host] if hub() else [self._registry_host]

    # -------------------------------------------------------------------------------- at the gate

    def _admit(self, identity: Identity) -> Path:
        machine = self._machines.get(identity.machine)
        who = f"build {identity.build_id}"
        if machine is None or identity.build_id not in machine.builds:
            raise Refused(f"{who} does not hold {identity.machine.server_name}")
        if machine.phase != "ready" or machine.daemon is None:
            raise Refused(f"{who} came while its machine was {machine.phase}")
        if not self._keeper.allowed(identity.build_id):
            raise Refused(f"{who} does not run")
        return machine.daemon.host_socket

    def _connection_of(self, identity: Identity) -> Connection:
        assert self._authority is not None
        assert self._gate is not None
        leaf = self._leaves.get(identity)
        if leaf is None or leaf.expires_at - datetime.now(UTC) < LEAF_LIFE / 2:
            leaf = self._authority.client(identity.uri, f"build {identity.build_id}")
            self._leaves[identity] = leaf
        host = f"[{self._host}]" if ":" in self._host else self._host
        return Connection(
            endpoint=f"tcp://{host}:{self._gate.port}",
            server_name=identity.machine.server_name,
            cert_pem=leaf.cert_pem,
            key_pem=leaf.key_pem,
            ca_pem=self._authority.ca_pem,
        )

    async def _send_all_away(self, key: MachineKey) -> None:
        assert self._gate is not None
        for identity in [i for i in self._leaves if i.machine == key]:
            del self._leaves[identity]
        await self._gate.send_all_away(key)

    @property
    def _trash(self) -> Path:
        return self._folder / "trash"

    def _folder_of(self, key: MachineKey) -> Path:
        return self._folder / "projects" / key.project_id / key.platform


def _engine_error(error: Exception) -> EngineError:
    if isinstance(error, EngineError):
        return error
    told = EngineError(
        f"The machine could not be started: {error}.",
        hint="is there room on the disk, in memory, and for more processes?",
    )
    told.__cause__ = error
    return told


def _check(policy: CachePolicy) -> None:
    if policy.keep_gb < 1 or policy.keep_days < 0:
        raise UsageError(
            f"{policy} cannot be a cache policy.",
            hint="keep at least 1 GB, and 0 days (whatever its age) or more",
        )
