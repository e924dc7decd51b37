"""A daemon that answers from a recording: the same calls, the same streams, no engine.

Each question is looked for by its key (see `canonical`). What is not in the recording has no answer and is refused with
`NotRecorded`; a build of other files than those that were recorded is such a question too.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence

from depotlab._proto import control_pb2, gateway_pb2, ops_pb2
from depotlab._recorded.callbacks import call_back
from depotlab._recorded.canonical import Names, header_names, key_of, local_name, read_graph
from depotlab._recorded.clock import CLOCK, Clock
from depotlab._recorded.contexts import ContextRequest, digest_tree
from depotlab._recorded.learning import learn, learn_container
from depotlab._recorded.nearest import Asked, not_recorded
from depotlab._recorded.playing import Playing
from depotlab._recorded.session import PlayedSession
from depotlab._recorded.sources import with_sources
from depotlab._recorded.status import shift, skew_ns
from depotlab._recorded.tape import CANCELLED, Call, Tape, TapedBuild
from depotlab._rpc import RpcFailed, Status, Transport
from depotlab._session import Session

__all__ = ["Player"]

_CONTROL = "/moby.buildkit.v1.Control/"
_BUILD_HEADER = "buildkit-controlapi-buildid"
_SESSION_ID = "x-docker-expose-session-uuid"
FIND_S = 6.0
"""How long a build may take to be asked for after something that belongs to it. Daemons wait as long."""

GIVE_UP_S = 30.0
"""How long a build that was cancelled when it was recorded waits to be cancelled again."""

_DIGEST = re.compile(rb"sha256:[0-9a-f]{64}")

Metadata = Sequence[tuple[str, str]]


class Player:
    """Answers from a recording. Belongs to the I/O thread.

    Args:
        tape: The recording.
        path: Of its file, for errors.
        speed: See `Clock`.
    """

    def __init__(self, tape: Tape, *, path: str, speed: float | None) -> None:
        self.tape = tape
        self.path = path
        self.speed = speed
        self._names = Names()
        self._by_key: dict[str, list[Call]] = {}
        for call in tape.calls:
            if not call.is_of_daemon:
                self._by_key.setdefault(call.key, []).append(call)
                learn(self._names, call)
        self._n_used: dict[str, int] = {}
        self._played: set[int] = set()
        self._playing: dict[str, Playing] = {}
        self._refs: dict[bytes, bytes] = {}  # names of builds here, by those in the recording
        self._offers: dict[str, Session] = {}
        self._sessions: dict[str, PlayedSession] = {}
        self._digests: dict[tuple[str, ContextRequest], str] = {}
        self._registered = asyncio.Condition()

    # -------------------------------------------------------------------------------- sessions

    def offered(self, session: Session) -> None:
        """Hear of a session: what it offers."""
        self._offers[session.id] = session

    async def open_session(self, metadata: Metadata) -> Transport:
        """Open the connection of a session; a `SessionDialer`."""
        session = PlayedSession()
        self._sessions[dict(metadata)[_SESSION_ID]] = session
        return session.transport

    async def close(self) -> None:
        """End all sessions."""
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    # ------------------------------------------------------------------------------------ calls

    async def unary(self, method: str, request: bytes, metadata: Metadata) -> bytes:
        """Answer a call with one answer.

        Raises:
            RpcFailed: As the daemon did.
            NotRecorded: It was not asked when the recording was made.
        """
        if method == f"{_CONTROL}Solve":
            return await self._solve(control_pb2.SolveRequest.FromString(request))
        ref = dict(metadata).get(_BUILD_HEADER, "")
        if not ref:
            call = self._next(method, request)
            await Clock(self.speed).wait(call.ended_ns - call.began_ns)
            return self._answer(call, None)
        playing = await self._find(ref)
        name = method.rpartition("/")[2]
        if name == "Solve":
            return await self._solve_graph(playing, method, request)
        if name == "Return":
            return await self._return(playing, method, request)
        key = key_of(method, request, self._names)
        if name == "NewContainer":
            learn_container(self._names, key, request)
        call = self._next(method, request, playing=playing, key=key)
        await playing.clock.wait(call.ended_ns - call.began_ns)
        return self._answer(call, playing)

    async def many(self, method: str, request: bytes) -> AsyncIterator[bytes]:
        """Answer a call with many answers."""
        if method == f"{_CONTROL}Status" and not self._is_of_the_past(method, request):
            async for data in self._status(control_pb2.StatusRequest.FromString(request).Ref):
                yield data
            return
        call = self._next(method, request)
        clock, before_ns = Clock(self.speed), call.began_ns
        for message in call.messages:
            await clock.wait(message.at_ns - before_ns)
            before_ns = message.at_ns
            yield self._here(message.data, None)
        if call.code and call.code != CANCELLED:
            raise _failure(call, call.details)

    def _is_of_the_past(self, method: str, request: bytes) -> bool:
        """Whether it asks for the progress of a build that was over when the recording began."""
        calls = self._by_key.get(key_of(method, request, self._names), [])
        return bool(calls) and calls[0].build < 0

    def process(self, ref: str, request: bytes) -> Call:
        """Return the recorded process that a first message of `ExecProcess` asks for."""
        return self._next(
            "/moby.buildkit.v1.frontend.LLBBridge/ExecProcess",
            request,
            playing=self._playing.get(ref),
        )

    def _next(
        self, method: str, request: bytes, *, playing: Playing | None = None, key: str = ""
    ) -> Call:
        """Return the recorded call that answers a question."""
        key = key or key_of(method, request, self._names)
        found = self._by_key.get(key, [])
        if playing is not None and playing.build is not None:
            mine = [call for call in found if call.build == playing.build.number]
            if mine:
                return playing.choose(mine)
            # The same state may have been looked at in another build; made of other files it is another one.
            files = playing.build.files
            found = [c for c in found if c.build < 0 or self.tape.builds[c.build].files == files]
        if not found:
            raise not_recorded(self.tape, self.path, Asked(method, request))
        number = self._n_used.get(key, 0)
        self._n_used[key] = number + 1
        return found[min(number, len(found) - 1)]

    def _answer(self, call: Call, playing: Playing | None) -> bytes:
        if call.code:
            raise _failure(call, self._here(call.details, playing))
        return self._here(call.messages[0].data, playing) if call.messages else b""

    def _here(self, data: bytes, playing: Playing | None) -> bytes:
        """Return an answer with the names that things have here. All are as long as those in the recording."""
        for then, now in self._refs.items():
            if then in data:
                data = data.replace(then, now)
        if playing is not None and playing.build is not None:
            for name, then_name in playing.build.locals:
                here = playing.locals.get(name, then_name)
                # Names of as many letters only: there is a hash at the end of both, or of none.
                if here != then_name and len(here) == len(then_name):
                    data = data.replace(f"local://{then_name}".encode(), f"local://{here}".encode())
        if playing is not None and playing.digests:
            digests = playing.digests
            data = _DIGEST.sub(lambda found: digests.get(found[0], found[0]), data)
        return data

    # ----------------------------------------------------------------------------------- builds

    async def _find(self, ref: str) -> Playing:
        """Return a build; calls for it may come before it was asked for."""
        try:
            async with asyncio.timeout(FIND_S), self._registered:
                await self._registered.wait_for(lambda: ref in self._playing)
        except TimeoutError:
            raise RpcFailed(Status.NOT_FOUND, f"no such job {ref}") from None
        return self._playing[ref]

    async def _solve(self, request: control_pb2.SolveRequest) -> bytes:
        key = key_of(f"{_CONTROL}Solve", request.SerializeToString(), self._names)
        candidates = [build for build in self.tape.builds if build.solve.key == key]
        clock = None if request.Internal else CLOCK.get()
        playing = Playing(
            request.Ref,
            request.Session,
            candidates,
            clock or Clock(self.speed),
            began_ns=self.tape.began_ns,
        )
        asked = Asked(f"{_CONTROL}Solve", request.SerializeToString())
        is_ours = not request.Frontend and not request.HasField("Definition")
        if not candidates and not is_ours:
            raise not_recorded(self.tape, self.path, asked)
        playing.headers.update(header_names(request))
        for definition in request.FrontendInputs.values():
            playing.locals.update(read_graph(definition).locals)
        if not is_ours:
            await self._bind(playing, candidates, asked)
            self._translate(playing, list(request.FrontendInputs.values()), playing.bound.solve)
        async with self._registered:
            self._playing[request.Ref] = playing
            self._registered.notify_all()
        try:
            return await self._end(playing, is_ours=is_ours)
        finally:
            await playing.end()
            self._offers.pop(request.Session, None)
            session = self._sessions.pop(request.Session, None)
            if session is not None:
                await session.close()

    async def _end(self, playing: Playing, *, is_ours: bool) -> bytes:
        """Play what a build does by itself, and return how it ended."""
        if is_ours:
            await playing.is_bound.wait()
        calling = asyncio.create_task(
            call_back(playing, self._sessions.get(playing.session_id)),
            name="depotlab recorded calls",
        )
        try:
            if is_ours:
                await playing.has_returned.wait()
                if playing.error is not None:
                    code, text, details = playing.error
                    raise RpcFailed(Status(code), text, details)
            build = playing.bound
            if is_ours and build.solve.code == CANCELLED:
                return b""  # it was held open when the recording was saved
            await playing.until(build.solve.ended_ns)
            if playing.was_cancelled:
                await self._wait_to_be_cancelled(f"{_CONTROL}Solve")
            if not await calling:
                asked = Asked(f"{_CONTROL}Solve", b"", "this build of this archive")
                raise not_recorded(self.tape, self.path, asked)
            playing.clock.end(build.solve.ended_ns - build.solve.began_ns)
            return self._answer(build.solve, playing)
        finally:
            calling.cancel()
            await asyncio.gather(calling, return_exceptions=True)

    async def _wait_to_be_cancelled(self, method: str) -> None:
        """Let the client give a build up that it gave up when it was recorded; what else would have come is unknown."""
        await asyncio.sleep(GIVE_UP_S)
        raise not_recorded(
            self.tape,
            self.path,
            Asked(method, b"", "more of this build, which was cancelled when it was recorded"),
        )

    async def _solve_graph(self, playing: Playing, method: str, request: bytes) -> bytes:
        """Answer a solve of a build that its client runs; the first one says which build it is."""
        key = key_of(method, request, self._names)
        asked = gateway_pb2.SolveRequest.FromString(request)
        graphs = [*asked.FrontendInputs.values()]
        if asked.HasField("Definition"):
            graphs.append(asked.Definition)
        for graph in graphs:
            playing.locals.update(read_graph(graph).locals)
            playing.headers.update(read_graph(graph).headers)
        if playing.build is None or not any(c.key == key for c in playing.build.calls):
            fitting = [b for b in playing.candidates if any(c.key == key for c in b.calls)]
            if not fitting:
                raise not_recorded(self.tape, self.path, Asked(method, request))
            await self._bind(playing, fitting, Asked(method, request))
        call = playing.choose([c for c in playing.bound.calls if c.key == key])
        self._translate(playing, graphs, call)
        await playing.anchored(call)
        await playing.until(call.ended_ns)
        if call.code == CANCELLED:
            await self._wait_to_be_cancelled(method)
        if call.code and asked.HasField("Definition"):
            raise _failure(call, with_sources(self._here(call.details, playing), asked.Definition))
        return self._answer(call, playing)

    async def _return(self, playing: Playing, method: str, request: bytes) -> bytes:
        told = gateway_pb2.ReturnRequest.FromString(request)
        key = key_of(method, request, self._names)
        fitting = [b for b in playing.candidates if any(c.key == key for c in b.calls)]
        if playing.build is not None:
            solves = {c.key for c in playing.build.calls if c.name == "Solve"}
            fitting = [b for b in fitting if solves <= {c.key for c in b.calls}]
        if told.HasField("error"):
            playing.error = (
                told.error.code, told.error.message, told.error.SerializeToString(),
            )  # fmt: skip
        elif not self._fits(playing, fitting):
            if not fitting:
                raise not_recorded(
                    self.tape,
                    self.path,
                    Asked(method, request, "this image configuration"),
                )
            await self._bind(playing, fitting, Asked(method, request))
        if playing.build is None and playing.candidates:
            playing.bind(playing.candidates[-1])
        if playing.build is not None:
            for call in playing.build.calls:
                if call.name == "Return":
                    await playing.anchored(call)
        playing.has_returned.set()
        playing.is_bound.set()
        return b""

    def _fits(self, playing: Playing, fitting: Sequence[TapedBuild]) -> bool:
        """Whether a build is what its result says; of one that was held open to be looked at, the result is nothing."""
        if playing.build is None:
            return not playing.candidates or playing.candidates[0].is_internal
        return playing.build.is_internal or playing.build in fitting

    async def _bind(self, playing: Playing, builds: Sequence[TapedBuild], asked: Asked) -> None:
        """Choose among builds that were asked for in the same words: those of the same files, in order."""
        same = [build for build in builds if await self._has_same_files(playing, build)]
        if not same:
            raise not_recorded(self.tape, self.path, asked, files_of=builds)
        fresh = [build for build in same if build.number not in self._played]
        chosen = fresh[0] if fresh else same[-1]
        if playing.build is not None:
            self._played.discard(playing.build.number)
        self._played.add(chosen.number)
        self._refs[chosen.ref.encode()] = playing.ref.encode()
        self._names.add(playing.ref, f"build {chosen.number}")
        playing.bind(chosen)

    async def _has_same_files(self, playing: Playing, build: TapedBuild) -> bool:
        offers = self._offers.get(playing.session_id)
        trees = {} if offers is None else offers.trees
        for (name, *patterns), digest in build.contexts:
            here = playing.locals.get(local_name(name), name)
            tree = trees.get(here)
            if tree is None:
                return False
            wanted: ContextRequest = (here, *patterns)  # type: ignore[assignment]  # three lists
            found = self._digests.get((playing.session_id, wanted))
            if found is None:
                found = await asyncio.to_thread(digest_tree, tree, wanted)
                self._digests[playing.session_id, wanted] = found
            if found != digest:
                return False
        return True

    def _translate(
        self, playing: Playing, graphs: Sequence[ops_pb2.Definition], call: Call
    ) -> None:
        """Note which op of the recording is which op here."""
        here = {op.key: op.digest for graph in graphs for op in read_graph(graph).ops}
        for op in call.ops:
            now = here.get(op.key, op.digest)
            if now != op.digest:
                playing.digests[f"sha256:{op.digest}".encode()] = f"sha256:{now}".encode()

    async def _status(self, ref: str) -> AsyncIterator[bytes]:
        playing = await self._find(ref)
        waiting = [
            asyncio.ensure_future(event.wait()) for event in (playing.is_bound, playing.is_over)
        ]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waiting:
                one.cancel()
        build = playing.build
        if build is None:
            return
        by_ns: int | None = None
        number = 0
        while number < len(playing.messages()):
            if playing.build is not build or by_ns is None:
                # Progress replaces what was told before, so one that turns out to be another begins anew.
                build, number = playing.bound, 0
                began_ns = self.tape.began_ns
                by_ns = playing.clock.base_ns - began_ns - build.solve.began_ns
                by_ns += skew_ns(playing.messages(), began_ns)
            message = playing.messages()[number]
            await playing.until(message.at_ns)
            if playing.build is build:
                number += 1
                yield self._here(shift(message.data, by_ns), playing)


def _failure(call: Call, details: bytes) -> RpcFailed:
    return RpcFailed(Status(call.code), call.text, details)
