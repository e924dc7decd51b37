"""Why was it not cached: each cause, on a real daemon."""

import asyncio
import http.server
import importlib
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

import depotlab as dl
from depotlab import aio, cache, export, llb, mount
from depotlab._past import CauseKind
from depotlab.errors import UsageError
from tests.support.ownbuildkitd import own_buildkitd

remember = importlib.import_module("depotlab._verbs.remember")  # the room's function has its name


@pytest.fixture
def salt():
    """A text that no cache knows."""
    return f"{time.time_ns()}"


@pytest.fixture
def why(bk, salt):
    """Build several targets one after the other under one name; say why steps of the last one ran."""

    def ask(*targets, step=None, client=bk, last=None, **options):
        results = [
            client.build(
                one,
                name=f"why-{salt}",
                progress="quiet",
                **options,
                **((last or {}) if number == len(targets) else {}),
            )
            for number, one in enumerate(targets, 1)
        ]
        return results[-1].why(step)

    return ask


@pytest.fixture
def folder(tmp_path, salt):
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.py").write_text(f"print({salt})")
    (tmp_path / "app" / "other.py").write_text("pass")
    (tmp_path / "README").write_text("read")
    return tmp_path


def test_a_first_build_is_the_first(why, salt):
    found = why(llb.image("busybox").run(f"echo {salt}"))
    assert found.cause.kind is CauseKind.FIRST
    assert found.compared_with == ""


def test_nothing_ran_when_nothing_changed(why, salt):
    graph = llb.image("busybox").run(f"echo {salt}").run("echo more")
    found = why(graph, graph)
    assert (found.cause, found.steps, found.n_steps) == (None, (), 2)
    assert "all 2 steps were taken from the cache" in str(found)


def test_another_command(why, salt):
    base = llb.image("busybox").run(f"echo {salt}", name="base")
    found = why(
        base.run("echo one", name="say").run("echo after", name="after"),
        base.run("echo two", name="say").run("echo after", name="after"),
    )
    assert found.cause.kind is CauseKind.COMMAND
    assert found.cause.step == "say"
    assert found.cause.fields == (llb.Field("command", "echo one", "echo two"),)
    assert "test_why.py:" in found.cause.place
    assert [(one.step, one.is_consequence) for one in found.steps] == [
        ("say", False),
        ("after", True),
    ]
    assert "Therefore also ran: after." in str(found)


def test_one_step_can_be_asked_for(why, salt):
    base = llb.image("busybox").run(f"echo {salt}", name="base")
    targets = [base.run(f"echo {n}", name="say").run("echo after", name="after") for n in range(2)]
    assert why(*targets, step="after").cause.step == "say"
    assert why(*targets, step="base").steps == ()
    with pytest.raises(UsageError, match="No step matches 'nobody'"):
        why(*targets, step="nobody")


def test_another_variable(why, salt):
    base = llb.image("busybox")
    found = why(*(base.env(LEVEL=n).run(f"echo {salt}") for n in ("1", "2")))
    assert found.cause.kind is CauseKind.VARIABLE
    assert "variable LEVEL: 1 → 2" in str(found)


def test_a_variable_that_looks_secret_is_told_apart_and_not_shown(why, salt):
    base = llb.image("busybox")
    found = why(*(base.env(API_TOKEN=n).run(f"echo {salt}") for n in ("s3cret", "s4cret")))
    assert found.cause.kind is CauseKind.VARIABLE
    assert "cret" not in str(found) + found._repr_html_()


def test_another_mount(why, salt):
    base = llb.image("busybox")
    found = why(
        base.run(f"echo {salt}", mounts=[mount.cache("/a")]),
        base.run(f"echo {salt}", mounts=[mount.cache("/b")]),
    )
    assert found.cause.kind is CauseKind.MOUNTS
    assert {field.name for field in found.cause.fields} == {"mount /a", "mount /b"}


def test_another_secret_is_another_mount(why, salt):
    base = llb.image("busybox")
    found = why(
        *(base.run(f"echo {salt}", mounts=[mount.secret(n, "/s")]) for n in ("a", "b")),
        secrets={"a": "1", "b": "2"},
    )
    assert found.cause.kind is CauseKind.MOUNTS


