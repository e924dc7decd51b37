"""Logging in and out as users do it: in a notebook, on a terminal, from the command line."""

from __future__ import annotations

import asyncio
import json
import stat
import sys
import types

import pytest

import depotlab as dl
from depotlab import aio, api, cli
from depotlab._depot.wire import enveloped
from depotlab._proto import depot_clibeta_pb2 as beta
from depotlab._proto import depot_core_pb2 as core
from depotlab.errors import ContextError, UsageError
from tests.support.fakeplane import ended, message, serving, stream

TOKEN = "planted_login_0123456789"
URL = "https://depot.test/approve/7?a=1&b=2"
ANSWERS = {
    "StartLogin": message(beta.StartLoginResponse(id="planted_id_0123456789", approve_url=URL)),
    "FinishLogin": stream(
        enveloped(beta.FinishLoginResponse(token=TOKEN).SerializeToString()), ended()
    ),
    "ListOrganizations": message(
        core.ListOrganizationsResponse(organizations=[{"org_id": "org1", "name": "Octo"}])
    ),
}


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("DEPOT_TOKEN", "DEPOT_API_TOKEN", "DEPOT_API_URL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "depot" / "depot.yaml"


def at_a_plane(work, answers=ANSWERS):
    """Do blocking work while a plane answers."""

    async def run():
        async with serving(answers) as plane:
            return await asyncio.to_thread(work, plane.url)

    return asyncio.run(run())


@pytest.mark.parametrize("way", ["blocking", "awaited", "command", "variable"])
def test_a_login_is_kept_and_found_and_forgotten(way, home, capfd, monkeypatch):
    if way == "blocking":
        made = at_a_plane(lambda url: dl.depot_login(url=url))
        assert made.organization == "org1"
        assert repr(made) == f"<logged in to Octo; the token is in {home}>"
    elif way == "awaited":

        async def run():
            async with serving(ANSWERS) as plane:
                return await aio.depot_login(url=plane.url, organization="org1")

        asyncio.run(run())
    elif way == "command":
        assert at_a_plane(lambda url: cli.main(["login", "--url", url])) == 0
    else:

        def work(url):
            monkeypatch.setenv("DEPOT_API_URL", url)
            dl.depot_login()

        at_a_plane(work)
    said = capfd.readouterr()
    assert URL in said.err
    assert str(home) in said.err
    assert not said.out
    assert TOKEN not in said.err
    assert "planted_id" not in said.err
    assert stat.S_IMODE(home.stat().st_mode) == 0o600
    config = dl.depot_config()
    assert (config.token.value, config.organization.value) == (TOKEN, "org1")
    assert TOKEN not in repr(config) + config._repr_html_()
    assert dl.depot_logout() is True
    assert not home.exists(), "nothing else was in it"
    assert not dl.depot_config().token


def test_a_login_of_another_organization_is_not_kept(home):
    with pytest.raises(UsageError, match="none that you belong to"):
        at_a_plane(lambda url: dl.depot_login(url=url, organization="org9"))
    assert not home.exists()


def test_a_variable_that_comes_before_the_login_is_named(capfd, monkeypatch):
    monkeypatch.setenv("DEPOT_TOKEN", "planted_other_0123456789")
    at_a_plane(lambda url: dl.depot_login(url=url))
    said = capfd.readouterr().err
    assert "DEPOT_TOKEN is set, and comes before it" in said
    assert "planted" not in said


def test_nobody_agrees_in_time(home):
    answers = {**ANSWERS, "FinishLogin": lambda _: asyncio.sleep(30)}
    with pytest.raises(api.DeadlineExceeded):
        at_a_plane(lambda url: dl.depot_login(url=url, timeout_s=0.2), answers)
    assert not home.exists()


@pytest.mark.parametrize(
    "options", [{"timeout_s": 0}, {"organization": ""}, {"url": "nowhere"}], ids=str
)
def test_what_cannot_work_is_refused_at_once(options):
    with pytest.raises(UsageError) as caught:
        dl.depot_login(**options)
    assert caught.value.hint


class Display:
    """What a notebook keeps of one output."""

    def __init__(self, shown):
        self.shown = [shown]

    def update(self, shown):
        self.shown.append(shown)


@pytest.mark.parametrize("agreed", [True, False])
def test_a_notebook_shows_a_link_and_keeps_neither_it_nor_the_token(agreed, monkeypatch):
    displays = []

    def display(shown, *, display_id):
        assert display_id
        displays.append(Display(shown))
        return displays[-1]

    ipython = types.SimpleNamespace(HTML=str, display=display)
    monkeypatch.setitem(sys.modules, "IPython.display", ipython)
    monkeypatch.setattr(sys.modules["depotlab._verbs.login"], "is_in_kernel", lambda: True)
    answers = dict(ANSWERS) if agreed else {**ANSWERS, "FinishLogin": stream(ended())}
    work = lambda url: dl.depot_login(url=url)  # noqa: E731
    if agreed:
        at_a_plane(work, answers)
    else:
        with pytest.raises(api.BadReply):
            at_a_plane(work, answers)
    (only,) = displays
    first, last = only.shown
    assert '<a href="https://depot.test/approve/7?a=1&amp;b=2"' in first
    assert URL not in last
    assert "approve" not in last
    assert ("logged in" in last) == agreed
    assert TOKEN not in json.dumps(only.shown)


# ----------------------------------------------------------------------------------------- logout


def test_what_else_is_in_the_file_stays(home):
    home.parent.mkdir()
    home.write_text(f"# mine\napi_token: '{TOKEN}'\nother:\n  nested: 1\norg_id: org1\n")
    assert dl.depot_logout() is True
    assert home.read_text() == "# mine\nother:\n  nested: 1\n"
    assert dl.depot_logout() is False
    assert stat.S_IMODE(home.stat().st_mode) == 0o600


def test_there_need_not_be_a_login(capsys):
    assert asyncio.run(aio.depot_logout()) is False
    assert cli.main(["logout"]) == 0
    assert capsys.readouterr().out == "there was no login\n"


@pytest.mark.parametrize("data", [b'{"api_token": "x"}', b"api_token: |\n  x\n", b"\xff\xfe"])
def test_a_file_of_another_form_is_left_alone(data, home):
    home.parent.mkdir()
    home.write_bytes(data)
    with pytest.raises(ContextError, match="cannot be changed"):
        dl.depot_logout()
    assert home.read_bytes() == data
