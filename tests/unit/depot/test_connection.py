"""What one answer to "where is my machine" asks of us."""

from datetime import UTC, datetime, timedelta

import pytest

from depotlab._depot import BadReply
from depotlab._depot.connection import Found, Wait, read_connection
from depotlab._depot.health import remaining_s
from depotlab._proto import depot_cli_pb2 as cli
from tests.support.depotmachine import Authority, active, pending

AUTHORITY = Authority()
LEAF = AUTHORITY.leaf("build")
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("wait_ms", "seconds"),
    [
        pytest.param(1500, 1.5, id="the server's wait is obeyed"),
        pytest.param(0, 0.05, id="zero never spins"),
        pytest.param(-7, 0.05, id="nor does less"),
    ],
)
def test_pending_is_a_wait(wait_ms, seconds):
    assert read_connection(pending(wait_ms)) == Wait(seconds)


def test_active_is_an_endpoint_whose_key_is_never_shown():
    found = read_connection(active("tcp://h:443", AUTHORITY, LEAF))
    assert isinstance(found, Found)
    assert found.gzip
    assert (found.endpoint.host, found.endpoint.port) == ("h", 443)
    tls = found.endpoint.tls
    assert (tls.ca, tls.cert, tls.key) == tuple(
        text.encode() for text in (AUTHORITY.pem, LEAF.cert, LEAF.key)
    )
    assert tls.server_name == "machine.test"
    assert "BEGIN" not in repr(found)


def spoilt(**fields):
    reply = active("tcp://h:443", AUTHORITY, LEAF)
    for path, value in fields.items():
        *parents, name = path.split("__")
        message = reply.active
        for parent in parents:
            message = getattr(message, parent)
        setattr(message, name, value)
    return reply


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (cli.GetBuildKitConnectionResponse(), "connection is neither"),
        (spoilt(endpoint=""), r"active\.endpoint is empty"),
        (spoilt(endpoint="h:443"), r"active\.endpoint does not begin with tcp://"),
        (spoilt(endpoint="tcp://h"), r"active\.endpoint is not tcp://host:port"),
        (spoilt(endpoint="tcp://h:port"), r"active\.endpoint is not"),
        (spoilt(ca_cert__cert=""), r"active\.ca_cert\.cert is empty"),
        (spoilt(ca_cert__cert="planted"), r"active\.ca_cert\.cert is no certificate"),
        (spoilt(cert__cert=""), r"active\.cert\.cert is empty"),
        (spoilt(cert__cert=LEAF.key), r"active\.cert\.cert is no certificate"),
        (spoilt(cert__key="\n"), r"active\.cert\.key is empty"),
        (spoilt(cert__key="planted"), r"active\.cert\.key is no private key"),
        (spoilt(cert__key=AUTHORITY.leaf().key), r"active\.cert\.key does not belong to"),
    ],
)
def test_an_answer_that_cannot_be_used_names_its_field_and_shows_nothing_of_it(reply, said):
    with pytest.raises(BadReply, match=said) as caught:
        read_connection(reply)
    assert "planted" not in str(caught.value)
    assert "BEGIN" not in str(caught.value)


def test_without_a_server_name_the_host_is_checked():
    found = read_connection(active("tcp://h:443", AUTHORITY, LEAF, server_name=""))
    assert found.endpoint.tls.server_name == ""


@pytest.mark.parametrize(
    ("in_s", "expected"),
    [(60, 60.0), (0, 0.0), (-60, 0.0)],
)
def test_the_rest_of_a_build_is_counted_by_the_servers_clock(in_s, expected):
    assert remaining_s(NOON + timedelta(seconds=in_s), NOON) == expected