def test_the_value_of_a_secret_does_not_count(why, salt):
    graph = llb.image("busybox").run(f"echo {salt}", mounts=[mount.secret("a", "/s")])
    assert why(graph, secrets={"a": "one"}).cause.kind is CauseKind.FIRST
    assert why(graph, secrets={"a": "two"}).steps == ()


@pytest.mark.parametrize(
    ("setting", "change"),
    [
        ("dir", lambda state: state.dir("/tmp")),
        ("user", lambda state: state.user("1000")),
        ("network", lambda state: state.network("none")),
        ("host db", lambda state: state.hosts({"db": "10.0.0.1"})),
    ],
)
def test_another_setting(why, salt, setting, change):
    base = llb.image("busybox")
    found = why(base.run(f"echo {salt}"), change(base).run(f"echo {salt}"))
    assert found.cause.kind is CauseKind.SETTINGS
    assert setting in [field.name for field in found.cause.fields]


def test_a_step_that_is_new(why, salt):
    base = llb.image("busybox").run(f"echo {salt}", name="base")
    found = why(
        base.run("echo end", name="end"), base.mkdir(f"/new-{salt}").run("echo end", name="end")
    )
    assert found.cause.kind is CauseKind.NEW
    assert found.steps[-1].step == "end"
    assert found.steps[-1].is_consequence


def test_another_file_operation(why, salt):
    base = llb.image("busybox").mkdir(f"/{salt}")
    found = why(*(base.mkfile(f"/{salt}/f", text) for text in ("one", "two")))
    assert found.cause.kind is CauseKind.FILE_ACTION
    assert "'one'" in str(found)


def test_another_base_image(why, engine, bk, salt):
    images = [f"{engine.registry}/why/{salt}:{n}" for n in "ab"]
    for image in images:
        made = llb.image("busybox").mkfile("/which", image)
        bk.build(made, output=export.image(image, push=True), progress="quiet")
    found = why(*(llb.image(image).run("echo x") for image in images))
    assert found.cause.kind is CauseKind.IMAGE


def test_a_base_image_that_moved(why, engine, bk, salt):
    image = f"{engine.registry}/why/{salt}:latest"

    def push(content):
        made = llb.image("busybox").mkfile("/which", content)
        bk.build(made, output=export.image(image, push=True), progress="quiet")

    push("one")
    why(llb.image(image).run("echo x", name="x"))
    push("two")
    found = why(llb.image(image).run("echo x", name="x"))
    assert found.cause.kind is CauseKind.IMAGE_MOVED
    assert found.steps[0].step == "x"
    assert "the image moved" in str(found)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda at: (at / "app/main.py").write_text("longer than before, 1234567"), "changed"),
        (lambda at: (at / "app/new.py").write_text("new"), "added"),
        (lambda at: (at / "app/other.py").unlink(), "removed"),
        (lambda at: (at / "app/main.py").chmod(0o755), "755"),
    ],
    ids=["changed", "added", "removed", "mode"],
)
@pytest.mark.parametrize("kind", ["graph", "dockerfile"])
def test_a_file_of_the_context(why, folder, change, told, kind):
    def target():
        if kind == "dockerfile":
            text = "FROM busybox\nCOPY app /app\nRUN echo after"
            return dl.dockerfile(folder, text=text)
        return llb.image("busybox").copy(llb.local(folder), "app", "/app").run("echo after")

    why(target())
    change(folder)
    (folder / "README").write_text("this is not copied")
    found = why(target())
    assert found.cause.kind is CauseKind.FILES
    assert all(file.path.startswith("app") for file in found.cause.files)
    assert told in str(found.cause.files[-1])
    assert len(found.causes) == 1
    assert found.steps[-1].is_consequence


def test_a_file_that_was_only_touched_runs_nothing(why, folder):
    target = llb.image("busybox").copy(llb.local(folder), "app", "/app").run("echo after")
    why(target)
    (folder / "app" / "main.py").touch()
    assert why(target).steps == ()


def test_another_filter_of_a_directory(why, folder):
    found = why(
        *(
            llb.image("busybox").copy(llb.local(folder, include=[rule]), "app", "/app").run("ls")
            for rule in ("app/main.py", "app/other.py")
        )
    )
    assert found.cause.kind in (CauseKind.FILES, CauseKind.SOURCE)
    assert "other.py" in str(found)


