"""Whole trees as values, to compare them, and trees to send."""

from __future__ import annotations

import os
import stat
from pathlib import Path

__all__ = ["Facts", "every_kind", "snapshot"]

Facts = tuple[object, ...]
"""Mode, time, attributes, and what is in it or where it leads."""


def snapshot(
    root: Path, *, times: bool = True, directory_times: bool = True, names: bool = True
) -> dict[str, Facts]:
    """Return what is in a directory, by path, without following links; of names of one file, which is the first."""
    found: dict[str, Facts] = {}
    first: dict[tuple[int, int], str] = {}

    def look(directory: str, prefix: str) -> None:
        for entry in sorted(os.scandir(directory), key=lambda e: e.name):
            info = entry.stat(follow_symlinks=False)
            path = prefix + entry.name
            content: object = None
            if stat.S_ISREG(info.st_mode):
                one = first.setdefault((info.st_dev, info.st_ino), path)
                content = (Path(entry.path).read_bytes(), one if names else None)
            elif stat.S_ISLNK(info.st_mode):
                content = os.readlink(entry.path)
            elif not stat.S_ISDIR(info.st_mode):
                content = info.st_rdev
            is_dir = stat.S_ISDIR(info.st_mode)
            attributes = {
                name: os.getxattr(entry.path, name, follow_symlinks=False)
                for name in os.listxattr(entry.path, follow_symlinks=False)
            }
            modified_ns = info.st_mtime_ns if times and (directory_times or not is_dir) else None
            found[path] = (info.st_mode, info.st_uid, info.st_gid, modified_ns, attributes, content)
            if is_dir:
                look(entry.path, path + "/")

    look(str(root), "")
    return found


def every_kind(root: Path) -> None:
    """Make a tree with all kinds of files that a daemon sends, with odd names, modes and times."""
    (root / "deep/er/and deeper").mkdir(parents=True)
    (root / "deep").chmod(0o1775)
    (root / "deep/er/file").write_bytes(b"deep")
    (root / "empty").touch()
    (root / "empty dir").mkdir(mode=0o700)
    (root / "big").write_bytes(os.urandom(3 << 20))
    (root / "secret").write_text("mine")
    (root / "secret").chmod(0o600)
    (root / "run").write_text("#!/bin/sh")
    (root / "run").chmod(0o6755)
    os.link(root / "run", root / "second name")
    os.link(root / "run", root / "deep/third name")
    (root / "link").symlink_to("deep/er/file")
    (root / "outside").symlink_to("/etc/passwd")
    (root / "dangling").symlink_to("../../nowhere")
    (root / os.fsdecode(b"caf\xe9\n\xff")).write_text("odd")
    (root / "Größe").write_text("unicode")
    os.mkfifo(root / "pipe", 0o640)
    (root / "sealed").mkdir()
    (root / "sealed/inner").write_text("in a directory that may not be written")
    (root / "sealed/inner").chmod(0o444)
    os.utime(root / "sealed/inner", ns=(0, 499_162_500 * 10**9 + 123_456_789))
    os.utime(root / "empty", ns=(-(10**9), -(10**9)))
    os.utime(root / "link", ns=(10**18, 10**18), follow_symlinks=False)
    os.setxattr(root / "secret", "user.note", b"kept")
    (root / "sealed").chmod(0o555)
    os.utime(root / "sealed", ns=(10**18, 10**18))
    os.utime(root / "deep", ns=(10**18, 10**18))
