"""A real S3 server on loopback: versitygw, a gateway that people run, over a folder. It checks every signature.

Moto, which other tests use, answers 500 to an address that carries its signature, so it cannot say whether those that
are handed out are good, changed or expired. Compiling takes 70 s of processor time, once.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.officialclients import ClientUnavailable, cache_folder
from tests.support.ports import held_port

_PROGRAM = Path(__file__).parent / "s3gateway"


@dataclass
class Store:
    """A bucket at a server, and the keys of the only user that may do something with it."""

    endpoint_url: str
    bucket: str
    access_key_id: str
    secret_access_key: str


def gateway_program() -> Path:
    """Return the program in `s3gateway`, compiled at the first use; pinned by the digests in its go.sum.

    Raises:
        ClientUnavailable: There is no Go, or the modules cannot be downloaded, or are not what was expected.
    """
    texts = [(_PROGRAM / name).read_bytes() for name in ("main.go", "go.mod", "go.sum")]
    kept = cache_folder() / f"s3gateway-{hashlib.sha256(b''.join(texts)).hexdigest()[:12]}"
    if kept.exists():
        return kept
    if shutil.which("go") is None:
        raise ClientUnavailable("Go, which compiles the S3 server, is not installed")
    fresh = kept.with_suffix(f".{os.getpid()}")
    done = subprocess.run(
        ["go", "build", "-trimpath", "-ldflags=-s -w", "-o", str(fresh), "."],
        cwd=_PROGRAM,
        env={**os.environ, "GOFLAGS": "-mod=readonly -buildvcs=false", "GOWORK": "off"},
        capture_output=True,
        timeout=500,
        check=False,
    )
    if done.returncode:
        # Without the text: it may name the proxy that this machine uses.
        raise ClientUnavailable("the S3 server does not compile here")
    fresh.replace(kept)
    return kept


@contextlib.contextmanager
def running(folder: Path, port: int = 0) -> Iterator[Store]:
    """Run the server for as long as a block lasts, over what a folder has from earlier runs."""
    program = gateway_program()
    held = None if port else held_port()
    port = port or held.getsockname()[1]
    store = Store(f"http://127.0.0.1:{port}", "contexts", "gatewaykey", "gatewaysecret")
    (folder / "buckets" / store.bucket).mkdir(parents=True, exist_ok=True)
    # Beside the files: not every file system of a test machine has extended attributes.
    (folder / "about").mkdir(exist_ok=True)
    server = subprocess.Popen(
        [str(program), str(port), str(folder / "buckets"), str(folder / "about")],
        env={
            **os.environ,
            "S3_ACCESS_KEY": store.access_key_id,
            "S3_SECRET_KEY": store.secret_access_key,
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until_it_answers(store.endpoint_url)
        yield store
    finally:
        server.terminate()
        server.wait(30)
        if held is not None:
            held.close()


def _wait_until_it_answers(url: str) -> None:
    deadline_s = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except urllib.error.HTTPError as refused:  # it does not know us, which is an answer
            refused.close()
            return
        except OSError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.02)
