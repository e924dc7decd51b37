"""The device login, the file it writes, and the identity of a fork's job."""

import asyncio
import json
import stat

import pytest

from depotlab._depot import (
    BadReply,
    DeadlineExceeded,
    IdentityFailed,
    find_config,
    login,
)
from depotlab._depot.login import write_login
from depotlab._depot.oidc import fork
from depotlab._depot.wire import enveloped
from depotlab._proto import depot_clibeta_pb2 as beta
from depotlab._proto import depot_core_pb2 as core
from depotlab.errors import ContextError, UsageError
from tests.support.fakeplane import ended, http, message, serving, stream

TOKEN = "depot_planted_login_0123456789"
STARTED = message(beta.StartLoginResponse(id="7", approve_url="https://depot.test/approve/7"))


def approved(token=TOKEN):
    return stream(enveloped(beta.FinishLoginResponse(token=token).SerializeToString()), ended())


def organizations(*names):
    found = [{"org_id": name, "name": name.upper()} for name in names]
    return message(core.ListOrganizationsResponse(organizations=found))


def log_in(tmp_path, *orgs, finish=None, start=STARTED, **options):
    async def run():
        shown = []
        answers = {
            "StartLogin": start,
            "FinishLogin": finish or approved(),
            "ListOrganizations": organizations(*orgs),
        }
        async with serving(answers) as plane:
            path = tmp_path / "config" / "depot" / "depot.yaml"
            made = await login(shown.append, base_url=plane.url, host_path=path, **options)
            return made, shown, plane

    return asyncio.run(run())


def test_a_login_shows_a_url_and_keeps_the_token_where_the_command_line_does(tmp_path):
    made, shown, plane = log_in(tmp_path, "org1")
    assert shown == ["https://depot.test/approve/7"]
    assert made.organization == "org1", "the only one is taken"
    assert stat.S_IMODE(made.host_path.stat().st_mode) == 0o600
    assert stat.S_IMODE(made.host_path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in made.host_path.parent.iterdir()] == ["depot.yaml"]
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    config = asyncio.run(find_config(environ=environ, host_context=tmp_path))
    assert (config.token.value, config.organization.value) == (TOKEN, "org1")
    assert TOKEN not in repr(made)
    assert [a.name for a in plane.asked] == ["StartLogin", "FinishLogin", "ListOrganizations"]
    assert "authorization" not in plane.asked[0].headers
    assert "authorization" not in plane.asked[1].headers
    assert plane.asked[2].headers["authorization"] == f"Bearer {TOKEN}"


def test_of_several_organizations_the_person_chooses(tmp_path):
    made, _, _ = log_in(tmp_path, "org1", "org2")
    assert made.organization == ""
    assert [one.id for one in made.organizations] == ["org1", "org2"]
    assert "org_id" not in made.host_path.read_text()
    chosen, _, _ = log_in(tmp_path, "org1", "org2", organization="org2")
    assert "org_id: org2" in chosen.host_path.read_text()
    with pytest.raises(UsageError, match="none that you belong to"):
        log_in(tmp_path, "org1", organization="org9")


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"finish": stream(ended())}, BadReply),
        ({"finish": approved("")}, BadReply),
        ({"finish": approved("two words")}, BadReply),
        ({"start": message(beta.StartLoginResponse(id="7", approve_url="file:///x"))}, BadReply),
        ({"finish": lambda _: asyncio.sleep(60), "timeout_s": 0.1}, DeadlineExceeded),
    ],
)
def test_a_login_that_fails_keeps_nothing(tmp_path, options, kind):
    with pytest.raises(kind):
        log_in(tmp_path, "org1", **options)
    assert not list(tmp_path.rglob("*.yaml"))


def test_what_else_is_in_the_file_stays(tmp_path):
    path = tmp_path / "depot.yaml"
    path.write_text("# mine\napi_token: 'old'\nother:\n  nested: 1\norg_id: old\n")
    path.chmod(0o644)
    write_login(path, "it's")
    assert path.read_text() == "# mine\nother:\n  nested: 1\napi_token: 'it''s'\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ['{"api_token": "planted"}', "api_token: |\n  planted\n"])
def test_a_file_of_another_form_is_left_alone(tmp_path, text):
    path = tmp_path / "depot.yaml"
    path.write_text(text)
    with pytest.raises(ContextError, match="cannot be changed") as caught:
        write_login(path, TOKEN)
    assert path.read_text() == text
    assert TOKEN not in str(caught.value)
    assert "planted" not in str(caught.value)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "depot").write_text("a file")
    with pytest.raises(ContextError, match="cannot be written"):
        write_login(tmp_path / "depot" / "depot.yaml", TOKEN)


# --------------------------------------------------------------------------- a fork's pull request


def job(tmp_path, *, private=False, head="fork/app", **more):
    event = {
        "repository": {"full_name": "octo/app", "private": private},
        "pull_request": {"head": {"repo": {"full_name": head}}},
    }
    path = tmp_path / "event.json"
    path.write_text(json.dumps(event))
    return {
        "GITHUB_RUN_ID": "99",
        "GITHUB_EVENT_NAME": "pull_request",
        "GITHUB_EVENT_PATH": str(path),
        **more,
    }


def prove(environ, *answers):
    """Ask the service; the answers are those of its exchange."""

    async def run():
        async with serving({"exchange": list(answers)}) as plane:
            claim = {"challengeCode": "abc-123", "exchangeURL": f"{plane.url}/exchange"}
            plane.answers["claim"] = http(200, json.dumps(claim).encode(), "application/json")
            return await fork(environ, claim_url=f"{plane.url}/claim", pause_s=0.001), plane

    return asyncio.run(run())


def test_a_job_of_a_fork_proves_itself_by_its_log(tmp_path, capsys):
    token, plane = prove(job(tmp_path), http(404), http(404), http(200, b"jwt\n"))
    assert token == "jwt"
    claimed = json.loads(plane.named("claim")[0].body)
    assert claimed == {
        "aud": "https://depot.dev",
        "eventName": "pull_request",
        "repo": "octo/app",
        "runID": "99",
    }
    assert capsys.readouterr().out.count("abc-123") == 3
    assert len(plane.named("exchange")) == 3
    assert all("authorization" not in asked.headers for asked in plane.asked)


@pytest.mark.parametrize(
    "change",
    [
        {"private": True},
        {"head": "octo/app"},
        {"GITHUB_EVENT_NAME": "push"},
        {"GITHUB_RUN_ID": ""},
        {"GITHUB_EVENT_PATH": "/nowhere"},
    ],
)
def test_other_jobs_are_not_asked_about(tmp_path, change):
    token, plane = prove(job(tmp_path, **change), http(200, b"jwt"))
    assert token is None
    assert not plane.asked


def test_a_code_that_nobody_sees_is_an_error_in_the_end(tmp_path):
    with pytest.raises(IdentityFailed, match="after 60 questions"):
        prove(job(tmp_path), http(404))
