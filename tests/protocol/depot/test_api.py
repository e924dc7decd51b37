"""The API's verbs against a plane that keeps projects in memory."""

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime

import pytest

from depotlab._depot import (
    Api,
    BadReply,
    CachePolicy,
    Connect,
    NotFound,
    Organization,
    Project,
    Token,
    TrustPolicy,
)
from depotlab._proto import depot_core_pb2 as core
from depotlab.errors import UsageError
from tests.support.fakeplane import fault, message, serving

BORN = datetime(2026, 1, 2, tzinfo=UTC)


def using(answers, work):
    async def run():
        async with serving(answers) as plane:
            api = Api(Connect(plane.url, token="t"), organization_id="org1")
            try:
                return await work(api), plane
            finally:
                api.close()

    return asyncio.run(run())


class Shelf:
    """Projects in memory, given in pages of two."""

    def __init__(self, *names):
        self.projects = []
        for name in names:
            self.add(name)

    def add(self, name):
        number = len(self.projects)
        project = core.Project(project_id=f"p{number}", name=name, organization_id="org1")
        project.created_at.FromDatetime(BORN.replace(day=20 - number))  # the newest comes first
        self.projects.append(project)
        return project

    def list(self, asked):
        start = int(asked.parsed(core.ListProjectsRequest).page_token or 0)
        reply = core.ListProjectsResponse(projects=self.projects[start : start + 2])
        if start + 2 < len(self.projects):
            reply.next_page_token = str(start + 2)
        return message(reply)

    def create(self, asked):
        name = asked.parsed(core.CreateProjectRequest).name
        return message(core.CreateProjectResponse(project=self.add(name)))

    @property
    def answers(self):
        return {"ListProjects": self.list, "CreateProject": self.create}


def test_a_list_goes_through_all_pages_and_only_as_far_as_it_is_read():
    async def work(api):
        everything = await api.projects.list()
        pages = aiter(api.projects.list())
        async with aclosing(pages):
            return everything, await anext(pages)

    (everything, first), plane = using(Shelf("a", "b", "c", "d", "e").answers, work)
    assert [project.name for project in everything] == list("abcde")
    assert first == Project("p0", "a", "org1", created_at=BORN.replace(day=20))
    assert len(plane.asked) == 3 + 1


def test_a_list_that_runs_in_a_circle_is_stopped():
    page = message(core.ListProjectsResponse(next_page_token="again"))
    with pytest.raises(BadReply, match="does not end"):
        using({"ListProjects": page}, lambda api: api.projects.list()._all())


def test_a_project_is_made_once_for_one_name():
    shelf = Shelf("other")

    async def work(api):
        return await asyncio.gather(*(api.projects.get_or_create("mine") for _ in range(5)))

    projects, plane = using(shelf.answers, work)
    assert {project.id for project in projects} == {"p1"}
    (created,) = plane.named("CreateProject")
    assert created.parsed(core.CreateProjectRequest).organization_id == "org1"


def test_of_projects_with_one_name_the_oldest_is_meant():
    project, plane = using(
        Shelf("x", "mine", "y", "mine").answers, lambda api: api.projects.get_or_create("mine")
    )
    assert project.id == "p3"
    assert not plane.named("CreateProject")


def test_policy_and_hardware_go_both_ways():
    stored = core.Project(project_id="p", name="n", hardware=core.HARDWARE_4X4)
    stored.cache_policy.CopyFrom(core.CachePolicy(keep_bytes=7_000_000_000, keep_days=3))

    async def work(api):
        policy = CachePolicy(keep_gb=25, keep_days=7)
        return await api.projects.update("p", cache_policy=policy, hardware="64x128")

    project, plane = using(
        {"UpdateProject": message(core.UpdateProjectResponse(project=stored))}, work
    )
    assert (project.cache_policy, project.hardware) == (CachePolicy(7, 3), "4x4")
    sent = plane.asked[0].parsed(core.UpdateProjectRequest)
    assert (sent.cache_policy.keep_gb, sent.cache_policy.keep_bytes) == (25, 25_000_000_000)
    assert sent.hardware == core.HARDWARE_64X128
    assert not sent.HasField("name")


