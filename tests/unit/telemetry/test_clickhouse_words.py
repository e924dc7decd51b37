"""What is said to ClickHouse, without one: addresses, statements, parameters, errors without secrets."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from depotlab.errors import MissingExtra, TelemetryError, UsageError
from depotlab.telemetry import ClickHouse, Sink, Source
from depotlab.telemetry._clickhouse import _bound, _creation
from depotlab.telemetry._schema import TABLES


@pytest.mark.parametrize(
    ("address", "whole"),
    [
        pytest.param("ch.example.com", "http://ch.example.com:8123", id="a host"),
        pytest.param("localhost:18123", "http://localhost:18123", id="a host and a port"),
        pytest.param("https://ch.example.com", "https://ch.example.com:8443", id="https"),
        pytest.param("http://[::1]:1/", "http://[::1]:1", id="IPv6"),
        pytest.param("https://u:p%40ss-word@h:9", "https://h:9", id="with a login"),
    ],
)
def test_addresses(address, whole):
    store = ClickHouse(address)
    assert store.address == whole
    assert "ss-word" not in repr(store)


def test_a_login_in_the_address_is_used():
    store = ClickHouse("https://builds:p%40ss@host")
    assert store.user == "builds"
    assert store._password == "p@ss"


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("", id="nothing"),
        pytest.param("ftp://host", id="another protocol"),
        pytest.param("http://host/path", id="a path"),
        pytest.param("http://u:secret@host:port", id="no port"),
        pytest.param("http://u:secret@host?x=1", id="a query"),
        pytest.param("http://u:a/secret@host", id="a password with a slash"),
        pytest.param("http://u:a[secret@host", id="a password with a bracket"),
        pytest.param("http://u:a@secret@host/x", id="a password with an at sign"),
        pytest.param("u:secret@host/x", id="no protocol"),
    ],
)
def test_what_is_no_address_is_refused_without_its_login(address):
    with pytest.raises(UsageError, match="is no address") as caught:
        ClickHouse(address)
    assert "secret" not in str(caught.value)


def test_a_database_has_a_plain_name():
    with pytest.raises(UsageError, match="no name of a database"):
        ClickHouse("host", database="x; DROP")


def test_it_is_a_sink_and_a_source():
    store = ClickHouse("host", password="hidden-one")
    assert isinstance(store, Sink)
    assert isinstance(store, Source)
    assert repr(store) == "ClickHouse('http://host:8123', user='default', database='default')"


def test_tables_are_those_of_the_reference():
    statement = _creation("builds", TABLES["build_step_logs_v1"])
    assert statement.startswith(
        "CREATE TABLE IF NOT EXISTS builds.build_step_logs_v1 (time Int64 CODEC(Delta, LZ4), "
        "workspace_id String, project_id String, deployment_id String, message String, step_id String, "
    )
    assert (
        "ENGINE = MergeTree ORDER BY (workspace_id, project_id, deployment_id, step_id)"
        in statement
    )
    assert "INTERVAL 3 MONTH" in statement
    assert "non_replicated_deduplication_window = 10000" in statement


@pytest.mark.parametrize(
    ("sql", "parameters", "bound"),
    [
        pytest.param("SELECT 1 ? 2 : 3", [], ("SELECT 1 ? 2 : 3", {}), id="none"),
        pytest.param("a = ?", ["x"], ("a = {p0:String}", {"p0": "x"}), id="a text"),
        pytest.param(
            "? ? ? ?",
            [True, 1, 1.5, datetime(2026, 1, 1, tzinfo=UTC)],
            (
                "{p0:Bool} {p1:Int64} {p2:Float64} {p3:DateTime64(3, 'UTC')}",
                {"p0": True, "p1": 1, "p2": 1.5, "p3": datetime(2026, 1, 1, tzinfo=UTC)},
            ),
            id="every kind",
        ),
        pytest.param(
            "x IN ? OR y = ?",
            [["a"], None],
            ("x IN {p0:Array(String)} OR y = NULL", {"p0": ["a"]}),
            id="lists",
        ),
        pytest.param(
            "'it''s ? \\' ?' \"?\" `?` -- ?\n /* ? */ ?",
            [1],
            ("'it''s ? \\' ?' \"?\" `?` -- ?\n /* ? */ {p0:Int64}", {"p0": 1}),
            id="texts and comments are left alone",
        ),
    ],
)
def test_parameters(sql, parameters, bound):
    assert _bound(sql, parameters) == bound


@pytest.mark.parametrize("parameters", [[1], [1, 2, 3]], ids=["too few", "too many"])
def test_the_number_of_parameters_is_checked(parameters):
    with pytest.raises(TelemetryError, match="2 places for"):
        _bound("? ?", parameters)


def test_a_parameter_of_no_kind_is_refused():
    with pytest.raises(UsageError, match="no value of a column"):
        _bound("?", [object()])


@pytest.mark.parametrize(
    ("readonly", "sent"),
    [("0", {"readonly": 2, "database": "b"}), ("1", {"database": "b"}), ("2", {"database": "b"})],
    ids=["a user who may write", "a user who may only read", "a user who may change settings"],
)
def test_a_query_changes_nothing_whoever_asks(readonly, sent):
    client = SimpleNamespace(server_settings={"readonly": SimpleNamespace(value=readonly)})
    assert ClickHouse("host", database="b")._reading(client) == sent


def test_a_server_that_is_not_there_is_transient(unused_port):
    store = ClickHouse(f"127.0.0.1:{unused_port}", password="hidden-one")
    with pytest.raises(TelemetryError, match="cannot be reached") as caught:
        store.open()
    assert caught.value.is_transient
    assert caught.value.message.endswith("new connection: [Errno 111] Connection refused")
    assert "hidden-one" not in str(caught.value)
    store.close()


@pytest.fixture
def unused_port():
    import socket

    with socket.socket() as bound:  # bound, and nobody listens
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def test_without_the_client_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra) as caught:
        ClickHouse("host")
    assert caught.value.extra == "clickhouse"
