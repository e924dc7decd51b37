"""Plain JSON over HTTP: every operation, every refusal, and logs that are followed, with curl and urllib."""

import asyncio
import json
import shutil

import pytest

from depotlab.service import Limits
from tests.support.planeparts import until
from tests.support.servicehttp import fetch, running


async def curl(*arguments, stdin=None):
    """Run the real curl; return what it wrote."""
    program = shutil.which("curl")
    assert program is not None
    child = await asyncio.create_subprocess_exec(
        program,
        *("-sS", "--max-time", "60", *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await child.communicate(stdin)
    assert child.returncode == 0, err.decode()
    return out.decode()


async def upload(found, token, project="shop"):
    answer = await fetch(
        f"{found.url}/v1/uploads", method="POST", token=token, data={"project": project}
    )
    assert answer.status == 200, answer.body
    return answer.json()["build_context_path"]


async def create(found, token, *, headers=None, **order):
    order = {"project": "shop", "deployment": "d1"} | order
    if "git" not in order and "build_context_path" not in order:
        order["build_context_path"] = await upload(found, token, order["project"])
    return await fetch(
        f"{found.url}/v1/builds", method="POST", token=token, data=order, headers=headers
    )


def lines_of(body):
    return [json.loads(line) for line in body.splitlines() if line.strip()]


# ------------------------------------------------------------------------------- the way through


def test_a_build_from_upload_to_its_log_with_curl(tmp_path):
    async def work(found):
        auth = f"Authorization: Bearer {await found.token('shop')}"
        said = json.loads(
            await curl("-H", auth, f"{found.url}/v1/uploads", "-d", '{"project": "shop"}')
        )
        assert said["upload_url"].endswith("signature=secret")
        assert said["expires_in_s"] == 900
        order = {"project": "shop", "deployment": "d7", "args": {"A": "1"}, "labels": {"l": "2"}}
        order["build_context_path"] = said["build_context_path"]
        made = json.loads(await curl("-H", auth, f"{found.url}/v1/builds", "-d", json.dumps(order)))
        assert (made["state"], made["project"], made["deployment"]) == ("queued", "shop", "d7")
        where = f"{found.url}/v1/builds/{made['build_id']}"
        lines = lines_of(await curl("-N", "-H", auth, f"{where}/logs"))
        assert [line["offset"] for line in lines] == [0, 1, 2]
        assert lines[0] == {
            "offset": 0,
            "at": "2026-01-02T03:04:05.678901Z",
            "step_id": "sha256:1",
            "step": "RUN make",
            "stream": 1,
            "text": "line 0",
        }
        text = await curl("-N", "-H", auth, "-H", "Accept: text/plain", f"{where}/logs?offset=1")
        assert text == "line 1\nline 2\n"
        build = json.loads(await curl("-H", auth, where))
        assert (build["state"], build["digest"]) == ("succeeded", "sha256:9")
        assert build["image"].endswith("shop-d7")
        assert build["build_context_path"] == said["build_context_path"]
        (ran, _) = found.runner.ran[0]
        assert (ran.args, ran.labels) == ({"A": "1"}, {"l": "2"})

    running(tmp_path, work)


def test_the_page_says_every_operation_and_needs_no_token(tmp_path):
    async def work(found):
        page = (await fetch(found.url)).body.decode()
        said = (await fetch(f"{found.url}/openapi.json")).json()
        for path, methods in said["paths"].items():
            for method in methods:
                assert f"{method.upper():<6} {path} " in page
        assert said["servers"] == [{"url": found.url}]
        schema = await fetch(f"{found.url}/build_service.proto")
        assert b"package depotlab.service.v1;" in schema.body
        assert "/v1/builds/{id}/logs" in said["paths"]
        return page

    assert "Bearer $TOKEN" in running(tmp_path, work)


def test_a_failed_build_tells_why(tmp_path):
    async def work(found):
        token = await found.token("shop")
        made = (await create(found, token, target="fails")).json()
        await found.ended(made["build_id"])
        return (await fetch(f"{found.url}/v1/builds/{made['build_id']}", token=token)).json()

    build = running(tmp_path, work)
    assert build["state"] == "failed"
    assert build["error"] == {
        "category": "dockerfile_syntax",
        "message": "Look at line 3.",
        "raw": "raw words",
    }


@pytest.mark.parametrize(
    ("given", "read"),
    [
        pytest.param(
            "https://github.com/acme/shop/tree/main/api",
            {"host": "github.com", "ref": "main", "subdir": "api"},
            id="an address",
        ),
        pytest.param(
            {"host": "github.com", "owner": "acme", "repository": "shop", "pull_request": 12},
            {"host": "github.com", "pull_request": 12, "ref": ""},
            id="its parts",
        ),
    ],
)
def test_a_commit_is_built_with_a_token_that_is_not_shown(tmp_path, given, read):
    async def work(found):
        token = await found.token("shop")
        answer = await create(found, token, git=given, git_token="ghs_secret", env={"K": "hidden"})
        assert answer.status == 201, answer.body
        assert answer.headers["location"] == f"/v1/builds/{answer.json()['build_id']}"
        await found.ended(answer.json()["build_id"])
        after = await fetch(f"{found.url}{answer.headers['location']}", token=token)
        assert b"secret" not in answer.body + after.body
        assert b"hidden" not in answer.body + after.body
        _, secrets = found.runner.ran[0]
        assert (secrets.git_token, secrets.env) == ("ghs_secret", {"K": "hidden"})
        return answer.json()["git"]

    assert running(tmp_path, work).items() >= read.items()


def test_pages_of_builds(tmp_path):
    async def work(found):
        token = await found.token("shop")
        made = [(await found.a_build("shop", f"d{n}")).build_id for n in range(5)]
        await found.a_build("other")
        seen, page_token = [], ""
        while True:
            url = f"{found.url}/v1/builds?page_size=2&page_token={page_token}"
            page = (await fetch(url, token=token)).json()
            assert len(page["builds"]) <= 2
            seen += [build["build_id"] for build in page["builds"]]
            page_token = page["next_page_token"]
            if not page_token:
                break
        assert seen == made[::-1]
        for build_id in made:
            await found.ended(build_id)
        none = await fetch(f"{found.url}/v1/builds?state=failed&project=shop", token=token)
        assert none.json()["builds"] == []

    running(tmp_path, work)


def test_the_same_key_is_the_same_build(tmp_path):
    async def work(found):
        token = await found.token("shop")
        key = await upload(found, token)
        made = [
            await create(found, token, build_context_path=key, headers={"Idempotency-Key": "k1"})
            for _ in range(2)
        ]
        assert made[0].json()["build_id"] == made[1].json()["build_id"]
        other = await create(
            found,
            token,
            build_context_path=key,
            deployment="d2",
            headers={"Idempotency-Key": "k1"},
        )
        assert (other.status, other.json()["code"]) == (409, "already_exists")
        both = await create(found, token, idempotency_key="a", headers={"Idempotency-Key": "b"})
        assert both.status == 400

    running(tmp_path, work)


def test_a_build_is_cancelled_once(tmp_path):
    async def work(found):
        token = await found.token("shop")
        build = await found.held_build()
        url = f"{found.url}/v1/builds/{build.build_id}/cancel"
        states = [(await fetch(url, method="POST", token=token)).json()["state"] for _ in "12"]
        assert states == ["canceled", "canceled"]

    running(tmp_path, work)


# --------------------------------------------------------------------------------------- the logs


def test_a_log_is_sent_as_it_is_printed_and_ends_with_the_build(tmp_path):
    async def work(found):
        token = await found.token("shop")
        build = await found.held_build()
        host, _, port = found.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        path = f"/v1/builds/{build.build_id}/logs?offset=2"
        writer.write(
            f"GET {path} HTTP/1.0\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n".encode()
        )
        await reader.readuntil(b"\r\n\r\n")
        assert json.loads(await reader.readline())["text"] == "line 2"
        found.runner.print("held", "more", "ünïcode  \x1b[0m")
        assert json.loads(await reader.readline())["text"] == "more"
        assert json.loads(await reader.readline())["offset"] == 4
        found.runner.gates["held"].set()
        assert await reader.read() == b""
        writer.close()

    running(tmp_path, work)


def test_without_follow_a_log_ends_at_what_there_is(tmp_path):
    async def work(found):
        token = await found.token("shop")
        build = await found.held_build()
        url = f"{found.url}/v1/builds/{build.build_id}/logs?follow=false"
        return lines_of((await fetch(url, token=token)).body)

    assert [line["text"] for line in running(tmp_path, work)] == ["line 0", "line 1", "line 2"]


def test_silence_is_broken_by_empty_lines(tmp_path):
    async def work(found):
        build = await found.held_build()
        child = await asyncio.create_subprocess_exec(
            *("curl", "-sSN", "-H", f"Authorization: Bearer {await found.token('shop')}"),
            f"{found.url}/v1/builds/{build.build_id}/logs?offset=3",
            stdout=asyncio.subprocess.PIPE,
        )
        assert await child.stdout.readexactly(3) == b"\n\n\n"
        found.runner.gates["held"].set()
        rest = await child.stdout.read()
        assert await child.wait() == 0
        return rest

    assert not running(tmp_path, work, beat_s=0.01).strip()


def test_a_reader_that_leaves_ends_its_stream(tmp_path):
    async def work(found):
        token = await found.token("shop")
        build = await found.held_build()
        before = len(asyncio.all_tasks())
        host, _, port = found.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        path = f"/v1/builds/{build.build_id}/logs"
        writer.write(
            f"GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n".encode()
        )
        await reader.readuntil(b"line 2")
        assert len(asyncio.all_tasks()) > before
        writer.transport.abort()
        await until(lambda: len(asyncio.all_tasks()) <= before)

    running(tmp_path, work)


def test_a_reader_that_does_not_read_stops_the_sending(tmp_path):
    """What is not taken waits in the database, and not in memory."""

    async def work(found):
        token = await found.token("shop")
        build = await found.held_build()
        asked = []
        original = found.core.next_lines

        async def next_lines(build_id, offset, follow):
            asked.append(offset)
            return await original(build_id, offset, follow)

        found.core.next_lines = next_lines
        for _ in range(20):  # 20 MB, more than any socket holds
            found.runner.print("held", *(["x" * 10_000] * 100))
        host, _, port = found.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
        path = f"/v1/builds/{build.build_id}/logs"
        writer.write(
            f"GET {path} HTTP/1.0\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n".encode()
        )
        await until(lambda: asked)
        n_before = -1
        while len(asked) != n_before:
            n_before = len(asked)
            await asyncio.sleep(0.2)
        assert max(asked) < 2003
        found.runner.gates["held"].set()
        n_bytes = 0
        while piece := await reader.read(1 << 20):
            n_bytes += len(piece)
        assert n_bytes > 20_000_000
        writer.close()

    running(tmp_path, work)


def test_a_log_says_so_when_the_service_stops(tmp_path):
    async def work(found):
        token = await found.token("shop")
        build = await found.held_build()
        url = f"{found.url}/v1/builds/{build.build_id}/logs"
        reading = asyncio.create_task(fetch(url, token=token))
        text = asyncio.create_task(fetch(url, token=token, headers={"Accept": "text/plain"}))
        await until(lambda: len([t for t in asyncio.all_tasks() if "_send_log" in repr(t)]) == 2)
        await found.close()
        return (await reading).body, (await text).body

    as_json, as_text = running(tmp_path, work)
    assert [line.get("code") for line in lines_of(as_json)] == [None, None, None, "unavailable"]
    assert as_text.endswith(b"line 2\n[the service stops: the log is not complete]\n")


# ----------------------------------------------------------------------------------- the refusals


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "words"),
    [
        pytest.param("GET", "/v2/x", None, 404, "not_found", "/v2/x", id="no such path"),
        pytest.param("PUT", "/v1/builds", None, 405, "unimplemented", "GET", id="other method"),
        pytest.param("POST", "/v1/builds", b"{", 400, "invalid_argument", "no JSON", id="no JSON"),
        pytest.param(
            "POST", "/v1/builds", b"[1]", 400, "invalid_argument", "no object", id="no object"
        ),
        pytest.param(
            *("POST", "/v1/builds", {"project": "shop", "dockerfile": "x"}, 400),
            *("invalid_argument", "'dockerfile'"),
            id="unknown field",
        ),
        pytest.param(
            "POST",
            "/v1/builds",
            {"project": "shop"},
            400,
            "invalid_argument",
            "deployment",
            id="a field is missing",
        ),
        pytest.param(
            *("POST", "/v1/builds", {"project": "shop", "deployment": "d"}, 400),
            *("invalid_argument", "build_context_path"),
            id="no context",
        ),
        pytest.param(
            *("POST", "/v1/builds", {"project": "shop", "deployment": "d", "args": ["a"]}, 400),
            *("invalid_argument", "args"),
            id="wrong kind",
        ),
        pytest.param(
            *("POST", "/v1/builds"),
            {"project": "shop", "deployment": "d", "git": {"host": "github.com", "sha": "1"}},
            *(400, "invalid_argument", "'sha'"),
            id="unknown part of a repository",
        ),
        pytest.param(
            *("POST", "/v1/builds"),
            {"project": "shop", "deployment": "d", "git": "https://github.com/a/b/tree/x..y"},
            *(400, "invalid_argument", "ref"),
            id="a ref that is none",
        ),
        pytest.param(
            *("POST", "/v1/builds"),
            {"project": "shop", "deployment": "d", "build_context_path": "other/1.tar.gz"},
            *(400, "invalid_argument", "other/1.tar.gz"),
            id="another project's upload",
        ),
        pytest.param(
            *("POST", "/v1/builds"),
            {"project": "shop", "deployment": "d", "build_context_path": "shop/1.tar.gz"},
            *(404, "not_found", "shop/1.tar.gz"),
            id="an upload that was not handed out",
        ),
        pytest.param(
            "POST", "/v1/uploads", {"project": "a b"}, 403, "permission_denied", "a b", id="project"
        ),
        pytest.param(
            "GET", "/v1/builds?page_size=x", None, 400, "invalid_argument", "page_size", id="number"
        ),
        pytest.param(
            "GET", "/v1/builds?page_size=501", None, 400, "invalid_argument", "500", id="too many"
        ),
        pytest.param(
            "GET", "/v1/builds?state=odd", None, 400, "invalid_argument", "odd", id="state"
        ),
        pytest.param(
            "GET", "/v1/builds?projekt=x", None, 400, "invalid_argument", "projekt", id="query"
        ),
        pytest.param("GET", "/v1/builds/nope", None, 404, "not_found", "nope", id="no build"),
        pytest.param("GET", "/v1/builds/nope/logs", None, 404, "not_found", "nope", id="no log"),
        pytest.param(
            "GET",
            "/v1/builds/nope/logs?offset=-1",
            None,
            400,
            "invalid_argument",
            "offset",
            id="offset",
        ),
        pytest.param(
            "POST", "/v1/builds/nope/cancel", None, 404, "not_found", "nope", id="cancel no build"
        ),
    ],
)
def test_a_refusal_names_what_is_wrong(tmp_path, method, path, body, status, code, words):
    async def work(found):
        token = await found.token("shop")
        return await fetch(f"{found.url}{path}", method=method, token=token, data=body)

    answer = running(tmp_path, work)
    assert (answer.status, answer.json()["code"]) == (status, code)
    said = answer.json()
    assert words in said["message"] + said["hint"]
    assert set(said) == {"code", "message", "hint"}


