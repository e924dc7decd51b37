"""How one build ends, with a daemon that is a script."""

import asyncio
import importlib

import pytest

from depotlab._proto import control_pb2
from depotlab._rpc import RpcFailed, Status
from depotlab.buildkit.spec import SolveSpec
from depotlab.errors import (
    BuildCanceled,
    ConnectionLost,
    DaemonError,
    ProtocolError,
    SessionError,
)
from depotlab.progress import VertexUpdated, WarningRaised

module = importlib.import_module("depotlab.buildkit.solve")  # the room's name is the function's
for_ever = asyncio.Event


class Endpoint:
    address = "unix:///run/b.sock"
    session_dialer = None
    docker = None


class Stream:
    """Status: messages, then an end or a failure."""

    def __init__(self, items):
        self.items = list(items)
        self.is_closed = False

    async def read_many(self):
        if not self.items:
            return []
        item = self.items.pop(0)
        if isinstance(item, Exception):
            raise item
        if item is for_ever:
            await asyncio.Event().wait()
        return [item]

    async def header(self, name):
        return ""

    async def close(self):
        self.is_closed = True


class Bytes:
    """The session's bytes: silent until it is closed, or ended by the daemon."""

    def __init__(self, end=None):
        self.end = end
        self.is_closed = False

    async def read(self):
        if self.end is None:
            await asyncio.Event().wait()
        if isinstance(self.end, Exception):
            raise self.end
        return

    async def write(self, pieces):
        pass

    async def close(self):
        self.is_closed = True


class Channel:
    """Attributes:
    solve: What Solve comes to: an answer, a failure, or `for_ever`.
    """

    def __init__(self, solve, status=(), session=None):
        self.endpoint = Endpoint()
        self.solve = solve
        self.status = Stream(status)
        self.bytes = session or Bytes()
        self.calls = []

    async def unary(self, method, request, **_):
        name = method.rpartition("/")[2]
        self.calls.append(name)
        await asyncio.sleep(0)
        if name != "Solve":
            return b""
        if self.solve is for_ever:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.calls.append("cancelled")
                raise
        if isinstance(self.solve, Exception):
            raise self.solve
        return control_pb2.SolveResponse(ExporterResponse=self.solve).SerializeToString()

    async def ask(self, method, request):
        if isinstance(self.status, Exception):
            raise self.status
        return self.status

    async def open_bytes(self, method, **_):
        return self.bytes

    def prepare_bytes(self):
        pass


class Session:
    def __init__(self, problems=()):
        self.id = "s1"
        self.handlers = {}
        self.problems = list(problems)
        self.is_given_up = False

    def give_up(self):
        self.is_given_up = True

    def metadata(self):
        return []


def vertex(**fields):
    return control_pb2.StatusResponse(
        vertexes=[control_pb2.Vertex(digest="sha256:1", **fields)]
    ).SerializeToString()


FAILED = RpcFailed(Status.UNKNOWN, "the step broke")


def build(channel, *, spec=None, session=None, timeout_s=60):
    events = []

    async def main():
        async with asyncio.timeout(timeout_s):
            answer = await module.solve(
                channel, spec or SolveSpec("r"), session or Session(), events.extend
            )
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left
        return answer

    try:
        return asyncio.run(main()), events
    finally:
        assert channel.bytes.is_closed
        assert getattr(channel.status, "is_closed", True)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(module, "STATUS_SILENCE_S", 0.5)
    monkeypatch.setattr(module, "STATUS_NEVER_S", 0.3)
    monkeypatch.setattr(module, "SESSION_GRACE_S", 0.3)


def test_the_answer_and_all_events_are_returned():
    answer, events = build(Channel({"a": "b"}, [vertex(name="one"), vertex(name="two")]))
    assert answer == {"a": "b"}
    assert [e.name for e in events if type(e) is VertexUpdated] == ["one", "two"]


def test_a_status_that_breaks_off_does_not_hide_why_the_build_failed():
    channel = Channel(FAILED, [RpcFailed(Status.INTERNAL, "RST_STREAM")])
    with pytest.raises(DaemonError, match="the step broke"):
        build(channel)


def test_a_status_that_breaks_off_in_a_build_that_succeeds_is_told():
    with pytest.raises(ProtocolError, match="RST_STREAM"):
        build(Channel({}, [RpcFailed(Status.INTERNAL, "RST_STREAM")]))


