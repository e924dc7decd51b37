"""The whole contract: every method is there, and none does anything for who may not ask."""

import asyncio

from depotlab._plane.up import rpc_app
from depotlab._proto import depot_cli_pb2 as cli
from tests.support.planeparts import FakeMachines, Refusal, call, plane

# Facts of the API, by service.
CONTRACT = {
    "depot.cli.v1.BuildService": (
        "CreateBuild GetBuild FinishBuild GetBuildKitConnection ReportBuildHealth ReportTimings"
        " ReportStatus ReportStatusStream ReportBuildContext ListBuilds GetPullInfo GetPullToken"
    ),
    "depot.cli.v1.PushService": "StartPush FinishPush",
    "depot.cli.v1beta1.LoginService": "StartLogin FinishLogin",
    "depot.cli.v1beta1.ProjectsService": "ListProjects ResetProjectCache",
    "depot.core.v1.ProjectService": (
        "ListProjects GetProject CreateProject UpdateProject DeleteProject ResetProject"
        " ListTrustPolicies AddTrustPolicy RemoveTrustPolicy"
        " ListTokens CreateToken UpdateToken DeleteToken"
    ),
    "depot.core.v1.BuildService": "ShareBuild StopSharingBuild ListBuilds GetBuild",
    "depot.core.v1.OrganizationService": "ListOrganizations",
    "depot.core.v1.UsageService": "ListProjectUsage GetProjectUsage GetUsage",
    "depot.build.v1.BuildService": "CreateBuild FinishBuild GetBuildSteps GetBuildStepLogs",
    "depot.build.v1.RegistryService": "ListImages DeleteImage",
    "depot.buildkit.v1.BuildKitService": "GetEndpoint ReportHealth ReleaseEndpoint",
}
PATHS = {f"/{service}/{name}" for service, names in CONTRACT.items() for name in names.split()}
OPEN = {
    "/depot.cli.v1beta1.LoginService/StartLogin",
    "/depot.cli.v1beta1.LoginService/FinishLogin",
}


def running(work, **options):
    async def run():
        async with plane(**options) as found:
            return await work(found)

    return asyncio.run(run())


def methods_of(plane):
    return rpc_app(plane.parts, plane.parts.tokens).methods


async def code_of(plane, method, token, request=None):
    try:
        await call(plane, method.path[1:], request or method.takes(), method.gives, token=token)
    except Refusal as refusal:
        return refusal.code
    return "ok"


def test_every_method_of_the_contract_is_there_and_no_other():
    async def work(plane):
        assert set(methods_of(plane)) == PATHS

    running(work)


def test_none_answers_without_a_token_but_the_login():
    async def work(plane):
        for path, method in methods_of(plane).items():
            if method.shape != "unary":
                continue  # streams are asked in the tests of the transports
            for token in ("", "nobody's"):
                code = await code_of(plane, method, token)
                assert (path, code) == (path, "ok" if path in OPEN else "unauthenticated")

    running(work)


def test_a_pull_token_is_good_for_none_of_them():
    """Whatever is asked about exists, so that no answer is "not found"."""

    async def work(plane):
        home = plane.environment["DEPOT_PROJECT_ID"]
        made = plane.parts.builds.register(plane.parts.store.project(home)).record.build_id
        token = plane.parts.tokens.make("pull", project_id=home).secret
        for path, method in methods_of(plane).items():
            if method.shape != "unary" or path in OPEN:
                continue
            fields = method.takes.DESCRIPTOR.fields_by_name
            known = {"project_id": home, "build_id": made}
            request = method.takes(**{name: known[name] for name in known if name in fields})
            code = await code_of(plane, method, token, request)
            assert (path, code) == (path, "permission_denied")
        assert plane.parts.history.build(made).status == "running"

    running(work)


def test_a_hundred_builds_at_once_each_get_their_own_machine_and_end():
    machines = FakeMachines(pending=100)

    async def one(plane, number):
        made = await call(
            plane,
            "depot.cli.v1.BuildService/CreateBuild",
            cli.CreateBuildRequest(),
            cli.CreateBuildResponse,
        )

        async def ask(name, **fields):
            request = getattr(cli, f"{name}Request")(build_id=made.build_id, **fields)
            reply = getattr(cli, f"{name}Response")
            path = f"depot.cli.v1.BuildService/{name}"
            return await call(plane, path, request, reply, token=made.build_token)

        await ask("ReportBuildHealth", platform=1)
        while True:
            reply = await ask("GetBuildKitConnection", platform=1)
            if reply.HasField("active"):
                break
        assert reply.active.cert.cert == f"cert {made.build_id}"
        await ask("FinishBuild", success=cli.FinishBuildRequest.Success())
        return made.build_id

    async def work(plane):
        ids = await asyncio.gather(*(one(plane, number) for number in range(100)))
        assert len(set(ids)) == 100
        assert plane.parts.history.running() == []

    running(work, machines=machines)
    assert len({told[1] for told in machines.of("release")}) == 100
