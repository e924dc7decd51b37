"""Usage, steps and logs, images and pulls; and projects that several ask for at once."""

import asyncio
from datetime import UTC, datetime

import pytest

from depotlab._depot import Api, BadReply, Connect, DepotError, PullToken, SavedImage, StepLog
from depotlab._depot.usage import BuildUsage, JobUsage, ProjectUsage
from depotlab._proto import depot_build_pb2 as build
from depotlab._proto import depot_cli_pb2 as cli
from depotlab._proto import depot_core_pb2 as core
from depotlab.errors import UsageError
from tests.support.fakeplane import message, serving

START, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)


def using(answers, work):
    async def run():
        async with serving(answers) as plane:
            api = Api(Connect(plane.url, token="t"))
            try:
                return await work(api), plane
            finally:
                api.close()

    return asyncio.run(run())


def pages(reply_kind, field, items, page_size=2):
    """Answer a list in pages."""

    def answer(asked):
        kind = {v: k for k, v in PAIRS.items()}[reply_kind]
        start = int(asked.parsed(kind).page_token or 0)
        reply = reply_kind(**{field: items[start : start + page_size]})
        if start + page_size < len(items):
            reply.next_page_token = str(start + page_size)
        return message(reply)

    return answer


PAIRS = {
    core.ListProjectUsageRequest: core.ListProjectUsageResponse,
    build.GetBuildStepsRequest: build.GetBuildStepsResponse,
    build.GetBuildStepLogsRequest: build.GetBuildStepLogsResponse,
    build.ListImagesRequest: build.ListImagesResponse,
}


def test_usage_of_projects():
    items = [
        core.ProjectUsage(
            project_id=f"p{n}", build_count=n, build_duration_seconds=60, layer_cache_size_gb=5
        )
        for n in range(3)
    ]
    answers = {
        "ListProjectUsage": pages(core.ListProjectUsageResponse, "usage", items),
        "GetProjectUsage": message(core.GetProjectUsageResponse(usage=items[1])),
    }

    async def work(api):
        listed = await api.usage.list(start_at=START, end_at=END)
        return listed, await api.usage.project("p1", start_at=START, end_at=END)

    (listed, one), plane = using(answers, work)
    assert [usage.project_id for usage in listed] == ["p0", "p1", "p2"]
    assert one == ProjectUsage("p1", n_builds=1, duration_s=60, cache_gb=5)
    sent = plane.named("GetProjectUsage")[0].parsed(core.GetProjectUsageRequest)
    assert sent.start_at.ToDatetime(tzinfo=UTC) == START
    assert sent.end_at.ToDatetime(tzinfo=UTC) == END


def test_usage_of_an_organization():
    reply = core.GetUsageResponse(
        container_build=[
            {"project_name": "a", "build_count": 2, "minutes_saved": 1.5, "minutes_billed": 3.0}
        ],
        github_actions_jobs=[
            {
                "repo": "octo/app",
                "total": {"job_count": 1, "minutes_elapsed": 2.0, "minutes_billed": 4.0},
                "jobs": [
                    {
                        "workflow": "ci",
                        "runner": "large",
                        "job_count": 1,
                        "minutes_elapsed": 2.0,
                        "minutes_billed": 4.0,
                    }
                ],
            }
        ],
        storage=[{"storage_type": "cache", "total_gb": 10.0}],
        agent_sandbox=[{"agent_type": "x", "sandboxes_count": 1}],
    )
    reply.period_start.FromDatetime(START)
    usage, _ = using(
        {"GetUsage": message(reply)}, lambda api: api.usage.organization(start_at=START, end_at=END)
    )
    assert (usage.start_at, usage.end_at) == (START, None)
    assert usage.builds == (BuildUsage("a", 2, 1.5, 3.0),)
    assert usage.repositories[0].jobs == (JobUsage("ci", "large", 1, 2.0, 4.0),)
    assert list(usage.tables) == ["builds", "repositories", "storage", "sandboxes"]
    assert "\n" not in repr(usage)


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(UsageError, match="start_at"):
        using({}, lambda api: api.usage.organization(start_at=datetime(2026, 1, 1), end_at=END))


