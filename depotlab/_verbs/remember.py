"""Keeps what a build was, after its end and beside it, and answers why its steps ran.

The user gets the result first. Only then, in a thread, the graphs and listings are packed and written; a build of 20 ms
would feel it otherwise. Nothing here fails a build: what goes wrong is told when somebody asks why.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from depotlab._contexts import Directory
from depotlab._past import (
    Difference,
    Ended,
    PastBuild,
    Store,
    Why,
    choose,
    compare_builds,
    explain,
    find_store,
    past_of,
)
from depotlab._rpc import Channel
from depotlab._session import Moved
from depotlab._verbs.request import BuildRequest
from depotlab.buildkit import Blob, Provenance, attestation, find_record, read_blob
from depotlab.errors import DepotlabError, PastError, UsageError
from depotlab.frontend import Dockerfile
from depotlab.llb import Definition
from depotlab.progress import Fold, Snapshot

__all__ = ["Memory", "Remembered", "Traces", "compare_remembered", "recalled", "remember", "settle"]

_WAIT_S = 30.0
_SETTLE_S = 2.0
_SLSA = "https://slsa.dev/provenance/"

Memory = concurrent.futures.Future["Remembered"]
"""What is going to be kept of a build, once it has been noted."""

_pending: dict[asyncio.Task[None], _Note] = {}


@dataclass(frozen=True, slots=True)
class Traces:
    """What a build leaves that says what it was.

    Attributes:
        builder: Which daemon it ran on.
        definitions: The graphs that were sent, by platform; empty for a Dockerfile.
        moved: What was sent of local directories, by name.
        channel: To ask the daemon for its record of the build; None when it keeps none.
        hide: Texts that were given as secrets.
        find_past: Where it is kept.
    """

    builder: str
    definitions: Mapping[str, Definition] = field(default_factory=dict)
    moved: Mapping[str, Moved] = field(default_factory=dict)
    channel: Channel | None = None
    hide: Sequence[str] = field(default=(), repr=False)
    find_past: Callable[[], Store | None] = find_store


@dataclass(frozen=True, slots=True)
class Remembered:
    """A build as it is kept.

    Attributes:
        build: What is kept.
        listings: What was sent, by the digests that `build.listings` has.
        is_named: Its name says what it builds.
        store: Where it is kept; None when nothing is to be kept.
        number: Its place there.
        trouble: Why it could not be kept.
        untold: Why the daemon did not tell what it attested of the build, or empty.
    """

    build: PastBuild
    listings: Mapping[str, bytes]
    is_named: bool
    store: Store | None = None
    number: int = 0
    trouble: PastError | None = None
    untold: str = ""

    def why(self, step: str | None) -> Why:
        """Compare with an earlier build; see `BuildResult.why`."""
        notes, before = [], None
        listings = dict(self.listings)
        if self.store is None:
            notes.append("DEPOTLAB_PAST says that no past builds are kept on this computer.")
        elif self.trouble is not None:
            notes.append(str(self.trouble))
        else:
            try:
                earlier = [past for _, past in self.store.before(self.number, self.build)]
                before = choose(self.build, earlier, is_named=self.is_named)
                for digest in set(before.listings.values()) if before else ():
                    found = self.store.listing(digest)
                    if found is not None:
                        listings[digest] = found
            except PastError as error:
                notes.append(str(error))
        if self.untold:
            less = "" if self.build.graphs else ", so its steps are compared by their names"
            notes.append(f"The builder did not tell how the build was made{less}: {self.untold}")
        return explain(self.build, before, listings=listings, step=step, notes=notes)


def remember(request: BuildRequest, ref: str, traces: Traces, fold: Fold, at_ns: int) -> Memory:
    """Begin to keep a build that has succeeded; returns at once. On the I/O thread."""
    note = _Note(request, ref, traces, fold, at_ns)
    task = asyncio.create_task(note.gather())
    _pending[task] = note
    task.add_done_callback(_forget_if_kept)
    return note.done


def _forget_if_kept(task: asyncio.Task[None]) -> None:
    """Let go of a note that is written; one that came too late for a thread is left to the exit."""
    note = _pending.get(task)
    if note is not None and note.done.done():
        del _pending[task]


async def settle(builder: str) -> None:
    """Let what is being kept of builds of one daemon be kept, before its connection closes."""
    tasks = [task for task, note in _pending.items() if note.builder == builder]
    if tasks:
        await asyncio.wait(tasks, timeout=_SETTLE_S)


@atexit.register
def _settle_at_exit() -> None:
    """Keep the builds of a program that ends without closing its client. No thread can be started any more by now."""
    for note in list(_pending.values()):
        note.asked.wait(_SETTLE_S)
        note.write()


class _Note:
    """A build that is being noted.

    Attributes:
        builder: Which daemon it ran on.
        asked: Set when the daemon has told what it knows.
        done: What came of it.
    """

    def __init__(
        self, request: BuildRequest, ref: str, traces: Traces, fold: Fold, at_ns: int
    ) -> None:
        self.builder = traces.builder
        self.asked = threading.Event()
        self.done: Memory = concurrent.futures.Future()
        self._request = request
        self._ref = ref
        self._traces = traces
        self._fold = fold
        self._at_ns = at_ns
        self._attested: Sequence[tuple[str, str, bytes]] = ()
        self._untold = ""
        self._writing = threading.Lock()

    async def gather(self) -> None:
        """Ask the daemon, and write in a thread."""
        channel = self._traces.channel
        try:
            if channel is not None and _wants_record(self._traces.definitions):
                self._attested = await _attested(channel, self._ref)
            elif channel is None and not self._traces.definitions:
                self._untold = "It keeps no records of builds."
        except DepotlabError as error:  # an old daemon, or a record that is gone
            self._untold = error.message
        except Exception as error:  # noqa: BLE001 - it is raised where somebody asks why
            self.done.set_exception(error)
        finally:
            self.asked.set()
        try:
            await asyncio.to_thread(self.write)
        except RuntimeError:
            return  # the program ends, and what runs at its exit writes; see Python's `ThreadPoolExecutor.submit`

    def write(self) -> None:
        """Pack and write, once; blocks."""
        with self._writing:
            if self.done.done():
                return
            try:
                kept = _kept(
                    self._request, self._ref, self._traces, self._snapshot(), self._attested
                )
                self.done.set_result(replace(kept, untold=self._untold))
            except Exception as error:  # noqa: BLE001 - it is raised where somebody asks why
                self.done.set_exception(error)
            finally:
                # They are packed. Whatever else is left of the build may wait long for the garbage collector.
                for moved in self._traces.moved.values():
                    moved.listed.clear()

    def _snapshot(self) -> Snapshot:
        return self._fold.snapshot(at_ns=self._at_ns)


def _wants_record(definitions: Mapping[str, Definition]) -> bool:
    """Whether the daemon knows more: of a Dockerfile the graph, of a branch or a download what it was.

    The bytes are searched, not read: on the I/O thread a large graph would hold up everything else.
    """
    return not definitions or any(
        sign in op
        for definition in definitions.values()
        for op in definition.data
        for sign in (b"git://", b"http://", b"https://")
    )


async def _attested(channel: Channel, ref: str) -> list[tuple[str, str, bytes]]:
    """Return what the daemon attested of how a build was made: predicate, platform, bytes.

    Raises:
        DepotlabError: It has no record of it, or none that can be read.
    """
    record = await find_record(channel, ref)
    wanted: list[tuple[str, Blob]] = [
        (platform, blob)
        for platform, blobs in record.attestations.items()
        for blob in blobs
        if blob.predicate.startswith(_SLSA)
    ]
    return [(b.predicate, platform, await read_blob(channel, b)) for platform, b in wanted]


def _kept(
    request: BuildRequest,
    ref: str,
    traces: Traces,
    snapshot: Snapshot,
    attested: Sequence[tuple[str, str, bytes]],
) -> Remembered:
    provenance: dict[str, Provenance] = {}
    for predicate, platform, data in attested:
        found = attestation(predicate, platform, data)
        if isinstance(found, Provenance):
            provenance.setdefault(platform, found)
    name, is_named = _name(request)
    target = request.target
    ended = Ended(
        name=name,
        title=request.title,
        builder=traces.builder,
        ref=ref,
        options=_options(request),
        snapshot=snapshot,
        definitions=traces.definitions,
        listed={key: moved.listed for key, moved in traces.moved.items()},
        provenance=provenance,
        hide=traces.hide,
        no_cache=request.no_cache or (isinstance(target, Dockerfile) and target.no_cache),
    )
    build, listings = past_of(ended)
    by_digest = {build.listings[key]: data for key, data in listings.items()}
    remembered = Remembered(build, by_digest, is_named)
    store = traces.find_past()
    if store is None:
        return remembered
    try:
        return replace(remembered, store=store, number=store.keep(build, listings))
    except PastError as error:
        return replace(remembered, store=store, trouble=error)


def _name(request: BuildRequest) -> tuple[str, bool]:
    """Return the name under which builds are compared, and whether it says what is built."""
    if request.name:
        return f"name {request.name}", True
    names = sorted({*request.load_names, *(n for one in request.outputs for n in one.names)})
    if names:
        return f"image {' '.join(names)}", True
    target = request.target
    if not isinstance(target, Dockerfile):
        return "graph", False
    where = target.main.where
    place = str(where.host_path) if isinstance(where, Directory) else target.context
    if target.text is not None:
        return f"dockerfile text {target.target}", False
    folder = target.directory or place or "-"
    return f"dockerfile {folder}/{target.filename} {target.target}", True


def _options(request: BuildRequest) -> dict[str, str]:
    """Return what a build was asked for beside the graph."""
    target = request.target
    found = {
        "platform": ", ".join(request.platforms),
        "source date": "" if request.source_date_epoch is None else f"{request.source_date_epoch}",
        "cache imports": ", ".join(
            _cache(kind, attrs) for kind, attrs in request.cache_imports.entries
        ),
        "secrets": ", ".join(sorted(request.secrets)),
    }
    if isinstance(target, Dockerfile):
        found |= {f"build argument {name}": value for name, value in target.args.items()}
        found |= {
            "target": target.target,
            "syntax": target.syntax,
            "network": target.network,
        }
    return {name: value for name, value in found.items() if value}


def _cache(kind: str, attrs: Mapping[str, str]) -> str:
    place = attrs.get("ref") or attrs.get("src") or attrs.get("scope") or attrs.get("name") or ""
    return f"{kind} {place}".strip()


def recalled(memory: Memory | None) -> Remembered:
    """Wait for what is kept of a build.

    Raises:
        UsageError: Nothing is known of it.
        PastError: It could not be found out.
    """
    if memory is None:
        raise UsageError(
            "Nothing was noted of this build, so it cannot be compared.",
            hint="compare results of build() and submit() of this process",
        )
    try:
        return memory.result(_WAIT_S)
    except concurrent.futures.TimeoutError:
        raise PastError(
            f"What the build was could not be noted within {_WAIT_S:g} s.",
            hint="ask again: it goes on in the background",
        ) from None


def compare_remembered(a: Memory | None, b: Memory | None) -> Difference:
    """Say what differs between two builds of this process."""
    first, second = recalled(a), recalled(b)
    return compare_builds(first.build, second.build, listings={**first.listings, **second.listings})
