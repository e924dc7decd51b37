"""Random patterns, paths and trees, the same for the same seed."""

from __future__ import annotations

import os
import random
from pathlib import Path

__all__ = [
    "aimed_patterns",
    "follow_paths",
    "glob_case",
    "ignore_file",
    "make_special_tree",
    "make_tree",
    "match_case",
    "patterns",
    "tree_listing",
]

NAMES = [
    "a", "b", "c", "ab", "a.txt", "b.txt", "a-b", "src", ".x", "x+y", "a b", "^a", "a^b", "1", "$",
    "é", "日本", "\udcff", "a\udce9", "\ufffd", "new\nline", "[a]", "a*", "\\", "A", "_", "(a|b)", "{1}",
]  # fmt: skip
_PLAIN = ["a", "b", "c", "ab", "a.txt", "src", ".x", "a-b", "1", "é"]
_ATOMS = [
    *_PLAIN, "*", "*", "*", "?", "**", "**", "[ab]", "[^a]", "[a-c]", "[a-cé]", "\\*", "\\[", "\\a",
    "*.txt", "a*", "*b", "?b", "^", "+", ".", "(", "|", "{1}", "$", "x+y", "\ufffd", "\udcff", "日",
]  # fmt: skip
_ODD_ATOMS = [
    "[", "]", "\\", "[]", "[!a]", "[*]", "[?]", "[.]", "[[:alpha:]]", "[[:digit:]a]", "[[:^alpha:]]",
    "[[:nope:]]", "\\d", "\\w", "\\S", "\\D", "\\n", "\\x61", "\\141", "\\1", "\\b", "\\B", "\\A", "\\z",
    "\\Q", "\\E", "\\q", "\\_", "[\\d]", "[a-\\d]", "[z-a]", "[a", "[^", "[^a", "[\\]]", "[a-]", "[-a]",
    "***", "\ufeff", "[\udcff]", "[\u00e0-\uffff]", "\\é", "[^\ufffd]", "!", "\n", "\t",
]  # fmt: skip


def _segment(rng: random.Random, *, odd: bool) -> str:
    atoms = _ODD_ATOMS if odd and rng.random() < 0.3 else _ATOMS
    n_atoms = rng.choice([1, 1, 1, 2, 2, 3])
    return "".join(rng.choice(atoms) for _ in range(n_atoms))


def patterns(rng: random.Random, *, odd: bool, most: int = 5) -> list[str]:
    """Return a list of patterns; odd ones are often malformed or mean something unexpected."""
    out = []
    for _ in range(rng.randint(1, most)):
        parts = [
            rng.choice(_PLAIN) if rng.random() < 0.5 else _segment(rng, odd=odd)
            for _ in range(rng.choice([1, 1, 2, 2, 3]))
        ]
        text = "/".join(parts)
        if rng.random() < 0.3:
            text = "!" + text
        if rng.random() < 0.2:
            text += rng.choice(["/", "/**", "/*", "/.", " ", "/..", "**"])
        if rng.random() < 0.15:
            text = rng.choice(["/", "./", "../", " ", "**/", "!", "\u2003"]) + text
        out.append(text)
    if rng.random() < 0.05:
        out.append(rng.choice(["", "  ", ".", "!", "/", "**"]))
    return out


def _path(rng: random.Random) -> str:
    names = NAMES if rng.random() < 0.4 else _PLAIN
    return "/".join(rng.choice(names) for _ in range(rng.choice([1, 1, 2, 2, 3, 4])))


def match_case(rng: random.Random, *, odd: bool) -> dict[str, list[str]]:
    """Return patterns and the paths to try them on."""
    return {
        "patterns": patterns(rng, odd=odd),
        "paths": sorted({_path(rng) for _ in range(20)}),
    }


def glob_case(rng: random.Random) -> dict[str, str]:
    """Return a file name pattern and a name."""
    return {
        "pattern": "".join(rng.choice(_ATOMS + _ODD_ATOMS) for _ in range(rng.randint(0, 4))),
        "name": rng.choice([".", "", *NAMES, _path(rng)]),
    }


def tree_listing(rng: random.Random, *, most: int = 30) -> list[str]:
    """Return a tree as text: `a/b` a file, `a/` a directory, `l -> t` and `h = f` links."""
    kinds: dict[str, str] = {}
    files: list[str] = []
    for _ in range(rng.randint(3, most)):
        path = _path(rng)
        parents = [path[:i] for i, char in enumerate(path) if char == "/"]
        if path in kinds or any(kinds.get(parent, "dir") != "dir" for parent in parents):
            continue
        kinds.update(dict.fromkeys(parents, "dir"))
        draw = rng.random()
        if draw < 0.2:
            kinds[path] = "dir"
        elif draw < 0.4:
            up = "../" * rng.choice([0, 0, 1, 1, 2, 5])
            kinds[path] = f" -> {rng.choice(['', '', '/', './'])}{up}{_path(rng)}"
        elif draw < 0.48 and files:
            kinds[path] = f" = {rng.choice(files)}"
        else:
            kinds[path] = "file"
            files.append(path)
    ends = {"dir": "/", "file": ""}
    return [path + ends.get(kind, kind) for path, kind in kinds.items()]


