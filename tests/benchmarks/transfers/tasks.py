"""What is run on either side: one value, turned into a call of ours or a command line of `buildctl`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from depotlab import llb, mount


@dataclass(frozen=True, slots=True)
class Task:
    """One build.

    Attributes:
        graph: Name of a function below; empty for a Dockerfile.
        arguments: Of that function.
        folder: Directory to send: the context of the Dockerfile, or what the graph's local source is.
        output: Type of the output, such as `tar`; empty for none.
        output_path: Where it goes.
        output_attrs: Its further attributes.
        log_path: Where `buildctl` writes its progress; ours keeps what it got.
    """

    graph: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    folder: str = ""
    output: str = ""
    output_path: str = ""
    output_attrs: Mapping[str, str] = field(default_factory=dict)
    log_path: str = ""

    def state(self) -> llb.State:
        """Return the graph."""
        return GRAPHS[self.graph](**self.arguments)


def upload(folder: str, key: str) -> llb.State:
    """A directory and nothing else: all of it is sent. What the daemon has under the same key is not sent again."""
    return llb.local(folder, name="context", shared_key_hint=key)


def big_file(n_mib: int) -> llb.State:
    """One file of random bytes that the daemon has made itself."""
    command = f"dd if=/dev/urandom of=/out/big bs=1M count={n_mib}"
    return _busybox().run(command, mounts=[mount.bind("/out")]).mounted("/out")


def many_files(n_files: int) -> llb.State:
    """Files of 4 KiB, 100 in a directory, made by the daemon."""
    command = (
        "cd /out && awk 'BEGIN { for (i = 0; i < "
        f'{n_files}; i++) {{ d = sprintf("d%04d", i / 100); if (i % 100 == 0) system("mkdir " d); '
        'f = sprintf("%s/f%06d", d, i); printf "%4096d", i > f; close(f) } }\''
    )
    return _busybox().run(command, mounts=[mount.bind("/out")]).mounted("/out")


def chatter(n_lines: int, how: str, run: str) -> llb.State:
    """A step that prints numbered lines from 1.

    Args:
        n_lines: How many.
        how: `buffered`, 4096 bytes at a time as programs in C write to a pipe, or `flushed`, each line by itself.
        run: Makes it a step that has never run.
    """
    # busybox seq writes through a buffer; its awk empties the buffer after each print.
    if how == "buffered":
        command = f"printf '%s' '{LOG_LINE}'; seq -s '\n{LOG_LINE}' {n_lines}"
    else:
        command = f"awk 'BEGIN {{ for (i = 1; i <= {n_lines}; i++) print \"{LOG_LINE}\" i }}'"
    return _busybox().env(BENCHMARK_RUN=run).run(command)


def _busybox() -> llb.State:
    # Not `llb.image`, whose configuration our client looks up and applies: both sides are to send one graph, so
    # that what a step has made for one is in the cache for the other.
    return llb.source("docker-image://docker.io/library/busybox:latest")


LOG_LINE = "compiling the next part of a program that has very many parts, number "

GRAPHS: dict[str, Callable[..., llb.State]] = {
    f.__name__: f for f in (upload, big_file, many_files, chatter)
}
