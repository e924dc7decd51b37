"""The rules by which events become steps."""

from __future__ import annotations

import random
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depotlab.errors import UsageError
from depotlab.progress import (
    BuildEnded,
    BuildStarted,
    BytesMoved,
    ClockRead,
    Event,
    Fold,
    Interval,
    LogWritten,
    Phase,
    ProgressGroup,
    Snapshot,
    Step,
    StepState,
    TransferUpdated,
    VertexUpdated,
    WarningRaised,
    decode,
    fold,
)
from tests.support.status import recorded

OK = BuildEnded(100, Phase.SUCCEEDED)


def only(*events: Event) -> Step:
    (step,) = fold(events, at_ns=90).steps
    return step


@pytest.mark.parametrize(
    ("events", "state"),
    [
        pytest.param([VertexUpdated("a")], StepState.WAITING, id="announced is waiting"),
        pytest.param(
            [VertexUpdated("a", started_ns=5)], StepState.RUNNING, id="started is running"
        ),
        pytest.param(
            [VertexUpdated("a", started_ns=5), VertexUpdated("a", "", (), 5, 9)],
            StepState.RAN,
            id="completed has run",
        ),
        pytest.param(
            [VertexUpdated("a", "", (), 5, 5, True)], StepState.CACHED, id="cached is cached"
        ),
        pytest.param(
            [VertexUpdated("a", completed_ns=5, is_cached=True)],
            StepState.CACHED,
            id="a completion with no start at all counts",
        ),
        pytest.param(
            [VertexUpdated("a", "", (), 5, 9), VertexUpdated("a", started_ns=10)],
            StepState.RUNNING,
            id="a step that starts again is running again",
        ),
        pytest.param(
            [VertexUpdated("a", "", (), 5, 9), VertexUpdated("a", "", (), 10, 10, True)],
            StepState.CACHED,
            id="the newest interval decides",
        ),
        pytest.param(
            [VertexUpdated("a", "", (), 5, 9, error="exit code: 1")],
            StepState.FAILED,
            id="an error is a failure",
        ),
        pytest.param(
            [VertexUpdated("a", "", (), 5, 9, error="exit code: 137: context canceled")],
            StepState.CANCELED,
            id="an error that ends in context canceled is a cancellation",
        ),
        pytest.param(
            [VertexUpdated("a", "", (), 5, 9, error="x"), VertexUpdated("a", "", (), 10, 12)],
            StepState.RAN,
            id="a second try that works replaces the first failure",
        ),
        pytest.param(
            [
                VertexUpdated("a", "", (), 5, 9, error="sleep: context canceled"),
                VertexUpdated("a", started_ns=10, error="sleep: context canceled"),
            ],
            StepState.RUNNING,
            id="a step that starts again is told with the error of before",
        ),
        pytest.param(
            [
                VertexUpdated("a", "", (), 5, 9, error="sleep: context canceled"),
                VertexUpdated("a", started_ns=10, error="sleep: context canceled"),
                VertexUpdated("a", "", (), 10, 12),
                OK,
            ],
            StepState.RAN,
            id="what was canceled in another build and ran in this one has run",
        ),
        pytest.param([VertexUpdated("a"), OK], StepState.NOT_NEEDED, id="never started, all well"),
        pytest.param(
            [VertexUpdated("a"), BuildEnded(9, Phase.FAILED)],
            StepState.NOT_REACHED,
            id="never started, build failed",
        ),
        pytest.param(
            [VertexUpdated("a", started_ns=5), BuildEnded(9, Phase.CANCELED)],
            StepState.CANCELED,
            id="still open when a build was given up",
        ),
        pytest.param(
            [VertexUpdated("a", started_ns=5), OK],
            StepState.RAN,
            id="a completion that was lost does not spoil a good build",
        ),
    ],
)
def test_state_of_a_step(events: list[Event], state: StepState) -> None:
    assert only(*events).state is state


def test_an_update_keeps_what_it_leaves_out() -> None:
    step = only(VertexUpdated("a", "name", ("x",)), VertexUpdated("a", started_ns=5))
    assert (step.name, step.inputs) == ("name", ("x",))


