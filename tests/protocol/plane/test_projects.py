"""Projects, their tokens and policies, images and usage, over the wire."""

import asyncio
from datetime import UTC, datetime

import pytest

from depotlab._plane.boundary import Image
from depotlab._proto import depot_build_pb2 as build
from depotlab._proto import depot_cli_pb2 as cli
from depotlab._proto import depot_clibeta_pb2 as beta
from depotlab._proto import depot_core_pb2 as core
from tests.support.planeparts import FakeMachines, FakeRegistry, Refusal, call, plane

PROJECTS = "depot.core.v1.ProjectService"


def running(work, **options):
    async def run():
        async with plane(**options) as found:
            return await work(found)

    return asyncio.run(run())


async def ask(plane, method, token=None, **fields):
    return await call(
        plane,
        f"{PROJECTS}/{method}",
        getattr(core, f"{method}Request")(**fields),
        getattr(core, f"{method}Response"),
        token=token,
    )


async def refused(asked):
    try:
        await asked
    except Refusal as refusal:
        return refusal.code
    pytest.fail("this should have been refused")


def test_a_project_lives_and_ends():
    machines = FakeMachines()
    registry = FakeRegistry()

    async def work(plane):
        policy = core.CachePolicy(keep_gb=25, keep_days=7)
        made = (
            await ask(
                plane,
                "CreateProject",
                name="app",
                region_id="us-east-1",
                cache_policy=policy,
                hardware=core.HARDWARE_8X8,
            )
        ).project
        assert (made.name, made.region_id, made.hardware) == ("app", "us-east-1", 3)
        assert made.organization_id == plane.environment["DEPOT_ORG_ID"]
        # Both sizes are filled, since clients read one or the other.
        assert made.cache_policy == core.CachePolicy(keep_gb=25, keep_days=7, keep_bytes=25 << 30)
        assert (await ask(plane, "GetProject", project_id=made.project_id)).project == made

        changed = await ask(plane, "UpdateProject", project_id=made.project_id, name="api")
        assert (changed.project.name, changed.project.cache_policy) == ("api", made.cache_policy)
        await ask(plane, "ResetProject", project_id=made.project_id)
        assert machines.of("reset") == [("reset", made.project_id)]

        image = Image("v1", "sha256:" + "0" * 64, datetime.now(UTC), 5)
        registry.kept[made.project_id] = [image]
        running_build = await call(
            plane,
            "depot.cli.v1.BuildService/CreateBuild",
            cli.CreateBuildRequest(project_id=made.project_id),
            cli.CreateBuildResponse,
        )
        await ask(plane, "DeleteProject", project_id=made.project_id)
        assert machines.of("drop") == [("drop", made.project_id)]
        assert registry.kept[made.project_id] == []
        assert plane.parts.tokens.check(running_build.build_token) is None
        assert await refused(ask(plane, "GetProject", project_id=made.project_id)) == "not_found"
        assert await refused(ask(plane, "DeleteProject", project_id=made.project_id)) == "not_found"

    running(work, machines=machines, registry=registry)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (core.CachePolicy(keep_bytes=25 << 30, keep_days=7), (25, 7)),
        (core.CachePolicy(keep_bytes=1), (1, 0)),  # no limit of age
        (core.CachePolicy(keep_gb=9, keep_bytes=25 << 30), (9, 0)),
        (core.CachePolicy(keep_days=3), (50, 3)),
        (None, (50, 14)),
    ],
)
def test_either_size_of_a_cache_policy_is_taken(sent, kept):
    async def work(plane):
        made = await ask(plane, "CreateProject", name="a", region_id="x", cache_policy=sent)
        policy = made.project.cache_policy
        assert (policy.keep_gb, policy.keep_days) == kept

    running(work)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"name": ""}, "invalid_argument"),
        ({"name": "a" * 201}, "invalid_argument"),
        ({"name": "a", "organization_id": "elsewhere0"}, "not_found"),
        ({"name": "a", "cache_policy": core.CachePolicy(keep_gb=-1)}, "invalid_argument"),
    ],
)
def test_a_project_that_cannot_be_is_refused(fields, code):
    async def work(plane):
        assert await refused(ask(plane, "CreateProject", **fields)) == code

    running(work)