def test_no_cache_was_asked_for(why, salt):
    graph = llb.image("busybox").run(f"echo {salt}", name="only")
    found = why(graph, graph, last={"no_cache": True})
    assert found.cause.kind is CauseKind.NO_CACHE
    assert found.cause.step == "only"


def test_no_cache_was_asked_for_one_stage(why, salt):
    text = f"FROM busybox AS one\nRUN echo {salt}\nFROM one AS two\nRUN echo two"
    found = why(dl.dockerfile(text=text), dl.dockerfile(text=text, no_cache=["two"]))
    assert found.cause.kind is CauseKind.NO_CACHE
    assert [one.step for one in found.steps] == ["[two 1/1] RUN echo two"]


def test_another_line_of_a_dockerfile(why, salt):
    texts = [f"FROM busybox\nRUN echo {salt}\nRUN echo {n}\nRUN echo end" for n in "ab"]
    found = why(*(dl.dockerfile(text=text) for text in texts))
    assert found.cause.kind is CauseKind.COMMAND
    assert found.cause.place == "Dockerfile:3"
    assert "command: echo a → echo b" in str(found)


def test_another_build_argument(why, salt):
    text = f"FROM busybox\nARG LEVEL\nRUN echo {salt}"
    found = why(*(dl.dockerfile(text=text, args={"LEVEL": n}) for n in "12"))
    assert found.cause.kind is CauseKind.ARGUMENT
    assert "build argument LEVEL: 1 → 2" in str(found)


def test_a_build_argument_that_nothing_uses_runs_nothing(why, salt):
    text = f"FROM busybox\nRUN echo {salt}"
    found = why(*(dl.dockerfile(text=text, args={"NOBODY": n}) for n in "12"))
    assert found.steps == ()
    assert "Also different: build argument NOBODY: 1 → 2." in found.notes


def test_another_date_of_the_result_runs_nothing(why, salt):
    graph = llb.image("busybox").run(f"echo {salt}")
    found = why(graph, graph, last={"source_date_epoch": 7})
    assert found.steps == ()
    assert "Also different: source date: (none) → 7." in found.notes


def test_a_download_that_changed(why, salt):
    content = [b"one"]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content[0])))
            self.end_headers()
            self.wfile.write(content[0])

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            source = llb.http(f"http://127.0.0.1:{server.server_port}/{salt}", filename="file")
            graph = llb.image("busybox").copy(source, "file", "/file", name="take")
            why(graph)
            content[0] = b"two"
            found = why(graph)
        finally:
            server.shutdown()
            thread.join()
    assert found.cause.kind is CauseKind.SOURCE
    assert "moved" in found.cause.what
    assert found.steps[0].step == "take"


@pytest.fixture(scope="module")
def other(engine):
    """Another daemon, whose cache the tests may delete."""
    with own_buildkitd(mirror=engine.registry) as running, dl.connect(running.address) as client:
        yield client


def test_a_cache_that_was_pruned(why, other, salt):
    graph = llb.image("busybox").run(f"echo {salt}", name="lost").run("echo more", name="more")
    why(graph, client=other)
    other.prune(all=True)
    found = why(graph, client=other)
    assert found.cause.kind is CauseKind.EVICTED
    assert found.cause.step == "lost"
    assert [one.step for one in found.steps] == ["lost", "more"]


def test_another_builder(why, other, salt):
    graph = llb.image("busybox").run(f"echo {salt}")
    why(graph)
    found = why(graph, client=other)
    assert found.cause.kind is CauseKind.OTHER_BUILDER
    assert other.address in str(found)


def test_an_imported_cache_that_has_it_not(why, other, engine, salt):
    graph = llb.image("busybox").run(f"echo {salt}")
    why(graph, client=other)
    other.prune(all=True)
    missing = cache.registry(f"{engine.registry}/why/nothing-{salt}")
    found = why(graph, client=other, cache_from=missing)
    assert found.cause.kind is CauseKind.IMPORT_MISSED


