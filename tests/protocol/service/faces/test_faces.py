"""The service as users hold it: from a thread that blocks, and awaited from a loop of one's own."""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import gzip
import http.server
import io
import random
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from depotlab.errors import ServiceError, StorageError
from depotlab.service import BuildService, Limits, Upload, aio
from tests.support.fakerunner import FakeRunner, FakeStorage, line, pushed


def with_runner(service, runner: FakeRunner):
    async def make_runner(_):
        return runner

    service._core.make_runner = make_runner
    return service


async def two_lines(asked, secrets, journal):
    journal.lines([line("one")])
    await asyncio.sleep(0.2)
    journal.lines([line("two")])
    return pushed(asked)


def test_from_a_thread_that_blocks(tmp_path: Path):
    service = BuildService(storage=FakeStorage(), telemetry=None, state=tmp_path)
    with with_runner(service, FakeRunner(two_lines)):
        path = service.generate_upload_url("shop").build_context_path
        build = service.create_build(path, project="shop", deployment="d1")
        assert build.state == "queued"
        logs = service.get_build_logs(build.build_id)
        assert repr(logs) == f"<log of build {build.build_id} from line 0>"
        assert [str(one) for one in logs] == ["one", "two"]
        assert list(logs) == []
        again = service.build(path, project="shop", deployment="d2")
        assert again.check().image == "registry.test/shop:shop-d2"
        assert [one.deployment for one in service.list_builds()] == ["d2", "d1"]
        assert [one.project for one in service.projects()] == ["shop"]
        assert service.health().starts_builds
        with pytest.raises(ServiceError, match="no build 'nope'"):
            service.get_build_logs("nope")
        with pytest.raises(ServiceError, match="no telemetry"):
            service.telemetry  # noqa: B018
        assert service.drain(timeout_s=5)
        assert "0 builds queued, 0 running" in repr(service)
    with with_runner(service, FakeRunner()):  # the same one again
        assert service.get_build(build.build_id).state == "succeeded"


def test_awaited_from_a_loop_of_ones_own(tmp_path: Path):
    async def run():
        service = aio.BuildService(storage=FakeStorage(), telemetry=None, state=tmp_path)
        async with with_runner(service, FakeRunner(two_lines)):
            upload = await service.generate_upload_url("shop")
            asked = {"project": "shop", "deployment": "d1"}
            build = await service.create_build(upload.build_context_path, **asked)
            lines = [str(one) async for one in service.get_build_logs(build.build_id)]
            async with contextlib.aclosing(service.get_build_logs(build.build_id)) as logs:
                assert str(await anext(logs)) == "one"
            assert [one async for one in logs] == [], "it was closed"
            ended = await service.build(upload.build_context_path, **asked)
            return lines, ended.state, logs.offset

    assert asyncio.run(run()) == (["one", "two"], "succeeded", 1)


def test_ctrl_c_ends_the_waiting_for_a_line_and_reading_can_go_on(tmp_path: Path):
    printed = threading.Event()

    async def make(asked, secrets, journal):
        journal.lines([line("one")])
        await asyncio.to_thread(printed.wait)
        journal.lines([line("two")])
        return pushed(asked)

    service = BuildService(storage=FakeStorage(), telemetry=None, state=tmp_path)
    with with_runner(service, FakeRunner(make)):
        path = service.generate_upload_url("shop").build_context_path
        build = service.create_build(path, project="shop", deployment="d1")
        logs = service.get_build_logs(build.build_id)
        assert str(next(logs)) == "one"
        waiting = service._core._logs.bells.wait

        async def interrupted(build_id):
            _thread.interrupt_main()
            await waiting(build_id)

        service._core._logs.bells.wait = interrupted
        with pytest.raises(KeyboardInterrupt):
            next(logs)
        service._core._logs.bells.wait = waiting
        printed.set()
        assert [str(one) for one in logs] == ["two"]


