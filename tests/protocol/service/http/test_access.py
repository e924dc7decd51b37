"""Every operation with every kind of token: what it may is answered, and what it may not says nothing."""

import json

import pytest

from depotlab.service import Limits
from tests.support.servicehttp import fetch, running

SERVICE = "/depotlab.service.v1.BuildService"

TOKENS = {
    "nobody": None,
    "a made-up token": None,
    "build in shop": (["shop"], ["build"]),
    "read in shop": (["shop"], ["read"]),
    "build and read in shop": (["shop"], ["build", "read"]),
    "admin of shop": (["shop"], ["admin"]),
    "build and read in blog": (["blog"], ["build", "read"]),
    "admin of blog": (["blog"], ["admin"]),
    "build and read in all": ("*", ["build", "read"]),
    "admin of all": ("*", ["admin"]),
}

BUILDS = (
    "build in shop",
    "build and read in shop",
    "admin of shop",
    "build and read in all",
    "admin of all",
)
READS = (
    "read in shop",
    "build and read in shop",
    "admin of shop",
    "build and read in all",
    "admin of all",
)
OTHERS = ("build and read in blog", "admin of blog")
HIDDEN = dict.fromkeys(OTHERS, 404)
"""What is asked about is not theirs: the answer is the one for what is not there."""

OPERATIONS = {
    "upload": (dict.fromkeys(BUILDS, 200), 403),
    "create": (dict.fromkeys(BUILDS, 201), 403),
    "list": (dict.fromkeys(READS, 200), 403),
    "get": (dict.fromkeys((*BUILDS, *READS), 200) | HIDDEN, 403),
    "log": (dict.fromkeys(READS, 200) | HIDDEN, 403),
    "cancel": (dict.fromkeys(BUILDS, 200) | HIDDEN, 403),
    "projects": (dict.fromkeys((*READS, *OTHERS), 200), 403),
    "tokens": (dict.fromkeys(("admin of shop", "admin of blog", "admin of all"), 200), 403),
    "a token of shop": (dict.fromkeys(("admin of shop", "admin of all"), 201), 403),
    "a token of all": ({"admin of all": 201}, 403),
    "revoke": ({"admin of shop": 200, "admin of all": 200, "admin of blog": 404}, 403),
    "health": (dict.fromkeys(TOKENS, 200), 200),
}


async def secrets_of(found):
    made = {"nobody": "", "a made-up token": "depotlab_service_0123456789_" + "0" * 48}
    for name, given in TOKENS.items():
        if given is not None:
            projects, may = given
            made[name] = (await found.access.create(name, projects=projects, may=may)).secret
    return made


def asked(operation, build_id, token_id, key):
    order = {"project": "shop", "deployment": "d", "build_context_path": key}
    return {
        "upload": ("POST", "/v1/uploads", {"project": "shop"}),
        "create": ("POST", "/v1/builds", order),
        "list": ("GET", "/v1/builds?project=shop", None),
        "get": ("GET", f"/v1/builds/{build_id}", None),
        "log": ("GET", f"/v1/builds/{build_id}/logs?follow=false", None),
        "cancel": ("POST", f"/v1/builds/{build_id}/cancel", None),
        "projects": ("GET", "/v1/projects", None),
        "tokens": ("GET", "/v1/tokens", None),
        "a token of shop": ("POST", "/v1/tokens", {"description": "x", "projects": "shop"}),
        "a token of all": ("POST", "/v1/tokens", {"description": "x", "projects": "*"}),
        "revoke": ("DELETE", f"/v1/tokens/{token_id}", None),
        "health": ("GET", "/v1/health", None),
    }[operation]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_operation_with_each_token(tmp_path, operation):
    async def work(found):
        said = {}
        secrets = await secrets_of(found)
        build = await found.held_build("shop")
        for name, secret in secrets.items():
            spare = await found.access.create("to be revoked", projects=["shop"], may=["read"])
            key = (await found.core.generate_upload_url("shop")).build_context_path
            method, path, body = asked(operation, build.build_id, spare.token_id, key)
            answer = await fetch(f"{found.url}{path}", method=method, token=secret, data=body)
            said[name] = answer.status
        return said

    right, else_status = OPERATIONS[operation]
    expected = {name: right.get(name, else_status) for name in TOKENS}
    if operation != "health":
        expected |= {"nobody": 401, "a made-up token": 401}
    assert running(tmp_path, work) == expected


@pytest.mark.parametrize(
    "operation", ["GenerateUploadURL", "GetBuild", "CancelBuild", "ListBuilds", "CreateBuild"]
)
def test_the_methods_of_connect_have_the_same_rules(tmp_path, operation):
    async def work(found):
        said = {}
        secrets = await secrets_of(found)
        build = await found.held_build("shop")
        for name, secret in secrets.items():
            key = (await found.core.generate_upload_url("shop")).build_context_path
            body = {
                "GenerateUploadURL": {"project": "shop"},
                "GetBuild": {"buildId": build.build_id},
                "CancelBuild": {"buildId": build.build_id},
                "ListBuilds": {"project": "shop"},
                "CreateBuild": {"project": "shop", "deployment": "d", "buildContextPath": key},
            }[operation]
            answer = await fetch(
                f"{found.url}{SERVICE}/{operation}",
                method="POST",
                token=secret,
                data=body,
                headers={"content-type": "application/json"},
            )
            said[name] = answer.status
        return said

    names = {
        "GenerateUploadURL": "upload",
        "GetBuild": "get",
        "CancelBuild": "cancel",
        "ListBuilds": "list",
        "CreateBuild": "create",
    }
    right, else_status = OPERATIONS[names[operation]]
    expected = {name: right.get(name, else_status) for name in TOKENS}
    expected |= {"nobody": 401, "a made-up token": 401}
    assert running(tmp_path, work) == {
        name: 200 if status == 201 else status for name, status in expected.items()
    }


