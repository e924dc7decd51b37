"""The command: what it prints, and with which code it ends."""

import io
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from depotlab import cli
from depotlab._local import Check, EngineStatus, Seeded
from depotlab.errors import EngineError

STOPPED = EngineStatus(
    state_dir=Path("/s"),
    phase="stopped",
    log_path=Path("/s/logs/buildkitd.log"),
    last_end="nobody used it any more",
)
UP = EngineStatus(
    state_dir=Path("/s"),
    phase="up",
    log_path=Path("/s/logs/buildkitd.log"),
    address="unix:///s/run/buildkitd.sock",
    registry="localhost:20123",
    version="0.32.2",
    pid=42,
    started_at=datetime.now(UTC) - timedelta(minutes=3),
    lease_pids=(7, 8),
    held=True,
)


@pytest.fixture
def room(monkeypatch):
    """Put functions of the test in the place of those of `depotlab._local`."""

    def put(**functions) -> None:
        for name, function in functions.items():
            monkeypatch.setattr(f"depotlab._local.{name}", function)

    return put


def test_a_stopped_engine_says_why_it_ended_and_exits_with_3(room, capsys) -> None:
    room(status=lambda **_: STOPPED)
    assert cli.main(["engine", "status"]) == 3
    assert capsys.readouterr().out == (
        "engine      stopped\n"
        "state       /s\n"
        "last ended  because nobody used it any more\n"
        "log         /s/logs/buildkitd.log\n"
    )


def test_a_running_engine_says_where_it_is_and_who_uses_it(room, capsys) -> None:
    room(status=lambda **_: UP)
    assert cli.main(["engine", "status"]) == 0
    out = capsys.readouterr().out
    assert "address    unix:///s/run/buildkitd.sock\n" in out
    assert "used by    7, 8 (kept until `depotlab engine stop`)\n" in out
    assert re.search(r"^up for     \d+ min ", out, re.MULTILINE)


def test_stop_tells_whether_there_was_something(room, capsys) -> None:
    room(stop=lambda **_: True)
    assert cli.main(["engine", "stop"]) == 0
    room(stop=lambda **_: False)
    assert cli.main(["engine", "stop"]) == 0
    assert capsys.readouterr().out == "stopped\nit was not running\n"


def test_seed_shows_the_image(room, capsys) -> None:
    refs = ("docker.io/library/busybox:latest", "docker.io/library/busybox:1.35")
    room(seed=lambda **_: Seeded(refs, "sha256:abc", "localhost:20123"))
    assert cli.main(["engine", "seed"]) == 0
    assert capsys.readouterr().out == (
        "image     docker.io/library/busybox:latest\n"
        "also      1.35\n"
        "digest    sha256:abc\n"
        "registry  localhost:20123\n"
    )


@pytest.mark.parametrize(
    ("ok", "code", "last"),
    [
        (True, 0, "The engine can run here."),
        (None, 0, "The engine can run here."),
        (False, 1, "The engine cannot run yet: Thing."),
    ],
)
def test_doctor_fails_only_for_what_stops_the_engine(room, capsys, ok, code, last) -> None:
    room(doctor=lambda **_: (Check("Thing", ok, "found"),))
    assert cli.main(["doctor"]) == code
    assert capsys.readouterr().out.splitlines()[-1] == last


def test_doctor_asks_the_network_only_when_told(room) -> None:
    asked = []
    room(doctor=lambda **options: asked.append(options["network"]) or (Check("a", True, "b"),))
    cli.main(["doctor"])
    cli.main(["doctor", "--network"])
    assert asked == [False, True]


def test_an_error_goes_to_stderr_with_its_hint_and_exits_with_1(room, capsys) -> None:
    def fail(**_):
        raise EngineError("It broke.", hint="mend it")

    room(stop=fail)
    assert cli.main(["engine", "stop"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "It broke.\n  hint: mend it\n"


def test_ctrl_c_exits_with_130(room, capsys) -> None:
    def interrupt(**_):
        raise KeyboardInterrupt

    room(install=interrupt)
    assert cli.main(["engine", "install"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize(
    "line", [[], ["engine"], ["engine", "explode"], ["engine", "logs", "-n", "-1"]]
)
def test_a_wrong_command_line_exits_with_2(line, capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(line)
    assert caught.value.code == 2
    assert "usage: depotlab" in capsys.readouterr().err


def test_logs_shows_the_last_lines_of_the_log_that_is_asked_for(room, capsys, tmp_path) -> None:
    status = EngineStatus(state_dir=tmp_path, phase="stopped", log_path=tmp_path / "buildkitd.log")
    room(status=lambda **_: status)
    assert cli.main(["engine", "logs"]) == 3
    (tmp_path / "buildkitd.log").write_text("one\ntwo\nthree\n")
    (tmp_path / "registry.log").write_text("other\n")
    capsys.readouterr()
    assert cli.main(["engine", "logs", "-n", "2"]) == 0
    assert cli.main(["engine", "logs", "registry"]) == 0
    assert cli.main(["engine", "logs", "-n", "0"]) == 0
    assert capsys.readouterr().out == "two\nthree\nother\n"


def test_every_command_has_help(capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["engine", "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    for verb in ("install", "start", "status", "stop", "seed", "logs"):
        assert f"    {verb} " in out


def test_a_terminal_without_check_marks_gets_question_marks(room, monkeypatch) -> None:
    raw = io.BytesIO()
    room(doctor=lambda **_: (Check("Thing", True, "found"),))
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="latin-1"))
    assert cli.main(["doctor"]) == 0
    assert raw.getvalue().startswith(b"? Thing  found\n")
