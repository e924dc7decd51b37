"""What the status page is told, and who may ask."""

import asyncio
import base64
import json

import pytest

from depotlab._plane.boundary import MachineState
from depotlab._plane.history import Log, Seen
from depotlab._plane.page import Page
from tests.support.planeparts import FakeMachines, fetch, plane

PRESSED = {"x-depotlab-page": "1", "content-type": "application/json"}


def running(work, **options):
    async def run():
        async with plane(**options) as found:
            return await work(found)

    return asyncio.run(run())


def a_build(plane):
    home = plane.environment["DEPOT_PROJECT_ID"]
    made = plane.parts.builds.register(plane.parts.store.project(home)).record.build_id
    plane.parts.history.record(
        made,
        [
            Seen("a", "FROM busybox", 1, 2, cached=True),
            Seen("b", "RUN make", 1),
            Seen("c", "COPY", 1, 2, error="no such file"),
            Seen("d", "RUN later"),
        ],
        [Log("b", 1, 1, b"making\n")],
    )
    return made


@pytest.mark.parametrize("path", ["/", "/builds/0123456789", "/share/x", "/login/x"])
def test_the_page_is_one_file_that_may_load_nothing_else(path):
    async def work(plane):
        answer = await fetch(plane.url + path)
        assert answer.status == 200
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; connect-src 'self'; style-src 'sha256-")
        assert "script-src 'sha256-" in policy
        text = answer.body.decode()
        assert "https:" not in text
        assert "src=" not in text

    running(work)


def test_it_is_told_projects_machines_and_builds_with_their_steps():
    machines = FakeMachines()

    async def work(plane):
        made = a_build(plane)
        home = plane.environment["DEPOT_PROJECT_ID"]
        machines.running = [MachineState(home, "arm64", "ready", (made,), 5.0, True)]
        now = (await fetch(f"{plane.url}/page/state")).json()
        assert [(p["name"], p["n_builds"]) for p in now["projects"]] == [("default", 1)]
        assert [(m["platform"], m["emulated"]) for m in now["machines"]] == [("arm64", True)]
        (build,) = now["builds"]
        assert (build["status"], build["n_steps"], build["n_cached"]) == ("running", 4, 1)
        states = [step["state"] for step in build["steps"]]
        assert states == ["cached", "running", "failed", "waiting"]
        assert plane.environment["DEPOT_TOKEN"] not in json.dumps(now)

    running(work, machines=machines)


def test_cancel_is_obeyed_from_the_page_only():
    async def work(plane):
        made = a_build(plane)
        body = json.dumps({"build_id": made}).encode()
        for headers in ({}, {"content-type": "application/json"}):
            assert (
                await fetch(f"{plane.url}/page/cancel", data=body, headers=headers)
            ).status == 403
        assert plane.parts.history.build(made).cancels_ns is None
        answer = await fetch(f"{plane.url}/page/cancel", data=body, headers=PRESSED)
        assert answer.status == 200
        assert plane.parts.history.build(made).cancels_ns is not None
        for spoiled, status in ((b"[]", 400), (b"nonsense", 400), (b"{}", 404)):
            answer = await fetch(f"{plane.url}/page/cancel", data=spoiled, headers=PRESSED)
            assert answer.status == status

    running(work)


def test_a_build_is_shown_whole_and_a_shared_one_to_be_read_only():
    async def work(plane):
        made = a_build(plane)
        found = (await fetch(f"{plane.url}/page/builds/{made}")).json()
        assert (found["logs"], found["read_only"]) == ("making\n", False)
        secret = plane.parts.history.share(made, on=True)
        shared = (await fetch(f"{plane.url}/page/share/{secret}")).json()
        assert shared["read_only"]
        plane.parts.history.share(made, on=False)
        assert (await fetch(f"{plane.url}/page/share/{secret}")).status == 404
        assert (await fetch(f"{plane.url}/page/builds/unknown")).status == 404
        assert (await fetch(f"{plane.url}/elsewhere")).status == 404

    running(work)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:1", 200),
        ("127.0.0.1", 200),
        ("[::1]:80", 200),
        ("evil.example", 421),
        ("evil.example:80", 421),
        ("127.0.0.1.evil.example", 421),
        ("", 421),
    ],
)
def test_a_page_of_another_site_cannot_reach_it_under_another_name(host, status):
    async def work(plane):
        answer = await fetch(f"{plane.url}/page/state", headers={"host": host})
        assert answer.status == status

    running(work)


@pytest.mark.parametrize("known", ["", "guess", "project", "organization"])
def test_from_another_computer_the_planes_token_is_needed(known):
    async def work(plane):
        token = plane.environment["DEPOT_TOKEN"]
        if known == "project":
            token = plane.parts.tokens.make("project", project_id="p").secret
        elif known == "guess":
            token = "guess"
        page = Page(plane.parts, ["lab.example"])
        headers = [(b"host", b"lab.example:443")]
        if known:
            basic = base64.b64encode(f"me:{token}".encode())
            headers.append((b"authorization", b"Basic " + basic))
        told = []

        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            told.append(message)

        scope = {"method": "GET", "path": "/page/state", "headers": headers}
        await page(scope | {"client": ("10.0.0.7", 1)}, receive, send)
        if known == "organization":
            assert told[0]["status"] == 200
        else:
            assert told[0]["status"] == 401
            assert b"www-authenticate" in dict(told[0]["headers"])

    running(work)
