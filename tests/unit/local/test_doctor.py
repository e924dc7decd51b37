"""What the doctor finds, and how it looks."""

import pytest

from depotlab._local import Check, _doctor, doctor, render_checks
from tests.support.fake_programs import program

CHECKS = [
    Check("Python", True, "3.11.7"),
    Check("OCI runtime", False, "neither runc nor crun is on PATH", "sudo apt-get install -y runc"),
    Check("Engine", None, "not running, starts when needed"),
]


def test_findings_are_aligned_and_each_fix_is_below_its_finding() -> None:
    assert render_checks(CHECKS) == (
        "✔ Python       3.11.7\n"
        "✖ OCI runtime  neither runc nor crun is on PATH\n"
        "               → sudo apt-get install -y runc\n"
        "• Engine       not running, starts when needed"
    )


def test_long_findings_break_at_spaces_and_stay_aligned() -> None:
    text = render_checks([Check("Disk", None, "one two three /a/path/that/is/long")], width=20)
    assert text == "• Disk  one two\n        three\n        /a/path/that/is/long"


def test_no_network_is_asked_unless_told(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(_doctor._hub, "answers", lambda **_: pytest.fail("it asked"))
    names = [check.name for check in doctor(state_dir=tmp_path / "s")]
    assert "Docker Hub" not in names
    monkeypatch.setattr(_doctor._hub, "answers", lambda **_: False)
    last = doctor(state_dir=tmp_path / "s", network=True)[-1]
    assert (last.name, last.ok) == ("Docker Hub", None)


def test_looking_leaves_no_trace(tmp_path) -> None:
    doctor(state_dir=tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_what_is_missing_has_a_command(monkeypatch, tmp_path, empty_path) -> None:
    monkeypatch.setenv("DEPOTLAB_ENGINE_DIR", str(tmp_path / "engine"))
    found = {check.name: check for check in doctor(state_dir=tmp_path / "s")}
    assert found["buildkitd"].ok is False
    assert found["buildkitd"].fix == "depotlab engine install"
    assert found["OCI runtime"].ok is False
    assert "runc" in found["OCI runtime"].fix
    program(empty_path / "runc", "runc version 1.1.5")
    found = {check.name: check for check in doctor(state_dir=tmp_path / "s")}
    assert found["OCI runtime"].ok is True


def test_on_another_system_it_says_what_to_use_instead(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(_doctor._host.platform, "system", lambda: "Darwin")
    system = next(c for c in doctor(state_dir=tmp_path) if c.name == "System")
    assert system.ok is False
    assert "dl.connect" in system.fix