def test_names_of_tomorrow_do_no_harm():
    raw = core.Project(project_id="p", name="n").SerializeToString() + b"\x38\x63\xfa\x3e\x01x"
    reply = core.GetProjectResponse()
    reply.project.ParseFromString(raw)
    project, _ = using({"GetProject": message(reply)}, lambda api: api.projects.get("p"))
    assert project.hardware == "unknown(99)"


def test_tokens_and_trust():
    policy = core.TrustPolicy(trust_policy_id="7")
    policy.github.repository_owner, policy.github.repository = "octo", "app"
    answers = {
        "CreateToken": message(core.CreateTokenResponse(token_id="t1", secret="planted")),
        "ListTokens": message(
            core.ListTokensResponse(tokens=[{"token_id": "t1", "description": "ci"}])
        ),
        "AddTrustPolicy": message(core.AddTrustPolicyResponse(trust_policy=policy)),
        "ListTrustPolicies": message(core.ListTrustPoliciesResponse(trust_policies=[policy])),
    }

    async def work(api):
        projects = api.projects
        return (
            await projects.create_token("p", "ci"),
            await projects.tokens("p"),
            await projects.add_trust_policy("p", TrustPolicy.github("octo/app")),
            await projects.trust_policies("p"),
        )

    (made, tokens, added, policies), plane = using(answers, work)
    assert made.secret == "planted"
    assert "planted" not in repr(made) + str(made)
    assert tokens == (Token("t1", "ci"),)
    assert policies == (added,) == (TrustPolicy("github", "octo", "app", id="7"),)
    sent = plane.named("AddTrustPolicy")[0].parsed(core.AddTrustPolicyRequest)
    assert sent.github == policy.github


def test_builds_and_organizations():
    build = core.Build(build_id="b", status=core.Build.STATUS_FAILED, total_steps=4)
    answers = {
        "GetBuild": message(core.GetBuildResponse(build=build)),
        "ListBuilds": message(core.ListBuildsResponse(builds=[build])),
        "ShareBuild": message(core.ShareBuildResponse(share_url="https://x/y")),
        "ListOrganizations": message(
            core.ListOrganizationsResponse(organizations=[{"org_id": "o", "name": "Octo"}])
        ),
    }

    async def work(api):
        builds = api.builds
        return (
            await builds.get("b"),
            await builds.list("p"),
            await builds.share("b"),
            await api.organizations(),
        )

    (got, listed, url, organizations), _ = using(answers, work)
    assert (got.status, got.n_steps, got.duration_s, got.started_at) == ("failed", 4, None, None)
    assert listed == (got,)
    assert url == "https://x/y"
    assert organizations == (Organization("o", "Octo"),)


def test_what_is_not_there_is_not_found_and_an_empty_answer_is_no_answer():
    missing = {"GetProject": fault(404, "not_found", "no project p")}
    with pytest.raises(NotFound, match="no project p"):
        using(missing, lambda api: api.projects.get("p"))
    with pytest.raises(BadReply, match="no project in it"):
        using({"GetProject": message(core.GetProjectResponse())}, lambda api: api.projects.get("p"))


def test_wrong_arguments_are_refused_before_anything_is_sent():
    async def work(api):
        for wrong in (
            lambda: api.projects.get(""),
            lambda: api.projects.create(" "),
            lambda: api.projects.create("x", hardware="1x1"),
            lambda: api.builds.get(""),
        ):
            with pytest.raises(UsageError):
                await wrong()
        for wrong in (
            lambda: api.projects.list(page_size=0),
            lambda: api.builds.list(""),
            lambda: CachePolicy(keep_gb=-1),
            lambda: TrustPolicy.github("nobody"),
        ):
            with pytest.raises(UsageError):
                wrong()

    _, plane = using({}, work)
    assert not plane.asked
