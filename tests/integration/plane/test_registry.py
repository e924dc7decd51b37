"""The real registry behind the front: docker's protocol as skopeo and curl speak it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from depotlab._local import find_installed
from depotlab._plane.registry import Registry
from depotlab.errors import EngineError, UsageError
from tests.conftest import unavailable
from tests.support.machinery import processes_of, remove, short_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    if find_installed() is None:
        unavailable("buildkitd and registry are not installed")
    made = short_folder()
    yield made
    assert processes_of(made) == []
    remove(made)


def admit(user: str, password: str, project_id: str, push: bool) -> bool:
    """`rw-p` may push to p, `ro-p` may pull from it."""
    right, _, project = password.partition("-")
    return right in ("rw", "ro") and project_id in ("", project) and (not push or right == "rw")


@asynccontextmanager
async def running(folder: Path):
    registry = Registry(folder, admit=admit)
    await registry.start()
    try:
        yield registry
    finally:
        await registry.close()
        await registry.close()


async def run(*command: str) -> tuple[int, str]:
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=300
    )
    return done.returncode, done.stdout + done.stderr


async def copy(host: str, target: str, password: str) -> tuple[int, str]:
    return await run(
        "skopeo", "copy", "--src-tls-verify=false", "--dest-tls-verify=false",
        "--dest-creds", f"x-token:{password}",
        f"docker://{host}/library/busybox:latest", f"docker://{host}/{target}",
    )  # fmt: skip


async def inspect(host: str, target: str, *more: str) -> tuple[int, str]:
    return await run("skopeo", "inspect", "--tls-verify=false", *more, f"docker://{host}/{target}")


def test_images_are_pushed_listed_pulled_and_deleted_by_those_who_may(folder):
    async def story():
        async with running(folder) as registry:
            host = registry.host_port
            assert await registry.images("p") == []
            code, said = await copy(host, "p:b1", "rw-p")
            assert code == 0, said
            code, said = await copy(host, "p:b2", "ro-p")
            assert code != 0
            assert "may not push to p" in said
            code, said = await copy(host, "q:b1", "rw-p")
            assert code != 0
            for password, expected in (("ro-p", 0), ("rw-p", 0), ("rw-q", 1), ("bad", 1)):
                code, said = await inspect(host, "p:b1", "--creds", f"anyone:{password}")
                assert (code != 0) == bool(expected), said
            code, said = await inspect(host, "p:b1")
            assert code != 0
            assert "unauthorized" in said
            (image,) = await registry.images("p")
            assert image.tag == "b1"
            assert image.digest.startswith("sha256:")
            assert image.size_bytes > 500_000
            assert abs(datetime.now(UTC) - image.pushed_at) < timedelta(minutes=1)
            code, said = await copy(host, "p:save-tag", "rw-p")
            assert [i.tag for i in await registry.images("p")] == ["save-tag", "b1"]
            await registry.delete("p", "b1")
            await registry.delete("p", "b1")
            assert [i.tag for i in await registry.images("p")] == ["save-tag"]
            assert (await inspect(host, "p:b1", "--creds", "x:ro-p"))[0] != 0
            assert (await inspect(host, "p:save-tag", "--creds", "x:ro-p"))[0] == 0
            with pytest.raises(UsageError, match="cannot be a tag"):
                await registry.delete("p", "../q")
            with pytest.raises(UsageError, match="cannot be the id"):
                await registry.images("../q")

    asyncio.run(story())


def blobs(folder: Path) -> int:
    return len(list(folder.glob("registry/docker/registry/v2/blobs/sha256/*/*/data")))


def test_what_no_tag_leads_to_is_deleted_once_a_day_while_nobody_comes(folder, monkeypatch):
    async def story():
        mark = folder / "collected"
        async with running(folder) as registry:
            host = registry.host_port
            seeded = blobs(folder)
            for tag in ("gone", "moved", "kept"):
                assert (await push_image(host, f"p:{tag}", tag)) == 201
            part = json.loads(await asyncio.to_thread(read_manifest, host, "p", "moved"))
            assert (await push_index(host, "p:index", "kept-part")) == 201
            await registry.delete("p", "gone")
            assert (await push_image(host, "p:moved", "to another image")) == 201
            before = blobs(folder)
            monkeypatch.setattr("depotlab._plane.registry._UNUSED_S", 0.0)
            await registry.tidy()
            assert blobs(folder) == before, "it was done today"
            os.utime(mark, (1, 1))
            monkeypatch.setattr("depotlab._plane.registry._UNUSED_S", 60.0)
            await registry.tidy()
            assert blobs(folder) == before, "somebody was here a moment ago"
            monkeypatch.setattr("depotlab._plane.registry._UNUSED_S", 0.0)
            await registry.tidy()
            assert registry.host_port == host
            assert blobs(folder) == before - 6, (
                "the manifest, configuration and layer of two images"
            )
            assert blobs(folder) > seeded
            assert part["config"]["digest"] not in {p.name for p in folder.rglob("*")}
            for tag in ("moved", "kept", "index"):
                assert (await inspect(host, f"p:{tag}", "--raw", "--creds", "x:ro-p"))[0] == 0
            index = json.loads(await asyncio.to_thread(read_manifest, host, "p", "index"))
            (child,) = index["manifests"]
            assert await asyncio.to_thread(read_manifest, host, "p", child["digest"])
            assert (await push_image(host, "p:gone", "gone")) == 201, "what went can come again"
            assert (await inspect(host, "p:gone", "--creds", "x:ro-p"))[0] == 0

    asyncio.run(story())


def call(host: str, method: str, path: str, data: bytes | None = None, kind: str = "") -> Any:
    url = path if path.startswith("http") else f"http://{host}{path}"
    headers = {"Authorization": "Basic " + b64encode(b"x:rw-p").decode()}
    if kind:
        headers["Content-Type"] = kind
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    return urllib.request.urlopen(request, timeout=100)


def put_blob(host: str, repository: str, data: bytes) -> str:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    with call(host, "POST", f"/v2/{repository}/blobs/uploads/", b"") as answer:
        there = answer.headers["location"]
    joint = "&" if "?" in there else "?"
    call(host, "PUT", f"{there}{joint}digest={digest}", data, "application/octet-stream").close()
    return digest


MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def manifest_of(host: str, repository: str, word: str) -> bytes:
    layer, config = f"layer {word}".encode(), json.dumps({"word": word}).encode()
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": put_blob(host, repository, config),
            "size": len(config),
        },
        "layers": [
            {
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": put_blob(host, repository, layer),
                "size": len(layer),
            }
        ],
    }
    return json.dumps(document).encode()


async def push_image(host: str, name: str, word: str) -> int:
    repository, _, tag = name.partition(":")

    def push() -> int:
        data = manifest_of(host, repository, word)
        with call(host, "PUT", f"/v2/{repository}/manifests/{tag}", data, MANIFEST) as answer:
            return answer.status

    return await asyncio.to_thread(push)


async def push_index(host: str, name: str, word: str) -> int:
    """Push an index whose only part is pushed by its digest, as builds for several platforms do."""
    repository, _, tag = name.partition(":")

    def push() -> int:
        data = manifest_of(host, repository, word)
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        call(host, "PUT", f"/v2/{repository}/manifests/{digest}", data, MANIFEST).close()
        part = {"mediaType": MANIFEST, "digest": digest, "size": len(data)}
        index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [part]}).encode()
        with call(host, "PUT", f"/v2/{repository}/manifests/{tag}", index, INDEX) as answer:
            return answer.status

    return await asyncio.to_thread(push)


def read_manifest(host: str, repository: str, reference: str) -> bytes:
    request = urllib.request.Request(
        f"http://{host}/v2/{repository}/manifests/{reference}",
        headers={
            "Authorization": "Basic " + b64encode(b"x:ro-p").decode(),
            "Accept": f"{MANIFEST}, {INDEX}",
        },
    )
    with urllib.request.urlopen(request, timeout=100) as answer:
        return answer.read()


def test_an_index_counts_each_blob_once(folder):
    async def story():
        async with running(folder) as registry:
            host = registry.host_port
            await copy(host, "p:one", "rw-p")
            (one,) = await registry.images("p")
            part = {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": one.digest, "size": 500,
            }  # fmt: skip
            index = str(
                {
                    "schemaVersion": 2,
                    "mediaType": "application/vnd.oci.image.index.v1+json",
                    "manifests": [part, part],
                }
            ).replace("'", '"')
            request = urllib.request.Request(
                f"http://{host}/v2/p/manifests/index", data=index.encode(), method="PUT",
                headers={
                    "Authorization": "Basic " + b64encode(b"x:rw-p").decode(),
                    "Content-Type": "application/vnd.oci.image.index.v1+json",
                },
            )  # fmt: skip
            await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=100).close())
            sizes = {i.tag: i.size_bytes for i in await registry.images("p")}
            assert 0 < sizes["index"] - sizes["one"] < 1500

    asyncio.run(story())


def test_a_large_layer_goes_in_and_out_whole_and_in_parts(folder):
    big = folder / "big"
    with big.open("wb") as file:
        for _ in range(128):
            file.write(os.urandom(1 << 20))
    with big.open("rb") as file:
        digest = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()

    async def story():
        async with running(folder / "r") as registry:
            base = f"http://{registry.host_port}"
            login = ("-sS", "--fail-with-body", "-u", "x:rw-p")
            _, said = await run(
                "curl", *login, "-D-", "-o/dev/null", "-XPOST", f"{base}/v2/p/blobs/uploads/"
            )
            (where,) = [
                line.split(": ", 1)[1].strip()
                for line in said.splitlines()
                if line.lower().startswith("location:")
            ]
            assert where.startswith("/v2/p/blobs/uploads/")
            before = resident_bytes()
            stream = ("-H", "Content-Type: application/octet-stream")
            code, said = await run(
                "curl", *login, *stream, "-T", str(big), f"{base}{where}&digest={digest}"
            )
            assert code == 0, said
            back = folder / "back"
            code, said = await run("curl", *login, "-o", str(back), f"{base}/v2/p/blobs/{digest}")
            assert code == 0, said
            assert resident_bytes() - before < 32 << 20
            with back.open("rb") as file:
                found = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
            assert found == digest
            code, _ = await run(
                "curl", *login, "-r", "1000000-1000009", "-o", str(back),
                f"{base}/v2/p/blobs/{digest}",
            )  # fmt: skip
            with big.open("rb") as file:
                file.seek(1_000_000)
                assert back.read_bytes() == file.read(10)

    asyncio.run(story())


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_images_and_the_port_are_the_same_after_a_restart(folder):
    async def story():
        async with running(folder) as registry:
            first = registry.host_port
            await copy(first, "p:b1", "rw-p")
        async with running(folder) as registry:
            assert registry.host_port == first
            assert [i.tag for i in await registry.images("p")] == ["b1"]

    asyncio.run(story())
    assert (folder / "upload-secret").stat().st_mode & 0o777 == 0o600


def test_the_program_itself_cannot_be_reached_around_the_front(folder):
    async def story():
        async with running(folder):
            pid = json.loads((folder / "supervisor.json").read_text())["children"][0]["pid"]
            return tcp_sockets(pid)

    assert asyncio.run(story()) == set()
    assert (folder / "run").stat().st_mode & 0o777 == 0o700


def tcp_sockets(pid: int) -> set[str]:
    """The TCP sockets that a process has open, by inode."""
    tables = "".join(Path(f"/proc/{pid}/net/{name}").read_text() for name in ("tcp", "tcp6"))
    tcp = {line.split()[9] for line in tables.splitlines() if line.split()[0] != "sl"}
    mine = {os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()}
    return tcp & {name[8:-1] for name in mine if name.startswith("socket:[")}


def test_docker_login_asks_the_front(folder):
    def login(host: str, password: str | None) -> int:
        request = urllib.request.Request(f"http://{host}/v2/")
        if password is not None:
            encoded = b64encode(f"x-token:{password}".encode()).decode()
            request.add_header("Authorization", f"Basic {encoded}")
        try:
            with urllib.request.urlopen(request, timeout=100) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            with error:
                challenge = error.headers.get("WWW-Authenticate", "")
                return error.code if challenge.startswith("Basic realm=") else 0

    async def story():
        async with running(folder) as registry:
            host = registry.host_port
            return [
                await asyncio.to_thread(login, host, password)
                for password in (None, "bad", "rw-p", "ro-q")
            ]

    assert asyncio.run(story()) == [401, 401, 200, 200]


def test_a_registry_that_does_not_run_says_so(folder):
    registry = Registry(folder, admit=admit)
    with pytest.raises(EngineError, match="not running"):
        asyncio.run(registry.images("p"))
