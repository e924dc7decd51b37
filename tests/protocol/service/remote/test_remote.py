"""`RemoteBuildService`: the same values and errors as where the service is; logs survive broken connections."""

import asyncio
import inspect
from datetime import UTC, datetime

import pytest

from depotlab.errors import (
    ConnectionLost,
    ContextRefused,
    ProtocolError,
    ServiceError,
    Unreachable,
    UsageError,
)
from depotlab.service import (
    BuildService,
    EndUserError,
    GitContext,
    RemoteBuildService,
    aio,
    git,
)
from depotlab.service._boundary import UploadedContext
from depotlab.service._jsonvalues import build_json, read_build
from depotlab.service._remote.verbs import Remote, RemoteLog, RemoteTokenBook
from depotlab.service._remote.wire import RemoteWire
from depotlab.service._values import BuildInfo
from tests.support.faultyproxy import FaultyProxy
from tests.support.servicehttp import running, served


def with_remote(tmp_path, work, *, may=("build", "read"), **options):
    async def run(found):
        wire = RemoteWire(found.url, await found.token("shop", may=may), first_pause_s=0.001)
        try:
            return await work(found, Remote(wire))
        finally:
            wire.close()

    return running(tmp_path, run, **options)


async def ordered(found, remote, **order):
    upload = await remote.generate_upload_url("shop")
    order = {"project": "shop", "deployment": "d1"} | order
    return await remote.create_build(upload.build_context_path, **order)


# ---------------------------------------------------------------------------- values and errors


def test_a_build_reads_as_where_the_service_is(tmp_path):
    async def work(found, remote):
        upload = await remote.generate_upload_url("shop")
        assert upload == await _same_upload(found, upload)
        build = await remote.build(
            upload.build_context_path,
            project="shop",
            deployment="d1",
            args={"A": "1"},
            env={"K": "hidden"},
        )
        assert build == await found.core.get_build(build.build_id)
        assert await remote.get_build(build.build_id) == build
        page = await remote.list_builds(state="succeeded", page_size=1)
        assert (list(page), page.next_page_token) == ([build], "")
        (order, secrets), *_ = found.runner.ran
        assert (order.args, secrets.env) == ({"A": "1"}, {"K": "hidden"})
        projects = await remote.projects()
        assert list(projects) == list(await found.core.projects())

    with_remote(tmp_path, work)


async def _same_upload(found, upload):
    return await found.core.storage.upload(
        upload.build_context_path, expires_s=upload.expires_in_s, max_bytes=upload.max_bytes
    )


def test_every_field_of_a_build_survives_the_way():
    at = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    build = BuildInfo(
        build_id="b",
        project="shop",
        deployment="d",
        workspace="w",
        state="failed",
        image="i",
        digest="sha256:1",
        depot_project_id="p",
        depot_build_id="q",
        created_at=at,
        started_at=at,
        finished_at=at,
        attempts=2,
        stages={"solve": 1.25},
        stage="solve",
        error=EndUserError("c", "m", "r"),
        cached_steps=1,
        total_steps=2,
        n_log_lines=3,
        context=GitContext("h", "o", "r", "f", "s", 4, True),
        platform="linux/arm64",
    )
    assert read_build(build_json(build)) == build
    uploaded = {"context": UploadedContext("shop/1.tar.gz"), "error": None, "started_at": None}
    bare = BuildInfo(
        build_id="b", project="p", deployment="d", state="queued", created_at=at, **uploaded
    )
    assert read_build(build_json(bare)) == bare


@pytest.mark.parametrize("said", [{}, {"created_at": "soon"}, {"created_at": 5}, "x", None])
def test_what_is_no_build_is_told(said):
    with pytest.raises(ProtocolError, match="no build"):
        read_build(said)


def test_a_failed_build_raises_when_it_is_checked(tmp_path):
    async def work(found, remote):
        build = await ordered(found, remote, target="fails")
        return await found.ended(build.build_id)

    build = with_remote(tmp_path, work)
    with pytest.raises(Exception, match="Look at line 3"):
        build.check()


def test_a_commit_goes_there_as_its_parts(tmp_path):
    async def work(found, remote):
        context = git("github.com", "acme", "shop", "main", subdir="api")
        build = await remote.create_build(
            context, project="shop", deployment="d", git_token="ghs_secret"
        )
        assert build.context == context
        await found.ended(build.build_id)
        assert found.runner.ran[0][1].git_token == "ghs_secret"

    with_remote(tmp_path, work)


def test_refusals_are_the_service_errors_that_they_would_be_there(tmp_path):
    async def work(found, remote):
        for build_id in ("nope", ""):
            with pytest.raises(ServiceError) as missing:
                await remote.get_build(build_id)
            assert missing.value.code == "not_found"
        with pytest.raises(ServiceError) as other:
            await remote.generate_upload_url("blog")
        assert (other.value.code, bool(other.value.hint)) == ("permission_denied", True)
        with pytest.raises(ServiceError) as wrong:
            await remote.list_builds(page_size=1000)
        assert wrong.value.code == "invalid_argument"
        with pytest.raises(ServiceError) as tokens:
            await remote.wire.ask("GET", "/v1/tokens")
        assert tokens.value.code == "permission_denied"

    with_remote(tmp_path, work)