def test_a_method_that_a_path_does_not_have_is_told_with_those_it_has(tmp_path):
    async def work(found):
        return await fetch(f"{found.url}/v1/builds", method="DELETE")

    answer = running(tmp_path, work)
    assert (answer.status, answer.headers["allow"]) == (405, "POST, GET")


def test_values_of_a_request_are_not_repeated(tmp_path):
    async def work(found):
        token = await found.token("shop")
        order = {"project": "shop", "deployment": "d", "git_token": ["ghs_secret"]}
        return await fetch(f"{found.url}/v1/builds", method="POST", token=token, data=order)

    answer = running(tmp_path, work)
    assert answer.status == 400
    assert b"ghs_secret" not in answer.body


@pytest.mark.parametrize(
    ("has_token", "status"), [pytest.param(True, 413, id="413"), pytest.param(False, 401, id="401")]
)
@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "with its length"])
def test_a_large_body_is_refused_and_the_client_hears_it(tmp_path, has_token, status, chunked):
    async def work(found):
        auth = ["-H", f"Authorization: Bearer {await found.token('shop')}"] if has_token else []
        more = ["-H", "Transfer-Encoding: chunked"] if chunked else []
        body = json.dumps({"project": "x" * 5_000_000}).encode()
        return await curl(
            *(*auth, *more, "-o", "/dev/null", "-w", "%{http_code}"),
            *("--data-binary", "@-", f"{found.url}/v1/builds"),
            stdin=body,
        )

    assert running(tmp_path, work) == str(status)