def test_graphs_without_a_name_are_compared_with_the_most_alike(bk, salt):
    ours, theirs = (llb.image("busybox").run(f"echo {n} {salt}") for n in ("ours", "theirs"))
    bk.build(ours.run("echo one", name="last"), progress="quiet")
    bk.build(theirs, progress="quiet")
    found = bk.build(ours.run("echo two", name="last"), progress="quiet").why()
    assert found.cause.kind is CauseKind.COMMAND
    assert [one.step for one in found.steps] == ["last"]


def test_the_answer_is_the_same_after_later_builds(bk, salt):
    results = [
        bk.build(
            llb.image("busybox").run(f"echo {n} {salt}"), name=f"later-{salt}", progress="quiet"
        )
        for n in "abc"
    ]
    assert results[1].why().compared_with == results[0].ref
    assert results[2].why().compared_with == results[1].ref


def test_two_results_are_compared(bk, folder):
    def build(command):
        graph = llb.image("busybox").copy(llb.local(folder), "app", "/app").run(command)
        return bk.build(graph, progress="quiet")

    first = build("echo one")
    (folder / "app" / "new.py").write_text("")
    second = build("echo two")
    found = dl.compare(first, second)
    assert not found.same
    (compared,) = found.graphs.values()
    assert compared.changes[0].fields[0].a == "echo one"
    (files,) = found.files.values()
    assert [f"{file.path} {file.what}" for file in files] == ["app/new.py added"]
    assert "1 operation, 1 file" in repr(found)
    assert dl.compare(first, first).same
    with pytest.raises(UsageError, match="not the result of a build"):
        dl.compare(first, "x")


def test_the_awaitable_face_knows_why_too(engine, salt):
    async def main():
        async with await aio.connect(engine.address) as bk:
            graph = llb.image("busybox").run(f"echo {salt}")
            return [
                (await bk.build(graph, name=f"aio-{salt}", progress="quiet")).why() for _ in "12"
            ]

    first, second = asyncio.run(main())
    assert first.cause.kind is CauseKind.FIRST
    assert second.steps == ()


PROGRAM = """
import sys
import depotlab as dl
from depotlab import llb
bk = dl.connect(sys.argv[1])
bk.build(llb.image("busybox").run("echo " + sys.argv[2]), name="program graph", progress="quiet")
target = dl.dockerfile(text="FROM busybox\\nRUN echo " + sys.argv[2])
print(bk.build(target, name="program", progress="quiet").ref)
"""


def test_a_program_that_closes_nothing_is_remembered(bk, engine, salt):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, engine.address, salt],
        check=True,
        capture_output=True,
        text=True,
    )
    target = dl.dockerfile(text=f"FROM busybox\nRUN echo {salt} more")
    found = bk.build(target, name="program", progress="quiet").why()
    assert found.compared_with == done.stdout.strip()
    assert found.cause.kind is CauseKind.COMMAND


def test_what_came_too_late_for_a_thread_is_kept_at_the_exit(bk, salt, monkeypatch):
    tried = threading.Event()

    async def too_late(*_):
        tried.set()
        raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    ends = SimpleNamespace(create_task=asyncio.create_task, wait=asyncio.wait, to_thread=too_late)
    with monkeypatch.context() as ending:
        ending.setattr(remember, "asyncio", ends)
        target = dl.dockerfile(text=f"FROM busybox\nRUN echo {salt}")
        first = bk.build(target, name="late", progress="quiet")
        assert tried.wait(60)
    remember._settle_at_exit()
    target = dl.dockerfile(text=f"FROM busybox\nRUN echo {salt} more")
    found = bk.build(target, name="late", progress="quiet").why()
    assert found.compared_with == first.ref
    assert found.cause.kind is CauseKind.COMMAND


def test_with_the_past_switched_off_it_says_so(bk, salt, monkeypatch):
    monkeypatch.setenv("DEPOTLAB_PAST", "off")
    found = bk.build(llb.image("busybox").run(f"echo {salt}"), progress="quiet").why()
    assert "DEPOTLAB_PAST" in found.notes[0]


def test_a_store_that_cannot_be_written_fails_no_build(bk, salt, monkeypatch, tmp_path):
    monkeypatch.setenv("DEPOTLAB_PAST", str(tmp_path))  # a directory
    found = bk.build(llb.image("busybox").run(f"echo {salt}"), progress="quiet").why()
    assert "cannot be used" in found.notes[0]
    assert "DEPOTLAB_PAST=off" in found.notes[0]
