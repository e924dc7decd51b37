"""The directories that builds keep between them: look into one, fill it, take it out, empty it.

Looking needs no image: a container of nothing but the mount, in which no process ever runs, and the daemon reads its
files. Writing into a cache mount, and copying large files out of one, is work that only a process can do, so it takes a
state that has `sh` and `cp`. Emptying is left to the daemon's own clean-up, which needs neither.

Graphs and Dockerfiles name the same cache differently: the frontend puts the namespace of the build, which is usually
empty, and a slash before the id. Source: moby/buildkit `frontend/dockerfile/dockerfile2llb/convert_runmount.go`,
`solver/llbsolver/mounts/mount.go`.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path, PurePath

from depotlab import export, mount
from depotlab._inside.commands import Command
from depotlab._inside.failedstep import files_at
from depotlab._inside.processes import place_of_state, run_at
from depotlab._inside.running import open_place, prepare_run
from depotlab._inside.warm import opened_state
from depotlab._portal import portal
from depotlab._values import Value
from depotlab._verbs import AnyBuilder, prepare
from depotlab.buildkit import Files, Listing, Pruned, Sizes, UsageRecord, guest_path, sizes
from depotlab.errors import ContextError, DaemonError, UsageError
from depotlab.llb import Mount, State, image, local, scratch
from depotlab.progress import Fold

__all__ = ["AwaitingCacheMount", "BlockingCacheMount", "check_cache_mount"]

_AT = "/cache"
_HERE = "/depotlab"
_SHARING = ("shared", "private", "locked")

# How the daemon describes the record of a cache mount; the id is left out where it is the target.
_DESCRIBED = re.compile(
    r'cached mount (?P<target>.*?) from .*?(?: with id "(?P<id>[^"]*)")?', re.DOTALL
)


class _CacheMount:
    """The work, on the I/O thread."""

    def __init__(self, builder: AnyBuilder, cache_id: str, sharing: str) -> None:
        self.builder = builder
        self.id = cache_id
        self.sharing = sharing

    async def ls(self, path: str | PurePath) -> Listing:
        async with self._files(path) as (files, inner):
            return await files.list(inner)

    async def du(self, path: str | PurePath) -> Sizes:
        async with self._files(path) as (files, inner):
            return await sizes(files, inner)

    async def read(self, path: str | PurePath) -> bytes:
        async with self._files(path) as (files, inner):
            return await files.read(inner)

    async def seed(self, host_path: Path, using: State) -> None:
        mounts = [self._mount(), mount.bind(_HERE, local(host_path))]
        job = prepare_run(using, f"cp -a {_HERE}/. {_AT}/", mounts=mounts, user="0")
        async with open_place(self.builder, job) as place:
            (await run_at(place, job.command)).check()

    async def extract(self, host_path: Path, using: State) -> None:
        copied = using.run(
            f"cp -a {_AT}/. {_HERE}/",
            mounts=[self._mount(), mount.bind(_HERE)],
            user="0",
            # Not ignore_cache: for a run without cache, cache mounts start empty, and stay so.
            env={"DEPOTLAB_RUN": secrets.token_hex(8)},
            name=f"copy the cache mount {self.id}",
        ).mounted(_HERE)
        await self.builder.build(prepare(copied, output=export.local(host_path)), Fold())

    async def clear(self) -> Pruned:
        found = [record for record in await self._records() if _is(record, self.id)]
        if used := [record for record in found if record.in_use]:
            raise DaemonError(
                f"The cache mount {self.id} is in use, by {used[0].description}.",
                hint="wait for the build, or cancel it",
            )
        filters = [f"id=={record.id}" for record in found]
        if not filters:
            filters = ["id==none"]
        return await self.builder.prune(all=True, filters=filters)

    async def _records(self) -> list[UsageRecord]:
        return list(await self.builder.disk_usage(["type==exec.cachemount"]))

    def _mount(self) -> Mount:
        return mount.cache(_AT, id=self.id, sharing=self.sharing)

    @asynccontextmanager
    async def _files(self, path: str | PurePath) -> AsyncIterator[tuple[Files, str]]:
        request = prepare(scratch())
        command = Command(("-",), mounts=(self._mount(),))
        async with opened_state(self.builder, request) as opened:
            place = await place_of_state(opened, request, command)
            async with files_at(place, _AT + guest_path(path)) as found:
                yield found


class BlockingCacheMount(Value):
    """A directory that builds keep between them, on one builder. Made by `Client.cache_mount`."""

    def __init__(self, builder: AnyBuilder, cache_id: str, sharing: str) -> None:
        self._core = _CacheMount(builder, cache_id, sharing)

    @property
    def id(self) -> str:
        """What mounts call it."""
        return self._core.id

    def ls(self, path: str | PurePath = "/") -> Listing:
        """List a directory in it. A cache that no build has used is empty.

        Raises:
            FileMissing: There is no such directory.
        """
        return portal().run(self._core.ls(path))

    def du(self, path: str | PurePath = "/") -> Sizes:
        """Return what a directory in it takes, and each of its entries, the largest first.

        Raises:
            FileMissing: There is no such directory.
        """
        return portal().run(self._core.du(path))

    def read(self, path: str | PurePath) -> bytes:
        """Return a file in it; at most 16 MiB, larger ones come with `extract`.

        Raises:
            FileMissing: There is no such file.
        """
        return portal().run(self._core.read(path))

    def seed(self, host_path: str | Path, *, using: State | None = None) -> None:
        """Copy what is in a directory of this computer into it. Files that are there stay, or are overwritten.

        Args:
            host_path: An existing directory.
            using: A state with `sh` and `cp`, which does the copying; busybox when left out.

        Raises:
            ContextError: There is no such directory.
            CommandFailed: The copying failed, or the state cannot do it.
        """
        portal().run(self._core.seed(_folder(host_path), _tools(using)))

    def extract(self, host_path: str | Path, *, using: State | None = None) -> Path:
        """Copy what is in it into a directory of this computer, and return that. Owners are not kept.

        Args:
            host_path: Created if missing; files that are there stay, or are overwritten.
            using: A state with `sh` and `cp`, which does the copying; busybox when left out.
        """
        portal().run(self._core.extract(Path(host_path), _tools(using)))
        return Path(host_path)

    def clear(self) -> Pruned:
        """Delete what is in it, all its copies, and return what that freed.

        Raises:
            DaemonError: A build uses it.
        """
        return portal().run(self._core.clear())

    def __repr__(self) -> str:
        return f"<cache mount {self.id} on {self._core.builder.address}>"


class AwaitingCacheMount(Value):
    """A directory that builds keep between them, to await. See `depotlab.Client.cache_mount`."""

    def __init__(self, builder: AnyBuilder, cache_id: str, sharing: str) -> None:
        self._core = _CacheMount(builder, cache_id, sharing)

    @property
    def id(self) -> str:
        """What mounts call it."""
        return self._core.id

    async def ls(self, path: str | PurePath = "/") -> Listing:
        """See `BlockingCacheMount.ls`."""
        return await portal().wait_for(self._core.ls(path))

    async def du(self, path: str | PurePath = "/") -> Sizes:
        """See `BlockingCacheMount.du`."""
        return await portal().wait_for(self._core.du(path))

    async def read(self, path: str | PurePath) -> bytes:
        """See `BlockingCacheMount.read`."""
        return await portal().wait_for(self._core.read(path))

    async def seed(self, host_path: str | Path, *, using: State | None = None) -> None:
        """See `BlockingCacheMount.seed`."""
        await portal().wait_for(self._core.seed(_folder(host_path), _tools(using)))

    async def extract(self, host_path: str | Path, *, using: State | None = None) -> Path:
        """See `BlockingCacheMount.extract`."""
        await portal().wait_for(self._core.extract(Path(host_path), _tools(using)))
        return Path(host_path)

    async def clear(self) -> Pruned:
        """See `BlockingCacheMount.clear`."""
        return await portal().wait_for(self._core.clear())

    def __repr__(self) -> str:
        return f"<cache mount {self.id} on {self._core.builder.address}>"


def check_cache_mount(
    cache_id: str | PurePath, *, sharing: str, dockerfile: bool
) -> tuple[str, str]:
    """Return the id as the daemon has it, and how it is shared.

    Raises:
        UsageError: With the argument that is wrong.
    """
    if not isinstance(cache_id, str | PurePath) or not str(cache_id):
        raise UsageError(
            f"id={cache_id!r} names no cache mount.",
            hint="give its id, or its target when it has none, such as '/root/.cache/pip'",
        )
    if sharing not in _SHARING:
        raise UsageError(f"sharing={sharing!r} is unknown.", hint=f"use {', '.join(_SHARING)}")
    return f"/{cache_id}" if dockerfile else str(cache_id), sharing


def _is(record: UsageRecord, cache_id: str) -> bool:
    found = _DESCRIBED.fullmatch(record.description)
    if found is None:
        return False
    return (found["id"] or found["target"]) == cache_id


def _folder(host_path: str | Path) -> Path:
    path = Path(host_path)
    if not path.is_dir():
        raise ContextError(
            f"{path} is not a directory, so it cannot be copied into a cache mount.",
            path=str(path),
            hint=f"relative paths start from {Path.cwd()}",
        )
    return path


def _tools(using: State | None) -> State:
    if using is None:
        return image("busybox")
    if not isinstance(using, State):
        raise UsageError(f"using={using!r} is not a state.", hint="for example llb.image('debian')")
    return using