def test_a_killed_wait_cancels_the_build_and_lets_its_machine_go(tmp_path: Path):
    let_go = threading.Event()

    async def make(asked, secrets, journal):
        _thread.interrupt_main()
        try:
            await asyncio.Event().wait()
        finally:
            let_go.set()

    service = BuildService(storage=FakeStorage(), telemetry=None, state=tmp_path)
    with with_runner(service, FakeRunner(make)):
        path = service.generate_upload_url("shop").build_context_path
        with pytest.raises(KeyboardInterrupt):
            service.build(path, project="shop", deployment="d1")
        assert let_go.wait(30)
        (build,) = service.list_builds()
        assert service.cancel_build(build.build_id).state == "canceled"


# -------------------------------------------------------------------------------------- uploads


class _Store(FakeStorage):
    """Gives addresses of a server that keeps what is PUT there, or answers with a status."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url

    async def upload(self, key: str, *, expires_s: int, max_bytes: int) -> Upload:
        return Upload(f"{self.url}/{key}?signature=secret", key, expires_s, max_bytes, {"X-A": "b"})


@pytest.fixture
def store() -> Iterator[tuple[_Store, dict]]:
    seen: dict = {"status": 200}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_PUT(self):
            seen["headers"] = dict(self.headers)
            seen["body"] = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(seen["status"])
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args): ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield _Store(f"http://127.0.0.1:{server.server_port}"), seen
        finally:
            server.shutdown()
            thread.join()


def test_upload_packs_a_folder_and_puts_it_there(tmp_path: Path, store, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # nothing to do with this computer
    storage, seen = store
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM scratch")
    service = BuildService(storage=storage, telemetry=None, state=tmp_path / "state")
    with with_runner(service, FakeRunner()):
        path = service.upload("shop", folder)
        assert path.startswith("shop/")
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(seen["body"]))) as tar:
            assert tar.getnames() == ["Dockerfile"]
        assert seen["headers"]["X-A"] == "b"
        assert seen["headers"]["Content-Length"] == str(len(seen["body"]))
        assert service.build(path, project="shop", deployment="d").state == "succeeded"


def test_what_a_store_refuses_is_said_without_the_address(tmp_path: Path, store):
    storage, seen = store
    limits = Limits(max_context_bytes=20_000)
    service = BuildService(storage=storage, telemetry=None, state=tmp_path, limits=limits)
    with with_runner(service, FakeRunner()):
        for status, kind in ((403, ServiceError), (413, ServiceError), (503, StorageError)):
            seen["status"] = status
            with pytest.raises(kind, match=f"HTTP {status}") as caught:
                service.upload("shop", {"Dockerfile": "FROM scratch"})
            assert "secret" not in f"{caught.value}{caught.value.__cause__}"
        storage.url = "http://127.0.0.1:9"
        with pytest.raises(StorageError, match="cannot be reached"):
            service.upload("shop", {"Dockerfile": "FROM scratch"})
        noise = random.Random(1).randbytes(40_000)
        with pytest.raises(ServiceError, match="are allowed"):
            service.upload("shop", {"Dockerfile": "FROM scratch", "noise": noise})


@pytest.mark.parametrize(
    ("package", "ask", "extra"),
    [
        pytest.param("duckdb", "BuildService(state=folder)", "telemetry", id="rows"),
        pytest.param(
            "hypercorn",
            "BuildService(state=folder, telemetry=None).open()",
            "service",
            id="a store of uploads",
        ),
    ],
)
def test_without_an_extra_it_says_what_to_install(tmp_path: Path, package, ask, extra):
    code = (
        "import sys\n"
        f"sys.modules[{package!r}] = None\n"
        "from depotlab.errors import MissingExtra\n"
        "from depotlab.service import BuildService\n"
        f"folder = {str(tmp_path)!r}\n"
        "try:\n"
        f"    {ask}\n"
        "except MissingExtra as error:\n"
        "    print(error.extra)\n"
    )
    done = subprocess.run(
        [sys.executable, "-bb", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{extra}\n"
