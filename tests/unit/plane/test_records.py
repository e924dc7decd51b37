"""Projects, builds, steps and logs as the database keeps them."""

import os
import stat

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from depotlab._plane import steps
from depotlab._plane.boundary import CachePolicy
from depotlab._plane.database import Database
from depotlab._plane.history import History, Keep, Log, Seen
from depotlab._plane.pages import window
from depotlab._plane.store import Store
from depotlab._proto import control_pb2 as control
from depotlab._proto import depot_cli_pb2 as cli
from depotlab._serving import Fault
from depotlab.errors import EngineError

S = 10**9


@pytest.fixture
def db(tmp_path):
    database = Database(tmp_path / "plane.db")
    yield database
    database.close()


@pytest.fixture
def history(db):
    return History(db)


def all_of(history, build_id):
    return history.steps(build_id, window("steps", 0, ""))


def test_a_new_database_has_an_organisation_and_a_project_to_begin_with(db):
    store = Store(db)
    assert store.default_project().name == "default"
    assert store.default_project().organization_id == store.organization.organization_id


def test_everything_is_there_again_after_a_restart(tmp_path):
    first = Database(tmp_path / "plane.db")
    made = Store(first).create_project("app", cache_policy=CachePolicy(7, 3), hardware=4)
    organization = Store(first).organization
    build = History(first).create(made.project_id, b"options")
    first.close()

    again = Database(tmp_path / "plane.db")
    assert Store(again).project(made.project_id) == made
    assert Store(again).organization == organization
    assert History(again).build(build.build_id) == build
    again.close()


def test_the_files_are_their_owners_alone_even_with_an_open_umask(tmp_path):
    before = os.umask(0)
    try:
        database = Database(tmp_path / "plane.db")
        Store(database)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    database.close()
    assert modes.keys() >= {"plane.db", "plane.db-wal"}
    assert set(modes.values()) == {0o600}


