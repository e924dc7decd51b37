import asyncio
import pickle

import pytest

from depotlab._depot import BuildOptions, DaggerEngine, Outcome
from depotlab._depot.errors import error_for
from depotlab._proto import depot_cli_pb2 as cli
from depotlab._rpc import RpcFailed, Status
from depotlab.errors import (
    BuildCanceled,
    BuildTimeout,
    ConnectionLost,
    DaemonError,
    RegistryError,
    UsageError,
)
from depotlab.export import Output


@pytest.mark.parametrize(
    "error",
    [
        asyncio.CancelledError(),
        KeyboardInterrupt(),
        SystemExit(0),
        GeneratorExit(),
        BuildCanceled("x"),
        BuildTimeout("x", timeout_s=1),
        RpcFailed(Status.CANCELLED, "context canceled"),
        DaemonError("x", code="CANCELLED"),
        error_for("canceled", "x"),
        BaseExceptionGroup("x", [KeyboardInterrupt(), BuildCanceled("y")]),
    ],
)
def test_a_cancellation_is_neither_a_success_nor_an_error(error):
    assert Outcome.of(error) == Outcome("canceled")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RpcFailed(Status.UNAVAILABLE, "EOF"), "RpcFailed: UNAVAILABLE: EOF"),
        (ConnectionLost("gone", hint="again"), "gone"),
        (RegistryError("denied", host="h"), "denied"),
        (error_for("unavailable", "down"), "unavailable: down"),
        (ValueError(), "ValueError"),
        (TimeoutError(), "TimeoutError"),
        (
            BaseExceptionGroup("x", [ValueError("a"), BuildCanceled("b"), KeyError("c")]),
            "ValueError: a; KeyError: 'c'",
        ),
    ],
)
def test_everything_else_is_an_error_with_its_text(error, text):
    assert Outcome.of(error) == Outcome("error", text)


def test_only_no_error_is_a_success():
    assert Outcome.of(None) == Outcome("success")


def test_an_endless_text_is_cut():
    assert len(Outcome.of(ValueError("x" * 10**6)).error) == 16_384


@pytest.mark.parametrize("kind", ["success", "error", "canceled"])
def test_the_message_has_the_outcome_even_when_it_is_empty(kind):
    request = Outcome(kind).request("b1")
    sent = cli.FinishBuildRequest.FromString(request.SerializeToString())
    assert (sent.build_id, sent.WhichOneof("result")) == ("b1", kind)


def test_options_are_told_as_the_wire_has_them():
    options = BuildOptions(
        command="bake",
        tags=["a", "b"],
        outputs=[Output("image", {"name": "a,b", "push": "true"})],
        push=True,
        target_name="web",
        save=True,
        save_tags=["v1"],
    )
    message = options.message()
    assert message.command == cli.COMMAND_BAKE
    assert list(message.tags) == ["a", "b"]
    assert message.outputs[0].kind == "image"
    assert dict(message.outputs[0].attributes) == {"name": "a,b", "push": "true"}
    assert (message.push, message.load, message.save) == (True, False, True)
    assert message.target_name == "web"
    assert not BuildOptions().message().HasField("target_name")
    assert pickle.loads(pickle.dumps(options)) == options


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: BuildOptions(command="make"), "command='make'"),
        (lambda: BuildOptions(command="unspecified"), "command='unspecified'"),
        (lambda: BuildOptions(tags="me/app"), "tags='me/app'"),
        (lambda: BuildOptions(save_tags=("v1",)), "needs save=True"),
        (lambda: DaggerEngine("v"), "names no version"),
    ],
)
def test_options_that_cannot_work_are_refused(make, said):
    with pytest.raises(UsageError, match=said) as caught:
        make()
    assert caught.value.hint
