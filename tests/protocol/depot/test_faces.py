"""The Depot API as users reach it: blocking and awaitable, with pages, tables, limits and ends."""

from __future__ import annotations

import asyncio
import gc
import traceback
from datetime import UTC, datetime, timedelta

import pytest

import depotlab as dl
from depotlab import aio, api
from depotlab._proto import depot_cli_pb2 as cli
from depotlab._proto import depot_core_pb2 as core
from depotlab.errors import UsageError
from tests.support.fakeplane import fault, message, serving

TOKEN = "planted_caller_0123456789"
PULL = "planted_pull_0123456789"
SECRET = "planted_secret_0123456789"


def projects(n):
    """Projects in pages of two."""

    def answer(asked):
        start = int(asked.parsed(core.ListProjectsRequest).page_token or 0)
        page = range(start, min(start + 2, n))
        reply = core.ListProjectsResponse(
            projects=[core.Project(project_id=f"p{i}", name=f"<{i}>") for i in page]
        )
        if start + 2 < n:
            reply.next_page_token = str(start + 2)
        return message(reply)

    return {"ListProjects": answer}


def blocking(answers, work, **options):
    """Call `work` with the blocking API in a thread of its own; return what it does, and the plane."""

    async def run():
        async with serving(answers) as plane:

            def main():
                with dl.depot_api(url=plane.url, token=TOKEN, **options) as client:
                    return work(client)

            return await asyncio.to_thread(main), plane

    return asyncio.run(run())


def awaiting(answers, work, **options):
    async def run():
        async with (
            serving(answers) as plane,
            await aio.depot_api(url=plane.url, token=TOKEN, **options) as client,
        ):
            return await work(client), plane

    return asyncio.run(run())


def test_a_list_asks_for_its_first_page_and_for_others_when_they_are_read():
    def work(client):
        found = client.projects.list()
        seen = [repr(found), found._repr_html_()]
        assert found
        assert found[0].id == "p0"
        for project in found:
            if project.id == "p2":
                break
        seen.append(repr(found))
        assert [p.id for p in found[1:3]] == ["p1", "p2"]
        assert found[-1].id == "p4"
        assert len(found) == 5
        assert list(found) == list(found)
        return [*seen, repr(found), found.table("name")]

    (first, shown, later, whole, table), plane = blocking(projects(5).copy(), work)
    assert first == "<2 projects so far, and more>"
    assert later == "<4 projects so far, and more>"
    assert whole == "<5 projects>"
    assert "&lt;0&gt;" in shown
    assert "<0>" not in shown
    assert table.rows[0] == ("<0>",)
    assert len(plane.asked) == 3, "a second loop asks nothing"


def test_an_empty_list_is_one():
    def work(client):
        found = client.projects.list()
        return bool(found), list(found), repr(found), found._repr_html_()

    (there, items, shown, html), _ = blocking(projects(0), work)
    assert (there, items, shown) == (False, [], "<0 projects>")
    assert "table" not in html


def test_awaited_pages_are_the_same_list():
    async def work(client):
        read = [project.id async for project in client.projects.list()]
        return read, await client.projects.list()

    (read, whole), _ = awaiting(projects(3), work)
    assert read == [project.id for project in whole] == ["p0", "p1", "p2"]
    assert repr(whole) == "<3 projects>"
    assert "<table>" in whole._repr_html_()
    assert isinstance(whole, tuple)
    assert isinstance(whole, api.Listing)


def test_a_page_that_fails_can_be_asked_for_again():
    replies = [
        message(
            core.ListProjectsResponse(projects=[core.Project(project_id="a")], next_page_token="2")
        ),
        fault(403, "permission_denied", "not now"),
        message(core.ListProjectsResponse(projects=[core.Project(project_id="b")])),
    ]

    def work(client):
        found = client.projects.list()
        with pytest.raises(api.PermissionDenied):
            list(found)
        return [project.id for project in found]

    ids, _ = blocking({"ListProjects": replies}, work)
    assert ids == ["a", "b"]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (fault(401, "unauthenticated", "who?"), api.Unauthenticated),
        (fault(403, "permission_denied", "no"), api.PermissionDenied),
        (fault(404, "not_found", "none"), api.NotFound),
        (fault(409, "already_exists", "there"), api.InvalidRequest),
        (fault(429, "resource_exhausted", "slow", retry_after="7"), api.ResourceExhausted),
    ],
)
@pytest.mark.parametrize("way", [blocking, awaiting])
def test_a_refusal_is_an_error_that_says_what_to_do(way, answer, kind):
    with pytest.raises(kind) as caught:
        way({"CreateProject": answer}, lambda client: client.projects.create("x"))
    assert caught.value.hint
    assert caught.value.server_message
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("way", [blocking, awaiting])
def test_the_limit_of_a_call_is_the_client_s(way):
    answers = {"GetProject": lambda _: asyncio.sleep(30)}
    with pytest.raises(api.DeadlineExceeded, match=r"within 0\.2 s"):
        way(answers, lambda client: client.projects.get("p"), timeout_s=0.2)