def test_too_many_builds_are_told_when_to_come_back(tmp_path):
    async def work(found):
        token = await found.token("shop")
        await create(found, token)
        return await create(found, token)

    answer = running(tmp_path, work, limits=Limits(max_builds_per_hour=1), now_s=lambda: 5.0)
    assert (answer.status, answer.json()["code"]) == (429, "resource_exhausted")
    assert answer.headers["retry-after"] == "3600"


def test_only_builds_that_are_made_are_counted(tmp_path):
    async def work(found):
        token = await found.token("shop")
        key = await upload(found, token)
        said = [(await create(found, token, build_context_path=key, target="-x")).status]
        again = {"build_context_path": key, "idempotency_key": "k"}
        said += [(await create(found, token, **again)).status for _ in "12"]
        return said + [(await create(found, token)).status for _ in "12"]

    options = {"limits": Limits(max_builds_per_hour=2), "now_s": lambda: 5.0}
    assert running(tmp_path, work, **options) == [400, 201, 201, 201, 429]


def test_a_build_that_is_there_is_told_also_when_no_more_are_taken(tmp_path):
    async def work(found):
        token = await found.token("shop")
        key = await upload(found, token)
        again = {"build_context_path": key, "idempotency_key": "k"}
        answers = [await create(found, token, **again) for _ in "12"]
        assert answers[0].json()["build_id"] == answers[1].json()["build_id"]
        return (await create(found, token)).status

    options = {"limits": Limits(max_builds_per_hour=1), "now_s": lambda: 5.0}
    assert running(tmp_path, work, **options) == 429


