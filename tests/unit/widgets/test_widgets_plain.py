"""Text for logs, JSON lines, the short account at the end."""

from __future__ import annotations

import io
import json

import pytest

from depotlab.progress import (
    BuildEnded,
    BuildStarted,
    Event,
    Fold,
    LogWritten,
    Phase,
    TransferUpdated,
    VertexUpdated,
    WarningRaised,
    decode,
)
from depotlab.widgets import JsonView, PlainView, PlainWriter, final_text
from tests.support import simulate
from tests.support.status import FOLDER, recorded

S = 1_000_000_000


def written(*frames: tuple[float, list[Event]]) -> str:
    build, writer = Fold(), PlainWriter()
    out = ""
    for at_s, events in frames:
        build.feed(events)
        out += writer.advance(build.snapshot(at_ns=round(at_s * S)))
    return out


@pytest.mark.parametrize("name", ["ok", "cached", "failed", "canceled"])
def test_a_recorded_build_reads_like_this(name: str) -> None:
    build, stream = Fold(), io.StringIO()
    view = PlainView(stream)
    messages = list(recorded(name))
    first = next(v.started for m in messages for v in m.vertexes if v.HasField("started"))
    build.feed([BuildStarted(first.ToNanoseconds(), "image", "local engine")])
    view.open(build.snapshot(at_ns=0))
    last_ns = 0
    for message in messages:
        build.feed(decode(message))
        times = [v.completed if v.HasField("completed") else v.started for v in message.vertexes]
        times += [entry.timestamp for entry in (*message.statuses, *message.logs)]
        last_ns = max([last_ns, *(at.ToNanoseconds() for at in times)])
        view.show(build.snapshot(at_ns=last_ns))
    phase = {"failed": Phase.FAILED, "canceled": Phase.CANCELED}.get(name, Phase.SUCCEEDED)
    build.feed([BuildEnded(last_ns, phase)])
    view.close(build.snapshot(at_ns=last_ns))
    expected = (FOLDER / f"{name}.txt").read_text("utf-8")
    assert stream.getvalue() == expected


def test_steps_and_lines() -> None:
    text = written(
        (1, [VertexUpdated("a", "compile", started_ns=S)]),
        (2, [LogWritten("a", S + 123_000_000, 1, b"one\ntw"), LogWritten("a", 12 * S, 1, b"o\n")]),
        (4, [VertexUpdated("a", "", (), S, 3 * S)]),
    )
    assert text == "#1 compile\n#1 0.123 one\n#1 11.00 two\n#1 DONE 2.0 s\n"


def test_each_line_is_written_once_however_many_there_are_between_two_frames() -> None:
    lines = [LogWritten("a", 2, 1, b"line %d\n" % k) for k in range(5_000)]
    text = written(
        (0, [VertexUpdated("a", "n", started_ns=1), *lines[:10]]),
        (0, lines[10:4_990]),
        (0, lines[4_990:]),
    )
    assert text.splitlines()[1:] == [f"#1 0.000 line {k}" for k in range(5_000)]


def test_a_last_line_without_an_end_is_written_when_the_step_is_over() -> None:
    events: list[Event] = [VertexUpdated("a", "n", started_ns=1), LogWritten("a", 1, 1, b"tail")]
    assert "tail" not in written((0, events))
    assert "#1 0.000 tail\n#1 DONE" in written((0, events), (1, [VertexUpdated("a", "", (), 1, 2)]))


def test_a_step_that_ends_and_starts_again_at_once_is_not_called_done_in_between() -> None:
    text = written(
        (1, [VertexUpdated("a", "load", (), S, S + 20)]),
        (1.1, [VertexUpdated("a", "", (), S + 50, None)]),
        (2, [VertexUpdated("a", "", (), S + 50, 2 * S)]),
        (3, []),
    )
    assert text == "#1 load\n#1 DONE 1.0 s\n"


def test_output_of_steps_side_by_side_is_not_mixed() -> None:
    def both(k: int) -> list[Event]:
        return [LogWritten(v, 2, 1, b"%s%d\n" % (v.encode(), k)) for v in "ab"]

    start: list[Event] = [VertexUpdated(v, v.upper(), started_ns=1) for v in "ab"]
    text = written((0, start), (1, both(1)), (2, both(2)), (6, both(3)), (7, both(4)))
    body = [line.split()[-1] for line in text.splitlines() if line]
    assert body == ["A", "a1", "a2", "a3", "B", "b1", "b2", "b3", "b4"]


def test_nothing_is_held_back_at_the_end() -> None:
    events: list[Event] = [
        *(VertexUpdated(v, v, started_ns=1) for v in "ab"),
        *(LogWritten(v, 2, 1, b"out-%s\n" % v.encode()) for v in "ab"),
    ]
    text = written((0, events), (1, [BuildEnded(S, Phase.CANCELED)]))
    assert text.count("out-") == 2
    assert text.count("CANCELED") == 2


