"""The verbs that look into targets, blocking. Their twins are in `awaiting.py`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar, Unpack

from depotlab._inside.browsing import Browser
from depotlab._inside.chunks import FileChunks, file_chunks
from depotlab._inside.layers import Differences, Layers, difference_of, layers_of
from depotlab._inside.look import (
    Look,
    Lookable,
    LookOptions,
    look_at,
    looking,
    prepare_look,
)
from depotlab._inside.opened import Feed, Opened
from depotlab._values import Value
from depotlab._verbs import AnyBuilder
from depotlab.buildkit import (
    CHUNK_BYTES,
    FileInfo,
    FileKind,
    FileTree,
    GuestPath,
    Listing,
    Sizes,
    check_range,
    decoded,
    find,
    guest_path,
    matcher,
    sizes,
    tree,
)

__all__ = ["BlockingLooks"]

T = TypeVar("T")


class BlockingLooks(Value):
    """The verbs of a client that look into what a build makes, without an export.

    A target is what `build` takes, a step of a finished build (`result.at("deps")`, or one out of
    `result.steps`), or what a mount of a run became (`exec.mounted("/out")`). It is solved, mostly out of
    the builder's cache, and its files are read where they are. What was just looked at stays open for a minute, so
    that looking again solves nothing.
    """

    _builder: AnyBuilder

    def ls(
        self,
        target: Lookable,
        path: GuestPath = "/",
        *,
        pattern: str = "",
        **options: Unpack[LookOptions],
    ) -> Listing:
        """List a directory.

        Args:
            target: Where to look.
            path: Of the directory; a relative one starts from the working directory of the image.
            pattern: Only names that match, such as `*.py`, in the syntax of ignore files.
            options: See `LookOptions`.

        Returns:
            A sequence of `FileInfo`, by name; `"app.py" in bk.ls(app)` asks for a name. A notebook shows a table.

        Raises:
            FileMissing: There is no such directory; `.near` has similar names.
            PathError: It is no directory.
            DepotlabError: The target cannot be built.

        Example:
            >>> bk.ls(llb.image("busybox"), "/bin")  # doctest: +SKIP
        """
        guest_path(path)
        look = prepare_look("ls", target, options)
        return self._looked(look, lambda opened: opened.files.list(path, pattern=pattern))

    def stat(
        self,
        target: Lookable,
        path: GuestPath,
        *,
        follow: bool = True,
        **options: Unpack[LookOptions],
    ) -> FileInfo:
        """Say what one file is: its kind, size, mode, owner and time.

        Args:
            target: Where to look.
            path: Of the file.
            follow: Of a symlink say what it points to, else what it is itself.
            options: See `LookOptions`.

        Raises:
            FileMissing: There is no such file; `.near` has similar names.
            DepotlabError: The target cannot be built.
        """
        guest_path(path)
        look = prepare_look("stat", target, options)
        return self._looked(look, lambda opened: opened.files.stat(path, follow=follow))

    def exists(self, target: Lookable, path: GuestPath, **options: Unpack[LookOptions]) -> bool:
        """Say whether there is such a file or directory. A link that leads nowhere is none.

        Args:
            target: Where to look.
            path: Of the file.
            options: See `LookOptions`.

        Raises:
            DepotlabError: The target cannot be built.
        """
        guest_path(path)
        look = prepare_look("exists", target, options)
        return self._looked(look, lambda opened: opened.files.exists(path))

    def read(
        self,
        target: Lookable,
        path: GuestPath,
        *,
        offset: int = 0,
        length: int | None = None,
        **options: Unpack[LookOptions],
    ) -> bytes:
        """Return the content of a file, or a range of it. `read_chunks` reads large ones.

        Args:
            target: Where to look.
            path: Of the file; links are followed, inside the target.
            offset: Where to begin, in bytes.
            length: How many bytes at most; None reads to the end.
            options: See `LookOptions`.

        Raises:
            FileMissing: There is no such file; `.near` has similar names.
            PathError: It is a directory, or something else without content.
            DepotlabError: The target cannot be built.

        Example:
            >>> bk.read(app, "/etc/hostname")  # doctest: +SKIP
            b'buildkitsandbox'
        """
        guest_path(path)
        check_range(offset, length)
        look = prepare_look("read", target, options)
        return self._looked(
            look, lambda opened: opened.files.read(path, offset=offset, length=length)
        )

    def read_text(
        self,
        target: Lookable,
        path: GuestPath,
        *,
        encoding: str = "utf-8",
        **options: Unpack[LookOptions],
    ) -> str:
        """Return the content of a file as text.

        Args:
            target: Where to look.
            path: Of the file.
            encoding: Of the text.
            options: See `LookOptions`.

        Raises:
            FileMissing: There is no such file; `.near` has similar names.
            PathError: It is a directory, or is no text in this encoding.
            DepotlabError: The target cannot be built.

        Example:
            >>> print(bk.read_text(app, "/etc/os-release"))  # doctest: +SKIP
        """
        guest_path(path)
        data = self.read(target, path, **options)
        return decoded(data, guest_path(path), encoding)

    def read_chunks(
        self,
        target: Lookable,
        path: GuestPath,
        *,
        offset: int = 0,
        length: int | None = None,
        chunk_bytes: int = CHUNK_BYTES,
        **options: Unpack[LookOptions],
    ) -> FileChunks:
        """Return a file in pieces, for `for` and for `async for`: no more than one is in memory.

        Args:
            target: Where to look.
            path: Of the file; links are followed, inside the target.
            offset: Where to begin, in bytes.
            length: How many bytes at most; None reads to the end.
            chunk_bytes: Of a piece, 8 MiB at most.
            options: See `LookOptions`.

        Returns:
            Something to iterate over; the target is solved when that begins, and what is wrong is raised then.

        Raises:
            UsageError: The range is none.
        """
        look = prepare_look("read_chunks", target, options)
        return file_chunks(
            self._builder,
            look,
            guest_path(path),
            offset=offset,
            length=length,
            chunk_bytes=chunk_bytes,
        )

    def find(
        self,
        target: Lookable,
        pattern: str = "*",
        path: GuestPath = "/",
        *,
        kind: FileKind | None = None,
        **options: Unpack[LookOptions],
    ) -> Listing:
        """Search for files by name. Links are not followed.

        Args:
            target: Where to look.
            pattern: Of a name, such as `*.py`; with a slash of a path from `path` on, where `**` stands for any
                directories: `src/**/*.py`.
            path: Where to begin.
            kind: Only `file`, `directory`, `symlink`, `device`, `pipe` or `socket`.
            options: See `LookOptions`.

        Raises:
            FileMissing: There is no such directory.
            DepotlabError: The target cannot be built.

        Example:
            >>> bk.find(app, "*.py", "/app").to_pandas()  # doctest: +SKIP
        """
        guest_path(path)
        matcher(pattern)
        look = prepare_look("find", target, options)
        return self._looked(look, lambda opened: find(opened.files, pattern, path, kind=kind))

    def tree(
        self,
        target: Lookable,
        path: GuestPath = "/",
        *,
        depth: int = 2,
        **options: Unpack[LookOptions],
    ) -> FileTree:
        """Return a directory with what is in it, to a depth. A notebook shows a tree that opens; `browse` goes deeper.

        Args:
            target: Where to look.
            path: Of the directory.
            depth: How many levels, 1 or more.
            options: See `LookOptions`.

        Raises:
            FileMissing: There is no such directory.
            DepotlabError: The target cannot be built.

        Example:
            >>> print(bk.tree(app, "/app"))  # doctest: +SKIP
        """
        guest_path(path)
        look = prepare_look("tree", target, options)
        return self._looked(look, lambda opened: tree(opened.files, path, depth=depth))

    def du(self, target: Lookable, path: GuestPath = "/", **options: Unpack[LookOptions]) -> Sizes:
        """Say what a directory takes, and each of its entries, the largest first.

        Args:
            target: Where to look.
            path: Of the directory.
            options: See `LookOptions`.

        Returns:
            Sizes of files, not of blocks on a disk. A notebook shows a table with bars.

        Raises:
            FileMissing: There is no such directory.
            DepotlabError: The target cannot be built.

        Example:
            >>> bk.du(app, "/usr")[0]  # doctest: +SKIP
        """
        guest_path(path)
        look = prepare_look("du", target, options)
        return self._looked(look, lambda opened: sizes(opened.files, path))

    def layers(self, target: Lookable, **options: Unpack[LookOptions]) -> Layers:
        """Say what each step added, changed and removed, with sizes, the largest first: who made it big?

        The builder makes the differences, and they are read there: nothing is exported. The steps are those that the
        root file system went through, from the base image on.

        Args:
            target: Where to look.
            options: See `LookOptions`.

        Raises:
            UsageError: The frontend does not say which steps it made, or the daemon cannot make differences.
            DepotlabError: The target cannot be built.

        Example:
            >>> bk.layers(app).to_pandas()[["name", "size_bytes"]]  # doctest: +SKIP
        """
        look = prepare_look("layers", target, options)
        return self._looked(look, lambda opened: layers_of(opened))

    def diff(
        self, first: Lookable, second: Lookable, **options: Unpack[LookOptions]
    ) -> Differences:
        """Say which files the second target has added, changed and removed, with sizes and modes.

        Args:
            first: Where to compare from.
            second: Where to compare to.
            options: For both; see `LookOptions`.

        Returns:
            A sequence of `FileChange`, by path; a notebook shows a table with bars, what takes most first.

        Raises:
            UsageError: A frontend does not say which steps it made, or the daemon cannot make differences.
            DepotlabError: A target cannot be built.

        Example:
            >>> [change.path for change in bk.diff(base, app).added]  # doctest: +SKIP
        """
        before = prepare_look("diff", first, options)
        after = prepare_look("diff", second, options)

        async def compare(opened: Opened) -> Differences:
            return await look_at(self._builder, after, lambda other: difference_of(opened, other))

        return self._looked(before, compare)

    def browse(
        self, target: Lookable, path: GuestPath = "/", **options: Unpack[LookOptions]
    ) -> Browser:
        """Return a directory to click through in a notebook: each is read when it is opened.

        What is saved with the notebook is what was open then, in some kilobytes. Elsewhere it is the text of `tree`.

        Args:
            target: Where to look.
            path: Of the directory.
            options: See `LookOptions`.

        Raises:
            FileMissing: There is no such directory.
            DepotlabError: The target cannot be built.
        """
        guest_path(path)
        look = prepare_look("browse", target, options)
        top = self._looked(look, lambda opened: tree(opened.files, path, depth=1))
        return Browser(self._builder, look, top)

    def _looked(self, look: Look, work: Callable[[Opened], Awaitable[T]]) -> T:
        async def run(feed: Feed) -> T:
            return await look_at(self._builder, look, work, feed)

        return looking(self._builder, look.request, run, progress=look.progress)
