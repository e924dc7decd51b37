"""Scripted builds: what a daemon would say, as events with the second at which it says them.

Used where a real build would be slow or would differ from run to run: views, pictures, load.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from depotlab.errors import SourceLocation
from depotlab.progress import (
    BuildEnded,
    BuildStarted,
    BytesMoved,
    Event,
    Fold,
    LogWritten,
    Phase,
    ProgressGroup,
    Snapshot,
    TransferUpdated,
    VertexUpdated,
    WarningRaised,
)

Script = list[tuple[float, list[Event]]]
NS = 1_000_000_000
EPOCH_NS = 1_790_000_000 * NS


def digest(name: str) -> str:
    return "sha256:" + hashlib.sha256(name.encode()).hexdigest()


@dataclass
class Author:
    """Writes a script step by step; times are seconds from the beginning."""

    base_ns: int = EPOCH_NS
    script: Script = field(default_factory=list)

    def at(self, at_s: float, *events: Event) -> None:
        self.script.append((at_s, list(events)))

    def ns(self, at_s: float) -> int:
        return self.base_ns + round(at_s * NS)

    def announce(self, at_s: float, names: Sequence[str], inputs: dict[str, list[str]]) -> None:
        self.at(
            at_s,
            *(
                VertexUpdated(digest(n), n, tuple(digest(i) for i in inputs.get(n, [])))
                for n in names
            ),
        )

    def cached(self, at_s: float, *names: str) -> None:
        at_ns = self.ns(at_s)
        self.at(at_s, *(VertexUpdated(digest(n), "", (), at_ns, at_ns, True) for n in names))

    def run(self, start_s: float, end_s: float, name: str, *, error: str = "") -> None:
        start_ns, end_ns = self.ns(start_s), self.ns(end_s)
        self.at(start_s, VertexUpdated(digest(name), name, started_ns=start_ns))
        self.at(end_s, VertexUpdated(digest(name), name, (), start_ns, end_ns, error=error))

    def transfer(
        self, start_s: float, end_s: float, name: str, label: str, total: int, *, is_sized: bool
    ) -> None:
        n_updates = max(2, int((end_s - start_s) * 10))
        for k in range(n_updates + 1):
            at_s = start_s + (end_s - start_s) * k / n_updates
            self.at(
                at_s,
                TransferUpdated(
                    digest(name),
                    label,
                    label,
                    total * k // n_updates,
                    total if is_sized else 0,
                    self.ns(at_s),
                    self.ns(start_s),
                    self.ns(at_s) if k == n_updates else None,
                ),
            )

    def log(self, start_s: float, end_s: float, name: str, lines: Sequence[str]) -> None:
        for k, line in enumerate(lines):
            at_s = start_s + (end_s - start_s) * k / max(1, len(lines))
            self.at(at_s, LogWritten(digest(name), self.ns(at_s), 1, line.encode() + b"\n"))

    def done(self) -> Script:
        return sorted(self.script, key=lambda entry: entry[0])


def typical(outcome: Phase = Phase.SUCCEEDED, *, base_ns: int = EPOCH_NS) -> Script:
    """A Dockerfile build of 15 steps in about ten seconds, some cached, some not needed."""
    author = Author(base_ns)
    author.at(0.0, BuildStarted(author.ns(0), "ghcr.io/me/app:dev", "local engine"))
    definition, context = "[internal] load build definition", "[internal] load build context"
    base = "[base 1/3] FROM python:3.12-slim"
    apt = "[base 2/3] RUN apt-get update && apt-get install -y --no-install-recommends libpq5"
    workdir = "[base 3/3] WORKDIR /app"
    copy_reqs = "[deps 1/2] COPY pyproject.toml uv.lock ./"
    pip = "[deps 2/2] RUN pip install --no-cache-dir ."
    node = "[web 1/3] FROM node:22-alpine"
    npm = "[web 2/3] RUN npm ci"
    web = "[web 3/3] RUN npm run build"
    docs = "[docs 1/1] RUN make html"
    copy_web = "[app 1/3] COPY --from=web /dist ./static"
    copy_app = "[app 2/3] COPY app ./app"
    compile_ = "[app 3/3] RUN python -m compileall -q app"
    export = "exporting to image"
    for start, end, name in ((0.05, 0.1, definition), (0.6, 1.1, context)):
        author.announce(start, [name], {})
        author.run(start, end, name)
    author.transfer(0.6, 1.1, context, "transferring context:", 1_840_000, is_sized=False)
    author.at(1.1, BytesMoved(1_852_113, 9_120))
    names = [compile_, copy_app, copy_web, pip, copy_reqs, workdir, apt, base, web, npm, node, docs]
    inputs = {
        compile_: [copy_app],
        copy_app: [copy_web, context],
        copy_web: [pip, web],
        pip: [copy_reqs],
        copy_reqs: [workdir, context],
        workdir: [apt],
        apt: [base],
        web: [npm],
        npm: [node],
        docs: [pip],
    }
    author.announce(0.5, names, inputs)
    author.cached(1.2, base, apt, workdir, copy_reqs)
    author.run(1.2, 3.6, node)
    author.transfer(1.3, 3.0, node, "sha256:" + "a1" * 32, 41_200_000, is_sized=True)
    author.transfer(1.3, 3.4, node, "sha256:" + "b2" * 32, 12_900_000, is_sized=True)
    wheels = [f"Collecting package-{k:02d}==1.{k}.0" for k in range(40)]
    wheels += ["\x1b[32mSuccessfully installed\x1b[0m 40 packages"]
    author.run(1.3, 6.2, pip)
    author.log(1.4, 6.0, pip, wheels)
    author.at(
        6.1,
        WarningRaised(
            digest(definition),
            1,
            "JSONArgsRecommended: JSON arguments recommended for CMD (line 21)",
            url="https://docs.docker.com/go/dockerfile/rule/json-args-recommended/",
            locations=(SourceLocation("Dockerfile", 21, 21),),
        ),
    )
    author.run(3.7, 5.6, npm)
    author.log(3.8, 5.5, npm, [f"added {k} packages" for k in range(0, 312, 12)])
    if outcome is Phase.CANCELED:
        author.run(5.7, 7.0, web, error="process did not complete: context canceled")
        author.at(7.1, BuildEnded(author.ns(7.1), Phase.CANCELED))
        return author.done()
    build_log = [f"vite: transformed {k} modules" for k in range(0, 900, 45)]
    author.log(5.7, 7.4, web, build_log)
    if outcome is Phase.FAILED:
        error = 'process "/bin/sh -c npm run build" did not complete successfully: exit code: 2'
        author.log(
            7.4,
            7.45,
            web,
            [
                "",
                "\x1b[31m✗ Build failed in 1.71s\x1b[39m",
                "error during build: \x1b[31mCould not resolve './Heading' from 'src/main.ts'\x1b[39m",
                "    at file:///web/node_modules/rollup/dist/es/shared/<node-entry>.js:2085:41",
            ],
        )
        author.run(5.7, 7.5, web, error=error)
        author.at(7.6, BuildEnded(author.ns(7.6), Phase.FAILED, f"failed to solve: {error}"))
        return author.done()
    author.run(5.7, 7.5, web)
    author.run(7.5, 7.6, copy_web)
    author.run(7.6, 7.65, copy_app)
    author.run(7.65, 8.4, compile_)
    author.announce(8.4, [export], {})
    author.run(8.4, 9.6, export)
    author.transfer(8.4, 9.0, export, "exporting layers", 0, is_sized=False)
    author.transfer(9.0, 9.5, export, "pushing layers", 23_400_000, is_sized=True)
    author.at(9.6, BytesMoved(1_852_113, 23_460_000))
    author.at(9.7, BuildEnded(author.ns(9.7), Phase.SUCCEEDED))
    return author.done()


def many(
    n_steps: int,
    *,
    n_lines: int = 0,
    duration_s: float = 10.0,
    n_parallel: int = 0,
    frames_per_s: int = 20,
    base_ns: int = EPOCH_NS,
) -> Iterator[tuple[float, list[Event]]]:
    """A wide build: `n_parallel` steps at a time (all, by default), each moving bytes and writing.

    Yields as it goes, so that half a million lines need not be in memory.
    """
    author = Author(base_ns)
    n_parallel = n_parallel or n_steps
    names = [f"[stage-{k // 10} {k % 10 + 1}/10] RUN make target-{k:04d}" for k in range(n_steps)]
    yield 0.0, [BuildStarted(base_ns, "everything", "simulated")]
    yield 0.0, [VertexUpdated(digest(n), n) for n in names]
    n_waves = -(-n_steps // n_parallel)
    wave_s = duration_s / n_waves
    n_frames = max(1, round(wave_s * frames_per_s))
    per_frame = n_lines / (n_waves * n_frames)
    line = b"cc -O2 -Wall -c src/module_%05d.c -o build/module_%05d.o   # a line of usual length\n"
    n_written = 0.0
    for wave in range(n_waves):
        running = names[wave * n_parallel : (wave + 1) * n_parallel]
        start_s = wave * wave_s
        yield (
            start_s,
            [VertexUpdated(digest(n), n, started_ns=author.ns(start_s)) for n in running],
        )
        for frame in range(n_frames):
            at_s = start_s + wave_s * frame / n_frames
            at_ns = author.ns(at_s)
            events: list[Event] = [
                TransferUpdated(
                    digest(n), "download", "", frame * 10_000, n_frames * 10_000, at_ns, at_ns
                )
                for n in running
            ]
            first, n_written = int(n_written), n_written + per_frame
            for k in range(first, int(n_written), 8):
                data = b"".join(line % (i, i) for i in range(k, min(k + 8, int(n_written))))
                events.append(LogWritten(digest(running[k % len(running)]), at_ns, 1, data))
            yield at_s, events
        end_s = (wave + 1) * wave_s
        yield (
            end_s,
            [
                VertexUpdated(digest(n), n, (), author.ns(start_s), author.ns(end_s))
                for n in running
            ],
        )
    yield duration_s, [BuildEnded(author.ns(duration_s), Phase.SUCCEEDED)]


class Stop(Protocol):
    def wait(self, timeout: float) -> bool: ...


def play(
    script: Iterable[tuple[float, list[Event]]], build: Fold, *, stop: Stop | None = None
) -> None:
    """Feed a script at the pace it was written for; the first event is now. Blocks.

    The script must have been written with the present as `base_ns`. A set `stop` ends it early.
    """
    began_s = time.monotonic()
    for at_s, events in script:
        rest_s = began_s + at_s - time.monotonic()
        if rest_s > 0.002:
            if stop is not None:
                if stop.wait(rest_s):
                    build.feed([BuildEnded(time.time_ns(), Phase.CANCELED)])
                    return
            else:
                time.sleep(rest_s)
        build.feed(events)


def moment(script: Iterable[tuple[float, list[Event]]], at_s: float) -> Snapshot:
    """Return the snapshot `at_s` seconds into a script, without waiting for it."""
    build = Fold()
    for when_s, events in script:
        if when_s <= at_s:
            build.feed(events)
    return build.snapshot(at_ns=EPOCH_NS + round(at_s * NS))


def two_platforms(outcome: Phase = Phase.SUCCEEDED, *, base_ns: int = EPOCH_NS) -> Script:
    """A build of five steps for each of two platforms, a grouped copy, and an export, in eight seconds."""
    author = Author(base_ns)
    author.at(0.0, BuildStarted(author.ns(0), "ghcr.io/me/app:1.4", "machines of Depot"))
    context, export = "[internal] load build context", "exporting to image"
    author.announce(0.1, [context], {})
    author.run(0.1, 0.4, context)
    for platform, slow in (("linux/amd64", 1.0), ("linux/arm64", 1.6)):
        names = {
            "from": f"[{platform} base 1/2] FROM python:3.12-slim",
            "apt": f"[{platform} base 2/2] RUN apt-get update && apt-get install -y libpq5",
            "pip": f"[{platform} app 1/3] RUN pip install .",
            "copy": f"[{platform} app 2/3] COPY app ./app",
            "docs": f"[{platform} docs 1/1] RUN make html",
        }
        author.announce(
            0.3,
            list(names.values()),
            {
                names["apt"]: [names["from"]],
                names["pip"]: [names["apt"]],
                names["copy"]: [names["pip"], context],
            },
        )
        author.cached(0.5, names["from"], names["apt"])
        author.run(0.6, 0.6 + 3 * slow, names["pip"])
        author.log(0.7, 3 * slow, names["pip"], [f"Collecting package-{k:02d}" for k in range(20)])
        author.run(0.7 + 3 * slow, 0.9 + 3 * slow, names["copy"])
    group = ProgressGroup("files", "copy static files")
    for k in range(3):
        start_ns, end_ns = author.ns(5.8), author.ns(5.9 + k / 10)
        name = f"[linux/amd64] copy {k}"
        author.at(5.8, VertexUpdated(f"copy-{k}", name, (), start_ns, None, group=group))
        author.at(5.9, VertexUpdated(f"copy-{k}", name, (), start_ns, end_ns, group=group))
    author.announce(6.2, [export], {})
    author.run(6.2, 7.8, export)
    author.transfer(6.3, 7.7, export, "pushing layers", 64_000_000, is_sized=True)
    author.at(8.0, BuildEnded(author.ns(8.0), outcome))
    return author.done()
