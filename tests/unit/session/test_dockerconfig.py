from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from depotlab._session.credentials import ANONYMOUS, HUB_KEY, Credentials
from depotlab._session.dockerconfig import DockerConfig
from depotlab.errors import DepotlabError, SessionError

SECRET = "s3cr3t-do-not-show"


def packed(username: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{username}:{password}".encode()).decode()}


class Lookup:
    """A configuration in the test's home, and what looking into it reports."""

    def __init__(self, home: Path, bin_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = home / ".docker"
        self.bin_dir = bin_dir
        self.problems: list[DepotlabError] = []
        monkeypatch.setenv("PATH", f"{bin_dir}{os.pathsep}{os.environ['PATH']}")

    def write(self, config: Any) -> None:
        self.folder.mkdir(exist_ok=True)
        (self.folder / "config.json").write_text(
            config if isinstance(config, str) else json.dumps(config)
        )

    def helper(self, name: str, script: str) -> None:
        program = self.bin_dir / f"docker-credential-{name}"
        program.write_text("#!/bin/sh\n" + script)
        program.chmod(0o755)

    def find(self, host: str, *, timeout_s: float = 20.0) -> Credentials:
        return DockerConfig(self.problems.append, helper_timeout_s=timeout_s).find(host)

    def only_problem(self) -> SessionError:
        (problem,) = self.problems
        assert isinstance(problem, SessionError)
        assert problem.hint
        assert SECRET not in str(problem)
        return problem


@pytest.fixture
def lookup(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lookup:
    (tmp_path / "bin").mkdir()
    return Lookup(home, tmp_path / "bin", monkeypatch)


def test_without_any_configuration_everything_is_anonymous(lookup: Lookup) -> None:
    assert lookup.find("ghcr.io") == ANONYMOUS
    assert lookup.problems == []


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        pytest.param(
            packed("me", "a:b"), Credentials("me", "a:b"), id="a password may have colons"
        ),
        pytest.param({"username": "me", "password": "pw"}, Credentials("me", "pw"), id="in plain"),
        pytest.param({"identitytoken": "t"}, Credentials(identity_token="t"), id="identity token"),
        pytest.param({"registrytoken": "t"}, Credentials(registry_token="t"), id="registry token"),
        pytest.param({}, ANONYMOUS, id="an empty entry, as a helper leaves it"),
    ],
)
def test_entries_of_auths(lookup: Lookup, entry: dict[str, str], expected: Credentials) -> None:
    lookup.write({"auths": {"ghcr.io": entry, "other.io": packed("x", "y")}})
    assert lookup.find("ghcr.io") == expected
    assert lookup.problems == []


@pytest.mark.parametrize("key", [HUB_KEY, "docker.io", "https://index.docker.io/v2/"])
def test_docker_hub_is_found_by_every_name_that_people_write(lookup: Lookup, key: str) -> None:
    lookup.write({"auths": {key: packed("me", "pw")}})
    assert lookup.find("registry-1.docker.io") == Credentials("me", "pw")


def test_old_entries_have_urls_for_keys(lookup: Lookup) -> None:
    lookup.write({"auths": {"https://example.com:5000/v1/": packed("me", "pw")}})
    assert lookup.find("example.com:5000") == Credentials("me", "pw")
    assert lookup.find("example.com") == ANONYMOUS


def test_the_variable_of_ci_systems_goes_first(
    lookup: Lookup, monkeypatch: pytest.MonkeyPatch
) -> None:
    lookup.write({"auths": {"ghcr.io": packed("file", "1"), "other.io": packed("file", "2")}})
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"auths": {"ghcr.io": packed("env", "3")}}))
    assert lookup.find("ghcr.io") == Credentials("env", "3")
    assert lookup.find("other.io") == Credentials("file", "2")


def set_variables(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"REGISTRY_{name}", value)


