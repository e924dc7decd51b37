"""One build, and when it is asked for a second time."""

import asyncio

import pytest

from depotlab.buildkit import attempts
from depotlab.buildkit.attempts import Attempt, solve_with_retry
from depotlab.buildkit.spec import SolveSpec
from depotlab.errors import ConnectionLost, StepFailed, Unreachable
from depotlab.progress import BytesMoved, VertexUpdated, WarningRaised

LOST = ConnectionLost("The connection was lost.", address="unix:///x")
ANNOUNCED = VertexUpdated("sha256:1", "RUN make")
STARTED = VertexUpdated("sha256:1", "RUN make", started_ns=5)


class Scene:
    """A daemon as a script: for each attempt the events it reports, and how it ends."""

    def __init__(self, monkeypatch, *script, connects=()):
        self.script = list(script)
        self.connects = list(connects)
        self.calls = []
        self.events = []
        self.specs = []
        monkeypatch.setattr(attempts, "solve", self._solve)
        monkeypatch.setattr(attempts, "RECONNECT_PAUSE_S", 0.001)

    async def connect(self, *, fresh=False):
        self.calls.append(fresh)
        if fresh and self.connects:
            raise self.connects.pop(0)
        return object()

    def attempt(self):
        self.specs.append(SolveSpec(f"ref{len(self.specs)}"))
        return Attempt(self.specs[-1], object())

    async def _solve(self, channel, spec, session, on_events):
        events, end = self.script.pop(0)
        for event in events:
            on_events([event])
        if isinstance(end, BaseException):
            raise end
        return end

    def run(self):
        return asyncio.run(solve_with_retry(self.connect, self.attempt, self.events.extend))


def test_a_build_that_succeeds_is_asked_for_once_and_every_event_arrives(monkeypatch):
    scene = Scene(monkeypatch, ([ANNOUNCED, STARTED, BytesMoved(1, 2)], {"a": "b"}))
    solved = scene.run()
    assert (solved.ref, solved.response) == ("ref0", {"a": "b"})
    assert scene.events == [ANNOUNCED, STARTED, BytesMoved(1, 2)]
    assert scene.calls == [False]


def test_a_build_without_steps_still_reports_its_events(monkeypatch):
    scene = Scene(monkeypatch, ([ANNOUNCED], {}))
    scene.run()
    assert scene.events == [ANNOUNCED]


def test_a_connection_that_broke_before_anything_ran_is_tried_once_more_visibly(monkeypatch):
    scene = Scene(monkeypatch, ([ANNOUNCED], LOST), ([STARTED], {"x": "y"}))
    solved = scene.run()
    assert solved.ref == "ref1", "a name serves one build"
    assert scene.calls == [False, True]
    warning, *rest = scene.events
    assert isinstance(warning, WarningRaised)
    assert warning.short == "The connection broke before anything ran; trying once more."
    assert warning.detail == (LOST.message,)
    assert rest == [STARTED], "what was announced to the first attempt is left out"


def test_once_a_step_has_started_nothing_is_repeated(monkeypatch):
    scene = Scene(monkeypatch, ([ANNOUNCED, STARTED], LOST))
    with pytest.raises(ConnectionLost):
        scene.run()
    assert scene.calls == [False]
    assert scene.events == [ANNOUNCED, STARTED]


def test_the_second_loss_is_final(monkeypatch):
    again = ConnectionLost("Lost again.", address="unix:///x")
    scene = Scene(monkeypatch, ([], LOST), ([], again))
    with pytest.raises(ConnectionLost, match="Lost again"):
        scene.run()
    assert len(scene.specs) == 2


def test_a_failure_of_the_build_is_not_repeated(monkeypatch):
    scene = Scene(monkeypatch, ([ANNOUNCED], StepFailed("no", step="x", exit_code=1)))
    with pytest.raises(StepFailed):
        scene.run()
    assert scene.calls == [False]
    assert scene.events == [ANNOUNCED]


def test_a_daemon_that_comes_back_a_moment_later_is_waited_for(monkeypatch):
    gone = Unreachable("nobody listens")
    scene = Scene(monkeypatch, ([], LOST), ([], {}), connects=[gone, gone, gone])
    scene.run()
    assert scene.calls == [False, True, True, True, True]


def test_a_daemon_that_does_not_come_back_is_reported_with_what_happened_first(monkeypatch):
    monkeypatch.setattr(attempts, "RECONNECT_S", 0.0)
    scene = Scene(monkeypatch, ([], LOST), connects=[Unreachable("nobody listens")] * 9)
    with pytest.raises(Unreachable) as caught:
        scene.run()
    assert caught.value.__cause__ is LOST


def test_a_first_connection_that_cannot_be_made_is_not_retried(monkeypatch):
    scene = Scene(monkeypatch)

    async def refuse(*, fresh=False):
        scene.calls.append(fresh)
        raise Unreachable("nobody")

    with pytest.raises(Unreachable):
        asyncio.run(solve_with_retry(refuse, scene.attempt, scene.events.extend))
    assert scene.calls == [False]


def test_a_cancelled_build_is_not_repeated_and_loses_no_event(monkeypatch):
    scene = Scene(monkeypatch, ([ANNOUNCED], asyncio.CancelledError()))
    with pytest.raises(asyncio.CancelledError):
        scene.run()
    assert scene.calls == [False]
    assert scene.events == [ANNOUNCED]
