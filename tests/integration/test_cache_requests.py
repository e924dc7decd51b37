"""Caches as the daemon is told of them: the same words as `buildctl` uses, and what the daemon then does with them."""

from __future__ import annotations

import base64
import http.server
import json
import os
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from depotlab import cache
from depotlab._local import install
from depotlab._proto import control_pb2
from depotlab.buildkit import SolveSpec, new_ref
from depotlab.buildkit.spec import solve_request
from tests.support.cachebuilds import build
from tests.support.controlrecorder import Recorder, recording_daemon
from tests.support.layouts import HandMade, tagged

JOB = {
    "ACTIONS_RESULTS_URL": "https://results.example/",
    "ACTIONS_CACHE_URL": "https://cache.example/",
    "ACTIONS_RUNTIME_TOKEN": "job-token",
}


@pytest.fixture(scope="module")
def recorder(engine_state: Path) -> Iterator[Recorder]:
    with recording_daemon(engine_state) as recorder:
        yield recorder


def told_by_buildctl(
    recorder: Recorder, *arguments: str, env: dict[str, str]
) -> control_pb2.SolveRequest:
    program = install().buildctl
    assert program is not None, "buildctl is installed with the engine"
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("ACTIONS_", "AWS_"))}
    done = subprocess.run(
        [
            program.host_path,
            f"--addr={recorder.address}",
            "build",
            "--frontend=dockerfile.v0",
            "--progress=plain",
            *arguments,
        ],
        env={**clean, **env},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "this daemon only listens" in done.stderr, done.stderr
    return recorder.requests.pop()


def told_by_us(
    to: cache.Cache, frm: cache.Cache | None, env: dict[str, str]
) -> control_pb2.SolveRequest:
    spec = SolveSpec(
        new_ref(),
        frontend="dockerfile.v0",
        cache_exports=cache.as_exports(to, environment=env).entries,
        cache_imports=cache.as_imports(frm, environment=env).entries,
    )
    return control_pb2.SolveRequest.FromString(solve_request(spec, "s"))


def plain(entries) -> list[tuple[str, dict[str, str]]]:
    return [(entry.Type, dict(entry.Attrs)) for entry in entries]


@pytest.mark.parametrize(
    ("words", "to", "frm", "env"),
    [
        pytest.param(
            "type=registry,ref=h/a:c,mode=max,image-manifest=true,oci-mediatypes=true,"
            "compression=zstd,compression-level=3,force-compression=true,ignore-error=true",
            cache.registry(
                "h/a:c",
                mode="max",
                image_manifest=True,
                oci_mediatypes=True,
                compression="zstd",
                compression_level=3,
                force_compression=True,
                ignore_error=True,
            ),
            ("type=registry,ref=h/a:c", cache.registry("h/a:c", mode="max")),
            {},
            id="registry",
        ),
        pytest.param(
            "type=registry,ref=h/a:c,registry.insecure=true",
            cache.registry("h/a:c", insecure=True),
            (
                "type=registry,ref=h/a:c,registry.insecure=true",
                cache.registry("h/a:c", insecure=True),
            ),
            {},
            id="insecure registry",
        ),
        pytest.param("type=inline", cache.inline(), None, {}, id="inline"),
        pytest.param(
            "type=gha,scope=x,mode=max",
            cache.gha(scope="x", mode="max"),
            ("type=gha,scope=x", cache.gha(scope="x")),
            JOB,
            id="gha",
        ),
        pytest.param(
            "type=gha",
            cache.gha(),
            ("type=gha", cache.gha()),
            {**JOB, "ACTIONS_CACHE_SERVICE_V2": "true"},
            id="gha, version 2",
        ),
        pytest.param(
            "type=gha,version=1,timeout=90s,token=t,url=https://u/,ghtoken=g,repository=o/r",
            cache.gha(
                version=1,
                timeout_s=90,
                token="t",
                url="https://u/",
                github_token="g",
                repository="o/r",
            ),
            ("type=gha,url_v2=https://v/,token=t", cache.gha(url_v2="https://v/", token="t")),
            {},
            id="gha, all given",
        ),
        pytest.param(
            "type=s3,bucket=b,region=r,prefix=p/,name=a;b,mode=max,access_key_id=i,secret_access_key=k,"
            "session_token=t,endpoint_url=http://h,use_path_style=true,touch_refresh=60s,"
            "upload_parallelism=2,retry_mode=adaptive,retry_max_attempts=5",
            cache.s3(
                "b",
                region="r",
                prefix="p/",
                name=["a", "b"],
                mode="max",
                access_key_id="i",
                secret_access_key="k",
                session_token="t",
                endpoint_url="http://h",
                use_path_style=True,
                touch_refresh_s=60,
                upload_parallelism=2,
                retry_mode="adaptive",
                retry_max_attempts=5,
            ),
            (
                "type=s3,bucket=b,region=r,manifests_prefix=m/,blobs_prefix=o/,disable_accept_encoding=true",
                cache.s3(
                    "b",
                    region="r",
                    manifests_prefix="m/",
                    blobs_prefix="o/",
                    disable_accept_encoding=True,
                    credentials="daemon",
                ),
            ),
            {},
            id="s3",
        ),
        pytest.param(
            "type=azblob,account_url=https://a,account_name=n,secret_access_key=k,container=c,prefix=p,"
            "manifests_prefix=m,blobs_prefix=o,name=x,mode=max",
            cache.azblob(
                "https://a",
                account_name="n",
                secret_access_key="k",
                container="c",
                prefix="p",
                manifests_prefix="m",
                blobs_prefix="o",
                name="x",
                mode="max",
            ),
            ("type=azblob,account_url=https://a", cache.azblob("https://a")),
            {},
            id="azblob",
        ),
    ],
)
def test_the_daemon_is_told_what_buildctl_tells_it(recorder: Recorder, words, to, frm, env) -> None:
    arguments = [f"--export-cache={words}"]
    if frm is not None:
        arguments.append(f"--import-cache={frm[0]}")
    theirs = told_by_buildctl(recorder, *arguments, env=env)
    ours = told_by_us(to, frm[1] if frm else None, env)
    assert plain(ours.Cache.Exports) == plain(theirs.Cache.Exports)
    assert plain(ours.Cache.Imports) == plain(theirs.Cache.Imports)
    key = "cache-imports"
    assert (key in ours.FrontendAttrs) == (key in theirs.FrontendAttrs) == (frm is not None)
    if frm is not None:
        assert json.loads(ours.FrontendAttrs[key]) == json.loads(theirs.FrontendAttrs[key])


def test_of_a_local_cache_the_daemon_is_told_what_buildctl_tells_it(
    recorder: Recorder, tmp_path: Path
) -> None:
    """The tag, too, is told by `buildctl`; the daemon has no use for it."""
    hand = HandMade(tmp_path / "c")
    hand.list_images(tagged(hand.image({"a": b"1"}), "main"))
    path = tmp_path / "c"
    theirs = told_by_buildctl(
        recorder,
        f"--export-cache=type=local,dest={path},mode=max,tag=main",
        f"--import-cache=type=local,src={path},tag=main",
        env={},
    )
    ours = told_by_us(cache.local(path, mode="max", tag="main"), cache.local(path, tag="main"), {})
    for said, told in (
        (ours.Cache.Exports, theirs.Cache.Exports),
        (ours.Cache.Imports, theirs.Cache.Imports),
    ):
        ((_, mine),) = plain(said)
        assert [("local", {**mine, "tag": "main"})] == plain(told)


# ---------------------------------------------------------------- what the daemon does with it


class _Storage(http.server.ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Noting)
        self.asked: list[tuple[str, str, dict[str, str]]] = []


class _Noting(http.server.BaseHTTPRequestHandler):
    def answer(self) -> None:
        assert isinstance(self.server, _Storage)
        self.server.asked.append((self.command, self.path, dict(self.headers)))
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = do_POST = do_PUT = answer  # noqa: N815

    def log_message(self, *args):
        """Test output stays readable."""


@pytest.fixture
def storage() -> Iterator[_Storage]:
    """A storage that notes who asks for what, and refuses everybody."""
    server = _Storage()
    thread = threading.Thread(target=server.serve_forever, name="storage")
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def dockerfile() -> str:
    return f"FROM busybox\nRUN echo {time.time_ns()}\n"


def test_the_daemon_asks_github_with_the_token_of_the_job(engine, storage, monkeypatch) -> None:
    now_s = int(time.time())
    claims = {
        "ac": json.dumps([{"Scope": "refs/heads/main", "Permission": 3}]),
        "nbf": now_s - 60,
        "exp": now_s + 600,
    }
    parts = ({"alg": "none"}, claims)
    packed = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts
    ]
    token = ".".join([*packed, ""])
    monkeypatch.setenv("ACTIONS_RUNTIME_TOKEN", token)
    monkeypatch.setenv("ACTIONS_CACHE_URL", f"http://127.0.0.1:{storage.server_port}/")
    monkeypatch.delenv("ACTIONS_CACHE_SERVICE_V2", raising=False)
    built = build(engine.address, dockerfile(), cache_from=cache.gha(scope="of-tests"))
    method, path, headers = storage.asked[0]
    found = urllib.parse.urlsplit(path)
    assert (method, found.path) == ("GET", "/_apis/artifactcache/cache")
    assert urllib.parse.parse_qs(found.query)["keys"][0].startswith("index-of-tests-1-")
    assert headers["Authorization"] == f"Bearer {token}"
    (warning,) = built.warnings
    assert "cache of type gha" in warning
    assert token not in warning


def test_the_daemon_asks_azure_with_the_key_of_the_account(engine, storage) -> None:
    key = base64.b64encode(b"planted-s3cr3t").decode()
    kept = cache.azblob(
        f"http://127.0.0.1:{storage.server_port}",
        account_name="me",
        container="of-tests",
        secret_access_key=key,
    )
    built = build(engine.address, dockerfile(), cache_from=kept)
    method, path, headers = storage.asked[0]
    assert (method, path.partition("?")[0]) == ("GET", "/of-tests")
    assert headers["Authorization"].startswith("SharedKey me:")
    (warning,) = built.warnings
    assert "cache of type azblob" in warning
    assert key not in f"{warning} {built.snapshot.steps}"
