"""Arguments of `run` and `shell` are checked where they are written."""

from __future__ import annotations

import io

import pytest

from depotlab import llb, mount
from depotlab._inside.commands import check_command
from depotlab._inside.running import prepare_at, prepare_run
from depotlab.errors import GraphError, UsageError


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param({"command": ""}, "command=", id="an empty command"),
        pytest.param({"command": []}, "command=", id="no words"),
        pytest.param({"command": ["a", 3]}, "command=", id="a word that is a number"),
        pytest.param({"command": "a", "timeout_s": 0}, "timeout_s=0", id="no time"),
        pytest.param({"command": "a", "stdin": 3}, "stdin=3", id="input that is none"),
        pytest.param({"command": "a", "stdout": io.StringIO()}, "stdout=", id="a text file"),
        pytest.param({"command": "a", "on_output": "x"}, "on_output=", id="no function"),
        pytest.param({"command": "a", "max_output_bytes": -1}, "max_output", id="less than none"),
        pytest.param({"command": "a", "network": "lan"}, "network", id="no such network"),
        pytest.param({"command": "a", "mounts": ["/x"]}, "mount", id="a mount that is none"),
    ],
)
def test_what_cannot_work_is_refused_by_name(arguments, words):
    with pytest.raises(UsageError, match=words) as refused:
        check_command(**arguments)
    assert isinstance(refused.value, GraphError) or refused.value.hint


def test_text_is_a_shell_command_and_a_list_an_argv():
    assert check_command("a | b").args == ("/bin/sh", "-c", "a | b")
    assert check_command(["a", "b c"]).args == ("a", "b c")


def test_the_mounts_of_a_command_are_those_of_its_op():
    command = check_command("x", mounts=[mount.cache("/c"), mount.secret("s")], cwd="/w", user="7")
    op = command.on(llb.image("busybox")).marshal().ops[-2]
    assert op.kind == "exec"
    assert command.on(llb.scratch()).marshal().secret_ids == {"s"}


def test_a_target_that_is_none_is_refused():
    with pytest.raises(UsageError, match="cannot look into"):
        prepare_run("busybox", "ls")


def test_a_step_keeps_its_mounts():
    with pytest.raises(UsageError, match="network="):
        prepare_at("ls", network="none")
