"""Our client against an API that breaks every rule."""

import asyncio
import pickle
import ssl
import time
import traceback
from contextlib import aclosing

import pytest
from google.protobuf.message import Message

from depotlab._depot import (
    BadReply,
    Connect,
    DeadlineExceeded,
    DepotError,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Retry,
    Unauthenticated,
    Unavailable,
    methods,
)
from depotlab._depot.connect import MAX_REPLY_BYTES, Method
from depotlab._depot.wire import enveloped
from depotlab._proto import depot_cli_pb2 as cli
from depotlab._proto import depot_clibeta_pb2 as beta
from depotlab._proto import depot_core_pb2 as core
from tests.support.certificates import Authority
from tests.support.fakeplane import ended, fault, http, message, serving, stream
from tests.support.virtualtime import run_jumping

TOKEN = "depot_planted_0123456789"
LOGIN = Method("/depot.cli.v1beta1.LoginService/FinishLogin", beta.FinishLoginResponse)
QUICK = Retry(first_s=0.001, most_s=0.002)
PROJECT = core.GetProjectResponse(project=core.Project(project_id="abc", name="one"))
CREATED = core.CreateProjectResponse(project=core.Project(project_id="abc", name="one"))


def call(answers, *, method=methods.GET_PROJECT, request=None, timeout_s=5.0, token=TOKEN):
    """Make one call; return its outcome and the plane."""

    async def run():
        async with serving(answers) as plane:
            connect = Connect(plane.url, token=token, retry=QUICK)
            try:
                ask = request or core.GetProjectRequest(project_id="abc")
                outcome = await connect.unary(method, ask, timeout_s=timeout_s)
            except DepotError as error:
                outcome = error
            finally:
                connect.close()
            return outcome, plane

    return asyncio.run(run())


def test_a_call_sends_what_connect_asks_for():
    reply, plane = call({"GetProject": message(PROJECT)})
    (asked,) = plane.asked
    assert reply.project.name == "one"
    assert asked.path == "/depot.core.v1.ProjectService/GetProject"
    assert asked.parsed(core.GetProjectRequest).project_id == "abc"
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"
    assert asked.headers["content-type"] == "application/proto"
    assert asked.headers["connect-protocol-version"] == "1"
    assert 4000 < int(asked.headers["connect-timeout-ms"]) <= 5000
    assert asked.headers["user-agent"].startswith("depotlab/")


def test_without_a_token_there_is_no_authorization_header():
    _, plane = call({"GetProject": message(PROJECT)}, token="")
    assert "authorization" not in plane.asked[0].headers


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "unauthenticated", Unauthenticated),
        (403, "permission_denied", PermissionDenied),
        (404, "not_found", NotFound),
        (400, "invalid_argument", InvalidRequest),
        (429, "resource_exhausted", ResourceExhausted),
        (504, "deadline_exceeded", DeadlineExceeded),
        (500, "internal", DepotError),
        (500, "a code of tomorrow", DepotError),
    ],
)
def test_an_error_keeps_the_servers_words_and_is_not_tried_again(status, code, kind):
    error, plane = call({"GetProject": fault(status, code, "the reason")})
    assert type(error) is kind
    assert error.server_message == "the reason"
    assert "the reason" in str(error)
    assert error.hint
    assert (error.method, error.http_status) == ("GetProject", status)
    assert len(plane.asked) == 1
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (401, Unauthenticated, "unauthenticated"),
        (403, PermissionDenied, "permission_denied"),
        (404, DepotError, "unimplemented"),
        (429, ResourceExhausted, "resource_exhausted"),
        (500, DepotError, "unknown"),
        (502, Unavailable, "unavailable"),
    ],
)
def test_the_status_decides_when_the_page_is_somebody_elses(status, kind, code):
    error, _ = call({"GetProject": http(status, b"<html>" + b"x" * 200_000, "text/html")})
    assert type(error) is kind
    assert error.code == code


def test_an_idempotent_call_is_tried_again_while_the_api_is_down():
    down = fault(503, "unavailable", "restarting")
    reply, plane = call({"GetProject": [down, None, message(PROJECT)]})
    assert reply.project.name == "one"
    assert len(plane.asked) == 3


def test_trying_has_an_end():
    error, plane = call({"GetProject": fault(503, "unavailable", "down")})
    assert type(error) is Unavailable
    assert len(plane.asked) == QUICK.n_tries


@pytest.mark.parametrize("reply", [fault(503, "unavailable", "down"), None])
def test_a_call_that_must_not_be_obeyed_twice_is_sent_once(reply):
    request = core.CreateProjectRequest(name="one")
    error, plane = call({"CreateProject": reply}, method=methods.CREATE_PROJECT, request=request)
    assert type(error) is Unavailable
    assert len(plane.asked) == 1


def test_too_many_calls_wait_as_long_as_the_server_asks():
    slow = fault(429, "resource_exhausted", "slow down", retry_after="1")
    started = time.monotonic()
    reply, plane = call({"GetProject": [slow, message(PROJECT)]})
    assert reply.project.name == "one"
    assert time.monotonic() - started >= 1.0
    assert len(plane.asked) == 2


