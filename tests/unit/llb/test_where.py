"""Ops remember the line that made them, cheaply, and a daemon is told."""

from __future__ import annotations

import asyncio
import linecache
import subprocess
import sys
import textwrap
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from depotlab import llb
from depotlab.errors import GraphError, SourceLocation
from depotlab.llb import State

from .support import messages

HERE = "tests/unit/llb/test_where.py"


def run_cell(source: str, filename: str = "<made-up-cell>", **names: object) -> dict:
    """Run source as IPython does: compiled under a made-up file name that linecache knows."""
    text = textwrap.dedent(source)
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    scope: dict = {"llb": llb, **names}
    exec(compile(text, filename, "exec"), scope)
    return scope


def locations(state: State) -> list[SourceLocation]:
    definition = state.marshal(local_unique_id="u")
    return [definition.locations[digest] for digest in definition.digests[:-1]]


def locations_of(state: State) -> dict[str, SourceLocation]:
    return dict(state.marshal(local_unique_id="u").locations)


def source_of(state: State, **options: object) -> object:
    from depotlab._proto import ops_pb2 as pb

    definition = pb.Definition()
    definition.ParseFromString(state.marshal(local_unique_id="u", **options).to_bytes())
    return definition.Source


def test_an_op_knows_file_line_and_text() -> None:
    state = llb.image("busybox")
    (found,) = locations(state)
    assert found.filename.endswith(HERE)
    assert "def test_an_op_knows_file_line_and_text" in found.text
    assert found.text.splitlines()[found.line - 1].strip() == 'state = llb.image("busybox")'


def test_lines_of_a_chain_are_told_apart() -> None:
    scope = run_cell(
        """\
        state = (
            llb.image("busybox")
            .run("one")
            .run(
                "two",
            )
        )
        """
    )
    assert [(f.line, f.end_line) for f in locations(scope["state"])] == [(2, 2), (3, 3), (4, 6)]


def test_what_nobody_called_for_has_no_line() -> None:
    with ThreadPoolExecutor(1) as pool:
        assert locations_of(pool.submit(llb.image, "busybox").result()) == {}
        # A loop has only frames of Python's own.
        assert (
            locations_of(pool.submit(asyncio.run, asyncio.to_thread(llb.image, "a")).result()) == {}
        )


def test_the_nearest_line_outside_the_library_counts() -> None:
    scope = run_cell(
        """\
        def recipe(state):
            return state.run("inside")

        state = llb.image("busybox").pipe(recipe)
        """
    )
    assert [found.line for found in locations(scope["state"])] == [4, 2]


@pytest.mark.parametrize(
    "make",
    [
        "llb.image('a')",
        "llb.local('/x', name='x')",
        "llb.git('https://h/r.git')",
        "llb.http('https://h/f')",
        "llb.source('x://y')",
        "llb.oci_layout('x@sha256:' + 'a' * 64)",
        "llb.image_blob('x@sha256:' + 'a' * 64)",
        "a.run('x')",
        "a.mkdir('/x')",
        "a.copy(a, '/x', '/y')",
        "a.file(llb.rm('/x'))",
        "llb.merge(a, b)",
        "llb.diff(a, b)",
        "a.requires(b, id='x')",
        "llb.passthrough('x', [a]).output(0)",
        "llb.build(a)",
    ],
)
def test_every_call_that_makes_an_op_is_remembered(make: str) -> None:
    scope = run_cell(f"\n\nstate = {make}\n", a=llb.image("a"), b=llb.image("b"))
    found = locations(scope["state"])[-1]
    assert (found.filename, found.line) == ("<made-up-cell>", 3)


def test_a_notebook_cell_is_named_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "/tmp/ipykernel_1/123.py"
    compiler = types.SimpleNamespace(_filename_map={name: 7})
    shell = types.SimpleNamespace(compile=compiler)
    ipython = types.SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    scope = run_cell("# a cell\nstate = llb.image('busybox').run('false')\n", name)
    assert [str(found) for found in locations(scope["state"])] == ["cell [7], line 2"] * 2
    assert source_of(scope["state"], source="calls").infos[0].filename == "cell [7]"


def test_ipython_without_a_shell_is_no_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    ipython = types.SimpleNamespace(get_ipython=lambda: None)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    assert locations(llb.image("busybox"))[0].filename.endswith(HERE)


def test_capture_can_be_switched_off_for_a_block() -> None:
    with llb.capture_source(False):
        state = llb.image("busybox")
        with llb.capture_source(True):
            state = state.run("x")
    definition = state.marshal()
    assert [definition.digests.index(digest) for digest in definition.locations] == [1]


def test_capture_can_be_switched_off_for_good() -> None:
    before = llb.capture_source(False)
    try:
        assert llb.image("busybox").marshal().locations == {}
    finally:
        llb.capture_source(True)
    assert before is not None


