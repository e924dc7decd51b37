"""A client that was closed, and what it built on was lent to it."""

import asyncio

import pytest

from depotlab._rpc import Endpoint
from depotlab._verbs.builder import Builder
from depotlab._verbs.depot import DepotBuilder, depot_here
from depotlab._verbs.open import Opened
from depotlab._verbs.request import prepare
from depotlab.errors import LinkError, UsageError
from depotlab.llb import scratch
from depotlab.progress import Fold

REQUEST = prepare(scratch().mkfile("/a", "b"))


class Lease:
    """Of an engine, or of a Depot on this computer."""

    token, project, organization, url = "token", "p1", "o1", "http://127.0.0.1:9"
    n_closed = 0

    def close(self):
        self.n_closed += 1


def refused(work):
    with pytest.raises(UsageError, match="closed, and has given back") as refusal:
        asyncio.run(work)
    return refusal.value.hint


def test_an_engine_that_was_given_back_is_not_built_on(tmp_path):
    lease, builder = Lease(), Builder(Endpoint(f"unix://{tmp_path}/s.sock"), {})
    Opened(builder, engine=lease).release()
    assert lease.n_closed == 1
    assert "bk = depotlab.local()" in refused(builder.build(REQUEST, Fold()))
    assert "depotlab.local()" in refused(builder.info())


def test_a_depot_of_this_computer_that_was_given_back_is_not_built_on():
    lease = Lease()
    builder = DepotBuilder(depot_here(lease, None), {})
    Opened(builder, plane=lease).release()
    assert lease.n_closed == 1
    assert "depotlab.depot(local=True)" in refused(builder.build(REQUEST, Fold()))
    assert "depotlab.depot(local=True)" in refused(builder.info())


def test_a_daemon_that_somebody_else_runs_is_asked_again(tmp_path):
    builder = Builder(Endpoint(f"unix://{tmp_path}/s.sock"), {})
    Opened(builder).release()
    with pytest.raises(LinkError, match="the socket does not exist"):
        asyncio.run(builder.info())
