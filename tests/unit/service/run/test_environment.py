"""A customer's environment as a file that a shell reads."""

from __future__ import annotations

import os
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depotlab.errors import ServiceError
from depotlab.service._run.environment import env_file, env_hash

VALUES = st.text(
    alphabet=st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]),
    max_size=30,
)


@settings(max_examples=15)
@given(
    env=st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True), VALUES, max_size=4)
)
def test_a_shell_reads_what_was_given(tmp_path_factory: pytest.TempPathFactory, env) -> None:
    names = {f"PLANTED_{name}": value for name, value in env.items()}
    file = tmp_path_factory.mktemp("env") / "env"
    file.write_bytes(env_file(names))
    script = f"set -a; . {file}; exec env -0"
    done = subprocess.run(
        ["sh", "-c", script], capture_output=True, check=True, env={"PATH": os.environ["PATH"]}
    )
    found = dict(entry.partition("=")[::2] for entry in done.stdout.decode().split("\0"))
    assert {name: found[name] for name in names} == names


def test_the_order_in_which_it_was_given_does_not_matter() -> None:
    assert env_file({"B": "2", "A": "1"}) == env_file({"A": "1", "B": "2"}) == b"A=1\nB=2\n"


@pytest.mark.parametrize(
    "env",
    [
        pytest.param({"1ST": "x"}, id="a name that begins with a digit"),
        pytest.param({"A;rm": "x"}, id="a name with a sign of the shell"),
        pytest.param({"": "x"}, id="no name"),
        pytest.param({"A": "x\0y"}, id="a zero byte"),
        pytest.param({"A": 8080}, id="a number"),
        pytest.param({"A": "x" * 600_000}, id="more than a secret holds"),
    ],
)
def test_what_cannot_be_one_is_refused(env) -> None:
    with pytest.raises(ServiceError, match="env"):
        env_file(env)


def test_a_refusal_does_not_show_the_value() -> None:
    with pytest.raises(ServiceError) as caught:
        env_file({"A": "planted\0planted"})
    assert "planted" not in str(caught.value)


def test_the_name_of_an_environment_is_of_its_content_and_of_the_service() -> None:
    data = env_file({"A": "1"})
    assert env_hash(data, key="k1") == env_hash(data, key="k1")
    assert len({env_hash(data, key="k1"), env_hash(data, key="k2"), env_hash(b"", key="k1")}) == 3
