"""A Python function as a frontend: its arguments are checked where it is called."""

from typing import Any, Literal, Optional

import pytest

from depotlab import frontend, llb
from depotlab.errors import UsageError


@frontend.function
def app(gw, source: llb.State, *, version: str = "3.12", jobs: int = 2) -> llb.State:
    """Build it."""
    return source


def test_a_call_is_a_target_and_runs_nothing():
    call = app(llb.scratch(), version="4")
    assert isinstance(call, frontend.FrontendCall)
    assert call.name == "app"
    assert repr(call) == "<app(State(scratch), version='4')>"
    assert call.run("the gateway") is call.args[0]


def test_a_frontend_says_how_it_is_called():
    assert repr(app) == (
        "<frontend app(source: State, *, version: str = '3.12', jobs: int = 2) -> State>"
    )
    assert app.__doc__ == "Build it."
    assert not app.is_async


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, "missing a required argument: 'source'"),
        ((llb.scratch(),), {"vers": "3"}, "unexpected keyword argument 'vers'"),
        ((llb.scratch(), 1), {}, "too many positional arguments"),
        (("src",), {}, r"app\(source='src'\): source is State, not str"),
        ((llb.scratch(),), {"version": 3}, r"app\(version=3\): version is str, not int"),
        ((llb.scratch(),), {"jobs": True}, "jobs is int, not bool"),
    ],
)
def test_a_wrong_argument_is_named(args, kwargs, message):
    with pytest.raises(UsageError, match=message) as caught:
        app(*args, **kwargs)
    assert "it is app(source: State" in caught.value.hint


@pytest.mark.parametrize(
    ("hint", "good", "bad"),
    [
        (float, 1, "1"),
        (int | None, None, "x"),
        (Optional[str], "x", 3),  # noqa: UP045 - people write it
        (Literal["a", "b"], "a", "c"),
        (list[str], ["a"], ["a", 3]),
        (dict[str, int], {"a": 1}, {"a": "b"}),
        (bytes, b"", ""),
        (bool, True, 1),
    ],
)
def test_annotations_are_kept(hint, good, bad):
    def wanted(gw, value):
        return value

    wanted.__annotations__ = {"value": hint}
    made = frontend.function(wanted)
    assert made(good).args == (good,)
    with pytest.raises(UsageError, match="wanted"):
        made(bad)


def test_an_annotation_that_cannot_be_read_checks_nothing():
    def odd(gw, value: "NotThere"):  # noqa: F821
        return value

    assert frontend.function(odd)(3).args == (3,)


def test_any_is_anything_and_several_are_checked_each():
    @frontend.function
    def many(gw, *states: llb.State, **more: Any):
        return states

    assert many(llb.scratch(), x=1).kwargs == {"x": 1}
    with pytest.raises(UsageError, match="states is State, not int"):
        many(llb.scratch(), 3)


@pytest.mark.parametrize("wrong", [lambda: None, lambda *, gw: None, 3])
def test_what_takes_no_gateway_is_refused(wrong):
    with pytest.raises(UsageError):
        frontend.function(wrong)


def test_a_coroutine_function_is_known_as_one():
    @frontend.function
    async def later(gw):
        return llb.scratch()

    assert later.is_async


def test_prints_go_to_the_cell_that_made_the_call():
    import contextvars

    cell = contextvars.ContextVar("cell", default="none")

    @frontend.function
    def where(gw):
        return cell.get()

    cell.set("[3]")
    call = where()
    cell.set("[4]")
    assert call.run(None) == "[3]"
