"""A daemon that is a recording: what it answers, in which order, and when."""

from __future__ import annotations

import asyncio
import hashlib
import math
import time

import pytest

from depotlab._proto import control_pb2, gateway_pb2, ops_pb2
from depotlab._recorded import player as player_module
from depotlab._recorded.canonical import Names, key_of
from depotlab._recorded.player import Player
from depotlab._recorded.tape import Call, Message, Tape, TapedBuild
from depotlab._rpc import RpcFailed, Status
from depotlab.errors import NotRecorded

CONTROL = "/moby.buildkit.v1.Control/"
BRIDGE = "/moby.buildkit.v1.frontend.LLBBridge/"


class Script:
    """Calls of a recording, written down one after the other; a call takes a millisecond."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.builds: list[TapedBuild] = []
        self.names = Names()

    def call(self, method, request=b"", answers=(), *, build=-1, at=None, ends=None, **fields):
        number = len(self.calls)
        at = number * 10 if at is None else at
        messages = tuple(
            Message((at + 1 if when is None else when) * 10**6, data)
            for when, data in ((a if isinstance(a, tuple) else (None, a)) for a in answers)
        )
        call = Call(
            number,
            method,
            key=key_of(method, request, self.names),
            build=build,
            began_ns=at * 10**6,
            ended_ns=(at + 1 if ends is None else ends) * 10**6,
            messages=messages,
            **fields,
        )
        self.calls.append(call)
        return call

    def build(self, response="", *, frontend="", status=(), calls=(), ends=1000, code=0, **options):
        """Add a build; `calls` are (method, request, answers) of the gateway."""
        number = len(self.builds)
        ref = f"{number}" * 25
        request = control_pb2.SolveRequest(Frontend=frontend, FrontendAttrs=options)
        answer = control_pb2.SolveResponse(ExporterResponse={"was": response})
        solve = self.call(
            f"{CONTROL}Solve",
            request.SerializeToString(),
            [answer.SerializeToString()],
            build=number,
            at=0,
            ends=ends,
            code=code,
        )
        told = self.call(f"{CONTROL}Status", ref.encode(), status, build=number, at=0, ends=ends)
        mine = tuple(
            self.call(f"{BRIDGE}{name}", data, answers, build=number, at=10 * place)
            for place, (name, data, answers) in enumerate(calls, 1)
        )
        self.builds.append(TapedBuild(number, solve, ref, f"s{number}", mine, (), told))
        return self

    def play(self, speed=math.inf, began_ns=0):
        tape = Tape("", began_ns, "v1", "", self.builds, self.calls)
        return Player(tape, path="x.depotlab", speed=speed)


def name_of(ref):
    """A name as builds have it, of 25 letters. Source: moby/buildkit `identity/randomid.go`."""
    return ref.ljust(25, "-")


def ask(ref="r", **fields):
    return control_pb2.SolveRequest(Ref=name_of(ref), **fields).SerializeToString()


def ask_status(ref="r"):
    return control_pb2.StatusRequest(Ref=name_of(ref)).SerializeToString()


def of(ref):
    return [("buildkit-controlapi-buildid", name_of(ref))]


def graph(command):
    definition = ops_pb2.Definition()
    op = ops_pb2.Op()
    op.exec.meta.args.append(command)
    data = op.SerializeToString()
    last = ops_pb2.Op()
    last.inputs.add(digest=f"sha256:{hashlib.sha256(data).hexdigest()}")
    getattr(definition, "def").extend([data, last.SerializeToString()])
    return gateway_pb2.SolveRequest(Definition=definition).SerializeToString()


def returned(config=b""):
    result = gateway_pb2.Result(metadata={"containerimage.config": config})
    return gateway_pb2.ReturnRequest(result=result).SerializeToString()


def solved(ref):
    result = gateway_pb2.Result(ref=gateway_pb2.Ref(id=name_of(ref)))
    return gateway_pb2.SolveResponse(result=result).SerializeToString()


def was(answer):
    return control_pb2.SolveResponse.FromString(answer).ExporterResponse["was"]


def status(name):
    message = control_pb2.StatusResponse()
    message.vertexes.add(digest=name, name=name)
    return message.SerializeToString()


def run(work):
    return asyncio.run(asyncio.wait_for(work, 60))


def test_the_same_question_has_its_answers_in_order_and_then_the_last_again():
    script = Script()
    for answer in (b"one", b"two"):
        script.call(f"{CONTROL}Info", b"", [answer])

    async def play():
        player = script.play()
        return [await player.unary(f"{CONTROL}Info", b"", ()) for _ in range(4)]

    assert run(play()) == [b"one", b"two", b"two", b"two"]


def test_another_question_has_no_answer():
    script = Script()
    script.call(f"{CONTROL}DiskUsage", b"a", [b"one"])
    with pytest.raises(NotRecorded):
        run(script.play().unary(f"{CONTROL}DiskUsage", b"b", ()))


def test_a_failure_is_repeated_with_its_details():
    script = Script()
    script.call(f"{CONTROL}Prune", b"", [], code=3, text="no", details=b"\x08\x03")
    with pytest.raises(RpcFailed) as caught:
        run(script.play().unary(f"{CONTROL}Prune", b"", ()))
    assert caught.value.status is Status.INVALID_ARGUMENT
    assert (caught.value.message, caught.value.details) == ("no", b"\x08\x03")


def test_builds_that_are_asked_for_in_the_same_words_are_played_in_order():
    script = Script().build("ran", frontend="f").build("cached", frontend="f")
    script.build("another", frontend="f", target="x")

    async def play():
        player = script.play()
        answers = [
            await player.unary(f"{CONTROL}Solve", ask(f"r{n}", Frontend="f"), ()) for n in range(3)
        ]
        other = ask("r9", Frontend="f", FrontendAttrs={"target": "x"})
        return [was(a) for a in [*answers, await player.unary(f"{CONTROL}Solve", other, ())]]

    assert run(play()) == ["ran", "cached", "cached", "another"]


def two_graphs():
    script = Script()
    for command in ("first", "second"):
        calls = [
            ("Solve", graph(command), [solved(f"ref of {command}")]),
            ("Return", returned(), [b""]),
        ]
        told = [(15, status(f"{command} runs")), (900, status(f"{command} is done"))]
        script.build(command, calls=calls, status=told)
    return script


async def run_graph(player, ref, command):
    """Be the client of a build; return what it came to and the progress."""
    solving = asyncio.create_task(player.unary(f"{CONTROL}Solve", ask(ref), ()))

    async def read():
        return [data async for data in player.many(f"{CONTROL}Status", ask_status(ref))]

    reading = asyncio.create_task(read())
    answer = await player.unary(f"{BRIDGE}Solve", graph(command), of(ref))
    await player.unary(f"{BRIDGE}Return", returned(), of(ref))
    names = [
        v.name
        for data in await reading
        for v in control_pb2.StatusResponse.FromString(data).vertexes
    ]
    result = gateway_pb2.SolveResponse.FromString(answer).result
    return was(await solving), result.ref.id, names


def test_a_build_that_its_client_runs_is_known_by_its_graph():
    async def play():
        player = two_graphs().play()
        return [await run_graph(player, f"r{c}", c) for c in ("second", "first")]

    assert run(play()) == [
        (c, name_of(f"ref of {c}"), [f"{c} runs", f"{c} is done"]) for c in ("second", "first")
    ]


@pytest.mark.parametrize("age_s", [0, 1, 10**9])
def test_progress_comes_once_however_old_the_recording_is(age_s):
    async def play():
        player = two_graphs().play(began_ns=time.time_ns() - age_s * 10**9)
        return await run_graph(player, "r", "first")

    assert run(play())[2] == ["first runs", "first is done"]


def test_builds_may_run_at_the_same_time():
    async def play():
        player = two_graphs().play()
        return await asyncio.gather(*(run_graph(player, f"r{c}", c) for c in ("second", "first")))

    assert [answer for answer, _, _ in run(play())] == ["second", "first"]


def test_a_graph_that_is_not_there_is_refused_and_the_build_ends_with_its_client():
    async def play():
        player = two_graphs().play()
        solving = asyncio.create_task(player.unary(f"{CONTROL}Solve", ask("r"), ()))
        with pytest.raises(NotRecorded):
            await player.unary(f"{BRIDGE}Solve", graph("third"), of("r"))
        solving.cancel()
        await asyncio.gather(solving, return_exceptions=True)
        return [data async for data in player.many(f"{CONTROL}Status", ask_status())]

    assert run(play()) == []


def test_builds_of_one_graph_are_told_apart_by_what_is_returned():
    script = Script()
    for config in (b"a", b"b"):
        calls = [("Solve", graph("x"), [solved("r")]), ("Return", returned(config), [b""])]
        script.build(config.decode(), calls=calls, status=[(20, status("s")), (900, status("t"))])

    async def build(player, ref, config):
        solving = asyncio.create_task(player.unary(f"{CONTROL}Solve", ask(ref), ()))
        await player.unary(f"{BRIDGE}Solve", graph("x"), of(ref))
        await player.unary(f"{BRIDGE}Return", returned(config), of(ref))
        return was(await solving)

    async def play():
        player = script.play()
        found = [await build(player, f"r{n}", c) for n, c in enumerate((b"b", b"a", b"b"))]
        solving = asyncio.create_task(player.unary(f"{CONTROL}Solve", ask("r"), ()))
        await player.unary(f"{BRIDGE}Solve", graph("x"), of("r"))
        with pytest.raises(NotRecorded, match="image configuration"):
            await player.unary(f"{BRIDGE}Return", returned(b"c"), of("r"))
        solving.cancel()
        await asyncio.gather(solving, return_exceptions=True)
        return found

    assert run(play()) == ["b", "a", "b"]


def test_what_came_after_a_question_is_not_told_before_it():
    async def play():
        player = two_graphs().play()
        solving = asyncio.create_task(player.unary(f"{CONTROL}Solve", ask("r"), ()))
        await player.unary(f"{BRIDGE}Solve", graph("first"), of("r"))
        told = player.many(f"{CONTROL}Status", ask_status())
        assert b"first runs" in await anext(told)
        later = asyncio.ensure_future(anext(told))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not later.done()
        await player.unary(f"{BRIDGE}Return", returned(), of("r"))
        assert b"first is done" in await later
        await solving

    run(play())


def test_a_failure_that_the_client_returns_is_how_its_build_ends():
    async def play():
        player = two_graphs().play()
        solving = asyncio.create_task(player.unary(f"{CONTROL}Solve", ask("r"), ()))
        await player.unary(f"{BRIDGE}Solve", graph("first"), of("r"))
        request = gateway_pb2.ReturnRequest()
        request.error.code, request.error.message = 9, "no"
        await player.unary(f"{BRIDGE}Return", request.SerializeToString(), of("r"))
        with pytest.raises(RpcFailed, match="no") as caught:
            await solving
        assert caught.value.details == request.error.SerializeToString()

    run(play())


def test_questions_may_come_before_their_build():
    script = Script().build("x", calls=[("Ping", b"", [b"pong"]), ("Return", returned(), [b""])])

    async def play():
        player = script.play()
        asking = asyncio.create_task(player.unary(f"{BRIDGE}Ping", b"", of("r")))
        await asyncio.sleep(0)
        assert not asking.done()
        solving = asyncio.create_task(player.unary(f"{CONTROL}Solve", ask("r"), ()))
        assert await asking == b"pong"
        await player.unary(f"{BRIDGE}Return", returned(), of("r"))
        return was(await solving)

    assert run(play()) == "x"


def test_a_build_that_nobody_asks_for_is_not_found(monkeypatch):
    monkeypatch.setattr(player_module, "FIND_S", 0.01)
    with pytest.raises(RpcFailed, match="no such job r") as caught:
        run(two_graphs().play().unary(f"{BRIDGE}Ping", b"", of("r")))
    assert caught.value.status is Status.NOT_FOUND


def test_a_build_that_was_cancelled_has_no_end_of_its_own(monkeypatch):
    monkeypatch.setattr(player_module, "GIVE_UP_S", 0.01)
    script = Script().build(frontend="f", code=1, status=[(5, status("s"))])
    with pytest.raises(NotRecorded, match="cancelled when it was recorded"):
        run(script.play().unary(f"{CONTROL}Solve", ask(Frontend="f"), ()))


def test_answers_have_the_names_of_builds_here():
    script = Script()
    script.call(f"{CONTROL}Info", b"", [b"about " + b"0" * 25])
    script.build("x", frontend="f")

    async def play():
        player = script.play()
        await player.unary(f"{CONTROL}Solve", ask("n", Frontend="f"), ())
        return await player.unary(f"{CONTROL}Info", b"", ())

    assert run(play()) == b"about " + name_of("n").encode()