def test_duration_counts_overlapping_intervals_once() -> None:
    group = ProgressGroup("g", "both")
    second = 1_000_000_000
    step = only(
        VertexUpdated("a", "a", (), 0, 10 * second, group=group),
        VertexUpdated("b", "b", (), 5 * second, 12 * second, group=group),
        VertexUpdated("c", "c", (), 20 * second, 21 * second, group=group),
    )
    assert step.duration_s == pytest.approx(13.0)


def test_an_open_interval_grows_with_the_clock_that_is_passed_in() -> None:
    step = only(VertexUpdated("a", started_ns=1_000_000_000))
    assert step.duration_s == 0
    assert step.elapsed_s(3_500_000_000) == pytest.approx(2.5)


def test_an_interval_left_open_ends_where_the_next_begins() -> None:
    step = only(VertexUpdated("a", started_ns=5), VertexUpdated("a", "", (), 8, 9))
    assert step.intervals == (Interval(5, 8), Interval(8, 9))


class TestGroups:
    GROUP = ProgressGroup("g", "COPY --link")
    WEAK = GROUP._replace(is_weak=True)

    def test_members_are_one_step_with_the_name_of_the_group(self) -> None:
        step = only(
            VertexUpdated("a", "copy", ("x",), 5, 6, group=self.GROUP),
            VertexUpdated("b", "merge", ("a", "y"), 7, 9, group=self.GROUP),
        )
        assert (step.digest, step.name, step.group) == ("g", "COPY --link", "g")
        assert step.members == ("a", "b")
        assert step.inputs == ("x", "y")
        assert step.intervals == (Interval(5, 6), Interval(7, 9))

    def test_it_is_hidden_until_a_member_that_is_not_weak_starts(self) -> None:
        weak = VertexUpdated("a", started_ns=5, group=self.WEAK)
        hidden = fold([weak, VertexUpdated("b", group=self.GROUP)])
        assert (hidden.steps, hidden.counts.total) == ((), 0)
        shown = fold([weak, VertexUpdated("b", started_ns=6, group=self.GROUP)])
        assert (len(shown.steps), shown.counts.running) == (1, 1)

    def test_an_error_of_a_weak_member_shows_it(self) -> None:
        assert only(VertexUpdated("a", "", (), 5, 6, error="no", group=self.WEAK)).error == "no"

    def test_it_is_cached_only_if_every_member_that_started_is(self) -> None:
        cached = VertexUpdated("a", "", (), 5, 5, True, group=self.GROUP)
        assert only(cached).state is StepState.CACHED
        assert only(cached, VertexUpdated("b", group=self.WEAK)).state is StepState.CACHED
        ran = VertexUpdated("b", "", (), 5, 6, group=self.GROUP)
        assert only(cached, ran).state is StepState.RAN

    def test_output_and_transfers_of_members_belong_to_it(self) -> None:
        step = only(
            VertexUpdated("a", started_ns=5, group=self.GROUP),
            LogWritten("a", 6, 1, b"hello\n"),
            TransferUpdated("a", "merging", "", 1, 2, 7),
        )
        assert [line.text for line in step.log_tail] == ["hello"]
        assert [t.id for t in step.transfers] == ["merging"]

    def test_a_digest_of_a_member_finds_the_step(self) -> None:
        snapshot = fold([VertexUpdated("sha256:aaa", started_ns=5, group=self.GROUP)])
        assert snapshot.step("sha256:aaa").group == "g"


def test_the_newer_timestamp_of_a_transfer_wins() -> None:
    new = TransferUpdated("a", "layer", "", 70, 100, at_ns=9)
    step = only(VertexUpdated("a", started_ns=5), new, new._replace(current=10, at_ns=6))
    assert [t.current for t in step.transfers] == [70]


def test_warnings_are_kept_once_by_content() -> None:
    warning = WarningRaised("a", 1, "JSONArgsRecommended", ("use JSON",))
    snapshot = fold([warning, warning, warning._replace(short="other")])
    assert [w.short for w in snapshot.warnings] == ["JSONArgsRecommended", "other"]


