"""The gate with real daemons and real clients: who gets in, and what the plane sees of builds."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

import depotlab as dl
from depotlab import llb
from depotlab._plane.authority import Authority
from depotlab._plane.boundary import Connection
from depotlab._plane.daemon import LIST_WORKERS
from depotlab._plane.identity import Identity, MachineKey
from depotlab._plane.tap import SOLVE
from depotlab._plane.watch import STATUS
from depotlab._proto import control_pb2
from depotlab._rpc import Channel, Endpoint
from depotlab.errors import ConnectionLost
from tests.support.machinery import (
    PROJECT,
    Recorder,
    acquire,
    buildctl,
    docker_context,
    find_buildctl,
    registry_beside,
    remove,
    running,
    short_folder,
    solve_request,
    tls_of,
    until,
)


@pytest.fixture
def folder() -> Iterator[Path]:
    made = short_folder()
    yield made
    remove(made)


@pytest.fixture
def keeper() -> Recorder:
    return Recorder()


def test_all_steps_and_logs_of_an_internal_build_are_seen_as_its_client_sees_them(folder, keeper):
    text = "for i in 1 2 3 4 5; do echo line $i; echo error $i >&2; done"
    state = llb.image("busybox").run(text, name="talks").run("sleep 0.2; echo done; exit 3")

    async def story():
        async with (
            registry_beside(folder) as host,
            running(folder, keeper, registry_host=host) as machines,
        ):
            connection = await acquire(machines, "b1")
            channel = Channel(Endpoint(connection.endpoint, tls_of(connection)))
            request = control_pb2.StatusRequest(Ref="r1").SerializeToString()
            status = channel.open_unary_stream(STATUS, request)
            solving = asyncio.create_task(channel.unary(SOLVE, solve_request(state, "r1")))
            seen = []
            while (message := await status.read()) is not None:
                seen.append(control_pb2.StatusResponse.FromString(message))
            with pytest.raises(Exception, match="exit code: 3"):
                await solving
            await channel.close()
            await machines.release("b1")
            return seen

    seen = asyncio.run(story())
    kept = keeper.seen("b1")
    assert last_vertexes(kept) == last_vertexes(seen)
    assert logs(kept) == logs(seen)
    assert any(b"error 5" in text for text in logs(kept).values())
    assert any("exit code: 3" in v.error for m in kept for v in m.vertexes)


def test_a_cached_build_that_is_over_at_once_is_seen_too(folder, keeper):
    state = llb.scratch().mkfile("/x", "y")

    async def story():
        async with running(folder, keeper) as machines:
            for number in range(20):
                build_id = f"b{number}"
                connection = await acquire(machines, build_id)
                channel = Channel(Endpoint(connection.endpoint, tls_of(connection)))
                await channel.unary(SOLVE, solve_request(state, f"ref{number}"), timeout_s=20)
                await channel.close()
                await machines.release(build_id)

    asyncio.run(story())
    steps = [
        [(v.name, v.cached, v.HasField("completed")) for v in keeper.vertexes(f"b{n}").values()]
        for n in range(20)
    ]
    assert steps == [[("mkfile /x", number > 0, True)] for number in range(20)]


def test_builds_that_share_a_machine_are_told_apart(folder, keeper):
    async def one(machines, number: int) -> None:
        build_id = f"b{number}"
        connection = await acquire(machines, build_id)
        channel = Channel(Endpoint(connection.endpoint, tls_of(connection)))
        state = llb.scratch().mkfile(f"/{build_id}", build_id)
        await channel.unary(SOLVE, solve_request(state, f"ref{number}"), timeout_s=20)
        await channel.close()
        await machines.release(build_id)

    async def story():
        async with running(folder, keeper) as machines:
            async with asyncio.TaskGroup() as builds:
                for number in range(16):
                    builds.create_task(one(machines, number))
            assert len(machines.states()) == 1
            assert machines.refused == ()

    asyncio.run(story())
    names = {b: [v.name for v in keeper.vertexes(b).values()] for b in keeper.messages}
    assert names == {f"b{n}": [f"mkfile /b{n}"] for n in range(16)}


def last_vertexes(messages: list[control_pb2.StatusResponse]) -> dict[str, tuple[object, ...]]:
    return {
        v.digest: (v.name, v.cached, v.error, v.HasField("completed"), tuple(v.inputs))
        for m in messages
        for v in m.vertexes
    }


def logs(messages: list[control_pb2.StatusResponse]) -> dict[tuple[str, int], bytes]:
    found: dict[tuple[str, int], bytes] = {}
    for message in messages:
        for log in message.logs:
            key = (log.vertex, log.stream)
            found[key] = found.get(key, b"") + log.msg
    return found


def test_our_own_client_builds_through_the_gate(folder, keeper):
    def build(connection: Connection, context: Path) -> int:
        with dl.connect(connection.endpoint, tls=tls_of(connection)) as bk:
            result = bk.build(dl.dockerfile(str(context)))
        return len(result.steps)

    docker_context(folder / "ctx", "FROM busybox\nCOPY a /\nRUN cat /a\n", a=b"hello")

    async def story():
        async with (
            registry_beside(folder) as host,
            running(folder, keeper, registry_host=host) as machines,
        ):
            connection = await acquire(machines, "b1")
            n_steps = await asyncio.to_thread(build, connection, folder / "ctx")
            await machines.release("b1")
            assert n_steps == len(keeper.vertexes("b1"))
            assert machines.refused == ()

    asyncio.run(story())


def test_our_own_client_hears_at_once_that_it_was_cut_off_in_a_build(folder, keeper):
    def build(connection: Connection) -> None:
        with dl.connect(connection.endpoint, tls=tls_of(connection)) as bk:
            bk.build(llb.image("busybox").run("sleep 6123"))

    def sleeps() -> bool:
        steps = keeper.vertexes("b1").values()
        return any("sleep" in v.name and v.HasField("started") for v in steps)

    async def story():
        async with (
            registry_beside(folder) as host,
            running(folder, keeper, registry_host=host) as machines,
        ):
            connection = await acquire(machines, "b1")
            building = asyncio.ensure_future(asyncio.to_thread(build, connection))
            await until(sleeps, timeout_s=30, what="the step runs")
            await machines.release("b1")
            with pytest.raises(ConnectionLost):
                await asyncio.wait_for(building, 60)
        (step,) = [v for v in keeper.vertexes("b1").values() if "sleep" in v.name]
        # Its last words were told before `release` returned.
        assert (step.HasField("completed"), step.error) == (True, "context canceled")

    asyncio.run(story())


def test_a_saved_image_goes_from_the_machine_to_the_registry_with_a_token(folder, keeper):
    arguments = docker_context(folder / "ctx", "FROM busybox\nCOPY a /\n", a=b"hello")

    def admit(user: str, password: str, project_id: str, push: bool) -> bool:
        return password == "s3cret" and project_id in ("", PROJECT)

    async def story(monkeypatch):
        async with (
            registry_beside(folder, admit) as host,
            running(folder, keeper, registry_host=host) as machines,
        ):
            logins = folder / "docker"
            logins.mkdir()
            auth = "eC10b2tlbjpzM2NyZXQ="  # x-token:s3cret
            (logins / "config.json").write_text(f'{{"auths": {{"{host}": {{"auth": "{auth}"}}}}}}')
            monkeypatch.setenv("DOCKER_CONFIG", str(logins))
            connection = await acquire(machines, "b1")
            output = f"type=image,name={host}/{PROJECT}:b1,push=true"
            code, said = await buildctl(connection, folder, *arguments, "--output", output)
            assert code == 0, said
            found = await asyncio.to_thread(
                subprocess.run,
                ["skopeo", "inspect", "--tls-verify=false", "--creds", "x-token:s3cret",
                 f"docker://{host}/{PROJECT}:b1"],
                capture_output=True, text=True,
            )  # fmt: skip
            assert found.returncode == 0, found.stderr
            monkeypatch.setenv("DOCKER_CONFIG", str(folder))
            code, said = await buildctl(connection, folder, *arguments, "--output", output)
            assert code != 0
            assert "401 Unauthorized" in said

    with pytest.MonkeyPatch.context() as monkeypatch:
        asyncio.run(story(monkeypatch))


@pytest.fixture(scope="module")
def doors() -> Iterator[dict[str, Connection]]:
    """Connections that must not work, by why, and one that does; the machine runs meanwhile."""
    made = short_folder()
    loop = asyncio.new_event_loop()
    keeper = Recorder()

    async def collect(machines) -> dict[str, Connection]:
        good = await acquire(machines, "good")
        foreign = Authority(made / "foreign")
        past = Authority(made / "authority", now=lambda: datetime.now(UTC) - timedelta(hours=30))
        machine = MachineKey(PROJECT, "amd64")

        def signed_by(authority: Authority, identity: Identity) -> Connection:
            leaf = authority.client(identity.uri, "x")
            return replace(good, cert_pem=leaf.cert_pem, key_pem=leaf.key_pem)

        ours = Authority(made / "authority")
        keeper.forbidden.add("finished")
        await acquire(machines, "finished")
        other = await acquire(machines, "neighbour", "other-project")
        return {
            "good": good,
            "another authority": signed_by(foreign, Identity("good", machine)),
            "expired": signed_by(past, Identity("good", machine)),
            "another project's build": replace(other, server_name=good.server_name),
            "a build that holds nothing": signed_by(ours, Identity("stranger", machine)),
            "a build that is over": signed_by(ours, Identity("finished", machine)),
            "a certificate of a server": replace(
                good,
                **dict(
                    zip(
                        ("cert_pem", "key_pem"),
                        (lambda leaf: (leaf.cert_pem, leaf.key_pem))(ours.server("good")),
                        strict=True,
                    )
                ),
            ),
        }

    async def story(ready: asyncio.Future[dict[str, Connection]], done: asyncio.Event) -> None:
        async with running(made, keeper) as machines:
            ready.set_result(await collect(machines))
            await done.wait()

    import threading

    ready: asyncio.Future[dict[str, Connection]] = loop.create_future()
    done = asyncio.Event()
    got = threading.Event()
    ready.add_done_callback(lambda _: got.set())
    thread = threading.Thread(
        target=lambda: loop.run_until_complete(story(ready, done)), name="Thread-plane"
    )
    thread.start()
    assert got.wait(60)
    yield ready.result()
    loop.call_soon_threadsafe(done.set)
    thread.join()
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    remove(made)


WRONG = [
    "another authority",
    "expired",
    "another project's build",
    "a build that holds nothing",
    "a build that is over",
    "a certificate of a server",
]


def ask_with_grpcio(
    connection: Connection, *, certificate: bool = True, timeout_s: float = 3
) -> bytes:
    credentials = grpc.ssl_channel_credentials(
        connection.ca_pem.encode(),
        connection.key_pem.encode() if certificate else None,
        connection.cert_pem.encode() if certificate else None,
    )
    options = [("grpc.ssl_target_name_override", connection.server_name)]
    target = connection.endpoint.removeprefix("tcp://")
    with grpc.secure_channel(target, credentials, options=options) as channel:
        answer: bytes = channel.unary_unary(LIST_WORKERS)(b"", timeout=timeout_s)
        return answer


def ask_with_buildctl(connection: Connection, folder: Path, *more: str) -> tuple[int, str]:
    for name in ("ca", "cert", "key"):
        (folder / name).write_text(getattr(connection, f"{name}_pem"))
    try:
        done = subprocess.run(
            [find_buildctl(), "--addr", connection.endpoint, "--timeout", "2",
             "--tlscacert", str(folder / "ca"), "--tlsservername", connection.server_name, *more,
             "debug", "workers"],
            capture_output=True, text=True, timeout=8,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return 124, "still trying"  # grpc-go tries again and again
    return done.returncode, done.stdout + done.stderr


def keys_of(folder: Path) -> list[str]:
    return ["--tlscert", str(folder / "cert"), "--tlskey", str(folder / "key")]


def test_the_right_certificate_gets_in(doors, tmp_path):
    good = doors["good"]
    assert control_pb2.ListWorkersResponse.FromString(ask_with_grpcio(good, timeout_s=60)).record
    code, said = ask_with_buildctl(good, tmp_path, *keys_of(tmp_path))
    assert code == 0, said
    assert "linux/amd64" in said


@pytest.mark.parametrize("why", WRONG)
def test_a_client_with_the_wrong_certificate_is_refused(doors, why):
    with pytest.raises(grpc.RpcError) as caught:
        ask_with_grpcio(doors[why])
    assert caught.value.code() in (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    )


def test_a_client_without_a_certificate_is_refused(doors, tmp_path):
    with pytest.raises(grpc.RpcError):
        ask_with_grpcio(doors["good"], certificate=False)
    code, said = ask_with_buildctl(doors["good"], tmp_path)
    assert code != 0
    assert "linux/amd64" not in said


@pytest.mark.parametrize(
    "server_name",
    [
        "amd64.nobody.machines.depotlab.internal",
        "amd64.other-project.machines.depotlab.internal",
        "localhost",
    ],
)
def test_a_client_that_asks_for_another_machine_is_refused(doors, tmp_path, server_name):
    wrong = replace(doors["good"], server_name=server_name)
    with pytest.raises(grpc.RpcError):
        ask_with_grpcio(wrong)
    code, said = ask_with_buildctl(wrong, tmp_path, *keys_of(tmp_path))
    assert code != 0
    assert "linux/amd64" not in said


def test_a_client_without_tls_is_refused(doors):
    target = doors["good"].endpoint.removeprefix("tcp://")
    with grpc.insecure_channel(target) as channel, pytest.raises(grpc.RpcError):
        channel.unary_unary(LIST_WORKERS)(b"", timeout=2)
