"""What is secret is in no text: planted values are looked for in reprs, errors, tracebacks, logs and what is sent."""

import asyncio
import logging
import pickle
import traceback
from base64 import b64encode

import pytest

from depotlab._depot import (
    BuildOptions,
    Connect,
    Machine,
    NewToken,
    Outcome,
    Retry,
    StatusMirror,
    register,
    resume,
    table,
)
from depotlab._proto import depot_cli_pb2 as cli
from depotlab._rpc import RpcFailed, Status
from tests.support.depotmachine import Authority, active, probe, serving_machine
from tests.support.fakeplane import ended, fault, http, message, serving, stream
from tests.support.virtualtime import run_jumping

CALLER = "planted_caller_0123456789"
BUILD = "planted_build_0123456789"
REGISTRY = "planted_registry_0123456789"
AUTHORITY = Authority()
LEAF = AUTHORITY.leaf("build")
STRANGER = Authority()
QUICK = Retry(first_s=0.001, most_s=0.002)


def lines_of(pem):
    """Lines of a PEM that are long enough to be nobody else's."""
    return [line for line in pem.splitlines() if len(line) > 30 and "-----" not in line]


PLANTED = [
    CALLER,
    BUILD,
    REGISTRY,
    b64encode(f"x-token:{REGISTRY}".encode()).decode(),
    *lines_of(LEAF.key),
    *lines_of(LEAF.cert),
]

CREATED = message(
    cli.CreateBuildResponse(
        build_id="b1",
        build_token=BUILD,
        additional_tags=[{"tag": "reg.test/p:b1", "push": True}],
        additional_credentials=[{"host": "reg.test", "token": PLANTED[3]}],
    )
)
SAID_BACK = f"no: {CALLER} {BUILD}"
FAULTS = [
    fault(401, "unauthenticated", SAID_BACK),
    fault(403, "permission_denied", SAID_BACK),
    fault(404, "not_found", SAID_BACK),
    fault(429, "resource_exhausted", SAID_BACK),
    fault(499, "canceled", SAID_BACK),
    fault(500, "internal", SAID_BACK),
    http(500, SAID_BACK.encode()),
    http(200, SAID_BACK.encode(), "application/proto"),
    None,
    stream(ended({"code": "internal", "message": SAID_BACK})),
]


class Texts:
    """Everything that somebody might read."""

    def __init__(self):
        self.found = []

    def add(self, *things):
        for thing in things:
            self.found += [repr(thing), str(thing)]

    def add_error(self, error):
        while error is not None:
            self.add(error, getattr(error, "hint", ""), vars(error))
            self.found.append("".join(traceback.format_exception(error)))
            self.found.append(repr(pickle.loads(pickle.dumps(error))))
            render = getattr(error, "_render_traceback_", list)
            self.found += render()
            error = error.__cause__ if isinstance(error.__cause__, Exception) else None

    def leaks(self):
        return {secret for secret in PLANTED for text in self.found if secret in text}


def machine_of(daemon, **changes):
    reply = active(daemon.address, AUTHORITY, LEAF)
    for name, value in changes.items():
        setattr(reply.active.cert, name, value)
    return message(reply)


async def live(connect, texts, *, error=None):
    """Live through a build, looking at everything on the way."""
    async with await register(
        connect, BuildOptions(save=True), "p", report=lambda stage: texts.add(stage)
    ) as build:
        texts.add(connect, build, build.connect, build.credentials, build.additional_tags)
        texts.add(build.registry, build.tags_to_save())
        async with (
            StatusMirror(build) as mirror,
            Machine(build, probe=probe, timeout_s=5) as machine,
        ):
            texts.add(machine, machine.endpoint, machine.endpoint.tls, mirror)
            if error is not None:
                raise error
        texts.add(machine)
    texts.add(build, build.outcome)