def test_times_of_the_daemon_are_shifted_to_our_clock_and_local_ones_are_not() -> None:
    build = Fold()
    build.feed(
        [
            LogWritten("a", 1_010, 1, b"x\n"),
            VertexUpdated("a", started_ns=1_005),
            VertexUpdated("login", started_ns=7, is_local=True),
            TransferUpdated("a", "t", "", 1, 1, 1_006, 1_006, 1_007),
            ClockRead(daemon_ns=1_000, local_ns=0),
        ]
    )
    snapshot = build.snapshot(at_ns=20)
    assert snapshot.step("a").started_ns == 5
    assert snapshot.step("a").transfers[0].started_ns == 6
    assert snapshot.step("a").log_tail[0].at_ns == 10
    assert snapshot.recent.last_ns == 10
    assert snapshot.logs is not None
    assert snapshot.logs.lines("a")[0].at_ns == 10
    assert snapshot.step("login").started_ns == 7


def test_steps_are_numbered_in_the_order_of_first_start_whenever_snapshots_are_taken() -> None:
    events = [VertexUpdated("c"), VertexUpdated("b"), VertexUpdated("a")]
    events += [VertexUpdated("a", started_ns=5), VertexUpdated("b", started_ns=6)]
    late = fold(events).steps
    build = Fold()
    for event in events:
        build.feed([event])
        build.snapshot(at_ns=0)
    early = build.snapshot(at_ns=0).steps
    assert [(s.digest, s.number) for s in late] == [("a", 1), ("b", 2), ("c", 0)]
    assert [(s.digest, s.number) for s in early] == [("a", 1), ("b", 2), ("c", 0)]


def test_head_of_a_snapshot() -> None:
    snapshot = fold(
        [
            BuildStarted(1_000_000_000, "app", "local engine"),
            BytesMoved(10, 20),
            BuildEnded(3_500_000_000, Phase.FAILED, "exit code: 1"),
        ]
    )
    assert (snapshot.target, snapshot.where) == ("app", "local engine")
    assert (snapshot.phase, snapshot.error) == (Phase.FAILED, "exit code: 1")
    assert snapshot.duration_s == pytest.approx(2.5)
    assert (snapshot.up_bytes, snapshot.down_bytes) == (10, 20)
    assert snapshot.started_at.isoformat() == "1970-01-01T00:00:01+00:00"
    assert snapshot.ended_at is not None
    assert "\n" not in repr(snapshot)


def test_a_step_that_did_not_change_is_the_same_object_in_the_next_snapshot() -> None:
    build = Fold()
    build.feed([VertexUpdated("a", started_ns=1), VertexUpdated("b", started_ns=2)])
    before = build.snapshot(at_ns=5)
    build.feed([LogWritten("b", 3, 1, b"x")])
    after = build.snapshot(at_ns=6)
    assert after.steps[0] is before.steps[0]
    assert after.steps[1] is not before.steps[1]


def test_counts_follow_every_change() -> None:
    build = Fold()
    build.feed([VertexUpdated("a"), VertexUpdated("b")])
    assert build.snapshot(at_ns=0).counts == (2, 0, 0, 0, 0, 0, 0, 0)
    build.feed([VertexUpdated("a", started_ns=1)])
    assert build.snapshot(at_ns=0).counts == (1, 1, 0, 0, 0, 0, 0, 0)
    build.feed([VertexUpdated("a", "", (), 1, 2), OK])
    counts = build.snapshot(at_ns=0).counts
    assert (counts.ran, counts.not_needed, counts.total, counts.over) == (1, 1, 2, 2)


def test_what_refers_to_a_vertex_may_come_before_it() -> None:
    step = only(LogWritten("a", 1, 1, b"early\n"), VertexUpdated("a", "compile", started_ns=1))
    assert (step.name, step.n_log_lines) == ("compile", 1)