def test_a_wait_that_the_deadline_forbids_is_not_begun():
    slow = fault(429, "resource_exhausted", "slow down", retry_after="1000")
    error, plane = call({"GetProject": slow}, timeout_s=600.0)  # longer than a test may take
    assert (type(error), error.retry_after_s) == (ResourceExhausted, 1000.0)
    assert len(plane.asked) == 1


def test_no_answer_in_time_is_a_deadline_and_closes_the_connection():
    async def run():
        async with serving({"GetProject": lambda _: asyncio.sleep(60)}) as plane:
            connect = Connect(plane.url, token=TOKEN, retry=QUICK)
            with pytest.raises(DeadlineExceeded, match=r"within 20 s") as caught:
                await connect.unary(methods.GET_PROJECT, core.GetProjectRequest(), timeout_s=20)
            assert isinstance(caught.value, TimeoutError)
            assert len(plane.asked) == 1

    run_jumping(run())


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(http(200, b"\xff\xff\xff", "application/proto"), id="no message"),
        pytest.param(http(200, b"<html>", "text/html"), id="a page"),
        pytest.param(
            http(200, b"", "application/proto", content_encoding="gzip"), id="compressed unasked"
        ),
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n\r\n", id="not HTTP"),
        pytest.param(b"HTTP/1.1 200 OK\r\nbroken\r\n\r\n", id="a header that is none"),
        pytest.param(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n", id="endless head"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/proto\r\ncontent-length: x\r\n\r\n",
            id="a length that is no number",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/proto\r\n"
            b"transfer-encoding: chunked\r\n\r\nzz\r\n",
            id="a chunk without length",
        ),
    ],
)
def test_a_malformed_answer_is_said_to_be_one(reply):
    error, plane = call({"GetProject": reply})
    assert type(error) is BadReply
    assert error.blame == "protocol"
    assert len(plane.asked) == 1


def test_an_oversized_answer_is_refused_before_it_is_held():
    error, _ = call({"GetProject": http(200, bytes(MAX_REPLY_BYTES + 1), "application/proto")})
    assert type(error) is BadReply
    assert str(MAX_REPLY_BYTES) in error.message


def test_an_answer_that_is_cut_short_is_unavailable_and_tried_again():
    cut = message(PROJECT)[:-3]
    error, plane = call({"GetProject": cut.replace(b"content-length:", b"Content-Length:")})
    assert type(error) is Unavailable
    assert len(plane.asked) == QUICK.n_tries


def test_nobody_listening_is_unavailable_and_names_the_address():
    async def run():
        connect = Connect("http://127.0.0.1:9", retry=QUICK)
        with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:9 cannot be reached"):
            await connect.unary(methods.GET_PROJECT, core.GetProjectRequest())

    asyncio.run(run())


def test_calls_share_a_connection_and_survive_that_it_is_closed():
    async def run():
        async with serving({"GetProject": message(PROJECT)}) as plane:
            connect = Connect(plane.url, retry=QUICK)
            for _ in range(3):
                await connect.unary(methods.GET_PROJECT, core.GetProjectRequest())
            assert plane.n_connections == 1
            await asyncio.gather(
                *(connect.unary(methods.GET_PROJECT, core.GetProjectRequest()) for _ in range(4))
            )
            assert {asked.connection for asked in plane.asked} == {0, 1, 2, 3}
            connect.close()
            await plane.until(lambda: plane.n_open == 0)
            await connect.unary(methods.GET_PROJECT, core.GetProjectRequest())
            connect.close()
            connect.close()

    asyncio.run(run())


def test_a_kept_connection_that_the_server_closed_is_not_used():
    async def run():
        once = message(CREATED).replace(b"content-length:", b"Content-Length:")
        async with serving({"CreateProject": once}) as plane:  # the plane closes after each
            connect = Connect(plane.url, retry=QUICK)
            for _ in range(3):
                await connect.unary(methods.CREATE_PROJECT, core.CreateProjectRequest(name="x"))
                await plane.until(lambda: plane.n_open == 0)
            assert plane.n_connections == 3
            connect.close()

    asyncio.run(run())