def test_a_database_of_a_newer_version_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "plane.db"
    database = Database(path)
    database.change("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(EngineError, match="newer version"):
        Database(path)


def test_a_file_that_is_no_database_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "plane.db"
    path.write_text("something else, and long enough to be looked at" * 50)
    with pytest.raises(EngineError, match=r"plane\.db cannot be used"):
        Database(path)


def test_instants_never_repeat_even_when_the_clock_goes_back(tmp_path):
    clock = iter([10, 10, 5, 30])
    database = Database(tmp_path / "plane.db", now_ns=lambda: next(clock))
    assert [database.now_ns() for _ in range(4)] == [10, 11, 12, 30]
    database.close()


def test_a_transaction_that_fails_leaves_nothing(db):
    store = Store(db)

    def work():
        with db.transaction():
            store.create_project("lost")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    assert [project.name for project in store.projects()] == ["default"]


def test_deleting_a_project_deletes_what_belongs_to_it_and_nothing_else(db):
    store, history = Store(db), History(db)
    kept, gone = store.create_project("kept"), store.create_project("gone")
    builds = {}
    for project in (kept, gone):
        build = builds[project.name] = history.create(project.project_id, b"")
        history.record(build.build_id, [Seen("d", "step")], [Log("d", 1, 1, b"out")])
        history.keep_contexts(build.build_id, [("t", "Dockerfile", "FROM scratch")])
        store.add_trust_policy(project.project_id, "github", "me", "app")
    store.delete_project(gone.project_id)

    with pytest.raises(Fault, match="not found"):
        store.project(gone.project_id)
    assert history.find(builds["gone"].build_id) is None
    assert store.trust_policies(gone.project_id) == []
    for table in ("builds", "steps", "logs", "contexts", "trust_policies"):
        assert len(db.rows(f"SELECT * FROM {table}")) == 1, table


def test_the_same_trust_policy_is_kept_once(db):
    store = Store(db)
    project = store.default_project().project_id
    first = store.add_trust_policy(project, "github", "me", "app")
    assert store.add_trust_policy(project, "github", "me", "app") == first
    assert store.add_trust_policy(project, "circleci", "me", "app") != first
    store.remove_trust_policy(project, first.trust_policy_id)
    with pytest.raises(Fault, match="not found"):
        store.remove_trust_policy(project, first.trust_policy_id)


# ---------------------------------------------------------------------------------------- builds


def test_the_first_end_of_a_build_stays(history):
    build = history.create("p", b"").build_id
    assert history.finish(build, "failed", "boom")
    assert not history.finish(build, "success")
    assert (history.build(build).status, history.build(build).error) == ("failed", "boom")


def test_asking_to_stop_counts_once_and_only_while_it_runs(history):
    build = history.create("p", b"").build_id
    history.ask_to_stop(build)
    first = history.build(build).cancels_ns
    history.ask_to_stop(build)
    assert history.build(build).cancels_ns == first
    done = history.create("p", b"").build_id
    history.finish(done, "success")
    history.ask_to_stop(done)
    assert history.build(done).cancels_ns is None


def test_a_build_that_is_shared_again_keeps_its_address_and_loses_it_when_sharing_stops(history):
    build = history.create("p", b"").build_id
    address = history.share(build, on=True)
    assert history.share(build, on=True) == address
    assert history.shared(address).build_id == build
    history.share(build, on=False)
    assert history.shared(address) is None
    assert history.share(build, on=True) != address


def test_running_builds_come_before_newer_ones_that_have_ended(history):
    first, second, third = (history.create("p", b"").build_id for _ in range(3))
    history.finish(second, "success")
    history.finish(third, "success")
    assert [build.build_id for build in history.recent(2)] == [first, third]


# ----------------------------------------------------------------------------------------- steps


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(
            [Seen("d", "a", 5), Seen("d", "a", 5, 9)], ("a", 5, 9), id="a step begins and ends"
        ),
        pytest.param(
            [Seen("d", "a", 5, 9), Seen("d", "a", 5)],
            ("a", 5, 9),
            id="a late word of its start does not undo its end",
        ),
        pytest.param(
            [Seen("d", "a", 5, 9), Seen("d", "a", 10)], ("a", 10, None), id="it starts again"
        ),
        pytest.param([Seen("d", "a"), Seen("d", "", 5)], ("a", 5, None), id="its name stays"),
        pytest.param([Seen("d", "a", 5, 9), Seen("d", "a", 5, 9)], ("a", 5, 9), id="twice is once"),
    ],
)
def test_words_about_a_step_are_folded(history, words, expected):
    build = history.create("p", b"").build_id
    for word in words:
        history.record(build, [word], [])
    (step,) = all_of(history, build)
    assert (step.name, step.started_ns, step.completed_ns) == expected


def test_output_that_comes_twice_is_kept_once_and_in_order(history):
    build = history.create("p", b"").build_id
    logs = [Log("d", 1, 1, b"one\n"), Log("d", 1, 1, b"two\n"), Log("d", 1, 2, b"one\n")]
    history.record(build, [Seen("d", "a")], logs)
    history.record(build, [], [*logs, Log("d", 0, 1, b"late\n")])
    found = history.logs(build, "d", window("logs", 0, ""))
    assert [log.message for log in found] == [b"one\n", b"two\n", b"one\n", b"late\n"]
    assert all_of(history, build)[0].has_logs
    assert [log.message for log in history.last_logs(build, 2)] == [b"one\n", b"late\n"]


def test_a_status_message_becomes_steps_and_output(history):
    build = history.create("p", b"").build_id
    at = Timestamp(seconds=1, nanos=5)
    status = control.StatusResponse()
    status.vertexes.add(digest="sha256:a", name="RUN make", started=at, cached=False)
    status.vertexes.add(digest="sha256:b", name="COPY", started=at, completed=at, error="no file")
    status.logs.add(vertex="sha256:a", timestamp=at, stream=2, msg=b"\xff raw")
    steps.fold_bytes(history, build, status.SerializeToString())
    a, b = all_of(history, build)
    assert (a.name, a.started_ns, a.completed_ns, a.has_logs) == ("RUN make", S + 5, None, True)
    assert (b.error, b.completed_ns, b.has_logs) == ("no file", S + 5, False)
    with pytest.raises(Fault, match="not a status message"):
        steps.fold_bytes(history, build, b"\xff\xff\xff")