def test_projects_come_whole_to_old_clients_and_in_pages_to_new_ones():
    async def work(plane):
        for number in range(60):
            await ask(plane, "CreateProject", name=f"p{number}", region_id="x")
        assert len((await ask(plane, "ListProjects")).projects) == 61
        names, token = [], ""
        while True:
            page = await ask(plane, "ListProjects", page_size=25, page_token=token, region_id="x")
            names += [project.name for project in page.projects]
            token = page.next_page_token
            if not token:
                break
        assert names == [f"p{number}" for number in range(60)]
        bad = ask(plane, "ListProjects", page_size=5, page_token="nonsense")
        assert await refused(bad) == "invalid_argument"

    running(work)


def test_a_projects_token_builds_there_and_does_no_more():
    async def work(plane):
        home = plane.environment["DEPOT_PROJECT_ID"]
        other = (await ask(plane, "CreateProject", name="other")).project.project_id
        made = await ask(plane, "CreateToken", project_id=home, description="ci")
        await ask(plane, "UpdateToken", token_id=made.token_id, description="laptop")
        listed = await ask(plane, "ListTokens", project_id=home)
        assert [(t.token_id, t.description) for t in listed.tokens] == [(made.token_id, "laptop")]
        assert made.secret not in str(listed)

        async def build_in(project_id):
            return await call(
                plane,
                "depot.cli.v1.BuildService/CreateBuild",
                cli.CreateBuildRequest(project_id=project_id),
                cli.CreateBuildResponse,
                token=made.secret,
            )

        assert (await build_in("")).project_id == home
        assert (await build_in(home)).project_id == home
        assert await refused(build_in(other)) == "permission_denied"
        assert await refused(ask(plane, "ListProjects", made.secret)) == "permission_denied"
        seen = await call(
            plane,
            "depot.cli.v1beta1.ProjectsService/ListProjects",
            beta.ListProjectsRequest(),
            beta.ListProjectsResponse,
            token=made.secret,
        )
        assert [project.id for project in seen.projects] == [home]
        await ask(plane, "DeleteToken", token_id=made.token_id)
        assert await refused(build_in(home)) == "unauthenticated"

    running(work)


def test_trust_policies_of_every_provider_are_kept():
    async def work(plane):
        home = plane.environment["DEPOT_PROJECT_ID"]
        policies = {
            "github": core.TrustPolicy.GitHub(repository_owner="me", repository="app"),
            "buildkite": core.TrustPolicy.Buildkite(organization_slug="me", pipeline_slug="app"),
            "circleci": core.TrustPolicy.CircleCI(organization_uuid="1", project_uuid="2"),
        }
        for provider, value in policies.items():
            added = await ask(plane, "AddTrustPolicy", project_id=home, **{provider: value})
            assert getattr(added.trust_policy, provider) == value
        found = await ask(plane, "ListTrustPolicies", project_id=home)
        assert [p.WhichOneof("provider") for p in found.trust_policies] == list(policies)
        first = found.trust_policies[0].trust_policy_id
        await ask(plane, "RemoveTrustPolicy", project_id=home, trust_policy_id=first)
        assert len((await ask(plane, "ListTrustPolicies", project_id=home)).trust_policies) == 2
        assert await refused(ask(plane, "AddTrustPolicy", project_id=home)) == "invalid_argument"

    running(work)


def test_the_cache_is_reset_from_the_command_line_by_who_may_manage():
    machines = FakeMachines()

    async def work(plane):
        home = plane.environment["DEPOT_PROJECT_ID"]
        reset = await call(
            plane,
            "depot.cli.v1beta1.ProjectsService/ResetProjectCache",
            beta.ResetProjectCacheRequest(project_id=home),
            beta.ResetProjectCacheResponse,
        )
        assert (reset.name, reset.org_name) == ("default", "This computer")
        assert machines.of("reset") == [("reset", home)]

    running(work, machines=machines)


