"""Builds on the real engine, and what comes out of its registry as another tool reads it."""

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import time

import pytest

import depotlab as dl
from depotlab import export, llb, mount
from tests.support.images import inspect, layer_files


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("DEPOTLAB_UI", "off")


@pytest.fixture
def unique():
    """A value that makes a step run, whatever the cache has."""
    return f"{time.time_ns()}"


def states(result):
    return {step.name: str(step.state) for step in result.steps}


def test_a_graph_becomes_a_pushed_image_that_another_tool_can_read(bk, engine, unique):
    app = (
        llb.image("busybox")
        .run(f"echo {unique} > /hello", name="greet")
        .env(LANG="C.UTF-8")
        .dir("/srv")
        .cmd(["cat", "/hello"])
        .label(purpose="test")
    )
    ref = f"{engine.registry}/it/hello:1"
    result = bk.build(app, output=export.image(ref, push=True))
    assert result.digest.startswith("sha256:")
    assert states(result)["greet"] == "ran"

    config, manifest = inspect(ref)
    assert manifest["digest"] == result.digest
    assert config["config"]["Cmd"] == ["cat", "/hello"]
    assert config["config"]["WorkingDir"] == "/srv"
    assert "LANG=C.UTF-8" in config["config"]["Env"]
    assert config["config"]["Labels"] == {"purpose": "test"}
    assert (config["os"], config["architecture"]) in {("linux", "amd64"), ("linux", "arm64")}
    # The configuration of the base image is inherited.
    base, _ = inspect(f"{engine.registry}/library/busybox:latest")
    assert set(base["config"]["Env"]) <= set(config["config"]["Env"])
    assert config["rootfs"]["diff_ids"][:-1] == base["rootfs"]["diff_ids"]
    assert layer_files(ref)[-1]["hello"] == f"{unique}\n".encode()


def test_the_second_build_comes_from_the_cache(bk, unique):
    app = llb.image("busybox").run(f"echo {unique}", name="once")
    assert states(bk.build(app))["once"] == "ran"
    assert states(bk.build(app))["once"] == "cached"
    assert states(bk.build(app, no_cache=True))["once"] == "ran"


def test_the_digests_in_the_progress_are_those_of_the_definition(bk):
    app = llb.image("busybox").run("true", name="a").run("true", name="b")
    result = bk.build(app)
    shown = {s.digest for s in result.steps}
    assert set(result.definition.digests[:-1]) <= shown


def test_a_base_image_gives_its_environment_to_the_steps(bk, engine, unique):
    base = llb.image("busybox").env(GREETING="good day").dir("/opt").user("nobody").cmd(["true"])
    ref = f"{engine.registry}/it/base:{unique}"
    bk.build(base.run("true"), tags=ref, push=True)
    result = bk.build(llb.image(ref).run("echo $GREETING from $(pwd) as $(whoami)", name="say"))
    assert result.logs("say") == "good day from /opt as nobody"


def test_directories_files_mounts_and_merges(bk, tmp_path, engine, unique):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.txt").write_text("a")
    (tmp_path / "src" / "skip.log").write_text("no")
    (tmp_path / "big.bin").write_bytes(os.urandom(3_000_000))
    src = llb.local(tmp_path, exclude=["**/*.log"])
    base = llb.image("busybox")
    left = base.dir("/app").copy(src, "src", "src").mkdir("/made").mkfile("/made/file", b"text\n")
    seen = base.run(
        f"ls /ctx/src; wc -c < /ctx/big.bin; echo {unique} > /cache/x; ls /tmp/scratch",
        mounts=[
            mount.bind("/ctx", src, readonly=True),
            mount.cache("/cache", id="it-cache"),
            mount.tmpfs("/tmp/scratch"),
        ],
        name="look",
    )
    app = llb.merge(left, seen).rm("/made/file")
    ref = f"{engine.registry}/it/files:1"
    result = bk.build(app, tags=ref, push=True)
    assert result.logs("look") == "a.txt\n3000000"
    files = {name for layer in layer_files(ref) for name in layer}
    assert "app/src/a.txt" in files
    assert not any(name.endswith("skip.log") for name in files)


