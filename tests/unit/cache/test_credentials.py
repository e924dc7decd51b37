"""What is filled in from this machine when a build is prepared."""

from __future__ import annotations

from pathlib import Path

import pytest

from depotlab import cache
from depotlab.errors import UsageError

SECRET = "planted-s3cr3t"


def filled(one: cache.Cache, environment: dict[str, str]) -> dict[str, str]:
    ((_, attrs),) = cache.as_imports(one, environment=environment).entries
    ((_, again),) = cache.as_exports(one, environment=environment).entries
    assert dict(attrs).items() <= dict(again).items()
    return {key: value for key, value in attrs.items() if key not in one.attrs}


# -------------------------------------------------------------------------------------- GitHub

JOB = {
    "ACTIONS_RESULTS_URL": "https://results/",
    "ACTIONS_CACHE_URL": "https://cache/",
    "ACTIONS_RUNTIME_TOKEN": SECRET,
}


@pytest.mark.parametrize(
    ("one", "environment", "expected"),
    [
        pytest.param(cache.gha(), JOB, {"url": "https://cache/"}, id="the cache's own address"),
        pytest.param(
            cache.gha(),
            {**JOB, "ACTIONS_CACHE_URL": ""},
            {"url": "https://results/"},
            id="else that of results",
        ),
        pytest.param(
            cache.gha(),
            {**JOB, "ACTIONS_CACHE_SERVICE_V2": "True"},
            {"url": "https://cache/", "url_v2": "https://results/"},
            id="version 2 when the job says so",
        ),
        pytest.param(
            cache.gha(),
            {**JOB, "ACTIONS_CACHE_SERVICE_V2": "no"},
            {"url": "https://cache/"},
            id="not when it says something else",
        ),
        pytest.param(
            cache.gha(version=2),
            JOB,
            {"url": "https://cache/", "url_v2": "https://results/"},
            id="version 2 when the call says so",
        ),
        pytest.param(
            cache.gha(version=1),
            {**JOB, "ACTIONS_CACHE_SERVICE_V2": "1"},
            {"url": "https://cache/"},
            id="the call decides",
        ),
        pytest.param(cache.gha(url="https://mine/"), JOB, {}, id="what is given is not looked for"),
    ],
)
def test_a_job_of_github_says_where_its_cache_is(one, environment, expected) -> None:
    assert filled(one, environment) == {**expected, "token": SECRET}


def test_a_token_that_is_given_is_used() -> None:
    assert filled(cache.gha(token="mine"), JOB)["token"] == "mine"


@pytest.mark.parametrize(
    ("one", "environment", "words"),
    [
        (cache.gha(), {}, "lacks url= .* and token="),
        (cache.gha(url="https://x"), {}, r"lacks token= \(from ACTIONS_RUNTIME_TOKEN\)\."),
        (cache.gha(token="x"), {}, r"lacks url= \(from ACTIONS_RESULTS_URL\)\."),
    ],
)
def test_outside_of_a_job_the_error_says_what_is_lacking(one, environment, words: str) -> None:
    for prepare in (cache.as_exports, cache.as_imports):
        with pytest.raises(UsageError, match=words) as caught:
            prepare(one, environment=environment)
        assert "job of GitHub Actions" in caught.value.hint


# ----------------------------------------------------------------------------------------- AWS

KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": SECRET}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".aws").mkdir()
    return tmp_path


def write(home: Path, name: str, text: str) -> None:
    (home / ".aws" / name).write_text(text)


def keys(prefix: str, token: str = "") -> str:
    session = f"aws_session_token = {token}\n" if token else ""
    return f"aws_access_key_id = {prefix}-id\naws_secret_access_key={prefix}-secret\n{session}"


def test_keys_come_from_the_environment(home: Path) -> None:
    write(home, "credentials", "[default]\n" + keys("file"))
    found = filled(cache.s3("b"), {**KEYS, "HOME": str(home)})
    assert found == {"access_key_id": "id", "secret_access_key": SECRET}
    found = filled(cache.s3("b"), {**KEYS, "AWS_SESSION_TOKEN": "t", "HOME": str(home)})
    assert found["session_token"] == "t"