def test_timings_without_a_digest_get_one_of_their_name():
    step = cli.BuildStep(name="RUN make", duration_ms=1500, cached=True)
    step.start_time.seconds = 7
    (seen,) = steps.timings([step])
    assert (seen.started_ns, seen.completed_ns, seen.cached) == (7 * S, 8 * S + S // 2, True)
    assert seen.digest.startswith("sha256:")


def test_what_caching_saved_is_what_the_step_took_when_it_last_ran(history):
    first, second, third = (history.create("p", b"").build_id for _ in range(3))
    history.record(first, [Seen("d", "a", 0, 9 * S), Seen("e", "b", 0, S)], [])
    history.record(second, [Seen("d", "a", 0, 4 * S)], [])
    history.record(third, [Seen("d", "a", 1, 1, cached=True), Seen("e", "b", 1, 2)], [])
    sums = history.sums([third])[third]
    assert (sums.n_steps, sums.n_cached, sums.saved_ns) == (2, 1, 4 * S)


def test_usage_counts_builds_of_the_span_and_the_time_that_they_took(tmp_path):
    clock = iter(range(S, 1000 * S, S))
    database = Database(tmp_path / "plane.db", now_ns=lambda: next(clock))
    history = History(database)
    early = history.create("p", b"").build_id  # at 1 s
    history.finish(early, "success")  # at 2 s
    for project in ("p", "q"):
        build = history.create(project, b"").build_id  # at 3 s and 6 s
        history.start(build)  # at 4 s
        history.finish(build, "failed")  # at 5 s
    used = history.usage("p", 3 * S, 6 * S)
    assert (used.n_builds, used.duration_ns) == (1, S)
    database.close()


def test_old_builds_are_forgotten_with_all_that_belongs_to_them(tmp_path):
    now_ns = [10**9]
    database = Database(tmp_path / "plane.db", now_ns=lambda: now_ns[0])
    store, history = Store(database), History(database)
    project = store.default_project().project_id
    builds = {}
    for name in ("old", "old and running", "new"):
        if name == "new":
            now_ns[0] += int(91 * 86_400e9)
        build = builds[name] = history.create(project, b"").build_id
        history.record(build, [Seen("d", "step")], [Log("d", 1, 1, b"out")])
        history.keep_contexts(build, [("t", "Dockerfile", "FROM scratch")])
        history.start_push(build, "tag")
        if "running" not in name:
            history.finish(build, "success")
    assert history.prune(Keep(days=90)) == 1
    assert history.find(builds["old"]) is None
    assert history.find(builds["old and running"]) is not None
    assert history.find(builds["new"]) is not None
    for table in ("steps", "logs", "contexts", "pushes"):
        left = {row["build_id"] for row in database.rows(f"SELECT build_id FROM {table}")}
        assert left == {builds["old and running"], builds["new"]}
    database.close()


def test_beyond_a_size_the_oldest_builds_are_forgotten_first(db):
    store, history = Store(db), History(db)
    project = store.default_project().project_id
    ids = []
    for number in range(40):
        ids.append(history.create(project, b"").build_id)
        history.record(ids[-1], [], [Log("d", number, 1, bytes(100_000))])
        history.finish(ids[-1], "success")
    running = history.create(project, b"").build_id
    before = db.used_bytes()
    assert before > 4_000_000
    assert history.prune(Keep(max_bytes=2_000_000)) >= 20
    assert 1_000_000 < db.used_bytes() <= 2_000_000
    left = [one for one in ids if history.find(one) is not None]
    assert left == ids[-len(left) :]
    assert history.find(running) is not None
    assert history.prune(Keep(max_bytes=1)) == len(left), "what runs stays, whatever the limit"
    assert history.find(running) is not None