@pytest.mark.parametrize(("value", "count"), [("", 1), ("1", 0)])
def test_the_environment_switches_capture_off(value: str, count: int) -> None:
    code = "from depotlab import llb; print(len(llb.image('a').marshal().locations))"
    root = Path(__file__).parents[3]
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={"DEPOTLAB_NO_SOURCE": value, "PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert run.stdout.strip() == str(count)


def test_explicit_source_maps_leave_calls_out() -> None:
    assert not source_of(llb.image("busybox").run("x")).infos


def test_calls_are_marshalled_as_a_source_map() -> None:
    scope = run_cell("state = (llb.image('busybox')\n  .run('one')\n  .run('two'))\n")
    state = scope["state"]
    source = source_of(state, source="calls")
    (info,) = source.infos
    assert (info.filename, info.language) == ("<made-up-cell>", "Python")
    assert info.data.decode().splitlines()[1] == "  .run('one')"
    lines = [
        source.locations[digest].locations[0].ranges[0].start.line
        for digest in state.marshal().digests[:-1]
    ]
    assert lines == [1, 2, 3]
    assert state.marshal(source="calls").data == state.marshal().data


def test_given_locations_win_over_calls() -> None:
    file = llb.SourceMap("Dockerfile", b"FROM x\n", "Dockerfile")
    source = source_of(llb.image("x", locations=[file.at((1, 0, 1, 6))]), source="calls")
    assert [info.filename for info in source.infos] == ["Dockerfile"]


def test_a_large_file_is_sent_without_the_lines_that_do_not_matter() -> None:
    filler = "# filler, more of it, and still more of it\n" * 5000
    state = run_cell(filler + "state = llb.image('busybox')\n" + filler)["state"]
    data = source_of(state, source="calls").infos[0].data.decode()
    lines = data.splitlines()
    assert len(data) < 20_000
    assert lines[5000] == "state = llb.image('busybox')"
    assert lines[4990].startswith("# filler")
    assert lines[100] == ""
    assert len(locations(state)[0].text) > 400_000


def test_equal_ops_made_twice_point_at_both_lines() -> None:
    scope = run_cell(
        """\
        a = llb.image("x").run("same")
        b = llb.image("x").run("same")
        state = llb.merge(a, b)
        """
    )
    source = source_of(scope["state"], source="calls")
    run = scope["a"].digest
    assert [place.ranges[0].start.line for place in source.locations[run].locations] == [1, 2]


def test_a_mistake_knows_its_line() -> None:
    with pytest.raises(GraphError) as caught:
        run_cell("ok = 1\nllb.image('busybox').run('x', netwrk='none')\n")
    assert caught.value.location is not None
    assert str(caught.value.location) == "<made-up-cell>, line 2"
    assert "netwrk" in caught.value.location.excerpt()


def test_a_source_that_is_gone_leaves_the_line() -> None:
    scope: dict = {"llb": llb}
    exec(compile("\n\nstate = llb.image('a')", "/nowhere/gone.py", "exec"), scope)
    (found,) = locations(scope["state"])
    assert (found.filename, found.line, found.text) == ("/nowhere/gone.py", 3, "")
    assert messages(scope["state"], source="calls")


def test_secrets_in_the_users_code_are_left_out_of_what_is_sent_and_shown() -> None:
    cell = """
        token, url = "hunter2hunter2", "https://me:pass-word@host/x"
        state = llb.image("busybox").run("make")
    """
    state = run_cell(cell, "<a cell with secrets>")["state"]
    definition = state.marshal("linux/amd64", source="calls", hide=["hunter2hunter2"])
    sent = definition.to_bytes()
    assert b"hunter2" not in sent
    assert b"pass-word" not in sent
    shown = next(iter(definition.locations.values())).text
    assert 'token, url = "•••", "https://me:•••@host/x"' in shown


def test_a_hidden_text_of_several_lines_moves_no_line() -> None:
    cell = """
        KEY = '''aaaa
        bbbb
        cccc'''
        state = llb.image("x").run("y")
    """
    state = run_cell(cell, "<a cell with a key>")["state"]
    definition = state.marshal("linux/amd64", source="calls", hide=["aaaa\nbbbb\ncccc"])
    place = next(iter(definition.locations.values()))
    assert place.text.splitlines()[place.line - 1].startswith("state = ")
    assert "bbbb" not in place.text


@pytest.mark.parametrize("planted", ["planted\0secret", "planted\udcffsecret"])
def test_a_hidden_text_may_hold_anything_and_is_in_no_error(planted: str) -> None:
    state = llb.image("x").run("y")
    assert state.marshal("linux/amd64", source="calls", hide=[planted]).to_bytes()
    for wrong in (planted, [planted, 5], [b"planted"]):
        with pytest.raises(GraphError, match="hide=") as caught:
            state.marshal("linux/amd64", hide=wrong)  # type: ignore[arg-type]
        assert "planted" not in caught.value.message
