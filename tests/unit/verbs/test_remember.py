"""What is kept of a build that has ended, and what is said when the builder does not tell."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from depotlab._rpc import RpcFailed, Status
from depotlab._session.filesync import Moved
from depotlab._transfer import Entry
from depotlab._verbs.remember import Remembered, Traces, recalled, remember
from depotlab._verbs.request import prepare
from depotlab.errors import Unreachable
from depotlab.frontend import dockerfile
from depotlab.progress import BuildEnded, BuildStarted, Fold, Phase, VertexUpdated


class OldDaemon:
    """A connection to a daemon that keeps no history, or is gone."""

    def __init__(self, address: str, trouble: Exception) -> None:
        self.endpoint = self
        self.address = address
        self._trouble = trouble

    async def ready(self) -> None:
        if isinstance(self._trouble, Unreachable):
            raise self._trouble

    async def stream(self, *_: object) -> Any:
        raise self._trouble
        yield b""


async def remembered(traces: Traces) -> Remembered:
    """Remember a Dockerfile build whose only step ran."""
    fold = Fold()
    fold.feed(
        [
            BuildStarted(1),
            VertexUpdated("sha256:1", "RUN make", started_ns=1, completed_ns=2),
            BuildEnded(3, Phase.SUCCEEDED, ""),
        ]
    )
    request = prepare(dockerfile(text="FROM scratch\n"), name="app")
    memory = remember(request, "ref", traces, fold, time.time_ns())
    return await asyncio.to_thread(recalled, memory)


@pytest.mark.parametrize(
    ("traces", "because"),
    [
        pytest.param(
            Traces(
                "unix:///x", channel=OldDaemon("unix:///x", RpcFailed(Status.UNIMPLEMENTED, ""))
            ),  # type: ignore[arg-type]
            "The daemon at unix:///x keeps no history of builds.",
            id="an old daemon",
        ),
        pytest.param(
            Traces("unix:///x", channel=OldDaemon("unix:///x", Unreachable("It is gone."))),  # type: ignore[arg-type]
            "It is gone.",
            id="one that is gone",
        ),
        pytest.param(Traces("depot"), "It keeps no records of builds.", id="a machine of Depot"),
    ],
)
def test_a_builder_that_does_not_tell_is_named_as_the_reason_for_comparing_names(
    traces: Traces, because: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DEPOTLAB_PAST", str(tmp_path / "past.sqlite3"))
    why = asyncio.run(remembered(traces)).why(None)
    assert why.notes[-1] == (
        "The builder did not tell how the build was made, so its steps are compared by their names: "
        + because
    )
    assert because in str(why)


def test_the_list_of_files_is_let_go_once_it_is_packed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DEPOTLAB_PAST", str(tmp_path / "past.sqlite3"))
    moved = Moved()
    moved.listed.add([Entry(b"a", 0o644, 1, 5), Entry(b"b", 0o644, 1, 5)])
    kept = asyncio.run(remembered(Traces("depot", moved={"context": moved})))
    assert [len(key) > 0 for key in kept.build.listings] == [True]
    assert len(moved.listed) == 0
