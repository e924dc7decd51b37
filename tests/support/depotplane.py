"""A plane that registers one build and takes what happens to it, and lives of that build to try on it."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from depotlab._depot import BuildOptions, Connect, Machine, Report, Retry, register
from depotlab._proto import depot_cli_pb2 as cli
from tests.support.depotmachine import probe
from tests.support.fakeplane import Asked, FakePlane, http, message, serving

TOKEN = "depot_planted_caller_0123456789"
BUILD_TOKEN = "depot_planted_build_0123456789"
QUICK = Retry(first_s=0.001, most_s=0.002)

CREATED = cli.CreateBuildResponse(
    build_id="b123456789",
    build_token=BUILD_TOKEN,
    build_url="https://depot.test/b",
    project_id="p1",
    registry=cli.Registry(load_using_registry=True),
    additional_tags=[cli.CreateBuildResponse.Tag(tag="reg.test/p1:b123456789", push=True)],
    additional_credentials=[
        cli.CreateBuildResponse.Credential(
            host="reg.test", token=b64encode(f"x-token:{BUILD_TOKEN}".encode()).decode()
        )
    ],
)
ALIVE = message(cli.ReportBuildHealthResponse())
FINISHED = message(cli.FinishBuildResponse())


@asynccontextmanager
async def plane_with(**answers: Any) -> AsyncIterator[tuple[FakePlane, Connect]]:
    """Serve what a life needs, with these answers in place of the usual ones; yields also a client of it."""
    usual = {"CreateBuild": message(CREATED), "ReportBuildHealth": ALIVE, "FinishBuild": FINISHED}
    async with serving({**usual, **answers}) as plane:
        connect = Connect(plane.url, token=TOKEN, retry=QUICK)
        try:
            yield plane, connect
        finally:
            connect.close()


async def hold(
    connect: Connect,
    seconds: float = 0.0,
    *,
    report: Report | None = None,
    platform: str = "",
    timeout_s: float = 300.0,
) -> float:
    """Live a whole life that holds its machine for a while; return how long it took to get it, in seconds."""
    loop = asyncio.get_running_loop()
    async with await register(connect, BuildOptions(), report=report) as build:
        started = loop.time()
        async with Machine(build, platform, probe=probe, timeout_s=timeout_s) as machine:
            took_s = loop.time() - started
            await machine.guard(asyncio.sleep(seconds))
            return took_s


def outcomes(plane: FakePlane) -> list[cli.FinishBuildRequest]:
    """What the plane was told, one after the other."""
    return [a.parsed(cli.FinishBuildRequest) for a in plane.named("FinishBuild")]


def kinds(plane: FakePlane) -> list[str | None]:
    return [told.WhichOneof("result") for told in outcomes(plane)]


def cancels(when_s: float, *, clock_s: float = 0.0, dated: bool = True) -> Callable[[Asked], bytes]:
    """A health answer: canceled `when_s` from now, by a plane whose clock is `clock_s` ahead."""

    def answer(_: Asked) -> bytes:
        now = datetime.now(UTC) + timedelta(seconds=clock_s)
        reply = cli.ReportBuildHealthResponse()
        reply.cancels_at.FromDatetime(now + timedelta(seconds=when_s))
        headers = {"date": format_datetime(now, usegmt=True)} if dated else {}
        return http(200, reply.SerializeToString(), "application/proto", **headers)

    return answer
