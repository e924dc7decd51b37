"""A real Docker Engine: its own BuildKit as a builder, and its image store as a target.

Debian's engine is 20.10, whose BuildKit is 0.8: this is the test against an old daemon too.
"""

import asyncio
import hashlib
import json
import socket
import tarfile
import threading
import time
from dataclasses import replace

import pytest

import depotlab as dl
from depotlab import export, llb
from depotlab._docker import (
    DockerEngine,
    DockerHost,
    DockerTls,
    RegistryLogin,
    find_docker,
    has_containerd_store,
    plan_for_engine,
)
from depotlab._rpc import InnerServer, call_once, docker_endpoint, endpoint_at
from depotlab._session import MemoryTree, Session
from depotlab.buildkit import daemon_info, list_workers, new_ref
from depotlab.errors import (
    BuildCanceled,
    ConnectionLost,
    DaemonError,
    DaemonTooOld,
    RegistryError,
    StepFailed,
    Unreachable,
    UsageError,
)
from tests.support.archives import busybox_archive, busybox_layout
from tests.support.dockerd import run_container
from tests.support.doors import begin, dockerfile, graph, on
from tests.support.fakedocker import fake_docker
from tests.support.images import inspect
from tests.support.registry import private_registry
from tests.support.solves import graph_spec, run_solve


@pytest.fixture
def docker_host(dockerd, monkeypatch):
    """Makes `docker://` the test's engine."""
    monkeypatch.setenv("DOCKER_HOST", dockerd.host.address)
    return dockerd.host


@pytest.fixture
def unique():
    return f"{time.time_ns()}"


# ------------------------------------------------------------------------------------ the builder


def test_the_engine_says_who_it_is(dockerd):
    version = dockerd.engine.version()
    assert version.name == "Docker Engine"
    assert version.version.startswith("20.10")
    assert not version.builds_with_buildkit


def test_its_buildkit_answers(docker_host):
    async def work(channel):
        return await daemon_info(channel), await list_workers(channel)

    found, workers = on(endpoint_at("docker://"), work)
    assert found.version == "", "BuildKit has told its version since 0.11"
    assert workers[0].platforms[0].startswith("linux/")
    assert not has_containerd_store([w.labels for w in workers])


def test_one_question_without_a_loop(docker_host):
    method = "/moby.buildkit.v1.Control/ListWorkers"
    assert b"linux" in call_once(endpoint_at("docker://"), method, b"", timeout_s=10)


