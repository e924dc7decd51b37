import copy
import inspect
import pickle

import pytest

from depotlab import _frames, errors
from depotlab.errors import (
    DaemonError,
    DepotlabError,
    EngineError,
    ImageNotFound,
    MissingExtra,
    SourceLocation,
    StepFailed,
)

TEXT = "one\ntwo\nthree\nfour\nfive\nsix\nseven\n"
EXAMPLES = [
    StepFailed(
        "failed",
        step="RUN x",
        exit_code=3,
        log_tail=("a", "b"),
        hint="try",
        locations=(SourceLocation("cell [3]", 4, 4, TEXT),),
        vertex="sha256:1",
    ),
    ImageNotFound("none", ref="x:1", hint="check", code="NOT_FOUND"),
    EngineError("down", hint="start it", log_tail=("last",)),
    MissingExtra("widgets", extra="notebook"),
    errors.BuildTimeout("slow", timeout_s=3.0),
    errors.Unreachable("gone", address="unix:///x"),
    errors.ReferenceInvalid("bad", ref="X"),
    errors.DaemonTooOld(
        "old", needs="0.13", found="0.8.3", features=("llb.merge()",), hint="update"
    ),
    errors.SessionError("full", path="/x", written=("/a", "/b")),
    errors.ContextError("none", path="/x"),
    errors.GraphError("bad", location=SourceLocation("f.py", 1, 1)),
    errors.RegistryError("no", host="h"),
    errors.PathError("bad", path="/x"),
    errors.FileMissing("none", path="/x", near=("/y",), hint="did you mean /y?"),
    errors.CommandFailed("no", command=("a",), exit_code=3, output_tail=("x",), hint="h"),
    errors.CommandTimeout("slow", command=("a",), timeout_s=2.0, output_tail=("x",)),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize(
    "again", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy], ids=["pickle", "copy"]
)
def test_errors_survive_the_way_between_processes(error, again):
    other = again(error)
    assert type(other) is type(error)
    assert other.__dict__ == error.__dict__
    assert str(other) == str(error)


def test_every_class_is_listed_and_is_one_of_ours():
    classes = {
        name: value
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, BaseException) and not name.startswith("_")
    }
    assert set(classes) == set(errors.__all__) - {"SourceLocation"}
    for value in classes.values():
        assert issubclass(value, DepotlabError)
        assert value is DepotlabError or value.blame != "unknown"


def test_the_text_ends_with_the_hint_or_the_output():
    text = str(EXAMPLES[0])
    assert text.splitlines()[0] == "failed"
    assert "at cell [3], line 4:" in text
    assert "> 4 | four" in text
    assert "  1 | one" in text
    assert "  7 | seven" in text
    assert text.endswith("    a\n    b\n  hint: try")


def test_a_graph_error_shows_the_call_that_made_it():
    error = errors.GraphError("bad", hint="good", location=SourceLocation("cell [2]", 2, 2, TEXT))
    assert str(error).splitlines() == [
        "bad",
        "  at cell [2], line 2:",
        "      1 | one",
        "    > 2 | two",
        "      3 | three",
        "  hint: good",
    ]


def test_a_place_without_text_has_no_excerpt():
    assert SourceLocation("x", 3, 3).excerpt() == ""
    assert SourceLocation("x", 30, 30, TEXT).excerpt() == ""


def test_notebooks_show_a_short_traceback():
    assert EXAMPLES[1]._render_traceback_() == ["ImageNotFound: none\n  hint: check"]


def test_notebooks_show_what_was_noted_on_the_way():
    error = errors.SessionError("broken", hint="mend it")
    error.add_note("12 bytes of an output went to a pipe.")
    assert error._render_traceback_() == [
        "SessionError: broken\n12 bytes of an output went to a pipe.\n  hint: mend it"
    ]


def test_notebooks_show_less_output_because_the_view_has_it():
    error = StepFailed(
        "failed", step="x", exit_code=1, log_tail=tuple(f"line {n}" for n in range(30))
    )
    assert len(str(error).splitlines()) == 22
    assert error._render_traceback_()[0].splitlines()[-5:] == [
        f"    line {n}" for n in range(25, 30)
    ]


def test_standard_types_are_kept_for_those_who_catch_them():
    assert isinstance(EXAMPLES[3], ImportError)
    assert isinstance(EXAMPLES[4], TimeoutError)
    assert issubclass(errors.UsageError, ValueError)
    assert not issubclass(DaemonError, ValueError)


def raised(secret, trouble):
    """Raise as a user's own function does, with a secret in the very line."""
    namespace = {"__name__": "app", "trouble": trouble}
    code = f"def build(token):\n    raise trouble  # {secret}\n\nbuild({secret!r})\n"
    try:
        exec(compile(code, "app.py", "exec"), namespace)
    except BaseException as error:
        return error


def test_notebooks_say_where_the_users_code_was_and_not_what_is_in_it():
    error = raised("planted-secret", errors.UsageError("wrong", hint="right"))
    (shown,) = error._render_traceback_()
    lines = shown.splitlines()
    assert lines[0] == "UsageError: wrong"
    assert lines[-3:] == ["  in app.py, line 4", "  in app.py, line 2", "  hint: right"]
    assert "planted-secret" not in shown


def test_a_place_that_the_message_has_already_is_not_said_twice():
    error = raised("x", errors.GraphError("bad", location=SourceLocation("app.py", 2, 2)))
    (shown,) = error._render_traceback_()
    assert shown.count("app.py, line 2") == 1


def test_an_interruption_is_shown_like_an_error_and_still_goes_between_processes():
    interruption = raised("planted-secret", KeyboardInterrupt())
    _frames.shorten(interruption)
    (shown,) = interruption._render_traceback_()
    assert shown.splitlines()[0] == "KeyboardInterrupt"
    assert shown.splitlines()[-1] == "  in app.py, line 2"
    assert "planted-secret" not in shown
    assert type(pickle.loads(pickle.dumps(interruption))) is KeyboardInterrupt