def test_while_it_drains_nothing_is_taken_and_all_is_told(tmp_path):
    async def work(found):
        token = await found.token("shop")
        key = await upload(found, token)
        build = await found.held_build()
        draining = asyncio.create_task(found.core.drain())
        await asyncio.sleep(0)  # it takes no more from its first step on
        health = await fetch(f"{found.url}/v1/health")
        refused = await create(found, token, build_context_path=key)
        for answer in (health, refused):
            assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        url = f"{found.url}/v1/builds/{build.build_id}"
        assert (await fetch(url, token=token)).json()["state"] == "running"
        found.runner.gates["held"].set()
        assert await draining

    running(tmp_path, work)


def test_the_store_is_not_named_when_it_is_down(tmp_path):
    async def work(found):
        found.core.storage._storage.is_down = True
        return await fetch(
            f"{found.url}/v1/uploads",
            method="POST",
            token=await found.token("shop"),
            data={"project": "shop"},
        )

    answer = running(tmp_path, work)
    assert (answer.status, answer.json()["code"]) == (503, "unavailable")
    assert answer.headers["retry-after"] == "5"


def test_no_request_is_too_odd_to_be_refused_in_words(tmp_path):
    """None of them is a mistake of ours: there is no status 500."""
    odd = (
        {"args": {"A": "\x00"}},
        {"args": {"": "x"}},
        {"env": {"A=B": "x"}},
        {"labels": {"x": "y" * 70_000}},
        {"platform": "windows/amd64"},
        {"target": "-x"},
        {"dockerfile_path": "../x"},
        {"dockerfile_path": "x\n"},
        {"deployment": "a/b"},
        {"workspace": "../.."},
        {"git_token": "no git context"},
        {"idempotency_key": "x" * 300},
        {"git": {"host": 5}},
        {"git": {"host": "github.com", "pull_request": 10**100}},
        {"git": {"host": "github.com", "owner": "a", "repository": "b", "is_public": "yes"}},
        {"git": {"host": "https://github.com/a/b", "is_public": "no"}},
        {"git": {"host": "https://github.com/a/b", "subdir": 5}},
        {"git": {"host": "https://github.com/a/b/tree/main", "ref": 5}},
        {"git": "ext::sh -c x"},
        {"git": "https://user:pw@github.com/a/b"},
        {"git": ""},
    )

    async def work(found):
        token = await found.token("shop")
        said = []
        for fields in odd:
            answer = await create(found, token, **fields)
            said.append((answer.status, answer.json()["code"]))
            assert b"pw@" not in answer.body
        return said

    assert set(running(tmp_path, work)) == {(400, "invalid_argument")}


def test_a_request_that_is_cut_off_does_nothing(tmp_path):
    async def work(found):
        token = await found.token("shop")
        host, _, port = found.url.removeprefix("http://").partition(":")
        body = json.dumps({"project": "shop"}).encode()
        for framing in ("content-length: 1000", "transfer-encoding: chunked"):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(
                f"POST /v1/uploads HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n"
                f"{framing}\r\n\r\n".encode()
            )
            writer.write(body if "length" in framing else b"%x\r\n%b\r\n" % (len(body), body))
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        assert (await fetch(f"{found.url}/v1/health")).status == 200
        return found.core.database.row("SELECT count(*) AS n FROM uploads")["n"]

    assert running(tmp_path, work) == 0