class TestLookUp:
    SNAPSHOT = fold(
        [
            VertexUpdated("sha256:1111aaaa", "[app 1/2] RUN make"),
            VertexUpdated("sha256:1111bbbb", "[app 2/2] RUN make test"),
            VertexUpdated("sha256:2222cccc", "deps"),
        ]
    )

    @pytest.mark.parametrize(
        ("name", "digest"),
        [
            ("deps", "sha256:2222cccc"),
            ("sha256:2222cccc", "sha256:2222cccc"),
            ("1111aa", "sha256:1111aaaa"),
            ("make test", "sha256:1111bbbb"),
            ("[app 1/2] RUN make", "sha256:1111aaaa"),
        ],
    )
    def test_by_name_digest_or_part(self, name: str, digest: str) -> None:
        assert self.SNAPSHOT.step(name).digest == digest

    @pytest.mark.parametrize("name", ["RUN make", "nothing", "1111"])
    def test_says_what_is_wrong_when_it_is_not_one(self, name: str) -> None:
        with pytest.raises(UsageError, match=name):
            self.SNAPSHOT.step(name)


def test_platform_and_internal_steps_are_read_from_the_name() -> None:
    assert only(VertexUpdated("a", "[linux/arm64 build 1/2] RUN x")).platform == "linux/arm64"
    assert only(VertexUpdated("a", "[linux/amd64->arm64 b 1/2] RUN x")).platform == (
        "linux/amd64->arm64"
    )
    assert only(VertexUpdated("a", "[build 1/2] RUN linux/amd64")).platform == ""
    assert only(VertexUpdated("a", "[internal] load .dockerignore")).is_internal


def _recorded_events(name: str) -> list[Event]:
    return [event for message in recorded(name) for event in decode(message)]


def _without_logs(events: list[Event]) -> list[Event]:
    return [event for event in events if not isinstance(event, LogWritten)]


def _facts(snapshot: Snapshot) -> object:
    return snapshot.counts, snapshot.warnings, snapshot.steps


@pytest.mark.parametrize("name", ["ok", "cached", "failed", "canceled"])
def test_feeding_everything_twice_changes_nothing_but_logs(name: str) -> None:
    events = _without_logs(_recorded_events(name))
    assert _facts(fold(events + events)) == _facts(fold(events))


@given(st.randoms(use_true_random=False), st.sampled_from(["ok", "failed"]))
def test_repeats_in_any_order_change_nothing(shuffle: random.Random, name: str) -> None:
    events = _without_logs(_recorded_events(name))
    again = shuffle.sample(events, k=len(events))
    assert _facts(fold(events + again)) == _facts(fold(events))


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("ok", {"ran": 12}),
        ("cached", {"cached": 8, "ran": 4}),
        ("failed", {"cached": 7, "ran": 3, "failed": 1}),
        ("canceled", {"cached": 7, "ran": 3, "canceled": 1}),
    ],
)
def test_a_recorded_build_is_understood(name: str, counts: dict[str, int]) -> None:
    found = fold(_recorded_events(name)).counts._asdict()
    assert {state: n for state, n in found.items() if n} == counts


def test_one_thread_may_feed_while_another_looks() -> None:
    build = Fold()
    n_steps, n_rounds = 50, 200
    done = threading.Event()
    seen: list[int] = []

    def look() -> None:
        while not done.is_set():
            snapshot = build.snapshot(at_ns=0)
            assert sum(snapshot.counts) == len(snapshot.steps)
            assert sum(s.n_log_lines for s in snapshot.steps) == snapshot.recent.n_lines
            seen.append(snapshot.recent.n_lines)

    watcher = threading.Thread(target=look)
    watcher.start()
    for k in range(n_rounds):
        build.feed(
            [
                VertexUpdated(f"v{k % n_steps}", "", (), 1 + k, None),
                *(LogWritten(f"v{k % n_steps}", 1, 1, b"line\n") for _ in range(20)),
            ]
        )
    done.set()
    watcher.join()
    assert build.snapshot(at_ns=0).recent.n_lines == 20 * n_rounds
    assert seen == sorted(seen)


def test_a_step_loaded_from_an_imported_cache_is_cached() -> None:
    digest = "sha256:" + "a" * 64
    outer = VertexUpdated(digest, name="RUN x", started_ns=10, completed_ns=11, is_cached=True)
    events = [
        outer,
        VertexUpdated(digest, name="RUN x", started_ns=12, completed_ns=20),
        outer._replace(completed_ns=30),
    ]
    (step,) = fold(events).steps
    assert step.state is StepState.CACHED