def test_images_are_listed_in_pages_and_deleted_by_tag():
    registry = FakeRegistry()

    async def work(plane):
        home = plane.environment["DEPOT_PROJECT_ID"]
        at = datetime(2026, 1, 2, tzinfo=UTC)
        registry.kept[home] = [Image(f"t{n}", f"sha256:{n:064}", at, n) for n in range(5)]

        async def listed(**fields):
            return await call(
                plane,
                "depot.build.v1.RegistryService/ListImages",
                build.ListImagesRequest(project_id=home, **fields),
                build.ListImagesResponse,
            )

        tags, token = [], ""
        while True:
            page = await listed(page_size=2, page_token=token)
            tags += [image.tag for image in page.images]
            token = page.next_page_token
            if not token:
                break
        assert tags == ["t0", "t1", "t2", "t3", "t4"]
        image = (await listed()).images[4]
        assert (image.size_bytes, image.pushed_at.ToDatetime(UTC)) == (4, at)
        await call(
            plane,
            "depot.build.v1.RegistryService/DeleteImage",
            build.DeleteImageRequest(project_id=home, image_tags=["t1", "t3", "absent"]),
            build.DeleteImageResponse,
        )
        assert [image.tag for image in (await listed()).images] == ["t0", "t2", "t4"]

    running(work, registry=registry)


def test_builds_are_listed_newest_first_in_pages_and_shared():
    async def work(plane):
        home = plane.environment["DEPOT_PROJECT_ID"]
        made = [
            plane.parts.builds.register(plane.parts.store.project(home)).record.build_id
            for _ in range(5)
        ]
        plane.parts.builds.finish(made[0], "success")

        async def listed(**fields):
            return await call(
                plane,
                "depot.core.v1.BuildService/ListBuilds",
                core.ListBuildsRequest(project_id=home, **fields),
                core.ListBuildsResponse,
            )

        first = await listed(page_size=3)
        second = await listed(page_size=3, page_token=first.next_page_token)
        found = [b.build_id for b in (*first.builds, *second.builds)]
        assert found == made[::-1]
        assert second.next_page_token == ""
        assert second.builds[-1].HasField("build_duration_seconds")
        assert not first.builds[0].HasField("finished_at")

        async def share(method):
            return await call(
                plane,
                f"depot.core.v1.BuildService/{method}",
                getattr(core, f"{method}Request")(build_id=made[0]),
                getattr(core, f"{method}Response"),
            )

        address = (await share("ShareBuild")).share_url
        assert address.startswith(f"{plane.url}/share/")
        await share("StopSharingBuild")
        assert plane.parts.history.build(made[0]).share is None

    running(work)


def test_usage_is_summed_over_a_span():
    async def work(plane):
        home = plane.environment["DEPOT_PROJECT_ID"]
        made = plane.parts.builds.register(plane.parts.store.project(home)).record.build_id
        plane.parts.builds.finish(made, "success")
        path = "depot.core.v1.UsageService"
        span = {
            "start_at": datetime(2020, 1, 1, tzinfo=UTC),
            "end_at": datetime(2100, 1, 1, tzinfo=UTC),
        }
        one = await call(
            plane,
            f"{path}/GetProjectUsage",
            core.GetProjectUsageRequest(project_id=home, **span),
            core.GetProjectUsageResponse,
        )
        assert (one.usage.project_id, one.usage.build_count) == (home, 1)
        every = await call(
            plane,
            f"{path}/ListProjectUsage",
            core.ListProjectUsageRequest(**span),
            core.ListProjectUsageResponse,
        )
        assert list(every.usage) == [one.usage]
        total = await call(
            plane, f"{path}/GetUsage", core.GetUsageRequest(**span), core.GetUsageResponse
        )
        assert [(u.project_name, u.build_count) for u in total.container_build] == [("default", 1)]
        assert total.period_end.ToDatetime(UTC) == span["end_at"]
        empty = call(plane, f"{path}/GetUsage", core.GetUsageRequest(), core.GetUsageResponse)
        assert await refused(empty) == "invalid_argument"

    running(work)