def test_a_client_that_is_forgotten_closes_its_connections():
    async def run():
        async with serving(projects(1)) as plane:

            def main():
                client = dl.depot_api(url=plane.url, token=TOKEN)
                assert len(client.projects.list()) == 1

            await asyncio.to_thread(main)
            gc.collect()
            await asyncio.wait_for(plane.until(lambda: plane.n_open == 0), 60)

    asyncio.run(run())


def test_a_client_may_be_closed_twice():
    async def run():
        async with serving(projects(1)) as plane:
            client = await aio.depot_api(url=plane.url, token=TOKEN)
            await client.projects.list()
            await client.close()
            await client.close()

    asyncio.run(run())


@pytest.mark.parametrize("timeout_s", [0, -1, "x", True, None])
def test_a_limit_that_is_none_is_refused(timeout_s):
    with pytest.raises(UsageError, match="timeout_s="):
        dl.depot_api(token=TOKEN, timeout_s=timeout_s)


def test_a_token_goes_with_an_address_not_with_the_depot_of_this_computer():
    with pytest.raises(UsageError, match="leave token="):
        dl.depot_api(token=TOKEN, local=True)


def test_without_a_token_the_three_ways_are_said(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("DEPOT_TOKEN", "DEPOT_API_TOKEN", "DEPOT_JIT_TOKEN", "DEPOT_CACHE_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(api.NoToken, match="DEPOT_TOKEN"):
        dl.depot_api()


# ------------------------------------------------------------------------------- depot(create=True)


def making(found):
    """An API that has these projects, and notes what it was asked to make."""

    def create(asked):
        name = asked.parsed(core.CreateProjectRequest).name
        found.append(core.Project(project_id=f"p{len(found)}", name=name))
        return message(core.CreateProjectResponse(project=found[-1]))

    return {
        "ListProjects": lambda _: message(core.ListProjectsResponse(projects=found)),
        "CreateProject": create,
    }


def test_a_project_is_made_once_however_many_ask_for_it():
    async def run():
        async with serving(making([])) as plane:

            def one():
                dl.depot("app", create=True, url=plane.url, token=TOKEN).close()

            await asyncio.gather(*(asyncio.to_thread(one) for _ in range(8)))
            return plane

    assert len(asyncio.run(run()).named("CreateProject")) == 1


def test_a_project_that_is_there_is_used():
    async def run():
        async with serving(making([core.Project(project_id="p7", name="app")])) as plane:
            client = await aio.depot("app", create=True, url=plane.url, token=TOKEN)
            await client.close()
            return plane

    assert not asyncio.run(run()).named("CreateProject")


@pytest.mark.parametrize("project", [None, "", 7])
def test_a_project_without_a_name_is_not_made(project):
    with pytest.raises(UsageError, match="needs the name"):
        dl.depot(project, create=True, token=TOKEN)


# ----------------------------------------------------------------------------------------- secrets


def test_no_face_shows_a_secret(capfd, caplog):
    now = datetime.now(UTC)
    answers = {
        "GetPullToken": message(cli.GetPullTokenResponse(token=PULL, registry_host="r.test")),
        "GetPullInfo": message(cli.GetPullInfoResponse(reference="r.test/p:b", password=PULL)),
        "CreateToken": message(core.CreateTokenResponse(token_id="t", secret=SECRET)),
        "ListTokens": message(core.ListTokensResponse(tokens=[{"token_id": "t"}])),
        "GetUsage": message(core.GetUsageResponse()),
        "GetProject": fault(403, "permission_denied", f"no: {TOKEN}"),
        **projects(1),
    }
    texts = []

    def work(client):
        token = client.images.pull_token(project_id="p")
        assert (token.username, token.password) == ("x-token", PULL)
        info = client.images.pull_info("b")
        assert info.password == PULL
        made = client.projects.create_token("p", "ci")
        assert made.secret == SECRET
        tokens = client.projects.tokens("p")
        usage = client.usage.organization(start_at=now - timedelta(days=1), end_at=now)
        listed = api.Listing([token], "tokens")
        things = [token, info, made, tokens, usage, client, listed, client.projects.list()]
        things += [client.projects, client.builds, client.images, client.usage]
        for thing in things:
            texts.extend([repr(thing), str(thing)])
            texts.append(getattr(thing, "_repr_html_", str)())
        with pytest.raises(api.PermissionDenied) as caught:
            client.projects.get("p")
        texts.append("".join(traceback.format_exception(caught.value)))
        texts.extend([repr(caught.value), repr(vars(caught.value))])

    blocking(answers, work)
    texts += [*capfd.readouterr(), caplog.text]
    assert any("•••" in text for text in texts)
    for text in texts:
        for secret in (TOKEN, PULL, SECRET):
            assert secret not in text