def test_a_log_as_a_stream_has_the_same_rules(tmp_path):
    async def work(found):
        said = {}
        secrets = await secrets_of(found)
        build = await found.held_build("shop")
        asked = json.dumps({"buildId": build.build_id, "follow": False}).encode()
        for name, secret in secrets.items():
            answer = await fetch(
                f"{found.url}{SERVICE}/GetBuildLogs",
                method="POST",
                token=secret,
                data=b"\0" + len(asked).to_bytes(4, "big") + asked,
                headers={"content-type": "application/connect+json"},
            )
            end = json.loads(answer.body[answer.body.rindex(b"\2\0\0") + 5 :])
            said[name] = end["error"]["code"] if "error" in end else answer.body.count(b"line ")
        return said

    codes = {200: 3, 403: "permission_denied", 404: "not_found"}
    right, else_status = OPERATIONS["log"]
    expected = {name: codes[right.get(name, else_status)] for name in TOKENS}
    expected |= dict.fromkeys(("nobody", "a made-up token"), "unauthenticated")
    assert running(tmp_path, work) == expected


def test_a_hidden_build_and_a_missing_one_are_told_alike(tmp_path):
    async def work(found):
        token = await found.token("blog")
        build = await found.held_build("shop")
        answers = []
        for build_id in (build.build_id, "0" * len(build.build_id)):
            for end in ("", "/logs", "/cancel"):
                answer = await fetch(
                    f"{found.url}/v1/builds/{build_id}{end}",
                    method="POST" if end == "/cancel" else "GET",
                    token=token,
                )
                answers.append((answer.status, answer.body.replace(build_id.encode(), b"ID")))
        return answers

    answers = running(tmp_path, work)
    assert len(set(answers)) == 1
    assert answers[0][0] == 404


def test_lists_have_what_the_token_is_for(tmp_path):
    async def work(found):
        for project in ("shop", "blog", "other"):
            await found.ended((await found.a_build(project)).build_id)
        said = {}
        for name, projects in (("one", ["shop"]), ("two", ["shop", "blog"]), ("all", [])):
            token = await found.token(*projects)
            answer = await fetch(f"{found.url}/v1/projects", token=token)
            seen = sorted(one["project"] for one in answer.json()["projects"])
            builds = await fetch(f"{found.url}/v1/builds", token=token)
            listed = sorted(b["project"] for b in builds.json().get("builds", []))
            said[name] = (seen, builds.status, listed)
        return said

    assert running(tmp_path, work) == {
        "one": (["shop"], 200, ["shop"]),
        "two": (["blog", "shop"], 400, []),
        "all": (["blog", "other", "shop"], 200, ["blog", "other", "shop"]),
    }


def test_an_admin_makes_and_ends_tokens_within_its_projects(tmp_path):
    async def work(found):
        admin = await found.token("shop", may=["admin"])
        await found.token("blog")
        url = f"{found.url}/v1/tokens"
        wanted = {"description": "CI", "projects": ["shop"], "may": ["read"], "expires_s": 60}
        made = (await fetch(url, method="POST", token=admin, data=wanted)).json()
        assert (made["projects"], made["may"]) == (["shop"], ["read"])
        assert (await fetch(f"{found.url}/v1/builds", token=made["secret"])).status == 200
        listed = (await fetch(url, token=admin)).json()["tokens"]
        assert [one["description"] for one in listed] == ["a test", "CI"]
        assert "secret" not in json.dumps(listed)
        assert (
            await fetch(f"{url}/{made['token_id']}", method="DELETE", token=admin)
        ).status == 200
        assert (await fetch(f"{found.url}/v1/builds", token=made["secret"])).status == 401

    running(tmp_path, work)


def test_an_expired_token_is_nobodys(tmp_path):
    async def work(found):
        token = await found.token("shop", expires_s=1e-9)
        return (await fetch(f"{found.url}/v1/builds", token=token)).status

    assert running(tmp_path, work) == 401


def test_a_token_that_asks_too_often_has_to_wait(tmp_path):
    async def work(found):
        token, other = await found.token("shop"), await found.token("shop")
        answers = [await fetch(f"{found.url}/v1/builds", token=token) for _ in range(3)]
        rpc = await fetch(
            f"{found.url}{SERVICE}/ListBuilds",
            method="POST",
            token=token,
            data={},
            headers={"content-type": "application/json"},
        )
        return (
            [answer.status for answer in answers],
            answers[2].headers["retry-after"],
            (rpc.status, rpc.headers["retry-after"]),
            (await fetch(f"{found.url}/v1/builds", token=other)).status,
            (await fetch(f"{found.url}/v1/health")).status,
        )

    assert running(tmp_path, work, limits=Limits(max_requests_per_minute=2), now_s=lambda: 7.0) == (
        [200, 200, 429],
        "30",
        (429, "30"),
        200,
        200,
    )
