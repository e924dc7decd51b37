"""What a scenario does around its timed builds.

It makes the input, keeps cold runs cold and unchanged ones unchanged, and compares what arrived.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from tests.benchmarks.transfers.daemon import Daemon
from tests.benchmarks.transfers.sides import Run
from tests.benchmarks.transfers.tasks import LOG_LINE, Task
from tests.benchmarks.transfers.trees import Tree, differences, listing, versions


@dataclass(frozen=True, slots=True)
class Place:
    """Where a scenario works.

    Attributes:
        folder: Empty, for its files.
        daemon: Emptied before it begins.
    """

    folder: Path
    daemon: Daemon


class Job(Protocol):
    """The untimed part. `side` is the name of one: `ours` or `buildctl`."""

    n_warm: int
    """Rounds before those that count."""

    def renew(self) -> None:
        """Get ready for the next round, in which both sides run once."""

    def before(self, side: str) -> None:
        """Get ready for the next build."""

    def task(self, side: str) -> Task:
        """Return what to build."""

    def after(self, side: str, run: Run, *, last: bool) -> None:
        """Look at what was built; `last` in the last round."""

    def verify(self) -> list[str]:
        """Return what is wrong with what arrived, as lines; none when all is well."""


class ColdUpload:
    """A directory that the daemon has never seen: new contents in each round, and nothing cached before each build."""

    n_warm = 0

    def __init__(self, place: Place, tree: Tree) -> None:
        self._place = place
        self._tree = tree
        self._folder = place.folder / "context"
        self._folder.mkdir()
        self._version = 0
        self._wrong: list[str] = []

    def renew(self) -> None:
        self._version += 1
        self._tree.make(self._folder, self._version)

    def before(self, side: str) -> None:
        self._place.daemon.empty()

    def task(self, side: str) -> Task:
        key = f"{side}-{self._version}"
        return upload_task(self._folder, key)

    def after(self, side: str, run: Run, *, last: bool) -> None:
        copies = list(self._place.daemon.snapshots().values())
        if len(copies) != 1:
            self._wrong.append(f"{side}: the daemon has {len(copies)} directories instead of one")
        elif last:
            self._wrong += compare(side, listing(self._folder), listing(copies[0]))

    def verify(self) -> list[str]:
        return self._wrong


class UnchangedUpload:
    """The same directory again: each side has sent it once under a key of its own, now only what files are like."""

    n_warm = 1

    def __init__(self, place: Place, tree: Tree) -> None:
        self._place = place
        self._folder = place.folder / "context"
        self._folder.mkdir()
        tree.make(self._folder, 1)
        self._copies: dict[str, Path] = {}
        self._touched: dict[str, Mapping[str, tuple[int, int]]] = {}
        self._wrong: list[str] = []

    def renew(self) -> None:
        """Nothing changes."""

    def before(self, side: str) -> None:
        """Nothing is forgotten."""

    def task(self, side: str) -> Task:
        return upload_task(self._folder, side)

    def after(self, side: str, run: Run, *, last: bool) -> None:
        known = set(self._copies.values())
        new = [path for path in self._place.daemon.snapshots().values() if path not in known]
        if side not in self._copies and len(new) == 1:
            self._copies[side] = new[0]
            self._touched[side] = versions(new[0])
        elif new:
            self._wrong.append(f"{side}: the daemon has {len(new)} new directories")

    def verify(self) -> list[str]:
        wanted = listing(self._folder)
        wrong = self._wrong
        for side, copy in self._copies.items():
            if versions(copy) != self._touched[side]:
                wrong.append(f"{side}: the daemon's copy was written to: it was not unchanged")
            wrong += compare(side, wanted, listing(copy))
        if len(self._copies) != 2:
            wrong.append(f"the daemon has copies of {', '.join(self._copies) or 'nobody'} only")
        return wrong


class Output:
    """A result that is in the daemon's cache, sent to a new file or directory.

    With `discard` only the first round, which does not count, keeps it.
    """

    n_warm = 1

    def __init__(
        self,
        place: Place,
        kind: str,
        graph: str,
        arguments: Mapping[str, int],
        attrs: Mapping[str, str] | None = None,
        discard: bool = False,
    ) -> None:
        self._discard = discard
        self._n_rounds = 0
        self._folder = place.folder
        self._kind = kind
        self._graph = graph
        self._arguments = arguments
        self._attrs = attrs or {}

    def renew(self) -> None:
        """The daemon keeps it."""
        self._n_rounds += 1

    def before(self, side: str) -> None:
        if self._is_kept:
            path = self._path(side)
            if path.is_dir():
                shutil.rmtree(path)
            path.unlink(missing_ok=True)

    def task(self, side: str) -> Task:
        return Task(
            graph=self._graph,
            arguments=self._arguments,
            output=self._kind,
            output_path=str(self._path(side)) if self._is_kept else os.devnull,
            output_attrs=self._attrs,
        )

    def after(self, side: str, run: Run, *, last: bool) -> None:
        """What was written stays until the next build of that side."""

    def verify(self) -> list[str]:
        read = {"local": listing, "tar": tar_listing, "oci": layers}[self._kind]
        ours, theirs = (read(self._path(side)) for side in ("ours", "buildctl"))
        if not theirs:
            return ["buildctl wrote nothing"]
        return compare("ours", theirs, ours)

    @property
    def _is_kept(self) -> bool:
        return not self._discard or self._n_rounds <= self.n_warm

    def _path(self, side: str) -> Path:
        return self._folder / f"{side}.out"


class Log:
    """A step that prints many lines and has never run; every line has to be there afterwards."""

    n_warm = 1

    def __init__(self, place: Place, n_lines: int, how: str) -> None:
        self._place = place
        self._n_lines = n_lines
        self._how = how
        text = "\n".join(f"{LOG_LINE}{number}" for number in range(1, n_lines + 1))
        self._wanted = (n_lines, hashlib.sha256(text.encode()).hexdigest())
        self._n_runs = 0
        self._wrong: list[str] = []

    def renew(self) -> None:
        """Each build has a number of its own."""

    def before(self, side: str) -> None:
        self._n_runs += 1

    def task(self, side: str) -> Task:
        return Task(
            graph="chatter",
            arguments={"n_lines": self._n_lines, "how": self._how, "run": str(self._n_runs)},
            log_path=str(self._place.folder / "progress"),
        )

    def after(self, side: str, run: Run, *, last: bool) -> None:
        # Only now: to read it all takes memory, and would be taken for what building takes.
        if last and (log := run.read_log()) != self._wanted:
            self._wrong.append(f"{side}: {log[0]} lines, which are not the {self._n_lines} printed")

    def verify(self) -> list[str]:
        return self._wrong


class Cached:
    """A small Dockerfile of which every step is cached."""

    n_warm = 2

    def __init__(self, place: Place) -> None:
        self._place = place
        self._folder = place.folder / "context"
        self._folder.mkdir()
        text = "FROM busybox\nCOPY app.txt /app.txt\nRUN wc -c /app.txt\n"
        (self._folder / "Dockerfile").write_text(text)
        (self._folder / "app.txt").write_text("hello\n")
        self._known: set[str] = set()
        self._n_builds: Counter[str] = Counter()
        self._wrong: list[str] = []

    def renew(self) -> None:
        """Nothing changes."""

    def before(self, side: str) -> None:
        """Nothing is forgotten."""

    def task(self, side: str) -> Task:
        return Task(folder=str(self._folder))

    def after(self, side: str, run: Run, *, last: bool) -> None:
        self._n_builds[side] += 1
        now = set(self._place.daemon.snapshots())
        if self._n_builds[side] <= self.n_warm:
            self._known |= now
        elif now - self._known:
            self._wrong.append(f"{side}: a step ran again, the daemon has a new directory")

    def verify(self) -> list[str]:
        return self._wrong


# --------------------------------------------------------------------------------- what arrived


def upload_task(folder: Path, key: str) -> Task:
    """Return the task to send a directory under a key."""
    where = str(folder)
    return Task(graph="upload", arguments={"folder": where, "key": key}, folder=where)


def compare(side: str, wanted: dict[str, str], got: dict[str, str]) -> list[str]:
    """Return how what a side sent or received differs from what it should be."""
    return [f"{side}: {line}" for line in differences(wanted, got)]


def tar_listing(path: Path) -> dict[str, str]:
    """Return what is in a tar file, in the form of `trees.listing`."""
    found: dict[str, str] = {}
    with tarfile.open(path) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isreg() else None
            digest = _sha256(content) if content else ""
            found[member.name] = (
                f"{member.type!r} {member.mode:o} {member.uid}:{member.gid} {member.size} "
                f"{member.linkname} {digest}"
            )
    return found


def layers(path: Path) -> dict[str, str]:
    """Return the layers of an OCI layout in a tar file, each checked against its digest.

    The configuration is left out: a graph has none, and each side makes its own.
    """
    blobs: dict[str, str] = {}
    small: dict[str, bytes] = {}
    with tarfile.open(path) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isreg() else None
            if content is None:
                continue
            if member.size < 1 << 20:
                small[member.name] = content.read()
                content.seek(0)
            blobs[member.name] = f"{member.size} {_sha256(content)}"
    index = json.loads(small["index.json"])
    found: dict[str, str] = {}
    for manifest in index["manifests"]:
        name = manifest["digest"].removeprefix("sha256:")
        for layer in json.loads(small[f"blobs/sha256/{name}"])["layers"]:
            digest = layer["digest"].removeprefix("sha256:")
            found[digest] = f"{layer['mediaType']} {layer['size']}"
            if blobs.get(f"blobs/sha256/{digest}") != f"{layer['size']} {digest}":
                found[digest] += " but its content is another"
    return found


def _sha256(content: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while piece := content.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest()