def test_a_transfer_is_told_now_and_then_and_when_it_is_done() -> None:
    def moved(current: int, at_s: float, *, is_done: bool = False) -> tuple[float, list[Event]]:
        at_ns = round(at_s * S)
        end = at_ns if is_done else None
        return at_s, [TransferUpdated("a", "layer", "", current, 1_000, at_ns, 0, end)]

    text = written(
        (10, [VertexUpdated("a", "pull", started_ns=0)]),
        moved(10, 10),
        moved(500, 10.5),
        moved(600, 11.5),
        moved(610, 13),
        moved(620, 16.6),
        moved(1_000, 16.7, is_done=True),
        moved(1_000, 16.8, is_done=True),
    )
    told = [line.split()[2] for line in text.splitlines() if "layer" in line]
    assert told == ["10", "600", "620", "1.0"]
    assert text.count("done") == 1


def test_control_sequences_do_not_reach_the_log() -> None:
    events: list[Event] = [
        VertexUpdated("a", "n\x1b]0;x\x07ame", (), 1, 2, error="bad\x1b[2J"),
        LogWritten("a", 1, 1, b"\x1b[31mred\x1b[2J\n"),
    ]
    assert "\x1b" not in written((0, events))
    build = Fold()
    build.feed(events)
    colored = PlainWriter(colors=True).advance(build.snapshot(at_ns=0))
    assert "\x1b[31mred\x1b[0m" in colored
    assert "\x1b[2J" not in colored


def test_warnings_stand_with_their_step() -> None:
    text = written((1, [VertexUpdated("a", "n", (), 1, 2), WarningRaised("a", 1, "use JSON")]))
    assert text.endswith("#1 WARN: use JSON\n")


def test_the_account_of_a_good_build_is_short() -> None:
    text = final_text(simulate.moment(simulate.typical(), 20))
    assert text.splitlines() == [
        "✔ Built ghcr.io/me/app:dev in 9.7 s · local engine",
        "  15 steps · 4 cached · 10 ran · 1 not needed · ↑ 1.9 MB ↓ 23.5 MB · 1 warning",
        "  ✔    4.9 s  [deps 2/2] RUN pip install --no-cache-dir .",
        "  ✔    2.4 s  [web 1/3] FROM node:22-alpine",
        "  ✔    1.9 s  [web 2/3] RUN npm ci",
        "  ✔    1.8 s  [web 3/3] RUN npm run build",
        "  ✔    1.2 s  exporting to image",
        "  ! JSONArgsRecommended: JSON arguments recommended for CMD (line 21)",
    ]


def test_the_account_of_a_failed_build_says_what_failed_and_shows_its_last_lines() -> None:
    lines = final_text(simulate.moment(simulate.typical(Phase.FAILED), 20)).splitlines()
    assert lines[0] == "✖ ghcr.io/me/app:dev failed after 7.6 s · local engine"
    assert lines[2] == "  ✖ [web 3/3] RUN npm run build"
    assert "exit code: 2" in lines[3]
    assert sum(line.startswith("      | ") for line in lines) == 10
    assert "Could not resolve './Heading' from 'src/main.ts'" in lines[-3]


def test_an_error_that_no_step_explains_is_told() -> None:
    build = Fold()
    build.feed([BuildStarted(1, "app"), BuildEnded(2, Phase.FAILED, "no such frontend")])
    assert "no such frontend" in final_text(build.snapshot(at_ns=2))


def test_json_lines() -> None:
    build, stream = Fold(), io.StringIO()
    view = JsonView(stream)
    build.feed([BuildStarted(S, "app")])
    view.open(build.snapshot(at_ns=S))
    build.feed([VertexUpdated("a", "compile", started_ns=S), LogWritten("a", S, 2, b"hi\nthere")])
    view.show(build.snapshot(at_ns=S))
    view.show(build.snapshot(at_ns=S))
    build.feed([WarningRaised("a", 1, "careful")])
    build.feed([VertexUpdated("a", "", (), S, 2 * S), BuildEnded(2 * S, Phase.SUCCEEDED)])
    view.close(build.snapshot(at_ns=2 * S))
    objects = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [o["event"] for o in objects] == [
        "start",
        "log",
        "step",
        "step",
        "warning",
        "log",
        "end",
    ]
    assert [o["text"] for o in objects if o["event"] == "log"] == ["hi", "there"]
    assert {o["stream"] for o in objects if o["event"] == "log"} == {2}
    assert [o["state"] for o in objects if o["event"] == "step"] == ["running", "ran"]
    assert objects[-1]["phase"] == "succeeded"
