"""Secrets are covered, directories compared, times moved, and what is missing is said with what is near."""

from __future__ import annotations

import asyncio
import base64
import itertools
import math
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depotlab import llb
from depotlab._proto import control_pb2, gateway_pb2, ops_pb2, rpcstatus_pb2
from depotlab._recorded.clock import USUAL_MAX_S, Clock, PlayedFold
from depotlab._recorded.contexts import digest_tree, read_context_request
from depotlab._recorded.covering import cover
from depotlab._recorded.hide import Hider
from depotlab._recorded.nearest import Asked, not_recorded
from depotlab._recorded.sources import kept_answer, kept_details, with_sources
from depotlab._recorded.status import shift, skew_ns
from depotlab._recorded.tape import Call, Message, OpNote, Tape
from depotlab._transfer import HostTree, MemoryTree
from depotlab.progress import BuildEnded, BuildStarted, Phase

SOLVE = "/moby.buildkit.v1.frontend.LLBBridge/Solve"


# --------------------------------------------------------------------------------------- secrets


@given(st.binary(min_size=8, max_size=40), st.binary(max_size=20), st.binary(max_size=20))
def test_a_secret_is_covered_wherever_it_stands_and_nothing_else_moves(secret, before, after):
    covered = Hider([secret]).hide(before + secret + after)
    assert secret.strip() == b"" or secret not in covered or set(secret) == {ord("*")}
    assert len(covered) == len(before + secret + after)


@given(st.binary(min_size=16, max_size=40), st.integers(0, 5), st.integers(0, 5))
def test_a_secret_is_covered_in_base64_too(secret, n_before, n_after):
    text = base64.b64encode(b"x" * n_before + secret + b"y" * n_after)
    covered = Hider([secret]).hide(text)
    assert len(covered) == len(text)
    assert covered.count(b"*") >= len(secret)


def test_the_lines_of_a_secret_are_secrets():
    hider = Hider([b"first line\nsecond line\n"])
    assert hider.hide(b"> second line") == b"> ***********"
    assert hider.hide_text("first line!") == "**********!"


@given(st.binary(min_size=8, max_size=30), st.lists(st.integers(0, 60), max_size=5))
def test_a_secret_is_covered_when_a_log_comes_in_pieces(secret, cuts):
    text = b"before " + secret + b" after"
    places = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    messages = []
    for start, end in itertools.pairwise(places):
        told = control_pb2.StatusResponse()
        told.logs.add(vertex="one", stream=1, msg=text[start:end])
        told.logs.add(vertex="another", stream=1, msg=b"between")
        messages.append(told.SerializeToString())
    hider = Hider([secret])
    covered = [
        control_pb2.StatusResponse.FromString(data)
        for data in cover("/moby.buildkit.v1.Control/Status", messages, hider)
    ]
    told = b"".join(one.logs[0].msg for one in covered)
    assert len(told) == len(text)
    assert told == hider.hide(told)
    assert secret not in told or set(secret) == {ord("*")}
    assert {one.logs[1].msg for one in covered} <= {hider.hide(b"between")}


def test_a_secret_is_covered_when_a_process_writes_it_letter_by_letter():
    def written(data):
        file = gateway_pb2.FdMessage(Fd=1, Data=data)
        return gateway_pb2.ExecMessage(ProcessID="p", File=file).SerializeToString()

    ended = gateway_pb2.ExecMessage(ProcessID="p", Exit=gateway_pb2.ExitMessage(Code=1))
    sent = [*(written(bytes([letter])) for letter in b"my secret!"), ended.SerializeToString()]
    told = [
        gateway_pb2.ExecMessage.FromString(data)
        for data in cover(SOLVE.replace("Solve", "ExecProcess"), sent, Hider([b"secret"]))
    ]
    assert b"".join(one.File.Data for one in told) == b"my ******!"
    assert told[-1].Exit.Code == 1


def test_what_is_too_short_to_be_one_is_left_and_nothing_hides_nothing():
    assert Hider([b"abc", b""]).hide(b"abc") == b"abc"
    assert Hider().hide(b"abc") == b"abc"


# ----------------------------------------------------------------------------------- directories

WHOLE = read_context_request({"dir-name": ["app"]})


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "sub/b.sh").write_text("b")
    (tmp_path / "link").symlink_to("a.txt")
    return tmp_path