def test_an_unchanged_directory_is_cached_and_a_changed_file_is_not(bk, tmp_path):
    (tmp_path / "f").write_text("one")
    app = llb.image("busybox").copy(llb.local(tmp_path), "f", "/f").run("cat /f", name="cat")
    assert bk.build(app, no_cache=False).logs("cat") in {"one", ""}
    assert states(bk.build(app))["cat"] == "cached"
    (tmp_path / "f").write_text("two")
    assert bk.build(app).logs("cat").startswith("two")


def test_a_dockerfile_from_a_directory_with_arguments_labels_and_target(bk, engine, tmp_path):
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox AS base\nARG WHO\nRUN echo hello $WHO > /hello\n"
        "FROM base AS prod\nCOPY app.py /app.py\nFROM base AS other\nRUN false\n"
    )
    (tmp_path / "app.py").write_text("print(1)\n")
    ref = f"{engine.registry}/it/df:1"
    target = dl.dockerfile(tmp_path, args={"WHO": "you"}, target="prod", labels={"a": "b"})
    result = bk.build(target, tags=ref, push=True)
    config, manifest = inspect(ref)
    assert manifest["digest"] == result.digest
    assert config["config"]["Labels"] == {"a": "b"}
    layers = layer_files(ref)
    assert layers[-1]["app.py"] == b"print(1)\n"
    assert layers[-2]["hello"] == b"hello you\n"


def test_a_dockerfile_as_text_with_and_without_a_context(bk, tmp_path):
    result = bk.build(dl.dockerfile(text="FROM busybox\nRUN echo hi"))
    assert any("RUN echo hi" in s.name for s in result.steps)
    (tmp_path / "x.txt").write_text("x")
    (tmp_path / ".dockerignore").write_text("*.log\n")
    (tmp_path / "y.log").write_text("y")
    text = "FROM busybox\nCOPY . /c\nRUN ls /c > /out && cat /out"
    result = bk.build(dl.dockerfile(tmp_path, text=text), no_cache=True)
    assert result.logs("RUN ls").split() == ["x.txt"]


def test_the_ignore_file_of_a_dockerfile_wins_over_that_of_the_context(bk, tmp_path):
    (tmp_path / "web.Dockerfile").write_text("FROM busybox\nCOPY . /c\nRUN ls /c\n")
    (tmp_path / "web.Dockerfile.dockerignore").write_text("*.log\n*Dockerfile*\n.dockerignore\n")
    (tmp_path / ".dockerignore").write_text("*.txt\n")
    (tmp_path / "x.txt").write_text("x")
    (tmp_path / "y.log").write_text("y")
    target = dl.dockerfile(tmp_path, filename="web.Dockerfile")
    assert bk.build(target, no_cache=True).logs("RUN ls").split() == ["x.txt"]


def test_a_dockerfile_below_its_directory_and_one_in_lower_case(bk, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "Dockerfile").write_text("FROM busybox\nRUN echo below\n")
    below = bk.build(dl.dockerfile(tmp_path, filename="sub/Dockerfile"), no_cache=True)
    assert below.logs("RUN echo") == "below"
    (tmp_path / "dockerfile").write_text("FROM busybox\nRUN echo lower\n")
    assert bk.build(dl.dockerfile(tmp_path), no_cache=True).logs("RUN echo") == "lower"


def test_no_cache_of_one_stage(bk, unique):
    text = f"FROM busybox AS a\nRUN echo a {unique}\nFROM busybox AS b\nCOPY --from=a /bin/sh /sh\nRUN echo b"
    bk.build(dl.dockerfile(text=text))
    result = bk.build(dl.dockerfile(text=text, no_cache=["b"]))
    by_name = {s.name: str(s.state) for s in result.steps if "RUN" in s.name}
    assert sorted(by_name.values()) == ["cached", "ran"]


def test_a_context_from_http_is_fetched_by_the_daemon(bk, tmp_path, http_folder):
    (tmp_path / "Dockerfile").write_text("FROM busybox\nCOPY here /here\nRUN cat /here\n")
    (tmp_path / "here").write_text("from afar\n")
    subprocess.run(
        ["tar", "-C", tmp_path, "-czf", http_folder.path / "context.tar.gz", "."], check=True
    )
    result = bk.build(dl.dockerfile(f"{http_folder.url}/context.tar.gz"), no_cache=True)
    assert result.logs("RUN cat /here") == "from afar"