def make_tree(root: Path, listing: list[str]) -> None:
    """Make the tree; a file contains its own path."""
    for line in listing:
        path, arrow, target = line.partition(" -> ")
        first, equals, of = line.partition(" = ")
        host_path = os.fsencode(root) + b"/" + _raw(first if equals else path)
        os.makedirs(host_path if line.endswith("/") else os.path.dirname(host_path), exist_ok=True)
        if arrow:
            os.symlink(_raw(target), host_path)
        elif equals:
            os.link(os.fsencode(root) + b"/" + _raw(of), host_path)
        elif not line.endswith("/"):
            with open(host_path, "wb") as file:
                file.write(_raw(path))


def aimed_patterns(rng: random.Random, listing: list[str], *, most: int = 6) -> list[str]:
    """Return patterns that hit the tree: directories left out, things in them taken back, parts made wild."""
    known = [line.split(" -> ")[0].split(" = ")[0].rstrip("/") for line in listing]
    known += [path.rpartition("/")[0] for path in known if "/" in path]
    out = []
    for _ in range(rng.randint(2, most)):
        parts = [_escaped(part) for part in rng.choice(known).split("/")]
        for index in range(len(parts)):
            draw = rng.random()
            if draw < 0.12:
                parts[index] = rng.choice(["*", "**", "?*"])
            elif draw < 0.2:
                parts[index] = parts[index][:1].rstrip("\\") + "*"
        text = "/".join(parts)
        if rng.random() < 0.15:
            text += rng.choice(["/**", "/*", "/"])
        if rng.random() < 0.1:
            text = "**/" + text
        out.append("!" + text if rng.random() < 0.45 else text)
    if rng.random() < 0.3:
        out.insert(0, rng.choice(["*", "**", "*/*"]))
    return out


def _escaped(name: str) -> str:
    return "".join(f"\\{char}" if char in "\\*?[]{}|^" else char for char in name)


def ignore_file(rng: random.Random) -> str:
    """Return the text of an ignore file, with all that a reader of such files has to look out for."""
    lines = []
    for _ in range(rng.randint(0, 8)):
        line = rng.choice(
            ["", " ", "#", "# note", " # no note", "!", "! ", "/", "//", ".", "!/", "!."]
        )
        if rng.random() < 0.8:
            line = rng.choice(["", "", " ", "\t", "\u2003"]) + rng.choice(patterns(rng, odd=True))
        if rng.random() < 0.15:
            line = "\ufeff" + line
        lines.append(line + rng.choice(["", "", " ", "\r", "\r\r", "\x85"]))
    return "\n".join(lines) + rng.choice(["", "\n"])


def make_special_tree(root: Path, *, devices: bool) -> None:
    """Make one of everything that a file system has besides plain files."""
    (root / "d").mkdir()
    (root / "d").chmod(0o1777)
    (root / "d" / "run").write_text("#!/bin/sh\n")
    (root / "d" / "run").chmod(0o6755)
    (root / "closed").mkdir()
    (root / "closed" / "f").write_text("x")
    os.link(root / "d" / "run", root / "a-first-name")
    os.link(root / "d" / "run", root / "z-third-name")
    (root / "loop").symlink_to(".")
    (root / "d" / "up").symlink_to("../d")
    (root / "outside").symlink_to("/etc/../../nowhere")
    os.mkfifo(root / "pipe")
    os.link(root / "pipe", root / "pipe-again")
    (root / os.fsdecode(b"caf\xe9\n\xff")).write_text("odd")
    (root / ("n" * 255)).write_text("long")
    os.setxattr(root / "d" / "run", "user.note", b"\0\xff")
    os.setxattr(root / "d", "user.empty", b"")
    os.utime(root / "d" / "run", ns=(0, 1_234_567_890_123_456_789))
    os.utime(root / "pipe", ns=(0, -5_000_000_001))
    if devices:
        os.mknod(root / "null", 0o020666, os.makedev(1, 3))
        os.mknod(root / "disk", 0o060600, os.makedev(259, 70000))


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def follow_paths(rng: random.Random, listing: list[str]) -> list[str]:
    """Return paths that lead through links, wildcards, and places that are not there."""
    known = [line.split(" -> ")[0].split(" = ")[0].rstrip("/") for line in listing]
    out = []
    for _ in range(rng.randint(1, 3)):
        path = rng.choice(known) if known and rng.random() < 0.75 else _path(rng)
        if rng.random() < 0.4:
            path += "/" + _path(rng)
        if rng.random() < 0.3:
            head, slash, _ = path.rpartition("/")
            path = head + slash + rng.choice(["*", "a*", "?", "[ab]*", "[", "\\*"])
        if rng.random() < 0.1:
            path = rng.choice(["/", "../", "./", "."]) + path
        out.append(path)
    return out