def test_a_checkout_elsewhere_is_the_same_directory(folder):
    before = digest_tree(HostTree(folder), WHOLE)
    os.utime(folder / "a.txt", (1, 1))
    (folder / "a.txt").chmod(0o600)
    assert digest_tree(HostTree(folder), WHOLE) == before


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda f: (f / "a.txt").write_text("b"), id="content of the same length"),
        pytest.param(lambda f: (f / "sub/b.sh").chmod(0o755), id="a file that can be executed"),
        pytest.param(lambda f: (f / "c").touch(), id="one file more"),
        pytest.param(lambda f: (f / "a.txt").unlink(), id="one file less"),
        pytest.param(lambda f: (f / "a.txt").rename(f / "A.txt"), id="another name"),
        pytest.param(lambda f: (f / "d").mkdir(), id="one directory more"),
    ],
)
def test_every_other_change_makes_it_another(change, folder):
    before = digest_tree(HostTree(folder), WHOLE)
    change(folder)
    assert digest_tree(HostTree(folder), WHOLE) != before


def test_only_what_is_asked_for_counts(folder):
    asked = read_context_request({"dir-name": ["app"], "exclude-patterns": ["sub"]})
    before = digest_tree(HostTree(folder), asked)
    (folder / "sub/b.sh").write_text("another")
    assert digest_tree(HostTree(folder), asked) == before


def test_patterns_that_are_encoded_are_read():
    asked = read_context_request(
        {"dir-name": ["a"], "include-patterns": ["%C3%A4+b"], "include-patterns-encoded": ["1"]}
    )
    assert asked == ("a", ("ä b",), (), ())


def test_files_in_memory_and_on_disk_are_the_same(tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "a").chmod(0o644)
    assert digest_tree(MemoryTree({"a": b"x"}), WHOLE) == digest_tree(HostTree(tmp_path), WHOLE)


# ------------------------------------------------------------------------------------------ time


def status(started_ns, log_ns):
    message = control_pb2.StatusResponse()
    message.vertexes.add(digest="d").started.FromNanoseconds(started_ns)
    message.logs.add(vertex="d", msg=b"x").timestamp.FromNanoseconds(log_ns)
    return message.SerializeToString()


def test_all_times_of_a_message_are_moved():
    moved = control_pb2.StatusResponse.FromString(shift(status(5_000, 9_000), 1_000))
    assert moved.vertexes[0].started.ToNanoseconds() == 6_000
    assert moved.logs[0].timestamp.ToNanoseconds() == 10_000
    assert not moved.vertexes[0].HasField("completed")


@pytest.mark.parametrize(
    ("daemon_ahead_s", "skew_s"),
    [
        pytest.param(0, 0, id="one clock"),
        pytest.param(3600, -3600, id="a daemon that is ahead"),
        pytest.param(-3600, 3600, id="a daemon that is behind"),
    ],
)
def test_the_clock_of_another_machine_is_found_out(daemon_ahead_s, skew_s):
    began_ns, s = 10**18, 10**9
    messages = [
        Message(at, status(*[began_ns + at + daemon_ahead_s * s] * 2)) for at in (1 * s, 2 * s)
    ]
    assert skew_ns(messages, began_ns) == skew_s * s


def test_a_clock_stands_where_the_recording_does_however_fast_that_is():
    async def play() -> Clock:
        clock = Clock(math.inf)
        clock.begin(60 * 10**9, then_ns=0, at_ns=10**18)
        await clock.wait(60 * 10**9)
        clock.reach(30 * 10**9)
        return clock

    clock = asyncio.run(play())
    assert clock.now_ns() - clock.base_ns == 30 * 10**9
    clock.end(60 * 10**9)
    assert clock.now_ns() - clock.base_ns == 60 * 10**9


def test_nobody_waits_longer_for_a_build_than_is_usual():
    clock = Clock(None)
    clock.begin(int(100 * USUAL_MAX_S * 1e9), then_ns=0, at_ns=10**18)
    assert clock.left_s(int(100 * USUAL_MAX_S * 1e9), since_s=math.inf) == math.inf
    quick = Clock(None)
    quick.begin(10**9, then_ns=0, at_ns=10**18)
    assert quick.left_s(10**9, since_s=10**9) > clock.left_s(10**9, since_s=10**9)


def test_a_build_takes_as_long_as_it_took():
    clock = Clock(math.inf)
    fold = PlayedFold(clock)
    fold.feed([BuildStarted(1, "app", "here")])
    clock.begin(10**9, then_ns=5 * 10**8, at_ns=10**18)
    clock.end(7 * 10**9)
    fold.feed([BuildEnded(2, Phase.SUCCEEDED)])
    snapshot = fold.snapshot(at_ns=3)
    assert snapshot.ended_ns - snapshot.started_ns == 7 * 10**9
    assert snapshot.started_ns == 10**18 - 5 * 10**8, "whole seconds after the recording"
    assert (snapshot.target, snapshot.where) == ("app", "here")