def test_an_argument_that_cannot_be_sent_is_told(tmp_path):
    async def work(_, remote):
        order = {"project": "shop", "deployment": "d"}
        with pytest.raises(UsageError, match="Path"):
            await remote.create_build(tmp_path, **order)
        with pytest.raises(ServiceError, match="args"):
            await remote.create_build("shop/1.tar.gz", **order, args=5)
        with pytest.raises(UsageError, match="expires_s"):
            await RemoteTokenBook(remote.wire).create(
                "CI", projects="*", may="read", expires_s="soon"
            )

    with_remote(tmp_path, work)


def test_a_refused_context_keeps_its_reason(tmp_path):
    async def work(found, remote):
        async def refuse(project):
            raise ContextRefused("It is too large.", reason="too_large", hint="make it smaller")

        found.core.generate_upload_url = refuse
        with pytest.raises(ContextRefused) as error:
            await remote.generate_upload_url("shop")
        return error.value.reason, error.value.message, error.value.hint

    assert with_remote(tmp_path, work) == ("too_large", "It is too large.", "make it smaller")


def test_a_token_that_is_not_known_is_not_shown(tmp_path):
    async def work(found):
        wire = RemoteWire(found.url, "a-secret-that-is-none", first_pause_s=0)
        with pytest.raises(ServiceError) as error:
            await Remote(wire).get_build("x")
        wire.close()
        return str(error.value) + repr(wire), error.value.code

    text, code = running(tmp_path, work)
    assert code == "unauthenticated"
    assert "a-secret" not in text


@pytest.mark.parametrize(
    ("url", "token", "words"),
    [
        pytest.param("ftp://x", "t", "url=", id="a scheme"),
        pytest.param("http://user:pw@x", "t", "url=", id="a password"),
        pytest.param("http://x?y", "t", "url=", id="a query"),
        pytest.param("", "t", "url=", id="nothing"),
        pytest.param("http://x", "", "no token", id="no token"),
        pytest.param("http://x", "a b", "token", id="a space"),
    ],
)
def test_a_wrong_argument_is_named(monkeypatch, url, token, words):
    monkeypatch.delenv("DEPOTLAB_SERVICE_TOKEN", raising=False)
    with pytest.raises(UsageError, match=words) as error:
        RemoteBuildService(url, token)
    assert "pw" not in str(error.value)


def test_the_verbs_are_those_of_a_service_that_is_here():
    ours = {
        name
        for name in vars(BuildService)
        if not name.startswith("_") and name not in ("open", "serve", "drain", "health")
    }
    for here, there in (
        (BuildService, RemoteBuildService),
        (aio.BuildService, aio.RemoteBuildService),
    ):
        for name in ours:
            mine, its = inspect.getattr_static(there, name), inspect.getattr_static(here, name)
            if isinstance(its, property):
                assert isinstance(mine, property)
                continue
            got, wanted = inspect.signature(mine), inspect.signature(its)
            assert list(got.parameters.values()) == list(wanted.parameters.values()), name


# --------------------------------------------------------------------------- broken connections


def through_faults(tmp_path, work, *, cut_after=()):
    """Do some work with a remote whose connections are cut after so many bytes, one after the other."""

    async def run(found):
        async with FaultyProxy(found.url, cut_after) as proxy:
            wire = RemoteWire(proxy.url, await found.token("shop"), first_pause_s=0.001)
            try:
                return await work(found, Remote(wire), proxy)
            finally:
                wire.close()

    return running(tmp_path, run)


@pytest.mark.parametrize("n_bytes", [0, 100, 400, 1000, 2500, 6000])
def test_no_line_of_a_log_is_lost_or_doubled(tmp_path, n_bytes):
    async def work(found, remote, proxy):
        found.runner.n_lines = 200
        build = await found.held_build()
        offsets = []
        async for lines in remote.wire.log(build.build_id, offset=0, follow=True):
            offsets += [line.offset for line in lines]
            if len(offsets) >= 200 and not found.runner.gates["held"].is_set():
                found.runner.print("held", "one more")
                found.runner.gates["held"].set()
        return offsets, proxy.n_cut

    offsets, n_cut = through_faults(tmp_path, work, cut_after=[n_bytes] * 3)
    assert offsets == list(range(201))
    assert n_cut == 3


def test_a_build_whose_answer_is_lost_is_made_once(tmp_path):
    async def work(found, remote, proxy):
        upload = await found.core.generate_upload_url("shop")
        build = await remote.create_build(
            upload.build_context_path, project="shop", deployment="d1"
        )
        await found.ended(build.build_id)
        return len(await found.core.list_builds()), proxy.n_cut

    # The request gets there; of its answer only the beginning comes back.
    assert through_faults(tmp_path, work, cut_after=[20, 40]) == (1, 2)