def test_half_of_the_keys_in_the_environment_are_none(home: Path) -> None:
    write(home, "credentials", "[default]\n" + keys("file"))
    environment = {"AWS_ACCESS_KEY_ID": "id", "HOME": str(home)}
    assert filled(cache.s3("b"), environment)["access_key_id"] == "file-id"


@pytest.mark.parametrize(
    ("one", "variables", "expected"),
    [
        (cache.s3("b"), {}, "default"),
        (cache.s3("b"), {"AWS_PROFILE": "work"}, "work"),
        (cache.s3("b", profile="work"), {"AWS_PROFILE": "other"}, "work"),
        (cache.s3("b", profile="work"), KEYS, "work"),
        (cache.s3("b", profile="conf"), {}, "conf"),
        (cache.s3("b", profile="both"), {}, "credentials-win"),
    ],
)
def test_keys_come_from_a_profile(home: Path, one, variables, expected: str) -> None:
    write(
        home,
        "credentials",
        f"# comment\n[default]\n{keys('default')}\n[work]\n{keys('work', 'tok')}"
        f"[both]\n{keys('credentials-win')}",
    )
    write(home, "config", f"[profile conf]\nregion = x\n{keys('conf')}[profile both]\n{keys('no')}")
    found = filled(one, {**variables, "HOME": str(home)})
    assert found["access_key_id"] == f"{expected}-id"
    assert found["secret_access_key"] == f"{expected}-secret"
    assert found.get("session_token") == ("tok" if expected == "work" else None)


def test_the_files_may_be_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("[default]\n" + keys("here"))
    environment = {"HOME": "/nowhere", "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "c")}
    assert filled(cache.s3("b"), environment)["access_key_id"] == "here-id"


def test_a_percent_sign_in_a_key_is_only_that(home: Path) -> None:
    write(
        home,
        "credentials",
        "[default]\naws_access_key_id=a%b\naws_secret_access_key = c%(d)s;e # f\n",
    )
    found = filled(cache.s3("b"), {"HOME": str(home)})
    assert found == {"access_key_id": "a%b", "secret_access_key": "c%(d)s;e # f"}


@pytest.mark.parametrize("one", [cache.s3("b"), cache.s3("b", credentials="daemon")])
def test_without_any_keys_the_daemon_uses_its_own(home: Path, one) -> None:
    write(home, "config", "[default]\nregion = x\nsso_session = y\n")
    assert filled(one, {"HOME": str(home)}) == {}


def test_keys_can_be_kept_from_the_daemon() -> None:
    assert filled(cache.s3("b", credentials="daemon"), KEYS) == {}


def test_keys_that_are_given_are_not_mixed_with_others() -> None:
    one = cache.s3("b", access_key_id="a", secret_access_key="b")
    found = filled(one, {**KEYS, "AWS_SESSION_TOKEN": "t"})
    assert found == {"access_key_id": "a", "secret_access_key": "b"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "there is none in"),
        ("[profile work]\nregion = x\n", "it has no keys in"),
        ("[profile work]\nsso_session = x\n", "it logs in by sso_session"),
        ("[profile work]\nrole_arn = x\nsource_profile = default\n", "it logs in by role_arn"),
    ],
)
@pytest.mark.parametrize("asked", ["call", "environment"])
def test_a_profile_that_was_asked_for_has_to_have_keys(home: Path, text, words, asked: str) -> None:
    write(home, "config", text)
    one = cache.s3("b", profile="work" if asked == "call" else "")
    environment = {"HOME": str(home), "AWS_PROFILE": "work" if asked == "environment" else ""}
    with pytest.raises(UsageError, match=words) as caught:
        cache.as_imports(one, environment=environment)
    assert "aws configure export-credentials --profile work" in caught.value.hint


@pytest.mark.parametrize("text", [f"aws_secret_access_key = {SECRET}\n", f"[a\n{SECRET} = x\n"])
def test_a_file_that_is_damaged_is_named_and_not_quoted(home: Path, text: str) -> None:
    write(home, "credentials", text)
    with pytest.raises(UsageError, match="credentials") as caught:
        cache.as_exports(cache.s3("b"), environment={"HOME": str(home)})
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
