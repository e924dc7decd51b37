"""What a command came to, as a value."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depotlab._inside.completed import Completed, Tail, shown_command
from depotlab.errors import CommandFailed

DONE = Completed(("ls", "-l"), 0, ((1, b"a\n"), (2, b"oops\n"), (1, b"b\n")), 0.25)


def test_outputs_are_told_apart_and_keep_their_order():
    assert (DONE.stdout, DONE.stderr) == ("a\nb\n", "oops\n")
    assert DONE.last_lines(2) == ("oops", "b")
    assert DONE.ok
    assert DONE.check() is DONE


def test_a_code_other_than_zero_can_be_an_error():
    with pytest.raises(CommandFailed, match="exit code 127") as failed:
        Completed(("/bin/sh", "-c", "nope"), 127, ((2, b"nope: not found\n"),)).check()
    assert failed.value.command == ("/bin/sh", "-c", "nope")
    assert "nope: not found" in str(failed.value)
    assert "installed" in failed.value.hint


def test_it_says_itself_in_one_line():
    assert repr(DONE) == "<Completed 'ls -l': exit code 0 in 0.25 s, 4 B out, 5 B err>"
    assert len(repr(Completed(("x" * 500,), 0))) < 200
    assert "dropped" in repr(Completed(("x",), 0, dropped_bytes=5))


def test_a_notebook_shows_colours_and_runs_nothing():
    done = Completed(("x",), 1, ((1, b"\x1b[31mred\x1b[0m <script>alert(1)</script>\n"),))
    html = done._repr_html_()
    assert '<span style="color:#e03131">red</span>' in html
    assert "<script" not in html
    assert "exit code 1" in html


def test_a_notebook_shows_the_end_of_much():
    done = Completed(("seq",), 0, ((1, b"".join(b"%d\n" % n for n in range(5000))),))
    html = done._repr_html_()
    assert "4999" in html
    assert "only the end" in html
    assert len(html) < 20_000


def test_shell_commands_are_shown_as_they_were_written():
    assert shown_command(["/bin/sh", "-c", "a | b"]) == "a | b"
    assert shown_command(["a b", "c"]) == "'a b' c"


def test_it_travels():
    assert pickle.loads(pickle.dumps(DONE)) == DONE


@given(
    st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=40)), max_size=60),
    st.integers(0, 200),
)
def test_the_tail_is_the_end_of_what_came(pieces, limit):
    tail = Tail(limit)
    for file, data in pieces:
        tail.add(file, data)
    everything = b"".join(data for _, data in pieces)
    kept = b"".join(data for _, data in tail.kept())
    assert kept == everything[len(everything) - min(limit, len(everything)) :]
    assert tail.dropped_bytes == len(everything) - len(kept)