def test_who_waits_for_a_build_is_as_patient_as_who_reads_its_log(tmp_path):
    async def work(found, remote, proxy):
        upload = await found.core.generate_upload_url("shop")
        build = await remote.build(upload.build_context_path, project="shop", deployment="d1")
        return build.state, proxy.n_cut

    # The order is taken, and of the answers after it the first seven are lost.
    assert through_faults(tmp_path, work, cut_after=[1000, *[0] * 6]) == ("succeeded", 7)


def test_who_stops_waiting_stops_the_build_also_before_its_answer_is_there(tmp_path):
    async def work(found, remote):
        found.runner.hold("held")
        upload = await found.core.generate_upload_url("shop")
        wanted = remote.create_build
        is_made = asyncio.Event()

        async def slow(*asked, **order):
            made = await wanted(*asked, **order)
            if not is_made.is_set():
                is_made.set()
                await asyncio.Event().wait()  # the first answer does not come back
            return made

        remote.create_build = slow
        waiting = asyncio.create_task(
            remote.build(upload.build_context_path, project="shop", deployment="held")
        )
        await is_made.wait()
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        return [build.state for build in await remote.list_builds()]

    assert with_remote(tmp_path, work) == ["canceled"]


def test_who_stops_waiting_is_told_so_also_when_the_service_is_away(tmp_path, caplog):
    async def away(*_, **__):
        raise Unreachable("The service is not here.")

    async def work(found, remote):
        found.runner.hold("held")
        upload = await found.core.generate_upload_url("shop")
        waiting = asyncio.create_task(
            remote.build(upload.build_context_path, project="shop", deployment="held")
        )
        await found.runner.printed.setdefault("held", asyncio.Event()).wait()
        remote.cancel_build = away
        waiting.cancel()
        await asyncio.wait([waiting])
        return waiting.cancelled()

    assert with_remote(tmp_path, work)
    assert "is not cancelled" in caplog.text


def test_a_service_that_stays_away_is_told(tmp_path):
    async def work(found, remote, proxy):
        with pytest.raises(ConnectionLost):
            await remote.get_build("x")
        return proxy.n_cut

    assert through_faults(tmp_path, work, cut_after=[0] * 100) == 5


def test_where_nobody_listens_it_cannot_be_reached():
    async def work():
        wire = RemoteWire("http://127.0.0.1:1", "t", first_pause_s=0)
        with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1 "):
            await wire.ask("GET", "/v1/builds")
        wire.close()

    asyncio.run(work())


def test_a_log_whose_service_stays_away_ends_with_an_error(tmp_path):
    """The stop of the service is the last line of its stream, and no line of the log."""

    async def work(found, remote):
        build = await found.held_build()
        log = RemoteLog(remote.wire)
        first = await log.more(build.build_id, 0, True)
        await found.close()
        with pytest.raises((ServiceError, Unreachable, ConnectionLost)):
            await log.more(build.build_id, 3, True)
        await log.close()
        return [line.offset for line in first]

    assert with_remote(tmp_path, work) == [0, 1, 2]


# ----------------------------------------------------------------------------------- the faces


def test_a_notebook_uses_both_faces(tmp_path):
    """The blocking face from a thread without a loop; the awaitable one from the loop of the server."""

    def block(url, token, deployment):
        with RemoteBuildService(url, token) as service:
            context = service.generate_upload_url("shop").build_context_path
            build = service.create_build(context, project="shop", deployment=deployment)
            texts = [line.text for line in service.get_build_logs(build.build_id, offset=1)]
            assert token not in repr(service)
            assert service.get_build(build.build_id).check().image
            made = service.tokens.create("CI", projects=["shop"], may="read", expires_s=60)
            assert [one.description for one in service.tokens.list()] == ["a test", "CI"]
            service.tokens.revoke(made.token_id)
            return texts

    async def work(found):
        token = await found.token("shop", may=["admin"])
        texts = await asyncio.to_thread(block, found.url, token, "d1")
        async with aio.RemoteBuildService(found.url, token) as service:
            build = await service.build(
                (await service.generate_upload_url("shop")).build_context_path,
                project="shop",
                deployment="d2",
            )
            return texts, [line.text async for line in service.get_build_logs(build.build_id)]

    assert running(tmp_path, work) == (["line 1", "line 2"], ["line 0", "line 1", "line 2"])


def test_a_log_that_had_begun_waits_for_a_service_that_is_started_anew(tmp_path):
    """The same port, the same state folder, another process in all but name."""

    async def work():
        async with served(tmp_path) as found:
            token, url = await found.token("shop"), found.url
            build = await found.held_build()
            wire = RemoteWire(url, token, first_pause_s=0.05)
            log = RemoteLog(wire)
            offsets = [line.offset for line in await log.more(build.build_id, 0, True)]
            following = asyncio.create_task(log.more(build.build_id, 3, True))
            found.runner.gates.clear()  # it is cut off, and tried again by the next
        async with served(tmp_path, port=int(url.rpartition(":")[2])) as again:
            later = await following
            while later:
                offsets += [line.offset for line in later]
                later = await log.more(build.build_id, offsets[-1] + 1, True)
            await log.close()
            wire.close()
            there = [line.offset async for line in again.core.get_build_logs(build.build_id)]
            return offsets, there

    offsets, there = asyncio.run(work())
    assert offsets == there
    assert len(there) > 3
