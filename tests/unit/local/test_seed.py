"""The busybox image: the same bytes every time, right inside, and only from a static program."""

import gzip
import hashlib
import http.server
import io
import json
import struct
import tarfile
import threading
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depotlab._local import _seed
from depotlab.errors import EngineError

GOLDEN_LAYER = "9c0bee0ca081d949b9d809ebcf0944d2b8fb0b91c9ef316d2c360d29e05277c7"
APPLETS = ["usr/bin/env", "bin/sh", "sbin/ip", "bin/busybox", "linuxrc"]
BANNER = "BusyBox v1.35.0 (Debian 1:1.35.0-4) multi-call binary."


def elf(*, machine: int = 62, bits: int = 64, little: bool = True, headers=(1,)) -> bytes:
    """Return the smallest file with an ELF header and program headers of some kinds."""
    order = "<" if little else ">"
    ident = b"\x7fELF" + bytes([2 if bits == 64 else 1, 1 if little else 2, 1]) + bytes(9)
    if bits == 64:
        head = struct.pack(
            f"{order}HHIQQQIHHHHHH", 2, machine, 1, 0, 64, 0, 0, 64, 56, len(headers), 0, 0, 0
        )
        size = 56
    else:
        head = struct.pack(
            f"{order}HHIIIIIHHHHHH", 2, machine, 1, 0, 52, 0, 0, 52, 32, len(headers), 0, 0, 0
        )
        size = 32
    table = b"".join(struct.pack(f"{order}I", kind).ljust(size, b"\0") for kind in headers)
    return (ident + head + table).ljust(200, b"\0")


PROGRAM = elf()


def image() -> _seed.Image:
    return _seed.make_image(PROGRAM, APPLETS, banner=BANNER)


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (elf(machine=62), "amd64"),
        (elf(machine=183), "arm64"),
        (elf(machine=40, bits=32), "arm"),
        (elf(machine=22, little=False), "s390x"),
    ],
)
def test_the_processor_is_read_from_the_program(program: bytes, expected: str) -> None:
    assert _seed.architecture(program) == expected


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        pytest.param(elf(headers=(1, 3)), "not static", id="one that needs a loader"),
        pytest.param(elf(machine=4242), "4242", id="an unknown processor"),
        pytest.param(b"#!/bin/sh\necho", "no ELF", id="a script"),
        pytest.param(elf()[:80], "damaged", id="half a program"),
    ],
)
def test_a_program_that_would_not_run_in_the_image_is_refused(program: bytes, reason: str) -> None:
    with pytest.raises(EngineError, match=reason):
        _seed.architecture(program)


@given(st.binary(max_size=300))
def test_any_file_is_judged_without_a_crash(content: bytes) -> None:
    for program in (content, b"\x7fELF" + content):
        with suppress(EngineError):  # the only way it may be refused
            assert _seed.architecture(program) in _seed._ARCHITECTURES.values()


def test_equal_programs_give_equal_digests_whatever_the_order_of_the_applets() -> None:
    other = _seed.make_image(PROGRAM, reversed(APPLETS), banner=BANNER)
    assert image().digest == other.digest


def test_the_layer_is_sorted_timeless_and_owned_by_root() -> None:
    layer = _seed.make_layer(PROGRAM, APPLETS)
    # A golden: a change here changes the digest of every image that was built on top.
    assert hashlib.sha256(layer).hexdigest() == GOLDEN_LAYER
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        members = tar.getmembers()
    assert [m.name for m in members] == sorted(m.name for m in members)
    assert {(m.mtime, m.uid, m.gid, m.uname) for m in members} == {(0, 0, 0, "root")}


def test_applets_are_links_and_temporary_folders_are_sticky() -> None:
    with tarfile.open(fileobj=io.BytesIO(_seed.make_layer(PROGRAM, APPLETS))) as tar:
        assert tar.getmember("bin/sh").linkname == "/bin/busybox"
        assert tar.getmember("bin/busybox").isreg()
        assert tar.getmember("linuxrc").issym()
        assert tar.getmember("tmp").mode == 0o1777
        assert tar.getmember("root").mode == 0o700
        passwd = tar.extractfile("etc/passwd")
        assert passwd is not None
        assert passwd.read().startswith(b"root:x:0:0:")