def test_a_cancelled_call_leaves_no_connection():
    async def run():
        async with serving({"GetProject": lambda _: asyncio.sleep(60)}) as plane:
            connect = Connect(plane.url)
            task = asyncio.create_task(connect.unary(methods.GET_PROJECT, core.GetProjectRequest()))
            await plane.until(lambda: len(plane.asked) == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not connect._http._kept

    asyncio.run(run())


# ------------------------------------------------------------------------------------- streams


def listen(reply, *, timeout_s=5.0):
    async def run():
        async with serving({"FinishLogin": reply}) as plane:
            connect = Connect(plane.url, token=TOKEN)
            got = []
            try:
                requests = [beta.FinishLoginRequest(id="7")]
                async for item in connect.stream(LOGIN, requests, timeout_s=timeout_s):
                    got.append(item.token)
                outcome = None
            except DepotError as error:
                outcome = error
            connect.close()
            return got, outcome, plane

    return asyncio.run(run())


def token(text):
    return enveloped(beta.FinishLoginResponse(token=text).SerializeToString())


def test_a_servers_stream_gives_its_messages_and_ends():
    got, error, plane = listen(stream(token("a"), token("b"), ended()))
    assert (got, error) == (["a", "b"], None)
    assert plane.asked[0].headers["content-type"] == "application/connect+proto"
    assert plane.asked[0].body == enveloped(beta.FinishLoginRequest(id="7").SerializeToString())


def test_the_end_of_a_stream_can_be_an_error():
    refused = ended({"code": "permission_denied", "message": "not yours"})
    got, error, _ = listen(stream(token("a"), refused))
    assert got == ["a"]
    assert (type(error), error.server_message) == (PermissionDenied, "not yours")


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        pytest.param(stream(token("a")), BadReply, id="no end"),
        pytest.param(stream(token("a"), token("b")[:-1]), BadReply, id="half a message"),
        pytest.param(stream(token("a"), whole=False), Unavailable, id="connection lost"),
        pytest.param(stream(token("a"), ended(), b"\0"), BadReply, id="more after the end"),
        pytest.param(stream(token("a"), b"\x01" + token("b")[1:]), BadReply, id="compressed"),
        pytest.param(stream(token("a"), b"\0\xff\xff\xff\xff"), BadReply, id="oversized"),
        pytest.param(stream(token("a"), b"\2\0\0\0\1["), BadReply, id="end is no JSON"),
        pytest.param(
            stream(token("a"), b"\2\0\0\0\x0b" + b'{"error":1}'), BadReply, id="end is odd"
        ),
    ],
)
def test_a_stream_that_is_cut_or_malformed_never_ends_well(reply, kind):
    got, error, _ = listen(reply)
    assert got == ["a"]
    assert type(error) is kind


def test_a_stream_can_be_left_early():
    async def run():
        async with serving({"FinishLogin": stream(token("a"), whole=False)}) as plane:
            connect = Connect(plane.url)
            replies = connect.stream(LOGIN, [beta.FinishLoginRequest(id="7")])
            async with aclosing(replies):
                assert (await anext(replies)).token == "a"
            assert not connect._http._kept

    asyncio.run(run())


def test_a_clients_stream_sends_everything_before_the_answer():
    async def statuses():
        for number in range(3):
            await asyncio.sleep(0)
            yield cli.ReportStatusStreamRequest(build_id=str(number))

    async def run():
        empty = stream(enveloped(b""), ended())
        async with serving({"ReportStatusStream": empty}) as plane:
            connect = Connect(plane.url)
            replies = [r async for r in connect.stream(methods.REPORT_STATUS_STREAM, statuses())]
            connect.close()
            assert len(replies) == 1
            expected = [cli.ReportStatusStreamRequest(build_id=str(n)) for n in range(3)]
            assert plane.asked[0].body == b"".join(
                enveloped(r.SerializeToString()) for r in expected
            )

    asyncio.run(run())


def test_an_error_of_the_callers_own_iterator_is_the_callers():
    async def broken():
        yield cli.ReportStatusStreamRequest(build_id="1")
        raise KeyError("mine")

    async def run():
        async with serving({}) as plane:
            connect = Connect(plane.url)
            with pytest.raises(KeyError, match="mine"):
                async for _ in connect.stream(methods.REPORT_STATUS_STREAM, broken()):
                    pass

    asyncio.run(run())


def test_a_stream_has_a_deadline():
    _, error, _ = listen(lambda _: asyncio.sleep(60), timeout_s=0.2)
    assert type(error) is DeadlineExceeded


# ------------------------------------------------------------------------------ trust, secrets


def test_a_certificate_of_another_authority_is_refused(tmp_path):
    async def run():
        folder = Authority().write(tmp_path / "server", "localhost")
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        other = Authority("other").write(tmp_path / "other", "localhost")
        async with serving({"GetProject": message(PROJECT)}, tls=server) as plane:
            trusting = Connect(plane.url, trust=_trust(folder))
            reply = await trusting.unary(methods.GET_PROJECT, core.GetProjectRequest())
            assert reply.project.name == "one"
            trusting.close()
            for wrong in (None, _trust(other)):
                connect = Connect(plane.url, token=TOKEN, trust=wrong, retry=QUICK)
                with pytest.raises(Unavailable, match="certificate"):
                    await connect.unary(methods.GET_PROJECT, core.GetProjectRequest())
            assert len(plane.asked) == 1

    asyncio.run(run())


def _trust(folder):
    """Not the default context: from Python 3.13 on it wants key identifiers, which these certificates lack."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(folder / "ca.pem")
    return context


def test_a_token_that_the_server_says_back_is_cut_out():
    error, _ = call({"GetProject": fault(401, "unauthenticated", f"bad token {TOKEN}")})
    shown = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
    assert TOKEN not in shown + str(error)
    assert error.server_message == "bad token •••"


def test_a_token_is_in_no_repr():
    assert TOKEN not in repr(Connect("http://127.0.0.1:9", token=TOKEN))


def test_replies_are_messages():
    assert issubclass(methods.GET_PROJECT.reply, Message)
