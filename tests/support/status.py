"""Recorded status streams of a real daemon (v0.32.2), one message a line, as protobuf's JSON."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from google.protobuf import json_format

from depotlab._proto import control_pb2

FOLDER = Path(__file__).resolve().parents[1] / "golden" / "status"


def recorded(name: str) -> Iterator[control_pb2.StatusResponse]:
    """Yield the messages of `tests/golden/status/NAME.jsonl` in the order they came."""
    for line in (FOLDER / f"{name}.jsonl").read_text("utf-8").splitlines():
        yield json_format.Parse(line, control_pb2.StatusResponse())