def test_a_context_by_name(dockerd, tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    meta = tmp_path / "contexts" / "meta" / hashlib.sha256(b"lab").hexdigest()
    meta.mkdir(parents=True)
    endpoints = {"docker": {"Host": dockerd.host.address}}
    (meta / "meta.json").write_text(json.dumps({"Name": "lab", "Endpoints": endpoints}))
    assert on(endpoint_at("docker://lab"), list_workers)[0].id


def test_over_tcp_with_certificates_on_both_sides(dockerd, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", dockerd.tcp)
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(dockerd.certificates))
    work = dockerfile("FROM busybox\nCOPY a /a\n", {"a": "x"})
    _, moved = on(endpoint_at("docker://"), work)
    assert moved["context"].n_bytes == 1
    assert DockerEngine(find_docker()).version().version.startswith("20.10")


@pytest.mark.parametrize(
    ("tls", "words"),
    [
        pytest.param(None, "broke|refused|does not speak", id="plain HTTP"),
        pytest.param(DockerTls(), "self-signed|unable to get local issuer", id="unknown authority"),
        pytest.param(DockerTls(verify=False), "certificate", id="no certificate of ours"),
    ],
)
def test_an_engine_that_wants_certificates_says_so(dockerd, tls, words):
    host = DockerHost(dockerd.tcp, "the test", tls)
    with pytest.raises(Unreachable, match=words):
        on(docker_endpoint(host), list_workers)


def test_a_dockerfile_becomes_an_image_that_runs(dockerd, docker_host, unique):
    name = f"it/dockerfile:{unique}"
    text = f"FROM busybox\nCOPY greeting /\nRUN echo {unique} >> /greeting\nCMD cat /greeting\n"
    work = dockerfile(text, {"greeting": "hello "}, outputs=[export.image(name)])
    answer, _ = on(endpoint_at("docker://"), work)
    assert dockerd.run(name) == f"hello {unique}\n"
    assert answer["containerimage.digest"] == dockerd.engine.image_inspect(name)["Id"]


def test_a_graph_becomes_an_image_that_runs(dockerd, docker_host, unique):
    name = f"it/graph:{unique}"
    state = llb.image("busybox").run(f"echo {unique} > /x").cmd(["cat", "/x"])
    on(endpoint_at("docker://"), graph(state, outputs=[export.image(name)]))
    assert dockerd.run(name) == f"{unique}\n"


def test_the_public_client_builds_pushes_and_loads_on_it(
    dockerd, docker_host, engine, unique, monkeypatch
):
    monkeypatch.setenv("DEPOTLAB_UI", "off")
    state = llb.image("busybox").run(f"echo {unique} > /x", name="step").cmd(["cat", "/x"])
    name = f"{engine.registry}/it/public:{unique}"
    with dl.connect("docker://") as client:
        assert client.build(state).logs("step") == ""
        pushed = client.build(state, tags=name, push=True)
        assert pushed.digest == inspect(name)[1]["digest"]
        assert dockerd.run(name) == f"{unique}\n"
        client.build(
            dl.dockerfile(text=f"FROM busybox\nCMD echo {unique}\n"), tags=f"it/df:{unique}"
        )
        assert dockerd.run(f"it/df:{unique}") == f"{unique}\n"
        with pytest.raises(UsageError, match="classic image store"):
            client.build(state, output=export.oci(None))


@pytest.mark.parametrize("kind", ["local", "tar"])
def test_files_come_out_of_the_engine(docker_host, unique, tmp_path, kind):
    place = tmp_path / "out"
    state = llb.scratch().file(llb.mkfile("/x", unique.encode()))
    on(endpoint_at("docker://"), graph(state, outputs=[getattr(export, kind)(place)]))
    if kind == "tar":
        with tarfile.open(place) as tar:
            assert tar.extractfile("x").read() == unique.encode()
    else:
        assert (place / "x").read_text() == unique


def test_a_failing_step_is_told_with_its_code(docker_host):
    with pytest.raises(StepFailed) as caught:
        on(endpoint_at("docker://"), dockerfile("FROM busybox\nRUN exit 7\n"))
    assert caught.value.exit_code == 7


def test_a_graph_that_needs_a_newer_buildkit_is_refused_before_anything_is_sent(docker_host):
    merged = llb.merge(llb.image("busybox"), llb.scratch().file(llb.mkfile("/a", b"a")))
    with pytest.raises(UsageError, match="BuildKit") as caught:
        on(endpoint_at("docker://"), graph(merged))
    assert "0.10" in str(caught.value)


def test_files_go_through_the_connection_of_the_session(dockerd, docker_host, unique):
    """`/session` carries HTTP/2 itself, and the engine is the client on it."""
    endpoint = endpoint_at("docker://")
    name = f"it/session:{unique}"

    async def work(channel):
        session = Session(
            {
                "context": MemoryTree({"data": unique * 10_000}),
                "dockerfile": MemoryTree({"Dockerfile": "FROM busybox\nCOPY data /\n"}),
            }
        )
        transport = await endpoint.session_dialer(session.metadata())
        serving = asyncio.create_task(InnerServer(session.handlers).serve(transport))
        request = solve_message(session.id, name)
        await channel.unary("/moby.buildkit.v1.Control/Solve", request)
        await transport.close()
        await asyncio.wait_for(serving, 60)
        return session.moved["context"]

    on(endpoint, work)
    size = str(len(unique) * 10_000)
    assert dockerd.run(name, "sh", "-c", "cat /data | busybox wc -c").strip() == size


def solve_message(session_id, name):
    from depotlab._proto import control_pb2

    return control_pb2.SolveRequest(
        Ref=new_ref(),
        Session=session_id,
        Frontend="dockerfile.v0",
        FrontendAttrs={"image-resolve-mode": "local"},
        ExporterDeprecated="moby",
        ExporterAttrsDeprecated={"name": name},
    ).SerializeToString()


def test_a_session_id_that_is_taken_is_refused_with_the_engines_words(docker_host):
    async def main():
        dial = endpoint_at("docker://").session_dialer
        metadata = Session().metadata()
        first = await dial(metadata)
        with pytest.raises(Unreachable, match="already exists"):
            await dial(metadata)
        await first.close()

    asyncio.run(main())


def test_an_engine_that_goes_away_in_mid_build_is_a_lost_connection(dockerd):
    """Its connections are cut, as when it is restarted."""
    endpoint = docker_endpoint(dockerd.host)
    opened = []

    async def dial():
        opened.append(await endpoint.dialer())
        return opened[-1]

    async def work(channel):
        building = await begin(channel)
        for one in opened:
            await one.close()
        await building

    with pytest.raises(ConnectionLost):
        on(replace(endpoint, dialer=dial), work)


def test_what_an_old_frontend_does_not_know_is_refused_and_not_passed_over(docker_host):
    """Without a word it would take contexts for images, and build without limits."""
    contexts = {"busybox": {"greeting": "hi"}}
    targets = {
        "0.10 or newer for contexts=": dl.dockerfile(text="FROM busybox\n", contexts=contexts),
        "0.10 or newer for ulimits=": dl.dockerfile(
            text="FROM busybox\n", ulimits={"nofile": (64, 64)}
        ),
    }
    with dl.connect("docker://") as client:
        for words, target in targets.items():
            with pytest.raises(DaemonTooOld, match=words):
                client.build(target, progress="quiet")
        with pytest.raises(DaemonTooOld, match=r"0\.14 or newer for the lint"):
            client.lint(dl.dockerfile(text="FROM busybox\n"))
        with pytest.raises(RegistryError, match="localhost:1 could not be reached to pull"):
            client.build(dl.dockerfile(text="FROM localhost:1/none\n"), progress="quiet")


def test_an_image_is_loaded_into_the_engine_by_its_address_but_into_no_other(docker_host, unique):
    state = llb.image("busybox").run(f"echo {unique}")
    with dl.connect("docker://") as client:
        done = client.build(
            state, tags=f"it/self:{unique}", load=docker_host.address, progress="quiet"
        )
        assert "it/self" in repr(done)
        with pytest.raises(UsageError, match="cannot send an image to another engine"):
            client.build(state, tags="it/other:1", load="unix:///no/such.sock", progress="quiet")


# ---------------------------------------------------------------------------------------- pushes


def test_an_image_is_pushed_by_the_engine_and_has_a_digest_then(
    dockerd, docker_host, engine, unique
):
    name = f"{engine.registry}/it/pushed:{unique}"
    plan = plan_for_engine([], [export.image(name, push=True)])
    work = dockerfile(f"FROM busybox\nRUN echo {unique}\n", outputs=[export.image(name, push=True)])
    on(endpoint_at("docker://"), work)
    heard = []
    (digest,) = [dockerd.engine.push(one, on_message=heard.append) for one in plan.pushes]
    assert inspect(name)[1]["digest"] == digest
    assert any("progressDetail" in message for message in heard)


def test_a_registry_that_wants_a_login_gets_it_or_refuses(dockerd, unique):
    with private_registry(user="me", password="planted-secret") as registry:
        name = f"{registry}/me/a:{unique}"
        dockerd.engine.tag("busybox", name)
        with pytest.raises(RegistryError, match="no basic auth credentials") as caught:
            dockerd.engine.push(name)
        assert caught.value.host == registry
        with pytest.raises(RegistryError) as caught:
            dockerd.engine.push(name, RegistryLogin("me", "another-planted"))
        assert "planted" not in str(caught.value)
        assert dockerd.engine.push(name, RegistryLogin("me", "planted-secret"))


def test_a_push_of_the_engine_ends_with_the_build_that_is_cancelled(docker_host, unique):
    with socket.create_server(("127.0.0.1", 0)) as silent, dl.connect("docker://") as client:
        silent.settimeout(30)
        name = f"127.0.0.1:{silent.getsockname()[1]}/it/a:{unique}"
        build = client.submit(llb.image("busybox"), tags=name, push=True, progress="quiet")
        asking, _ = silent.accept()
        with asking:
            build.cancel()
            with pytest.raises(BuildCanceled):
                build.result(timeout_s=30)
            asking.settimeout(30)
            while asking.recv(1 << 16):
                pass  # until the engine has closed it: it waits no longer for the registry


def test_a_load_ends_with_the_build_that_is_cancelled(engine, tmp_path):
    read, ended = threading.Event(), threading.Event()

    def answer(handler):
        handler.read_body()
        read.set()
        ended.wait()

    with fake_docker(tmp_path / "s") as silent, dl.connect(engine.address) as client:
        silent.answers["/images/load"] = answer
        build = client.submit(llb.image("busybox"), load=silent.address, progress="quiet")
        assert read.wait(120)
        build.cancel()
        with pytest.raises(BuildCanceled):
            build.result(timeout_s=30)
        loading = [t for t in threading.enumerate() if t.name == "depotlab load"]
        for thread in loading:  # the last that it does is to say that it has ended
            thread.join(timeout=60)
        left = [thread for thread in loading if thread.is_alive()]
        ended.set()
        assert left == []


# ----------------------------------------------------------------------------------------- loads


def test_an_archive_is_loaded_without_a_copy_and_runs(dockerd, unique):
    archive = busybox_archive(f"it/loaded:{unique}", {"data": bytes(20 << 20)})
    chunks = (archive[at : at + 65536] for at in range(0, len(archive), 65536))
    assert dockerd.engine.load(chunks) == [f"it/loaded:{unique}"]
    assert dockerd.run(f"it/loaded:{unique}", "sh", "-c", "ls -l /data | grep -c 20971520") == "1\n"


def test_an_archive_of_buildkit_is_loaded_and_runs(dockerd, engine, unique, tmp_path):
    name = f"docker.io/it/built:{unique}"
    output = export.docker(tmp_path / "a.tar", name)
    state = llb.image("busybox").run(f"echo {unique} > /x")
    run_solve(engine.address, graph_spec(state, exporters=[output]))
    with (tmp_path / "a.tar").open("rb") as archive:
        loaded = dockerd.engine.load(iter(lambda: archive.read(65536), b""))
    assert loaded == [name.removeprefix("docker.io/")]
    assert dockerd.run(name, "/bin/cat", "/x") == f"{unique}\n"


def test_an_old_engine_does_not_know_oci_archives(dockerd):
    with pytest.raises(DaemonError) as caught:
        dockerd.engine.load([busybox_layout("it/oci:1")])
    assert "export.docker" in caught.value.hint


def test_a_load_that_breaks_off_leaves_no_image(dockerd, unique):
    archive = busybox_archive(f"it/broken:{unique}")

    def chunks():
        yield archive[: len(archive) // 2]
        raise ValueError("the source is broken")

    before = len(dockerd.engine.json("GET", "/images/json?all=1"))
    with pytest.raises(ValueError, match="the source is broken"):
        dockerd.engine.load(chunks())
    assert len(dockerd.engine.json("GET", "/images/json?all=1")) == before


def test_podman_takes_both_kinds_and_runs_them(podman, unique):
    for make, name in ((busybox_archive, f"it/d:{unique}"), (busybox_layout, f"it/o:{unique}")):
        (loaded,) = podman.load([make(name)])
        assert loaded == f"localhost/{name}"
        assert run_container(podman, loaded, "echo", unique) == f"{unique}\n"
    assert podman.version().name == "Podman"


def test_podman_has_no_buildkit(podman):
    with pytest.raises(Unreachable, match="has no BuildKit"):
        on(docker_endpoint(podman.host), list_workers)


def test_ten_loads_at_once(dockerd, unique):
    failures = []

    def load(n):
        try:
            dockerd.engine.load([busybox_archive(f"it/many:{unique}-{n}", {"n": b"%d" % n})])
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=load, args=(n,)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(dockerd.engine.json("GET", '/images/json?filters={"reference":["it/many"]}')) == 10
