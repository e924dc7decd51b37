"""Status messages become events; the one place where messages are read."""

from __future__ import annotations

import subprocess
import sys

import pytest

from depotlab._proto import control_pb2
from depotlab.errors import SourceLocation
from depotlab.progress import (
    ClockRead,
    LogWritten,
    ProgressGroup,
    TransferUpdated,
    VertexUpdated,
    WarningRaised,
    clock_read,
    decode,
)


def test_every_field_of_a_message() -> None:
    message = control_pb2.StatusResponse()
    vertex = message.vertexes.add(digest="d", inputs=["i"], name="n", cached=True, error="e")
    vertex.started.FromNanoseconds(1_000_000_005)
    vertex.completed.FromNanoseconds(2_000_000_006)
    vertex.progressGroup.id, vertex.progressGroup.name, vertex.progressGroup.weak = "g", "gn", True
    status = message.statuses.add(ID="s", vertex="d", name="sn", current=3, total=9)
    status.timestamp.FromNanoseconds(7)
    log = message.logs.add(vertex="d", stream=2, msg=b"\xff")
    log.timestamp.FromNanoseconds(8)
    warning = message.warnings.add(
        vertex="d", level=1, short=b"s\xff", detail=[b"more"], url="https://example.com"
    )
    warning.info.filename, warning.info.data = "Dockerfile", b"FROM x"
    warning.ranges.add().start.line = 3
    assert decode(message) == [
        VertexUpdated(
            "d",
            "n",
            ("i",),
            1_000_000_005,
            2_000_000_006,
            True,
            "e",
            ProgressGroup("g", "gn", True),
        ),
        TransferUpdated("d", "s", "sn", 3, 9, 7, None, None),
        LogWritten("d", 8, 2, b"\xff"),
        WarningRaised(
            "d",
            1,
            "s�",
            ("more",),
            "https://example.com",
            (SourceLocation("Dockerfile", 3, 3, "FROM x"),),
        ),
    ]


def test_a_vertex_that_has_not_started_has_no_times() -> None:
    message = control_pb2.StatusResponse()
    message.vertexes.add(digest="d")
    assert decode(message) == [VertexUpdated("d")]


def _logs(*entries: tuple[str, int, int, bytes]) -> control_pb2.StatusResponse:
    message = control_pb2.StatusResponse()
    for vertex, at_ns, stream, data in entries:
        message.logs.add(vertex=vertex, stream=stream, msg=data).timestamp.FromNanoseconds(at_ns)
    return message


def test_what_a_step_writes_at_one_moment_is_joined_and_dated_by_its_first_piece() -> None:
    message = _logs(("a", 5, 1, b"1\n"), ("b", 6, 1, b"x\n"), ("a", 7, 1, b"2\n"))
    assert decode(message) == [LogWritten("a", 5, 1, b"1\n2\n"), LogWritten("b", 6, 1, b"x\n")]


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(("a", 6, 2, b"2\n"), id="the other stream"),
        pytest.param(("a", 5 + 10_000_000, 1, b"2\n"), id="a moment later"),
    ],
)
def test_what_does_not_belong_together_is_not_joined(second: tuple[str, int, int, bytes]) -> None:
    assert decode(_logs(("a", 5, 1, b"1\n"), second)) == [
        LogWritten("a", 5, 1, b"1\n"),
        LogWritten(*second),
    ]


@pytest.mark.parametrize(
    ("header", "daemon_ns"),
    [
        ("1970-01-01T00:00:01.000000002Z", 1_000_000_002),
        ("1970-01-01T00:00:01Z", 1_000_000_000),
        ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ("1970-01-01T02:00:01.25+02:00", 1_250_000_000),
        ("2026-11-21T01:54:19.101781651Z", 1_795_226_059_101_781_651),
    ],
)
def test_the_clock_of_the_daemon(header: str, daemon_ns: int) -> None:
    assert clock_read(header, local_ns=7) == ClockRead(daemon_ns, 7)


@pytest.mark.parametrize("header", ["", "yesterday", "2026-11-21", "2026-11-21T01:54:19"])
def test_a_clock_that_cannot_be_read(header: str) -> None:
    with pytest.raises(ValueError, match="not a time"):
        clock_read(header, local_ns=7)


def test_importing_progress_and_widgets_loads_none_of_the_heavy_packages() -> None:
    code = (
        "import sys, depotlab.progress, depotlab.widgets; "
        "print({'google.protobuf', 'grpc', 'rich', 'ipywidgets', 'IPython'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"
