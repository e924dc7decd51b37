"""Directories to send, made from numbers, and lists of what is in a directory, for comparing.

The shape of a tree (names, sizes, modes) depends on its numbers only; the contents on `version` too. So a tree
can be made again with the same shape and new contents, and anybody else gets the same from these numbers.
"""

from __future__ import annotations

import hashlib
import os
import random
import stat
from dataclasses import dataclass
from pathlib import Path

_POOL_BYTES = 8 << 20
_REGISTRY_TIME_S = 499_162_500  # 26 October 1985: what files from npm packages have


@dataclass(frozen=True, slots=True)
class BigFile:
    """One file of random bytes."""

    n_bytes: int

    def make(self, folder: Path, version: int) -> None:
        block = random.Random(version).randbytes(1 << 20)
        with Path(folder, "big").open("wb", buffering=0) as file:
            for at in range(0, self.n_bytes, len(block)):
                file.write((at.to_bytes(8, "big") + block[8:])[: self.n_bytes - at])


@dataclass(frozen=True, slots=True)
class EqualFiles:
    """Many files of one size, 100 in a directory."""

    n_files: int
    file_bytes: int = 4096

    def make(self, folder: Path, version: int) -> None:
        block = random.Random(version).randbytes(self.file_bytes - 8)
        for first in range(0, self.n_files, 100):
            inside = os.path.join(folder, f"d{first // 100:04}")
            os.makedirs(inside, exist_ok=True)
            for number in range(first, min(first + 100, self.n_files)):
                _write(f"{inside}/f{number:06}", number.to_bytes(8, "big") + block)


@dataclass(frozen=True, slots=True)
class Repository:
    """Like the working copy of a program with its dependencies: one file of eight is the program's own.

    The others are packages, nested a few directories deep, with the time stamps that a package manager sets;
    some are executable, some are linked from `.bin`. Contents are words, and compress as source code does, but for
    one file of a hundred.
    """

    n_files: int

    def make(self, folder: Path, version: int) -> None:
        shape = random.Random(self.n_files)
        text = _words(random.Random(version))
        noise = random.Random(version).randbytes(1 << 18)
        n_own = self.n_files // 8
        for number in range(n_own):
            inside = os.path.join(folder, "src", f"part{number % 97:02}")
            _write_new(inside, f"module{number}.py", _piece(shape, text, version))
        n_left, package = self.n_files - n_own, 0
        os.makedirs(os.path.join(folder, "node_modules", ".bin"), exist_ok=True)
        while n_left:
            root = os.path.join(folder, "node_modules", f"package-{package}")
            n_here = min(n_left, 1 + int(shape.expovariate(1 / 11)))
            for number in range(n_here):
                below = ("lib", "dist/esm", "dist/cjs/internal", "types", "")[shape.randrange(5)]
                data = _piece(shape, text, version)
                if shape.randrange(100) == 0:
                    data = noise[: min(len(data) * 8, len(noise))]
                path = _write_new(os.path.join(root, below), f"index{number}.js", data)
                if shape.randrange(50) == 0:
                    os.chmod(path, 0o755)
                os.utime(path, (_REGISTRY_TIME_S, _REGISTRY_TIME_S))
            if package % 10 == 0:
                link = os.path.join(folder, "node_modules", ".bin", f"tool{package}")
                if not os.path.lexists(link):
                    os.symlink(f"../package-{package}/index0.js", link)
            n_left -= n_here
            package += 1


Tree = BigFile | EqualFiles | Repository


def listing(root: Path) -> dict[str, str]:
    """Return what is below a directory, by path: kind, mode, owner, size, SHA-256 of contents, target of links."""
    found: dict[str, str] = {}
    folders = [os.fsencode(root)]
    prefix = len(folders[0]) + 1
    while folders:
        for entry in os.scandir(folders.pop()):
            facts = entry.stat(follow_symlinks=False)
            what = f"{stat.filemode(facts.st_mode)} {facts.st_uid}:{facts.st_gid}"
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            elif entry.is_symlink():
                what += f" -> {os.readlink(entry.path)!r}"
            else:
                what += f" {facts.st_size} {_sha256(entry.path)}"
            found[os.fsdecode(entry.path[prefix:])] = what
    return found


def differences(wanted: dict[str, str], got: dict[str, str], *, most: int = 5) -> list[str]:
    """Return the first few lines that tell how two listings differ; none when they are equal."""
    if wanted == got:
        return []
    paths = sorted(p for p in wanted.keys() | got.keys() if wanted.get(p) != got.get(p))
    lines = [f"{p!r}: {wanted.get(p, 'nothing')} / {got.get(p, 'nothing')}" for p in paths[:most]]
    return [f"{len(paths)} entries differ", *lines]


def versions(root: Path) -> dict[str, tuple[int, int]]:
    """Return inode and time of change of all that is below a directory: they change when anybody writes to it."""
    found: dict[str, tuple[int, int]] = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            facts = os.lstat(os.path.join(folder, name))
            found[os.path.join(folder, name)] = (facts.st_ino, facts.st_ctime_ns)
    return found


def _sha256(path: bytes) -> str:
    with open(path, "rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _words(chance: random.Random) -> bytes:
    """Return text of phrases, some much more frequent than others: gzip makes a third of it, as of source code."""
    words = [
        "".join(chance.choices("etaoinshrdlucmfwypvbgk_(){}=.;", k=chance.randrange(2, 11)))
        for _ in range(2000)
    ]
    phrases = [" ".join(chance.choices(words, k=chance.randrange(2, 9))) for _ in range(3000)]
    frequencies = [1 / (n + 3) for n in range(len(phrases))]
    return "\n".join(chance.choices(phrases, frequencies, k=250_000)).encode()[:_POOL_BYTES]


def _piece(shape: random.Random, text: bytes, version: int) -> bytes:
    n_bytes = min(int(shape.lognormvariate(8.1, 1.2)) + 1, len(text) // 2)
    at = (shape.randrange(len(text)) + version * 7919) % (len(text) - n_bytes)
    return text[at : at + n_bytes]


def _write_new(folder: str, name: str, data: bytes) -> str:
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, name)
    _write(path, data)
    return path


def _write(path: str, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        os.write(handle, data)
    finally:
        os.close(handle)