@pytest.mark.parametrize("url", ["https://ghcr.io/v2/", "ghcr.io", "http://ghcr.io"])
def test_the_variables_for_one_registry_go_before_all(
    lookup: Lookup, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    lookup.write({"auths": {"ghcr.io": packed("file", "1"), "other.io": packed("file", "2")}})
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"auths": {"ghcr.io": packed("env", "3")}}))
    set_variables(monkeypatch, USERNAME="me", PASSWORD=SECRET, URL=url)
    assert lookup.find("ghcr.io") == Credentials("me", SECRET)
    assert lookup.find("other.io") == Credentials("file", "2")
    assert lookup.find("registry-1.docker.io") == ANONYMOUS
    assert lookup.problems == []


@pytest.mark.parametrize("more", [{}, {"URL": ""}, {"URL": HUB_KEY}, {"URL": "docker.io"}])
def test_the_variables_are_for_docker_hub_unless_they_name_another(
    lookup: Lookup, monkeypatch: pytest.MonkeyPatch, more: dict[str, str]
) -> None:
    set_variables(monkeypatch, USERNAME="me", PASSWORD=SECRET, **more)
    assert lookup.find("registry-1.docker.io") == Credentials("me", SECRET)
    assert lookup.find("ghcr.io") == ANONYMOUS


@pytest.mark.parametrize(("given", "missing"), [("USERNAME", "PASSWORD"), ("PASSWORD", "USERNAME")])
def test_one_variable_without_the_other_is_reported_where_it_matters(
    lookup: Lookup, monkeypatch: pytest.MonkeyPatch, given: str, missing: str
) -> None:
    lookup.write({"auths": {"ghcr.io": packed("file", "1")}})
    set_variables(monkeypatch, URL="ghcr.io", **{given: SECRET})
    assert lookup.find("other.io") == ANONYMOUS
    assert lookup.problems == []
    assert lookup.find("ghcr.io") == Credentials("file", "1")
    problem = lookup.only_problem()
    assert f"REGISTRY_{missing} is not" in problem.message
    assert "ghcr.io" in problem.message


def test_a_registry_without_a_helper_of_its_own_can_be_left_out(lookup: Lookup) -> None:
    lookup.helper("all", 'echo \'{"Username":"all","Secret":"s"}\'')
    lookup.write({"credsStore": "all", "credHelpers": {"a.io": ""}})
    assert lookup.find("a.io") == ANONYMOUS
    assert lookup.find("b.io") == Credentials("all", "s")


def test_docker_config_names_the_directory(
    lookup: Lookup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"a.io": packed("me", "pw")}}))
    assert lookup.find("a.io") == Credentials("me", "pw")


def test_a_helper_for_one_registry_goes_before_that_for_all(lookup: Lookup) -> None:
    answer = '{\\"ServerURL\\":\\"$host\\",\\"Username\\":\\"$host-$1\\",\\"Secret\\":\\"s\\"}'
    lookup.helper("one", f'read host; echo "{answer}"')
    lookup.helper("all", 'echo \'{"Username":"all","Secret":"s"}\'')
    lookup.write({"credsStore": "all", "credHelpers": {"one.io": "one"}})
    assert lookup.find("one.io") == Credentials("one.io-get", "s")
    assert lookup.find("two.io") == Credentials("all", "s")


def test_a_helper_is_asked_for_docker_hub_by_its_old_name(lookup: Lookup) -> None:
    lookup.helper("all", 'read host; echo "{\\"Username\\":\\"$host\\",\\"Secret\\":\\"s\\"}"')
    lookup.write({"credsStore": "all"})
    assert lookup.find("registry-1.docker.io").username == HUB_KEY


def test_a_helper_may_give_an_identity_token(lookup: Lookup) -> None:
    lookup.helper("all", 'echo \'{"Username":"<token>","Secret":"t"}\'')
    lookup.write({"credsStore": "all"})
    assert lookup.find("a.io") == Credentials(identity_token="t")


