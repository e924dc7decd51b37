"""What magics make of their lines and cells, in a real IPython; the client is a stand-in that notes its calls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.error import UsageError as LineError
from IPython.core.interactiveshell import InteractiveShell

import depotlab
from depotlab import client, errors, llb
from depotlab._magics.commands import BuildMagics
from tests.support.ipythons import ipython


class NotedClient(client.Client):
    """A client that builds nothing."""

    def __init__(self) -> None:
        self.built: list[tuple[Any, dict[str, Any]]] = []
        self.listed: list[dict[str, Any]] = []
        self.is_closed = False

    def build(self, target: Any, **options: Any) -> Any:
        self.built.append((target, {k: v for k, v in options.items() if v}))
        return "the result"

    def history(self, **options: Any) -> Any:
        self.listed.append(options)
        return "the builds"

    def close(self) -> None:
        self.is_closed = True

    def __repr__(self) -> str:
        return "<NotedClient>"


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    with ipython() as made:
        made.run_line_magic("load_ext", "depotlab")
        yield made


@pytest.fixture
def noted(shell: InteractiveShell) -> NotedClient:
    one = NotedClient()
    shell.user_ns["mine"] = one
    shell.run_line_magic("builder", "mine")
    return one


def test_a_dockerfile_is_built_with_what_its_line_says(
    shell: InteractiveShell, noted: NotedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERSION", "7")
    line = (
        "-t a/b:1 --tag a/b:2 --push --platform linux/arm64 --target prod --build-arg A=1=2 "
        "--build-arg VERSION --no-cache --timeout 30 --progress quiet -o made"
    )
    text = "FROM scratch AS prod\n"
    assert shell.run_cell_magic("dockerfile", line, text) is None
    assert shell.user_ns["made"] == "the result"
    ((target, options),) = noted.built
    assert target == depotlab.dockerfile(
        text=text, target="prod", args={"A": "1=2", "VERSION": "7"}
    )
    assert options == {
        "tags": ["a/b:1", "a/b:2"],
        "push": True,
        "platform": ["linux/arm64"],
        "no_cache": True,
        "timeout_s": 30.0,
        "progress": "quiet",
    }


def test_without_a_variable_the_result_is_shown(
    shell: InteractiveShell, noted: NotedClient
) -> None:
    assert shell.run_cell_magic("dockerfile", "", "FROM scratch\n") == "the result"
    assert noted.built[0][1] == {"progress": "auto"}


def test_a_context_can_be_named(shell: InteractiveShell, noted: NotedClient, tmp_path: Any) -> None:
    (tmp_path / "f").touch()
    shell.run_cell_magic("dockerfile", f"'{tmp_path}'", "FROM scratch\nCOPY f /f\n")
    assert noted.built[0][0].main.where.host_path == tmp_path


def test_secrets_are_named_and_never_said(
    shell: InteractiveShell, noted: NotedClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("TOKEN", "hunter2")
    (tmp_path / "key").write_text("hunter3")
    line = f"--secret id=TOKEN --secret id=other,env=TOKEN --secret id=key,src={tmp_path}/key"
    shell.run_cell_magic("dockerfile", line, "FROM scratch\n")
    given = noted.built[0][1]["secrets"]
    assert {name: one.read() for name, one in given.items()} == {
        "TOKEN": b"hunter2",
        "other": b"hunter2",
        "key": b"hunter3",
    }
    assert "hunter" not in repr(noted.built)


def test_a_graph_is_the_last_line_of_a_cell(shell: InteractiveShell, noted: NotedClient) -> None:
    cell = "base = llb.image('busybox')\nbase.run('echo hi')\n"
    assert shell.run_cell_magic("llb", "-t x", cell) == "the result"
    target, options = noted.built[0]
    assert target == llb.image("busybox").run("echo hi")
    assert options["tags"] == ["x"]
    assert shell.user_ns["base"] == llb.image("busybox")


def test_without_a_cell_the_dockerfile_of_a_directory_is_built(
    shell: InteractiveShell, noted: NotedClient, tmp_path: Any
) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    shell.run_line_magic("dockerfile", f"{tmp_path} -t x")
    target, options = noted.built[0]
    assert target == depotlab.dockerfile(tmp_path)
    assert options["tags"] == ["x"]


def test_without_a_cell_the_graph_in_a_variable_is_built(
    shell: InteractiveShell, noted: NotedClient
) -> None:
    shell.user_ns["app"] = llb.image("busybox").run("echo hi")
    shell.user_ns["number"] = 7
    shell.run_line_magic("llb", "app")
    assert noted.built[0][0] == shell.user_ns["app"]
    with pytest.raises(errors.UsageError, match="'number' is of type int, and not a graph"):
        shell.run_line_magic("llb", "number")
    with pytest.raises(LineError, match="there is no variable 'nobody'"):
        shell.run_line_magic("llb", "nobody")
    with pytest.raises(LineError, match="either"):
        shell.run_line_magic("llb", "")
    assert len(noted.built) == 1


def test_a_graph_can_be_drawn_only(shell: InteractiveShell, noted: NotedClient) -> None:
    shown = shell.run_cell_magic("llb", "--draw", "llb.scratch().mkfile('/f', b'x')")
    assert isinstance(shown, llb.State)
    assert noted.built == []


@pytest.mark.parametrize("cell", ["x = 1", "# nothing", "for x in []:\n    x"])
def test_a_cell_without_a_last_value_is_refused(
    shell: InteractiveShell, noted: NotedClient, cell: str
) -> None:
    with pytest.raises(LineError, match="last line"):
        shell.run_cell_magic("llb", "", cell)
    assert noted.built == []


def test_a_last_value_that_is_no_graph_is_refused(
    shell: InteractiveShell, noted: NotedClient
) -> None:
    with pytest.raises(errors.UsageError, match="is of type int, and not a graph"):
        shell.run_cell_magic("llb", "", "3")
    assert noted.built == []


def test_a_mistake_in_a_graph_is_found_at_its_line_of_the_cell(
    shell: InteractiveShell, noted: NotedClient
) -> None:
    cell = "base = llb.image('busybox')\n\nbase.run(7)\n"
    with pytest.raises(errors.GraphError) as caught:
        shell.run_cell_magic("llb", "", cell)
    location = caught.value.location
    assert location is not None
    assert location.line == 4  # the first line is that of the magic
    assert "> 4 | base.run(7)" in str(caught.value)
    assert noted.built == []


@pytest.mark.parametrize(
    ("magic", "line", "said"),
    [
        ("dockerfile", "--nonsense", "unrecognized arguments: --nonsense"),
        ("dockerfile", "-t", "expected one argument"),
        ("dockerfile", "-o 3x", "cannot be the name of a variable"),
        ("dockerfile", "-o for", "cannot be the name of a variable"),
        ("dockerfile", "--build-arg =x", "is not KEY=VALUE"),
        ("dockerfile", "--build-arg NOT_THERE_AT_ALL", "has no value"),
        ("dockerfile", "--secret TOKEN", "is not id=NAME"),
        ("dockerfile", "--secret id=a,src=b,env=c", "is not id=NAME"),
        ("dockerfile", "--timeout soon", "invalid float value"),
        ("dockerfile", "'", "quotes come in pairs"),
        ("llb", "--target x", "unrecognized arguments"),
        ("llb", "a_name", "either the last line of a cell, or in the variable"),
        ("llb", "--progress loud", "invalid choice"),
    ],
)
def test_a_mistake_in_a_line_is_told_in_one_line_and_nothing_is_built(
    shell: InteractiveShell, noted: NotedClient, magic: str, line: str, said: str
) -> None:
    with pytest.raises(LineError, match=said) as caught:
        shell.run_cell_magic(magic, line, "FROM scratch\n")
    assert f"See %{magic} --help" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert noted.built == []


@pytest.mark.parametrize("magic", ["dockerfile", "llb"])
def test_help_is_printed_and_builds_nothing(
    shell: InteractiveShell, noted: NotedClient, magic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shell.run_cell_magic(magic, "--help", "FROM scratch\n") is None
    out = capsys.readouterr().out
    assert out.startswith(f"usage: %{magic}")
    assert "--platform" in out
    assert noted.built == []


def test_the_builder_is_shown_and_changed(
    shell: InteractiveShell, noted: NotedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shell.run_line_magic("builder", "") is noted
    other = NotedClient()
    asked: list[Any] = []

    def connect(*address: str) -> NotedClient:
        asked.append(address)
        return other

    monkeypatch.setattr(client, "connect", connect)
    assert shell.run_line_magic("builder", "tcp://host:1234") is other
    assert asked == [("tcp://host:1234",)]
    assert not noted.is_closed  # it is the user's
    shell.run_line_magic("builder", "mine")
    assert other.is_closed  # nobody else has it


def test_a_builder_that_cannot_be_had_leaves_the_old_one(
    shell: InteractiveShell, noted: NotedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(*_: str) -> NotedClient:
        raise errors.Unreachable("nobody answers", address="tcp://host:1")

    monkeypatch.setattr(client, "connect", connect)
    with pytest.raises(errors.Unreachable):
        shell.run_line_magic("builder", "tcp://host:1")
    with pytest.raises(errors.UsageError, match="'warehouse' is no builder"):
        shell.run_line_magic("builder", "warehouse")
    assert shell.run_line_magic("builder", "") is noted


def test_builds_are_those_the_builder_remembers(
    shell: InteractiveShell, noted: NotedClient
) -> None:
    assert shell.run_line_magic("builds", "") == "the builds"
    shell.run_line_magic("builds", "-n 3 --failed")
    assert noted.listed == [{"status": None, "limit": 20}, {"status": "error", "limit": 3}]


def completed(shell: InteractiveShell, line: str) -> list[str]:
    with provisionalcompleter():
        return sorted(one.text for one in shell.Completer.completions(line, len(line)))


def test_options_and_builders_are_completed(shell: InteractiveShell, noted: NotedClient) -> None:
    assert completed(shell, "%%dockerfile --ta") == ["--tag", "--target"]
    assert completed(shell, "%%llb --dr") == ["--draw"]
    assert completed(shell, "%dockerfile --tar") == ["--target"]
    assert completed(shell, "%builder l") == ["local"]
    assert completed(shell, "%builder mi") == ["mine"]


def test_words_of_an_option_and_graphs_are_completed(shell: InteractiveShell) -> None:
    shell.user_ns["app_graph"] = llb.scratch()
    assert completed(shell, "%dockerfile --progress q") == ["quiet"]
    assert completed(shell, "%llb --draw app_g") == ["app_graph"]


def test_loading_twice_registers_once(shell: InteractiveShell, noted: NotedClient) -> None:
    shell.run_line_magic("reload_ext", "depotlab")
    assert shell.run_line_magic("builder", "") is noted
    known = [m for m in shell.magics_manager.registry.values() if isinstance(m, BuildMagics)]
    assert len(known) == 1