def test_a_usage_that_is_missing_is_a_bad_reply():
    with pytest.raises(BadReply, match="no usage"):
        using(
            {"GetProjectUsage": message(core.GetProjectUsageResponse())},
            lambda api: api.usage.project("p", start_at=START, end_at=END),
        )


def test_steps_and_their_logs_are_read_page_by_page():
    steps = [
        build.BuildStep(name=f"step {n}", digest=f"sha256:{n}", cache_state=n % 3) for n in range(5)
    ]
    steps[0].started_at.FromDatetime(START)
    steps[0].completed_at.FromDatetime(START.replace(second=9))
    steps[1].error = "exit code 2"
    steps[1].has_logs = True
    logs = [build.GetBuildStepLogsResponse.Log(message=f"line {n}\n") for n in range(3)]
    logs[0].timestamp.FromDatetime(START)
    answers = {
        "GetBuildSteps": pages(build.GetBuildStepsResponse, "build_steps", steps),
        "GetBuildStepLogs": pages(build.GetBuildStepLogsResponse, "logs", logs),
    }

    async def work(api):
        found = [step async for step in api.builds.steps("p", "b", page_size=2)]
        return found, await api.builds.logs("p", "b", found[1].digest)

    (found, lines), plane = using(answers, work)
    assert [step.name for step in found] == [f"step {n}" for n in range(5)]
    assert [step.cached for step in found] == [None, False, True, None, False]
    assert (found[0].duration_s, found[1].duration_s) == (9.0, None)
    assert (found[1].error, found[1].has_logs) == ("exit code 2", True)
    assert lines == (
        StepLog(START, "line 0\n", "sha256:1"),
        StepLog(None, "line 1\n", "sha256:1"),
        StepLog(None, "line 2\n", "sha256:1"),
    )
    asked = plane.named("GetBuildStepLogs")[0]
    assert asked.path == "/depot.build.v1.BuildService/GetBuildStepLogs"
    assert asked.parsed(build.GetBuildStepLogsRequest).build_step_digest == "sha256:1"


def test_the_logs_of_a_build_are_those_of_its_steps_one_after_the_other():
    steps = [
        build.BuildStep(name=f"step {n}", digest=f"sha256:{n}", has_logs=n != 1) for n in range(4)
    ]
    logs = [build.GetBuildStepLogsResponse.Log(message=f"line {n}\n") for n in range(3)]
    answers = {
        "GetBuildSteps": pages(build.GetBuildStepsResponse, "build_steps", steps),
        "GetBuildStepLogs": pages(build.GetBuildStepLogsResponse, "logs", logs),
    }

    async def work(api):
        return await api.builds.logs("p", "b")

    lines, plane = using(answers, work)
    assert [(line.digest, line.message) for line in lines] == [
        (f"sha256:{n}", f"line {m}\n") for n in (0, 2, 3) for m in range(3)
    ]
    assert len(plane.named("GetBuildSteps")) == 2, "the steps are listed once"

    async def nothing(api):
        return await api.builds.logs("p", "b")

    silent = {"GetBuildSteps": message(build.GetBuildStepsResponse(build_steps=steps[1:2]))}
    assert using(silent, nothing)[0] == ()


def test_images_are_listed_and_deleted():
    images = [build.Image(tag=f"t{n}", digest="sha256:1", size_bytes=2**40) for n in range(3)]
    answers = {
        "ListImages": pages(build.ListImagesResponse, "images", images),
        "DeleteImage": message(build.DeleteImageResponse()),
    }

    async def work(api):
        listed = await api.images.list("p")
        await api.images.delete("p", "t0", "t1")
        with pytest.raises(UsageError, match="names no image"):
            await api.images.delete("p")
        return listed

    listed, plane = using(answers, work)
    assert listed[2] == SavedImage("t2", "sha256:1", None, 2**40)
    (deleted,) = plane.named("DeleteImage")
    assert list(deleted.parsed(build.DeleteImageRequest).image_tags) == ["t0", "t1"]


