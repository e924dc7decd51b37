"""The gateway that a frontend function gets, blocking and awaitable: the same words, two ways to wait.

Every verb is about the build that runs: a target is solved inside it, once, out of the cache where it can be.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, TypeVar

from depotlab._portal import portal
from depotlab._values import Value
from depotlab._verbs.commands import command_runner
from depotlab._verbs.functions import Workshop
from depotlab.buildkit import (
    FileInfo,
    FileKind,
    Files,
    FileTree,
    GuestPath,
    Listing,
    ResolvedImage,
    Sizes,
    decoded,
    find,
    guest_path,
    sizes,
    tree,
)
from depotlab.errors import UsageError
from depotlab.frontend import Dockerfile
from depotlab.llb import ImageConfig, Platform, State, image, unresolved

if TYPE_CHECKING:
    from depotlab._inside import Completed, OnOutput, Stdin

__all__ = ["AwaitingGateway", "BlockingGateway"]

T = TypeVar("T")


class _Common(Value):
    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop

    @property
    def platforms(self) -> tuple[str, ...]:
        """What the build is for, such as `linux/arm64`; never empty."""
        return tuple(map(str, self._workshop.platforms))

    def __repr__(self) -> str:
        return f"<gateway of {self._workshop.build.call.name}, for {', '.join(self.platforms)}>"

    async def _solve(self, target: State | Dockerfile, platform: str | None) -> State:
        made = await self._workshop.solve(target, _platform(platform))
        if isinstance(target, State) and made.state is not None:
            return made.state
        if made.state is None:
            raise UsageError(
                "The frontend of this Dockerfile does not say which steps it made.",
                hint="return the Dockerfile itself, or look at its files with ls and read",
            )
        return made.state.with_image_config(made.config) if made.config else made.state

    async def _look(
        self,
        target: State | Dockerfile,
        platform: str | None,
        work: Callable[[Files], Awaitable[T]],
    ) -> T:
        return await work(await self._workshop.files(target, _platform(platform)))

    async def _image(self, ref: str, platform: str | None) -> ImageConfig:
        (wanted,) = unresolved(image(ref))
        found: ResolvedImage = await self._workshop.resolve_image(wanted.ref, _platform(platform))
        return ImageConfig.from_json(found.config)

    async def _warn(self, target: State, text: str, detail: Sequence[str], url: str) -> None:
        made = await self._workshop.solve(target, None)
        head = made.definition.head if made.definition is not None else ""
        if not head:
            raise UsageError(
                "warn() needs a state that some step makes.", hint="scratch has no step"
            )
        await self._workshop.warn(head, text, detail, url)


def _platform(given: str | None) -> Platform | None:
    return None if given is None else Platform.parse(given)


class BlockingGateway(_Common):
    """What a frontend function gets first: the way to the build that asks it.

    A target is a state or a Dockerfile. Its directories of this machine are sent as they are needed.
    """

    def solve(self, target: State | Dockerfile, *, platform: str | None = None) -> State:
        """Build a target now, and return it as a state whose image configuration is known.

        Args:
            target: A state, or a Dockerfile; of that the graph that its frontend makes.
            platform: To build for; the first of `platforms` when left out.

        Raises:
            StepFailed: A command failed; caught, the build goes on.
            DepotlabError: It cannot be built.
        """
        return portal().run(self._workshop.ask(self._solve(target, platform)))

    def ls(
        self,
        target: State | Dockerfile,
        path: GuestPath = "/",
        *,
        pattern: str = "",
        platform: str | None = None,
    ) -> Listing:
        """List a directory; `"setup.py" in gw.ls(source)` asks for a name. See `Client.ls`."""
        return portal().run(
            self._workshop.ask(
                self._look(target, platform, lambda files: files.list(path, pattern=pattern))
            )
        )

    def stat(
        self,
        target: State | Dockerfile,
        path: GuestPath,
        *,
        follow: bool = True,
        platform: str | None = None,
    ) -> FileInfo:
        """Say what one file is. See `Client.stat`."""
        return portal().run(
            self._workshop.ask(
                self._look(target, platform, lambda files: files.stat(path, follow=follow))
            )
        )

    def exists(
        self, target: State | Dockerfile, path: GuestPath, *, platform: str | None = None
    ) -> bool:
        """Say whether there is such a file or directory. See `Client.exists`."""
        return portal().run(
            self._workshop.ask(self._look(target, platform, lambda files: files.exists(path)))
        )

    def read(
        self,
        target: State | Dockerfile,
        path: GuestPath,
        *,
        offset: int = 0,
        length: int | None = None,
        platform: str | None = None,
    ) -> bytes:
        """Return the content of a file, or a range of it. See `Client.read`."""
        return portal().run(
            self._workshop.ask(
                self._look(
                    target, platform, lambda files: files.read(path, offset=offset, length=length)
                )
            )
        )

    def read_text(
        self,
        target: State | Dockerfile,
        path: GuestPath,
        *,
        encoding: str = "utf-8",
        platform: str | None = None,
    ) -> str:
        """Return the content of a file as text. See `Client.read_text`."""
        data = self.read(target, path, platform=platform)
        return decoded(data, guest_path(path), encoding)

    def find(
        self,
        target: State | Dockerfile,
        pattern: str = "*",
        path: GuestPath = "/",
        *,
        kind: FileKind | None = None,
        platform: str | None = None,
    ) -> Listing:
        """Search for files by name. See `Client.find`."""
        return portal().run(
            self._workshop.ask(
                self._look(target, platform, lambda files: find(files, pattern, path, kind=kind))
            )
        )

    def tree(
        self,
        target: State | Dockerfile,
        path: GuestPath = "/",
        *,
        depth: int = 2,
        platform: str | None = None,
    ) -> FileTree:
        """Return a directory with what is in it, `depth` levels deep. See `Client.tree`."""
        return portal().run(
            self._workshop.ask(
                self._look(target, platform, lambda files: tree(files, path, depth=depth))
            )
        )

    def du(
        self, target: State | Dockerfile, path: GuestPath = "/", *, platform: str | None = None
    ) -> Sizes:
        """Say what a directory takes, the largest entries first. See `Client.du`."""
        return portal().run(
            self._workshop.ask(self._look(target, platform, lambda files: sizes(files, path)))
        )

    def run(
        self,
        target: State | Dockerfile,
        command: str | Sequence[str],
        *,
        env: Mapping[str, str | int] | None = None,
        cwd: str | PurePath = "",
        user: str = "",
        stdin: Stdin = None,
        timeout_s: float | None = None,
        check: bool = False,
        on_output: OnOutput | None = None,
        platform: str | None = None,
    ) -> Completed:
        """Run a command in a target, inside this build, and return what it wrote. See `Client.run`.

        What it writes to files is gone afterwards. It sees the secrets of no step, and counts for no cache.

        Args:
            target: A state, or a Dockerfile; it is built first.
            command: One text is a shell command, a list is an argv.
            env: Variables, after those of the target.
            cwd: Working directory; a relative one continues the target's.
            user: Such as `app` or `1000:1000`.
            stdin: What the command reads: bytes, text, or an open file.
            timeout_s: Kill it after so many seconds.
            check: Raise `CommandFailed` when it ends with another code than 0.
            on_output: Called with every line as it comes.
            platform: Of the target; the first of `platforms` when left out.

        Raises:
            UsageError: An argument that cannot work.
            CommandFailed: It could not be started; or `check` is set and it failed.
            CommandTimeout: `timeout_s` is over.
        """
        prepared = command_runner().prepare(
            command,
            env=env,
            cwd=cwd,
            user=user,
            stdin=stdin,
            timeout_s=timeout_s,
            on_output=on_output,
        )
        work = self._workshop.ask(self._workshop.run(target, _platform(platform), prepared))
        done = portal().run(work)
        return done.check() if check else done

    def warn(self, target: State, text: str, *, detail: Sequence[str] = (), url: str = "") -> None:
        """Attach a remark to the step that makes a state; the progress and `result.warnings` have it.

        Args:
            target: A state that this build has solved, with `solve` or a look.
            text: One sentence.
            detail: More lines.
            url: Where more is said.

        Raises:
            UsageError: The state has no step, as scratch has none.
        """
        return portal().run(self._workshop.ask(self._warn(target, text, detail, url)))

    def resolve_image(self, ref: str, *, platform: str | None = None) -> ImageConfig:
        """Return the configuration of an image, as the registry has it. Nothing is pulled.

        Args:
            ref: Such as `python:3.12-slim`.
            platform: Of the image; the first of `platforms` when left out.

        Raises:
            ImageNotFound: There is none.
            RegistryError: The registry refused.
        """
        return portal().run(self._workshop.ask(self._image(ref, platform)))


class AwaitingGateway(_Common):
    """What a frontend function of coroutines gets first: the way to the build that asks it.

    A target is a state or a Dockerfile. Its directories of this machine are sent as they are needed.
    """

    async def solve(self, target: State | Dockerfile, *, platform: str | None = None) -> State:
        """Build a target now, and return it as a state whose image configuration is known.

        Args:
            target: A state, or a Dockerfile; of that the graph that its frontend makes.
            platform: To build for; the first of `platforms` when left out.

        Raises:
            StepFailed: A command failed; caught, the build goes on.
            DepotlabError: It cannot be built.
        """
        return await portal().wait_for(self._workshop.ask(self._solve(target, platform)))

    async def ls(
        self,
        target: State | Dockerfile,
        path: GuestPath = "/",
        *,
        pattern: str = "",
        platform: str | None = None,
    ) -> Listing:
        """List a directory; `"setup.py" in gw.ls(source)` asks for a name. See `Client.ls`."""
        return await portal().wait_for(
            self._workshop.ask(
                self._look(target, platform, lambda files: files.list(path, pattern=pattern))
            )
        )

    async def stat(
        self,
        target: State | Dockerfile,
        path: GuestPath,
        *,
        follow: bool = True,
        platform: str | None = None,
    ) -> FileInfo:
        """Say what one file is. See `Client.stat`."""
        return await portal().wait_for(
            self._workshop.ask(
                self._look(target, platform, lambda files: files.stat(path, follow=follow))
            )
        )

    async def exists(
        self, target: State | Dockerfile, path: GuestPath, *, platform: str | None = None
    ) -> bool:
        """Say whether there is such a file or directory. See `Client.exists`."""
        return await portal().wait_for(
            self._workshop.ask(self._look(target, platform, lambda files: files.exists(path)))
        )

    async def read(
        self,
        target: State | Dockerfile,
        path: GuestPath,
        *,
        offset: int = 0,
        length: int | None = None,
        platform: str | None = None,
    ) -> bytes:
        """Return the content of a file, or a range of it. See `Client.read`."""
        return await portal().wait_for(
            self._workshop.ask(
                self._look(
                    target, platform, lambda files: files.read(path, offset=offset, length=length)
                )
            )
        )

    async def read_text(
        self,
        target: State | Dockerfile,
        path: GuestPath,
        *,
        encoding: str = "utf-8",
        platform: str | None = None,
    ) -> str:
        """Return the content of a file as text. See `Client.read_text`."""
        data = await self.read(target, path, platform=platform)
        return decoded(data, guest_path(path), encoding)

    async def find(
        self,
        target: State | Dockerfile,
        pattern: str = "*",
        path: GuestPath = "/",
        *,
        kind: FileKind | None = None,
        platform: str | None = None,
    ) -> Listing:
        """Search for files by name. See `Client.find`."""
        return await portal().wait_for(
            self._workshop.ask(
                self._look(target, platform, lambda files: find(files, pattern, path, kind=kind))
            )
        )

    async def tree(
        self,
        target: State | Dockerfile,
        path: GuestPath = "/",
        *,
        depth: int = 2,
        platform: str | None = None,
    ) -> FileTree:
        """Return a directory with what is in it, `depth` levels deep. See `Client.tree`."""
        return await portal().wait_for(
            self._workshop.ask(
                self._look(target, platform, lambda files: tree(files, path, depth=depth))
            )
        )

    async def du(
        self, target: State | Dockerfile, path: GuestPath = "/", *, platform: str | None = None
    ) -> Sizes:
        """Say what a directory takes, the largest entries first. See `Client.du`."""
        return await portal().wait_for(
            self._workshop.ask(self._look(target, platform, lambda files: sizes(files, path)))
        )

    async def run(
        self,
        target: State | Dockerfile,
        command: str | Sequence[str],
        *,
        env: Mapping[str, str | int] | None = None,
        cwd: str | PurePath = "",
        user: str = "",
        stdin: Stdin = None,
        timeout_s: float | None = None,
        check: bool = False,
        on_output: OnOutput | None = None,
        platform: str | None = None,
    ) -> Completed:
        """Run a command in a target, inside this build, and return what it wrote. See `Client.run`.

        What it writes to files is gone afterwards. It sees the secrets of no step, and counts for no cache.

        Args:
            target: A state, or a Dockerfile; it is built first.
            command: One text is a shell command, a list is an argv.
            env: Variables, after those of the target.
            cwd: Working directory; a relative one continues the target's.
            user: Such as `app` or `1000:1000`.
            stdin: What the command reads: bytes, text, or an open file.
            timeout_s: Kill it after so many seconds.
            check: Raise `CommandFailed` when it ends with another code than 0.
            on_output: Called with every line as it comes.
            platform: Of the target; the first of `platforms` when left out.

        Raises:
            UsageError: An argument that cannot work.
            CommandFailed: It could not be started; or `check` is set and it failed.
            CommandTimeout: `timeout_s` is over.
        """
        prepared = command_runner().prepare(
            command,
            env=env,
            cwd=cwd,
            user=user,
            stdin=stdin,
            timeout_s=timeout_s,
            on_output=on_output,
        )
        work = self._workshop.ask(self._workshop.run(target, _platform(platform), prepared))
        done = await portal().wait_for(work)
        return done.check() if check else done

    async def warn(
        self, target: State, text: str, *, detail: Sequence[str] = (), url: str = ""
    ) -> None:
        """Attach a remark to the step that makes a state; the progress and `result.warnings` have it.

        Args:
            target: A state that this build has solved, with `solve` or a look.
            text: One sentence.
            detail: More lines.
            url: Where more is said.

        Raises:
            UsageError: The state has no step, as scratch has none.
        """
        return await portal().wait_for(self._workshop.ask(self._warn(target, text, detail, url)))

    async def resolve_image(self, ref: str, *, platform: str | None = None) -> ImageConfig:
        """Return the configuration of an image, as the registry has it. Nothing is pulled.

        Args:
            ref: Such as `python:3.12-slim`.
            platform: Of the image; the first of `platforms` when left out.

        Raises:
            ImageNotFound: There is none.
            RegistryError: The registry refused.
        """
        return await portal().wait_for(self._workshop.ask(self._image(ref, platform)))
