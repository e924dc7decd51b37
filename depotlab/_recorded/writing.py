"""Makes a recording of what was heard."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from depotlab._proto import control_pb2, ops_pb2
from depotlab._recorded.canonical import Graph, Names, digest_of, header_names, key_of, read_graph
from depotlab._recorded.covering import cover
from depotlab._recorded.describing import describe
from depotlab._recorded.heard import BRIDGE, CONTROL, Heard
from depotlab._recorded.hide import Hider
from depotlab._recorded.learning import learn
from depotlab._recorded.sources import kept_answer, kept_details
from depotlab._recorded.tape import Call, Message, OpNote, TapedBuild

__all__ = ["Writer"]

_BUILD_HEADER = "buildkit-controlapi-buildid"
_DROPPED_HEADERS = ("user-agent", "traceparent", "baggage", "containerd-lease")


class Writer:
    """Makes builds and calls of what was heard.

    Args:
        heard: In the order in which the calls began.
        began_ns: When the recording began, in nanoseconds since 1970.
        hider: Takes secrets out.
    """

    def __init__(self, heard: Sequence[Heard], began_ns: int, hider: Hider) -> None:
        self._heard = heard
        self._began_ns = began_ns
        self._now_ns = time.time_ns()
        self._hider = hider
        self._names = Names()
        self._solves: list[tuple[int, control_pb2.SolveRequest]] = []
        self._by_ref: dict[str, int] = {}
        self._by_session: dict[str, int] = {}
        self._locals: dict[int, dict[str, str]] = {}
        self._headers: dict[int, dict[str, str]] = {}  # what they stand for, by what they say

    def write(self) -> tuple[list[TapedBuild], list[Call]]:
        """Return builds and calls."""
        for place, heard in enumerate(self._heard):
            self._note_build(place, heard)
        for heard in self._heard:
            self._note_graphs(heard)
        calls = [self._call(place, heard) for place, heard in enumerate(self._heard)]
        return [self._build(number, calls) for number in range(len(self._solves))], calls

    def _note_build(self, place: int, heard: Heard) -> None:
        request = heard.build_request
        if request is None:
            return
        number = len(self._solves)
        self._solves.append((place, request))
        self._by_ref[request.Ref] = number
        self._names.add(request.Ref, f"build {number}")
        if request.Session:
            self._by_session[request.Session] = number
        self._note_headers(number, header_names(request))

    def _note_graphs(self, heard: Heard) -> None:
        number = self._build_of(heard)
        for graph in _graphs(heard):
            self._locals.setdefault(number, {}).update(graph.locals)
            self._note_headers(number, graph.headers)

    def _note_headers(self, number: int, headers: Mapping[str, str]) -> None:
        said = self._headers.setdefault(number, {})
        said.update({value: meaning for meaning, value in headers.items()})

    def _build_of(self, heard: Heard) -> int:
        exchange = heard.exchange
        if exchange.asker == "daemon":
            return self._by_session.get(exchange.session_id or "", -1)
        if exchange.service == BRIDGE:
            ref = next(iter(exchange.headers.get(_BUILD_HEADER, ())), "")
        elif heard.build_request is not None:
            ref = heard.build_request.Ref
        elif exchange.path == f"/{CONTROL}/Status" and heard.requests:
            ref = control_pb2.StatusRequest.FromString(heard.requests[0]).Ref
        else:
            return -1
        return self._by_ref.get(ref, -1)

    def _call(self, place: int, heard: Heard) -> Call:
        exchange, hide = heard.exchange, self._hider
        asked, built = heard.graph_request, heard.build_request
        # What is told of a graph has the places in the code that made it.
        is_graph = asked is not None and asked.HasField("Definition")
        clean = kept_answer(exchange.path, of_graph=is_graph)
        answers = cover(exchange.path, [clean(data) for _, data, _ in heard.answers], hide)
        details = kept_details(
            heard.details, of_graph=is_graph or (built is not None and not built.Frontend)
        )
        call = Call(
            number=place,
            method=exchange.path,
            build=self._build_of(heard),
            began_ns=exchange.began_ns - self._began_ns,
            ended_ns=(heard.ended_ns or self._now_ns) - self._began_ns,
            code=heard.code,
            text=hide.hide_text(heard.text),
            details=hide.hide(details),
            messages=tuple(
                Message(at_ns - self._began_ns, data, n_before)
                for (at_ns, _, n_before), data in zip(heard.answers, answers, strict=True)
            ),
        )
        return (
            self._of_daemon(call, heard)
            if exchange.asker == "daemon"
            else self._of_client(call, heard)
        )

    def _of_daemon(self, call: Call, heard: Heard) -> Call:
        said = self._headers.get(call.build, {})
        headers = tuple(
            (name, self._hider.hide_text(said.get(value, value)))
            for name, values in heard.exchange.headers.items()
            if name not in _DROPPED_HEADERS
            for value in values
        )
        archive = "" if heard.archive is None else heard.archive.hexdigest()
        return replace(call, headers=headers, context=heard.context or archive)

    def _of_client(self, call: Call, heard: Heard) -> Call:
        if not heard.requests:
            return replace(call, key="nothing was asked")
        hide, request = self._hider.hide_text, heard.requests[0]
        call = replace(
            call,
            key=key_of(call.method, request, self._names),
            ops=tuple(
                OpNote(op.key, op.digest, hide(op.label))
                for graph in _graphs(heard)
                for op in graph.ops
            ),
            asked=tuple((name, hide(text)) for name, text in describe(call.method, request)),
            stdin=digest_of(bytes(heard.stdin)) if heard.stdin else "",
        )
        learn(self._names, call, request)
        return call

    def _build(self, number: int, calls: Sequence[Call]) -> TapedBuild:
        place, request = self._solves[number]
        solve = calls[place]
        mine = [call for call in calls if call.build == number and call is not solve]
        status = next((c for c in mine if c.is_control and c.name == "Status"), None)
        return TapedBuild(
            number,
            solve,
            request.Ref,
            request.Session,
            tuple(c for c in mine if not c.is_of_daemon and c is not status),
            tuple(c for c in mine if c.is_of_daemon),
            status,
            tuple(self._locals.get(number, {}).items()),
            request.Internal,
        )


def _graphs(heard: Heard) -> list[Graph]:
    """Return the graphs of a request, those that a frontend is given too."""
    request = heard.build_request or heard.graph_request
    if request is None:
        return []
    found: list[ops_pb2.Definition] = list(request.FrontendInputs.values())
    if request.HasField("Definition"):
        found.append(request.Definition)
    return [read_graph(one) for one in found]
