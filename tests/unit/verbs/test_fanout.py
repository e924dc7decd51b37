"""Many builds as one: what is refused, and what a failure says to whom reads nothing but its text."""

import asyncio
import re

import pytest

import depotlab as dl
from depotlab import aio, llb
from depotlab._rpc import Endpoint
from depotlab._verbs import build_all_async
from depotlab._verbs.builder import Answer, Builder
from depotlab._verbs.open import Opened
from depotlab._verbs.relay import OutputRelay
from depotlab.errors import BuildsFailed, DockerfileError, StepFailed, UsageError
from depotlab.progress import Fold, LogWritten

STATE = llb.scratch().mkfile("/a", "b")


class Failing(Builder):
    """Fails every build as it is told to, without a daemon."""

    def __init__(self, errors):
        super().__init__(Endpoint("unix:///nowhere.sock"), {})
        self.errors = errors

    async def build(self, request, fold):
        raise self.errors[request.name]


def client():
    return dl.Client(Opened(Builder(Endpoint("unix:///nowhere.sock"), {})))


@pytest.mark.parametrize(
    ("targets", "shared", "said"),
    [
        ({"app": STATE}, {"tag": "me/app"}, "no argument 'tag'.\n  hint: did you mean 'tags'?"),
        ({"app": {"target": STATE, "platfrom": "linux/arm64"}}, {}, "did you mean 'platform'?"),
        ({"app": {"tags": "me/app"}}, {}, "which has a target"),
    ],
)
def test_an_argument_that_build_does_not_have_is_named_by_its_build(targets, shared, said):
    with pytest.raises(
        UsageError, match="the arguments of 'app' are not those of build"
    ) as refused:
        dl.build_all(targets, client(), **shared)
    assert said in str(refused.value)
    assert "prepare" not in str(refused.value)


async def awaited(*given):
    return await aio.build_all(*given)


def waited_for(*given):
    return asyncio.run(awaited(*given))


@pytest.mark.parametrize("swapped", [dl.build_all, waited_for])
def test_arguments_in_the_other_order_are_a_mistake_that_says_so(swapped):
    with pytest.raises(UsageError, match="was given a dict for the builder") as refused:
        swapped(client(), {"app": STATE})
    assert "targets come first" in refused.value.hint


def failed(**options):
    """Build two that fail, and return the error."""
    log = tuple(f"line {n}" for n in range(20))
    errors = {
        "a": StepFailed("The step 'test' failed.", step="test", exit_code=1, log_tail=log),
        "b": DockerfileError("The Dockerfile is wrong."),
    }
    targets = dict.fromkeys(errors, STATE)
    options = {"at_once": 2, "keep_going": True, "progress": "plain", "shared": {}, **options}
    with pytest.raises(BuildsFailed) as caught:
        asyncio.run(build_all_async(Failing(errors), targets, **options))
    return caught.value


def test_the_error_and_the_log_have_what_a_failed_step_wrote_last(capsys):
    error = failed()
    assert "a: The step 'test' failed.\n      line 15" in error.message
    assert "line 14" not in error.message
    assert "b: The Dockerfile is wrong." in error.message
    assert "keep_going" not in error.hint, "it was asked for"
    printed = "".join(capsys.readouterr())
    assert "line 0" in printed
    assert "line 19" in printed
    assert "✖ 2 of 2 builds failed" in printed


class Writing(Builder):
    """Succeeds, or fails as it is told to, after its steps wrote these chunks."""

    def __init__(self, chunks, error=None):
        super().__init__(Endpoint("unix:///nowhere.sock"), {})
        self.chunks, self.error = chunks, error

    async def build(self, request, fold):
        fold.feed([LogWritten(step, 5, 1, data) for step, data in self.chunks])
        if self.error is not None:
            raise self.error
        return Answer(ref="r", response={}, definition=None)


def test_what_steps_write_is_in_the_overview_line_by_line(capsys):
    chunks = [("x", b"he"), ("y", b"other\n"), ("x", b"llo\nand"), ("y", b"no end")]
    options = {"at_once": 1, "keep_going": True, "progress": "plain", "shared": {}}
    built = asyncio.run(build_all_async(Writing(chunks), {"a": STATE}, **options))
    lines = [line.text for line in built.snapshot.logs.lines("a")]
    assert lines == ["other", "hello", "and", "no end"]
    assert "hello" in "".join(capsys.readouterr())


def test_a_line_that_never_ends_is_handed_on_in_pieces():
    overview = Fold()
    with OutputRelay(overview, "a") as relay:
        for _ in range(5):
            relay([LogWritten("x", 1, 1, b"." * 20_000)])
        assert relay.has_written, "the log would show nothing"


def test_what_a_failed_step_wrote_is_there_once(capsys):
    error = StepFailed("The step 'test' failed.", step="test", exit_code=1, log_tail=("only once",))
    with pytest.raises(BuildsFailed):
        asyncio.run(
            build_all_async(
                Writing([("x", b"only once\n")], error),
                {"a": STATE},
                at_once=1,
                keep_going=True,
                progress="plain",
                shared={},
            )
        )
    printed = "".join(capsys.readouterr())
    assert len([line for line in printed.splitlines() if re.match("#1 .*only once$", line)]) == 1


def test_the_first_line_for_machines_says_what_is_built(capsys):
    failed(progress="json", keep_going=False)
    first = "".join(capsys.readouterr()).splitlines()[0]
    assert '"event": "start"' in first
    assert '"target": "2 builds"' in first
