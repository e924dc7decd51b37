"""Calls to the Depot API are told to taps: who, when, how long, how it ended, and never what."""

from __future__ import annotations

import asyncio
from typing import Any

import depotlab as dl
from depotlab._depot import Connect, DepotError, Retry, methods
from depotlab._proto import depot_core_pb2 as core
from depotlab._wire import Wire
from tests.support.fakeplane import fault, message, serving

TOKEN = "depot_planted_0123456789"
PROJECT = core.GetProjectResponse(project=core.Project(project_id="abc", name="pl4nted"))


def heard(answers: dict[str, Any]) -> Wire:
    async def run() -> None:
        async with serving(answers) as plane:
            connect = Connect(plane.url, token=TOKEN, retry=Retry(first_s=0.001, most_s=0.002))
            try:
                await connect.unary(methods.GET_PROJECT, core.GetProjectRequest(project_id="abc"))
            except DepotError:
                pass
            finally:
                connect.close()

    with dl.wire(payloads=True) as wire:
        asyncio.run(run())
    return wire


def test_a_call_is_told_with_its_sizes_only() -> None:
    wire = heard({"GetProject": message(PROJECT)})
    (one,) = wire.exchanges
    assert (one.asker, one.service, one.method) == (
        "client",
        "depot.core.v1.ProjectService",
        "GetProject",
    )
    assert one.status == "OK"
    assert one.received_bytes == PROJECT.ByteSize()
    assert one.sent_bytes == core.GetProjectRequest(project_id="abc").ByteSize()
    assert one.endpoint.startswith("http://127.0.0.1:")
    for text in (repr(one), repr(one.headers), repr(one.messages), str(wire), wire.svg):
        assert TOKEN not in text
        assert "pl4nted" not in text
    assert "Depot API" in wire.svg


def test_each_try_is_an_exchange_and_says_how_it_ended() -> None:
    wire = heard({"GetProject": [fault(503, "unavailable", "later"), message(PROJECT)]})
    assert [one.status for one in wire["GetProject"]] == ["UNAVAILABLE", "OK"]
    assert wire["GetProject"][0].status_text == "later"