def run_with(answers, caplog, *, error=None):
    caplog.set_level(logging.DEBUG)
    texts = Texts()

    async def run():
        async with serving_machine(AUTHORITY) as daemon:
            usual = {
                "CreateBuild": CREATED,
                "ReportBuildHealth": message(cli.ReportBuildHealthResponse()),
                "FinishBuild": message(cli.FinishBuildResponse()),
                "GetBuildKitConnection": machine_of(daemon),
            }
            async with serving({**usual, **answers}) as plane:
                connect = Connect(plane.url, token=CALLER, retry=QUICK)
                try:
                    await live(connect, texts, error=error)
                except Exception as raised:
                    texts.add_error(raised)
                finally:
                    connect.close()
                for asked in plane.named("FinishBuild"):
                    texts.add(asked.parsed(cli.FinishBuildRequest))

    run_jumping(run())
    texts.found += [record.getMessage() for record in caplog.records]
    texts.found.append(caplog.text)
    assert len(texts.found) > 10
    return texts


def test_a_life_that_goes_well_shows_nothing(caplog, capfd):
    texts = run_with({}, caplog)
    assert not texts.leaks()
    said = "".join(capfd.readouterr())
    assert not [secret for secret in PLANTED if secret in said]


@pytest.mark.parametrize("number", range(len(FAULTS)))
@pytest.mark.parametrize(
    "method", ["CreateBuild", "GetBuildKitConnection", "ReportBuildHealth", "FinishBuild"]
)
def test_faults_that_say_secrets_back_show_nothing(method, number, caplog, capfd):
    if method == "CreateBuild" and FAULTS[number] is not None:
        own = FAULTS[number].replace(BUILD.encode(), b"-" * len(BUILD))  # it does not know it yet
        texts = run_with({method: own}, caplog)
    else:
        own = FAULTS[number] and FAULTS[number].replace(CALLER.encode(), b"-" * len(CALLER))
        texts = run_with({method: own}, caplog)
    assert not texts.leaks()
    said = "".join(capfd.readouterr())
    assert not [secret for secret in PLANTED if secret in said]


@pytest.mark.parametrize(
    "change",
    [{"key": STRANGER.leaf().key}, {"key": LEAF.cert}, {"cert": LEAF.key}, {"cert": BUILD}],
)
def test_certificates_that_cannot_be_used_show_nothing(change, caplog):
    async def run():
        async with serving_machine(AUTHORITY) as daemon:
            return machine_of(daemon, **change)

    bad = asyncio.run(run())
    texts = run_with({"GetBuildKitConnection": bad}, caplog)
    assert any("active.cert" in text for text in texts.found)
    assert not texts.leaks()


def test_registry_credentials_that_cannot_be_read_are_not_shown(caplog):
    reply = cli.CreateBuildResponse(build_id="b1", build_token=BUILD)
    reply.additional_credentials.add(host="reg.test", token=REGISTRY)
    texts = run_with({"CreateBuild": message(reply)}, caplog)
    assert any("additional_credentials[0].token" in text for text in texts.found)
    assert not texts.leaks()


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(f"curl -H 'Authorization: Bearer {BUILD}' {REGISTRY}"),
        RpcFailed(Status.UNKNOWN, f"push {REGISTRY}: denied"),
        ValueError(f"DEPOT_TOKEN={CALLER}"),
    ],
)
def test_an_error_that_holds_a_secret_is_told_to_the_plane_without_it(error, caplog):
    told = []

    async def run():
        async with serving(
            {"CreateBuild": CREATED, "FinishBuild": message(cli.FinishBuildResponse())}
        ) as plane:
            connect = Connect(plane.url, token=CALLER)
            build = await register(connect, BuildOptions())
            await build.finish(Outcome.of(error))
            connect.close()
            told.extend(a.body for a in plane.named("FinishBuild"))

    asyncio.run(run())
    (body,) = told
    assert b"\xe2\x80\xa2" in body
    assert not [secret for secret in PLANTED if secret.encode() in body]


def test_a_continued_build_shows_nothing(caplog):
    texts = Texts()

    async def run():
        reply = message(cli.GetBuildResponse(build_id="b1"))
        async with serving(
            {"GetBuild": reply, "FinishBuild": fault(403, "permission_denied", BUILD)}
        ) as plane:
            connect = Connect(plane.url, token=CALLER)
            async with await resume(connect, "b1", BUILD) as build:
                texts.add(build, build.credentials, build.connect)
            connect.close()

    caplog.set_level(logging.DEBUG)
    asyncio.run(run())
    texts.found.append(caplog.text)
    assert "•••" in caplog.text
    assert not texts.leaks()


def test_tables_show_nothing():
    made = table([NewToken("t", CALLER)])
    assert CALLER not in str(made) + repr(made)