def test_progress_that_cannot_be_had_is_told_and_the_build_goes_on():
    channel = Channel({"a": "b"})
    channel.status = ConnectionLost("it broke", address="unix:///run/b.sock")
    answer, events = build(channel)
    assert answer == {"a": "b"}
    assert WarningRaised("", 1, "Progress is not shown any more.", ("it broke",)) in events


def test_progress_that_is_lost_on_the_way_is_told_and_the_build_goes_on():
    lost = ConnectionLost("it broke", address="unix:///run/b.sock")
    answer, events = build(Channel({"a": "b"}, [vertex(name="one"), lost]))
    assert answer == {"a": "b"}
    assert [e.name for e in events if type(e) is VertexUpdated] == ["one"]
    assert WarningRaised("", 1, "Progress is not shown any more.", ("it broke",)) in events


def test_progress_that_is_lost_with_the_link_is_no_matter_of_its_own():
    lost = ConnectionLost("it broke", address="unix:///run/b.sock")
    events = []

    async def main():
        channel = Channel(lost, [vertex(name="one"), lost])
        with pytest.raises(ConnectionLost):
            await module.solve(channel, SolveSpec("r"), Session(), events.extend)
        await asyncio.sleep(2 * module.SESSION_GRACE_S)

    asyncio.run(main())
    assert [e.name for e in events if type(e) is VertexUpdated] == ["one"]
    assert not any(type(e) is WarningRaised for e in events)


def test_progress_that_is_lost_is_told_while_the_build_runs():
    lost = ConnectionLost("it broke", address="unix:///run/b.sock")
    told = asyncio.Event()

    async def main():
        def take(events):
            if any(type(e) is WarningRaised for e in events):
                told.set()

        building = asyncio.create_task(
            module.solve(Channel(for_ever, [lost]), SolveSpec("r"), Session(), take)
        )
        await asyncio.wait_for(told.wait(), 60)
        building.cancel()
        await asyncio.wait([building])

    asyncio.run(main())


def test_a_status_that_never_ends_is_given_up_after_a_silence():
    answer, events = build(Channel({"a": "b"}, [vertex(name="one"), for_ever]))
    assert answer == {"a": "b"}
    assert events


def test_trouble_on_our_side_is_a_warning_when_the_build_succeeds():
    session = Session([SessionError("a login failed", hint="log in")])
    _, events = build(Channel({}), session=session)
    assert WarningRaised("", 1, "a login failed", ("log in",)) in events


def test_trouble_on_our_side_is_the_cause_when_the_build_fails():
    session = Session([SessionError("a file vanished")])
    with pytest.raises(SessionError, match="a file vanished"):
        build(Channel(FAILED), session=session)


def test_a_frontend_of_ours_that_fails_ends_the_build_on_the_daemon():
    async def run(bridge):
        raise LookupError("our mistake")

    channel = Channel(for_ever)
    with pytest.raises(LookupError, match="our mistake"):
        build(channel, spec=SolveSpec("r", run=run))
    assert channel.calls[-1] == "cancelled"


def test_what_the_daemon_told_our_frontend_is_returned_to_it():
    async def run(bridge):
        raise RpcFailed(Status.UNKNOWN, "no such image")

    channel = Channel(for_ever)
    with pytest.raises(DaemonError, match="no such image"):
        build(channel, spec=SolveSpec("r", run=run))
    assert "Return" in channel.calls


def test_a_session_that_the_daemon_ends_ends_the_build():
    channel = Channel(for_ever, session=Bytes(end=True))
    with pytest.raises(ConnectionLost, match="ended the session"):
        build(channel)
    assert channel.calls[-1] == "cancelled"


def test_a_cancelled_build_is_a_cancelled_build():
    with pytest.raises(BuildCanceled):
        build(Channel(RpcFailed(Status.CANCELLED, "")))


def test_an_interrupted_build_is_cancelled_on_the_daemon():
    channel, session = Channel(for_ever, [vertex(name="one"), for_ever]), Session()
    with pytest.raises(TimeoutError):
        build(channel, session=session, timeout_s=0.2)
    assert channel.calls[-1] == "cancelled"
    assert session.is_given_up


def test_a_cache_that_is_not_there_is_a_warning():
    missed = vertex(name="importing cache manifest from r/c:1", error="r/c:1: not found")
    _, events = build(Channel({}, [missed]))
    assert [e.short for e in events if type(e) is WarningRaised] == [
        "There is no cache r/c:1 to start from."
    ]