def pull_info(**fields):
    reply = cli.GetPullInfoResponse(
        reference="reg.test/p:b", username="x-token", password="planted", **fields
    )
    info, _ = using({"GetPullInfo": message(reply)}, lambda api: api.images.pull_info("b"))
    return info


def test_the_image_of_a_build_is_pulled_by_its_reference():
    info = pull_info(options=[{"command": cli.COMMAND_BUILD, "save": True}])
    assert info.reference_of() == "reg.test/p:b"
    assert info.registry_host == "reg.test"
    assert info.credentials.login == ("x-token", "planted")
    assert "planted" not in repr(info)
    with pytest.raises(UsageError, match="none of the build's targets"):
        info.reference_of("web")


def test_the_images_of_a_bake_are_pulled_by_target():
    targets = [
        {"command": cli.COMMAND_BAKE, "target_name": name, "save": True} for name in ("web", "api")
    ]
    info = pull_info(options=targets, registry_host="other.test")
    assert info.registry_host == "other.test"
    assert info.reference_of("api") == "reg.test/p:b-api"
    with pytest.raises(UsageError, match="web, api"):
        info.reference_of()


def test_a_build_that_saved_nothing_is_not_pulled():
    with pytest.raises(DepotError, match="did not save"):
        pull_info(options=[{"command": cli.COMMAND_BUILD}]).reference_of()
    loaded = pull_info(options=[{"command": cli.COMMAND_BUILD}], save_for_load=True)
    assert loaded.reference_of()


def test_a_pull_token_is_given_and_not_shown():
    reply = cli.GetPullTokenResponse(token="planted", registry_host="reg.test")
    token, plane = using(
        {"GetPullToken": message(reply)}, lambda api: api.images.pull_token(project_id="p")
    )
    assert token == PullToken("planted", "reg.test")
    assert token.credentials.login == ("x-token", "planted")
    assert "planted" not in repr(token) + str(token)
    sent = plane.asked[0].parsed(cli.GetPullTokenRequest)
    assert sent.HasField("project_id")
    assert sent.HasField("build_id"), (
        "both fields are always there, as the official client sends them"
    )


class Shelf:
    """Projects of a server that is slow, and allows one name twice."""

    def __init__(self):
        self.projects = []

    async def list(self, _):
        shown = core.ListProjectsResponse(projects=self.projects)
        await asyncio.sleep(0.02)
        return message(shown)

    async def create(self, asked):
        await asyncio.sleep(0.02)
        name = asked.parsed(core.CreateProjectRequest).name
        number = len(self.projects)
        project = core.Project(project_id=f"p{number}", name=name)
        project.created_at.FromDatetime(START.replace(day=20 - number))
        self.projects.append(project)
        return message(core.CreateProjectResponse(project=project))


def test_two_clients_of_one_process_make_one_project_at_once():
    async def run():
        shelf = Shelf()
        async with serving({"ListProjects": shelf.list, "CreateProject": shelf.create}) as plane:
            apis = [Api(Connect(plane.url, token=f"t{n}")) for n in range(3)]
            made = await asyncio.gather(*(a.projects.get_or_create("mine") for a in apis * 2))
            for api in apis:
                api.close()
            return {project.id for project in made}, plane.named("CreateProject")

    ids, created = asyncio.run(run())
    assert ids == {"p0"}
    assert len(created) == 1


def test_when_another_process_made_one_too_everybody_means_the_oldest():
    async def run():
        shelf = Shelf()

        async def create(asked):
            await shelf.create(asked)  # the other one's, at the same moment
            return await shelf.create(asked)

        async with serving({"ListProjects": shelf.list, "CreateProject": create}) as plane:
            api = Api(Connect(plane.url, token="t"))
            first = await api.projects.get_or_create("mine")
            second = await api.projects.get_or_create("mine")
            api.close()
            return first.id, second.id, len(shelf.projects)

    assert asyncio.run(run()) == ("p1", "p1", 2)