def test_a_helper_that_has_nothing_is_no_problem(lookup: Lookup) -> None:
    lookup.helper("all", "echo credentials not found in native keychain; exit 1")
    lookup.write({"credsStore": "all", "auths": {"a.io": packed("me", "pw"), "b.io": {}}})
    assert lookup.find("b.io") == ANONYMOUS
    assert lookup.find("a.io") == Credentials("me", "pw")
    assert lookup.problems == []


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        pytest.param(f"echo {SECRET}; exit 3", "code 3", id="fails"),
        pytest.param(f"echo {SECRET}", "not what helpers answer", id="answers something else"),
        pytest.param(
            f'echo \'{{"Username":"{SECRET}"}}\'', "not what helpers answer", id="half an answer"
        ),
        pytest.param(None, "not on the PATH", id="is not installed"),
    ],
)
def test_a_helper_that_does_not_work_is_reported_and_not_fatal(
    lookup: Lookup, script: str | None, reason: str
) -> None:
    if script is not None:
        lookup.helper("bad", script)
    lookup.write({"credHelpers": {"a.io": "bad"}})
    assert lookup.find("a.io") == ANONYMOUS
    problem = lookup.only_problem()
    assert reason in problem.message
    assert "docker-credential-bad" in problem.message
    assert "a.io" in problem.hint


def test_a_helper_that_hangs_is_stopped_with_all_that_it_started(
    lookup: Lookup, tmp_path: Path
) -> None:
    lookup.helper("slow", f"sleep 300 & echo $! > {tmp_path}/child; wait")
    lookup.write({"credsStore": "slow"})
    assert lookup.find("a.io", timeout_s=2) == ANONYMOUS
    assert "within 2 s" in lookup.only_problem().message
    child = int((tmp_path / "child").read_text())
    deadline_s = time.monotonic() + 60
    while _runs(child) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert not _runs(child)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.parametrize("name", ["../evil", "a/b", "", "-x"])
def test_names_of_helpers_are_no_paths(lookup: Lookup, name: str) -> None:
    lookup.write({"credHelpers": {"a.io": name}})
    assert lookup.find("a.io") == ANONYMOUS
    assert len(lookup.problems) == (1 if name else 0)


@pytest.mark.parametrize(
    "config",
    [
        pytest.param("{", id="no JSON"),
        pytest.param("[]", id="no object"),
        pytest.param({"auths": {"a.io": {"auth": f"%{SECRET}"}}}, id="no base64"),
        pytest.param({"auths": {"a.io": {"auth": "bm90aGluZw=="}}}, id="no colon"),
    ],
)
def test_a_configuration_that_cannot_be_understood_is_reported_and_not_fatal(
    lookup: Lookup, config: Any
) -> None:
    lookup.write(config)
    assert lookup.find("a.io") == ANONYMOUS
    assert lookup.only_problem().path == str(lookup.folder / "config.json")


@pytest.mark.parametrize(
    "config", ["", {"auths": None}, {"auths": {"a.io": 5}}, {"credHelpers": []}]
)
def test_odd_but_harmless_configurations_are_anonymous(lookup: Lookup, config: Any) -> None:
    lookup.write(config)
    assert lookup.find("a.io") == ANONYMOUS
    assert lookup.problems == []


def test_a_configuration_that_cannot_be_read_is_reported(lookup: Lookup) -> None:
    (lookup.folder / "config.json").mkdir(parents=True)
    assert lookup.find("a.io") == ANONYMOUS
    assert "could not be read" in lookup.only_problem().message


@pytest.mark.parametrize("named", [" ghcr.io ", "GHCR.io", "https://Ghcr.IO/v2/\n"])
def test_the_registry_of_the_variables_may_have_blanks_and_capitals(
    lookup: Lookup, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.setenv("REGISTRY_USERNAME", "me")
    monkeypatch.setenv("REGISTRY_PASSWORD", SECRET)
    monkeypatch.setenv("REGISTRY_URL", named)
    assert lookup.find("ghcr.io") == Credentials("me", SECRET)
    assert lookup.find("docker.io") == ANONYMOUS