def test_the_config_says_what_the_layer_is() -> None:
    made = image()
    config, manifest = json.loads(made.config), json.loads(made.manifest)
    tar = gzip.decompress(made.layer)
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(tar).hexdigest()}"]
    assert (config["architecture"], config["os"]) == ("amd64", "linux")
    assert config["config"]["Cmd"] == ["sh"]
    assert manifest["config"]["digest"] == _seed.digest_of(made.config)
    assert manifest["layers"][0]["size"] == len(made.layer)


@pytest.mark.parametrize(
    ("banner", "tags"),
    [
        (BANNER, ("latest", "stable", "1.35.0", "1.35")),
        ("BusyBox from the future", ("latest",)),
    ],
)
def test_tags_follow_the_version(banner: str, tags: tuple[str, ...]) -> None:
    assert _seed.tags_for(banner) == tags


def test_a_system_without_a_static_busybox_gets_the_command_that_installs_one(empty_path) -> None:
    (empty_path / "busybox").write_bytes(elf(headers=(3,)))
    (empty_path / "busybox").chmod(0o755)
    with pytest.raises(EngineError, match="not static") as caught:
        _seed.system_image()
    assert "busybox-static" in caught.value.hint


# ------------------------------------------------------------------------------------ pushing


class FakeRegistry(http.server.BaseHTTPRequestHandler):
    """As much of the distribution specification as a push needs; stores what it gets."""

    protocol_version = "HTTP/1.1"
    blobs: dict[str, bytes]
    manifests: dict[str, bytes]

    def do_HEAD(self) -> None:
        kind, name = self.path.split("/")[-2:]
        self.answer(200 if name in getattr(self, kind) else 404)

    def do_POST(self) -> None:
        assert self.path == "/v2/library/busybox/blobs/uploads/"
        self.read()
        self.answer(202, Location=f"http://127.0.0.1:{self.server.server_port}/up/1?_state=a%3D")

    def do_PUT(self) -> None:
        body, url = self.read(), urlsplit(self.path)
        if url.path == "/up/1":
            query = parse_qs(url.query)
            assert query["_state"] == ["a="]
            assert query["digest"] == [_seed.digest_of(body)]
            self.blobs[query["digest"][0]] = body
        else:
            needed = json.loads(body)
            parts = [needed["config"], *needed["layers"]]
            assert all(part["digest"] in self.blobs for part in parts)
            self.manifests[url.path.rpartition("/")[2]] = body
        self.answer(201)

    def read(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def answer(self, code: int, **headers: str) -> None:
        self.send_response(code)
        for name, value in {**headers, "Content-Length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Test output stays readable."""


@pytest.fixture
def registry():
    handler = type("Handler", (FakeRegistry,), {"blobs": {}, "manifests": {}})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    handler.name = f"localhost:{server.server_port}"
    yield handler
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_push_stores_the_blobs_first_and_then_every_tag(registry) -> None:
    made = image()
    seeded = _seed.push(made, registry.name)
    assert set(registry.blobs) == {_seed.digest_of(made.layer), _seed.digest_of(made.config)}
    assert registry.manifests == dict.fromkeys(made.tags, made.manifest)
    assert seeded.digest == made.digest
    assert seeded.refs[0] == "docker.io/library/busybox:latest"


def test_a_registry_that_has_the_image_is_left_alone(registry, monkeypatch) -> None:
    registry.manifests["latest"] = b"{}"
    monkeypatch.setattr(_seed, "system_image", lambda: pytest.fail("it was made anew"))
    assert _seed.seed_if_empty(registry.name, on_progress=print) is None
    assert registry.manifests == {"latest": b"{}"}


def test_a_start_without_a_busybox_says_so_and_goes_on(registry, empty_path) -> None:
    told: list[str] = []
    assert _seed.seed_if_empty(registry.name, on_progress=told.append) is None
    assert "Images come from Docker Hub alone" in told[0]


def test_a_registry_that_is_gone_is_one_clear_error() -> None:
    with pytest.raises(EngineError, match="does not answer"):
        _seed.push(image(), "localhost:9")