# -------------------------------------------------------------------------------- what is missing


def tape(*calls):
    return Tape("", 0, "", "", [], calls)


def noted(*labels):
    return Call(
        0, SOLVE, key="k", ops=tuple(OpNote(f"key {label}", "d", label) for label in labels)
    )


def asked(state):
    definition = ops_pb2.Definition.FromString(state.marshal().to_bytes())
    return Asked(SOLVE, gateway_pb2.SolveRequest(Definition=definition).SerializeToString())


def test_what_comes_nearest_comes_first_with_what_differs():
    base = llb.image("busybox").run("first", name="first")
    want = asked(base.run("second", name="second"))
    near = gateway_pb2.SolveRequest.FromString(asked(base).request)
    from depotlab._recorded.canonical import read_graph

    ops = tuple(OpNote(o.key, o.digest, o.label) for o in read_graph(near.Definition).ops)
    error = not_recorded(
        tape(noted("elsewhere"), Call(1, SOLVE, key="k", ops=ops)), "/a/x.depotlab", want
    )
    assert str(error).startswith("x.depotlab does not have a build that ends with 'second'.")
    assert error.nearest[0] == "the build that ends with 'first': it does not have 'second'"
    assert "elsewhere" in error.nearest[1]
    assert error.path == "/a/x.depotlab"


def test_files_that_were_read_are_named():
    method = "/moby.buildkit.v1.frontend.LLBBridge/ReadFile"
    request = gateway_pb2.ReadFileRequest(Ref="r", FilePath="/b").SerializeToString()
    error = not_recorded(
        tape(Call(0, method, key="k", asked=(("path", "/a"),))), "x", Asked(method, request)
    )
    assert "the file /b of this state" in str(error)
    assert error.nearest == ("/a",)


def test_options_are_named_and_their_values_are_not_told():
    method = "/moby.buildkit.v1.Control/Solve"
    request = control_pb2.SolveRequest(
        Frontend="dockerfile.v0", FrontendAttrs={"build-arg:TOKEN": "hunter2", "target": "app"}
    ).SerializeToString()
    recorded = Call(0, method, key="k", asked=(("frontend", "dockerfile.v0"), ("target", "web")))
    error = not_recorded(tape(recorded), "x", Asked(method, request))
    assert "build-arg:TOKEN" in error.nearest[0]
    assert "target" in error.nearest[0]
    assert "hunter2" not in str(error)


# ---------------------------------------------------------------------------- places in the code


def details(*kinds):
    found = rpcstatus_pb2.Status(code=2, message="no")
    for kind, value in kinds:
        found.details.add(type_url=f"github.com/moby/buildkit/{kind}+json", value=value)
    return found.SerializeToString()


def kinds(data):
    return [
        one.type_url.rpartition("/")[2] for one in rpcstatus_pb2.Status.FromString(data).details
    ]


def test_of_a_failure_stack_traces_go_and_of_graphs_places_in_code():
    whole = details(("stack.Stack", b"{}"), ("errdefs.Source", b"{}"), ("errdefs.Vertex", b"{}"))
    assert kinds(kept_details(whole, of_graph=False)) == [
        "errdefs.Source+json",
        "errdefs.Vertex+json",
    ]
    assert kinds(kept_details(whole, of_graph=True)) == ["errdefs.Vertex+json"]
    assert kept_details(b"", of_graph=True) == b""


def test_places_come_back_from_the_graph_that_is_built_now():
    definition = ops_pb2.Definition()
    definition.Source.infos.add(filename="cell [3]", data=b"the code")
    place = definition.Source.locations["sha256:1"].locations.add()
    place.ranges.add().start.line = 7
    told = with_sources(details(("errdefs.Vertex", b'{"digest":"sha256:1"}')), definition)
    assert kinds(told) == ["errdefs.Vertex+json", "errdefs.Source+json"]
    assert b"cell [3]" in told
    other = details(("errdefs.Vertex", b'{"digest":"sha256:2"}'))
    assert with_sources(other, definition) == other


def test_a_graph_that_is_repeated_is_kept_without_the_code():
    answer = gateway_pb2.SolveResponse()
    getattr(answer.result.ref, "def").Source.infos.add(filename="f", data=b"the code")
    answer.result.ref.id = "r"
    kept = kept_answer(SOLVE, of_graph=True)(answer.SerializeToString())
    assert b"the code" not in kept
    assert gateway_pb2.SolveResponse.FromString(kept).result.ref.id == "r"
