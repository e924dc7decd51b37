"""Short words that many builders share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from depotlab import llb
from depotlab.llb import FileAction, Platform, State

Builders = dict[str, Callable[[], State]]

A64 = "sha256:" + "a" * 64
B64 = "sha256:" + "b" * 64

# The Go client's defaults; ours are those of COPY.
GO = {
    "follow_symlinks": False,
    "copy_dir_contents_only": False,
    "create_dest_path": False,
    "allow_wildcard": False,
    "dot_is_dir": False,
}


def alpine() -> State:
    return llb.image("alpine")


def busybox() -> State:
    return llb.image("busybox")


def local(name: str, **options: Any) -> State:
    return llb.local("/somewhere", name=name, **options)


def platform(words: str) -> Platform:
    return Platform(*words.split("/"))


def go_copy(source: Any, src: str, dest: str, **options: Any) -> FileAction:
    return llb.copy(source, src, dest, **{**GO, **options})


def marshalled(state: State, words: str = "linux/amd64") -> bytes:
    definition = state.marshal(platform(words), local_unique_id="golden-unique-id")
    return definition.to_bytes()