def test_a_context_from_git_is_fetched_by_the_daemon(bk, tmp_path, http_folder):
    git = shutil.which("git")
    assert git, "git is needed to make the repository"
    work = tmp_path / "work"
    work.mkdir()
    (work / "Dockerfile").write_text("FROM busybox\nCOPY here /here\nRUN cat /here\n")
    (work / "here").write_text("from a repository\n")

    def run(*args, cwd):
        subprocess.run(
            [git, "-c", "user.name=t", "-c", "user.email=t@t.invalid", *args],
            cwd=cwd,
            check=True,
            capture_output=True,
        )

    run("init", "-q", "-b", "main", cwd=work)
    run("add", "-A", cwd=work)
    run("commit", "-q", "-m", "x", cwd=work)
    bare = http_folder.path / "repo.git"
    run("clone", "-q", "--bare", str(work), str(bare), cwd=tmp_path)
    run("update-server-info", cwd=bare)
    result = bk.build(dl.dockerfile(f"{http_folder.url}/repo.git#main"), no_cache=True)
    assert result.logs("RUN cat /here") == "from a repository"
    # A Dockerfile of our own with a remote context: it is served over the session.
    text = "FROM busybox\nCOPY here /here\nRUN echo mine; cat /here\n"
    result = bk.build(dl.dockerfile(f"{http_folder.url}/repo.git#main", text=text), no_cache=True)
    assert result.logs("RUN echo mine") == "mine\nfrom a repository"


def test_forty_five_silent_seconds_pass(bk, unique):
    """Without an answer to its health questions the daemon would drop the session after ten."""
    text = f"FROM busybox\nRUN echo {unique}; sleep 45\nCOPY late /late\n"
    result = bk.build(dl.dockerfile(_folder_with("late"), text=text))
    assert result.duration_s > 45


def _folder_with(name):
    import tempfile
    from pathlib import Path

    folder = Path(tempfile.mkdtemp(prefix="depotlab-test-"))
    (folder / name).write_text("late\n")
    return folder


def test_submit_returns_at_once_and_several_run_side_by_side(bk, unique):
    builds = [
        bk.submit(llb.image("busybox").run(f"echo {unique} {n}; sleep 1", name=f"n{n}"))
        for n in range(3)
    ]
    assert not any(b.done for b in builds)
    results = [b.result(timeout_s=60) for b in builds]
    assert [str(s.state) for r in results for s in r.steps if s.name in {"n0", "n1", "n2"}] == [
        "ran"
    ] * 3


def test_the_awaitable_face_builds_the_same(engine):
    from depotlab import aio

    async def cell():
        async with await aio.connect(engine.address) as bk:
            first, second = await asyncio.gather(
                bk.build(llb.image("busybox").run("echo 1")),
                bk.build(llb.image("busybox").run("echo 2")),
            )
            handle = bk.submit(llb.image("busybox").run("echo 3"))
            return first, second, await handle, await bk.info(), await bk.workers()

    first, second, third, info, workers = asyncio.run(cell())
    assert first.ref != second.ref != third.ref
    assert info.version
    assert workers[0].platforms


def test_scratch_and_files_only(bk, engine):
    ref = f"{engine.registry}/it/scratch:1"
    bk.build(llb.scratch().mkfile("/only", b"this"), tags=ref, push=True)
    assert layer_files(ref) == [{"only": b"this"}]


def test_the_answer_is_json_ready(bk, engine):
    ref = f"{engine.registry}/it/json:1"
    result = bk.build(llb.scratch().mkfile("/x", b"x"), tags=[ref, f"{ref}2"], push=True)
    assert result.names == (ref, f"{ref}2")
    assert json.dumps(dict(result.response))
    assert inspect(f"{ref}2")[1]["digest"] == result.digest


def test_a_secret_may_hold_any_bytes(bk, unique):
    planted = b"planted\0\xff\n\x80" + unique.encode()
    step = llb.image("busybox").run(
        f"sha256sum < /run/secrets/key; : {unique}", mounts=[mount.secret("key")], name="use"
    )
    result = bk.build(step, secrets={"key": planted})
    assert result.logs("use") == f"{hashlib.sha256(planted).hexdigest()}  -"


def test_a_log_that_ends_without_a_line_break_is_a_log(bk, unique):
    step = llb.image("busybox").run(f"printf here; : {unique}", name="say")
    result = bk.build(step)
    assert result.logs() == result.logs("say") == "here"
    assert bk.inspect(result.ref).logs() == "here"
