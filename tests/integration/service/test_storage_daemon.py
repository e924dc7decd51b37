"""What a real daemon gets from the stores: every archive that the check lets through unpacks."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import depotlab as dl
from depotlab._portal import portal
from depotlab.service import LocalStorage
from depotlab.service._run.buildrequest import _unpacked
from tests.support.uploadedarchives import PACKINGS, tar

DOCKERFILE = b"FROM scratch\nCOPY Dockerfile /copied\n"
LONG = "d/" + "n" * 120
FILES = ((LONG, b"long"), ("Dockerfile", DOCKERFILE))
LIMITS = {"max_bytes": 1 << 20, "max_unpacked_bytes": 1 << 20}


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStorage]:
    storage = LocalStorage(tmp_path_factory.mktemp("store"))
    portal().run(storage.open())
    yield storage
    portal().run(storage.close())


def put(storage: LocalStorage, key: str, data: bytes) -> str:
    """Upload and check an archive; return where machines get it."""
    upload = portal().run(storage.upload(key, expires_s=60, max_bytes=1 << 20))
    request = urllib.request.Request(upload.upload_url, data=data, method="PUT")
    with urllib.request.urlopen(request, timeout=60):
        pass
    portal().run(storage.check(key, **LIMITS))
    return portal().run(storage.download_url(key, expires_s=60))


@pytest.mark.parametrize("compression", PACKINGS)
def test_every_kind_of_archive_unpacks_there(
    bk: dl.Client, storage: LocalStorage, compression: str
) -> None:
    # An extended header comes first, by which the frontend alone would not know a plain archive.
    url = put(storage, f"p/{compression}", PACKINGS[compression](tar(*FILES)))
    files = _unpacked(url)
    assert bk.read(files, "/Dockerfile") == DOCKERFILE
    assert bk.read(files, f"/{LONG}") == b"long"


def test_another_signature_and_another_key_do_not_build_again(
    bk: dl.Client, storage: LocalStorage, tmp_path: Path
) -> None:
    data = PACKINGS["gzip"](tar(*FILES, ("again", b"")))
    urls = [put(storage, "p/1", data), put(storage, "p/2", data)]
    urls.insert(1, portal().run(storage.download_url("p/1", expires_s=70)))
    built = [
        bk.build(dl.dockerfile(dl.context(_unpacked(url))), output=dl.export.oci(tmp_path / "i"))
        for url in urls
    ]
    for result in built[1:]:
        copied = next(step for step in result.steps if "COPY" in step.name)
        assert copied.state == "cached"


def test_paths_that_lead_out_stay_inside(bk: dl.Client, storage: LocalStorage) -> None:
    url = put(storage, "p/up", tar(("../../up", b"x"), ("/top", b"y")))
    assert bk.read(_unpacked(url), "/up") == b"x"
    assert bk.read(_unpacked(url), "/top") == b"y"
