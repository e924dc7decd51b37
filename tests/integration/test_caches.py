"""Build caches of every kind, on real daemons: one leaves its steps, another with an empty root takes them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from depotlab import _local, cache, export, llb
from depotlab._oci import Layout
from tests.support.cachebuilds import Built, build, files_of
from tests.support.s3server import REGION, Bucket, s3_server

# A step that would come out otherwise whenever it runs.
CHANCE = "read x < /proc/sys/kernel/random/uuid && echo $x"
TWO_STAGES = f"""\
FROM busybox AS first
RUN {CHANCE} > /stage && echo UNIQUE
FROM busybox
COPY --from=first /stage /copied
RUN {CHANCE} > /stamp
"""


@pytest.fixture(scope="module")
def others(engine, engine_state: Path) -> Iterator[list[str]]:
    """Addresses of daemons that have never built anything; each is taken by one test."""
    running = []

    class Fresh(list):
        def pop(self, *_: int) -> str:
            other = _local.start(state_dir=engine_state / f"other{len(running)}")
            running.append(other)
            return other.address

    yield Fresh()
    for number, other in enumerate(running):
        other.close()
        _local.stop(state_dir=engine_state / f"other{number}")


@pytest.fixture
def fresh(others) -> Iterator[str]:
    return others.pop()


def unique(text: str) -> str:
    return text.replace("UNIQUE", str(time.time_ns()))


def assert_taken(left: Path, built: Built, taken: Path) -> None:
    """The steps ran once: by chance they would not come out alike."""
    assert files_of(taken) == files_of(left)
    assert built.problems == []


# -------------------------------------------------------------------------------------- local


def test_a_local_cache_of_one_daemon_is_taken_by_another(
    engine, fresh: str, tmp_path: Path
) -> None:
    dockerfile = unique(TWO_STAGES)
    kept = cache.local(tmp_path / "cache", mode="max")
    first = build(
        engine.address, dockerfile, cache_to=kept, cache_from=kept, image=tmp_path / "one"
    )
    (note,) = first.notes
    assert "there is nothing yet" in note.message
    second = build(fresh, dockerfile, cache_from=kept, image=tmp_path / "two")
    assert_taken(tmp_path / "one", second, tmp_path / "two")
    assert second.notes == []
    assert second.state("importing cache manifest from local:") == "ran"
    # The stage that the result does not consist of is in it, too.
    assert second.state("[first 2/2] RUN") == "cached"


def test_without_the_cache_the_same_build_comes_out_otherwise(
    engine, fresh: str, tmp_path: Path
) -> None:
    """What the other tests rely on."""
    dockerfile = unique(TWO_STAGES)
    build(engine.address, dockerfile, image=tmp_path / "one")
    second = build(fresh, dockerfile, image=tmp_path / "two")
    assert files_of(tmp_path / "one") != files_of(tmp_path / "two")
    assert second.state("> /stamp") == "ran"


def test_a_local_cache_is_taken_by_a_graph_as_well(engine, fresh: str, tmp_path: Path) -> None:
    graph = llb.image("busybox").run(unique(f"{CHANCE} > /stamp; echo UNIQUE"), name="chance")
    kept = cache.local(tmp_path / "cache", tag="of-a-graph")
    first = build(engine.address, graph, cache_to=kept, image=tmp_path / "one")
    assert first.state("chance") == "ran"
    second = build(fresh, graph, cache_from=kept, image=tmp_path / "two")
    assert_taken(tmp_path / "one", second, tmp_path / "two")


def test_a_local_cache_with_reset_keeps_what_is_needed(engine, tmp_path: Path) -> None:
    kept = cache.local(tmp_path / "cache", mode="max", reset=True)
    for _ in range(2):
        build(engine.address, unique(TWO_STAGES), cache_to=kept)
        for path in (tmp_path / "cache/blobs/sha256").iterdir():
            os.utime(path, (1, 1))
    layout = Layout(tmp_path / "cache")
    assert build(engine.address, unique(TWO_STAGES), cache_to=kept).notes == []
    needed = {node.descriptor.digest for node in layout.walk()}
    assert {info.digest for info in layout.blobs()} == needed
    assert all(node.present for node in layout.walk())


def test_two_caches_at_once_are_each_what_was_asked_for(engine, fresh: str, tmp_path: Path) -> None:
    """The daemon's answer names one manifest only; the directory must not get that of the registry."""
    dockerfile = unique(TWO_STAGES)
    ref = f"{engine.registry}/it/cache-of-two:{time.time_ns()}"
    kept = cache.local(tmp_path / "cache", mode="max")
    build(
        engine.address,
        dockerfile,
        cache_to=[kept, cache.registry(ref, mode="min")],
        image=tmp_path / "one",
    )
    found = Layout(tmp_path / "cache").resolve("latest")
    digest = subprocess.run(
        ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{ref}"],
        check=True,
        capture_output=True,
    ).stdout
    assert json.loads(digest)["config"] != Layout(tmp_path / "cache").document(found)["config"]
    second = build(fresh, dockerfile, cache_from=kept, image=tmp_path / "two")
    assert_taken(tmp_path / "one", second, tmp_path / "two")


@pytest.mark.parametrize("role", ["manifest", "config", "layer"])
def test_a_local_cache_with_a_blob_missing_is_not_used(
    engine, fresh: str, tmp_path: Path, role: str
) -> None:
    dockerfile = unique(TWO_STAGES)
    kept = cache.local(tmp_path / "cache", mode="max")
    build(engine.address, dockerfile, cache_to=kept)
    layout = Layout(tmp_path / "cache")
    missing = next(node for node in layout.walk() if node.role == role).descriptor.digest
    layout.delete_blob(missing)
    second = build(fresh, dockerfile, cache_from=kept)
    (note,) = second.notes
    assert f"its blob {missing} is not there" in note.message
    assert second.problems == second.warnings == []
    assert second.state("> /stamp") == "ran"


# ----------------------------------------------------------------------------------- registry


@pytest.mark.parametrize("mode", ["max", "min"])
def test_a_registry_cache_has_the_stages_that_its_mode_says(
    engine, fresh: str, tmp_path: Path, mode
) -> None:
    dockerfile = unique(TWO_STAGES)
    kept = cache.registry(f"{engine.registry}/it/cache:{time.time_ns()}", mode=mode)
    first = build(
        engine.address, dockerfile, cache_to=kept, cache_from=kept, image=tmp_path / "one"
    )
    (warning,) = first.warnings
    assert f"There is no cache {kept.attrs['ref']} to start from" in warning
    second = build(fresh, dockerfile, cache_from=kept, image=tmp_path / "two")
    assert second.notes == second.warnings == []
    assert_taken(tmp_path / "one", second, tmp_path / "two")
    # A change right behind the first stage needs its result, which only `max` has kept.
    third = build(
        fresh, dockerfile.replace("/copied", "/moved"), cache_from=kept, image=tmp_path / "three"
    )
    assert third.state("COPY --from=first /stage /moved") == "ran"
    same = files_of(tmp_path / "three")["moved"] == files_of(tmp_path / "one")["copied"]
    assert same == (mode == "max")


def test_an_inline_cache_is_in_the_image(engine, fresh: str, tmp_path: Path) -> None:
    dockerfile = unique(f"FROM busybox\nRUN {CHANCE} > /stamp\nRUN echo UNIQUE > /u\n")
    ref = f"{engine.registry}/it/inline:{time.time_ns()}"
    build(
        engine.address,
        dockerfile,
        cache_to=cache.inline(),
        outputs=[export.image(ref, push=True)],
        image=tmp_path / "one",
    )
    second = build(fresh, dockerfile, cache_from=cache.registry(ref), image=tmp_path / "two")
    assert_taken(tmp_path / "one", second, tmp_path / "two")


def test_an_image_that_holds_no_cache_is_remarked_on(engine, fresh: str) -> None:
    ref = f"{engine.registry}/caches/without:1"
    push = export.image(ref, push=True)
    build(engine.address, unique(TWO_STAGES), outputs=(push,))
    built = build(fresh, unique(TWO_STAGES), cache_from=cache.registry(ref))
    assert built.state("> /stamp") == "ran"
    (warning,) = built.warnings
    assert warning.startswith(f"No step was taken from the cache {ref}. It was read")


def test_a_registry_that_is_not_there_is_remarked_on_and_the_build_goes_on(engine) -> None:
    built = build(
        engine.address, unique(TWO_STAGES), cache_from=cache.registry("localhost:1/no/such:cache")
    )
    (warning,) = built.warnings
    assert "localhost:1/no/such:cache could not be read" in warning
    assert "connection refused" in warning
    assert built.state("> /stamp") == "ran"


# ----------------------------------------------------------------------------------------- S3


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with s3_server("caches") as bucket:
        yield bucket


def s3(bucket: Bucket, **options) -> cache.Cache:
    return cache.s3(
        bucket.name,
        region=REGION,
        endpoint_url=bucket.endpoint_url,
        use_path_style=True,
        prefix="it/",
        name=str(time.time_ns()),
        **options,
    )


def test_an_s3_cache_is_left_and_taken_with_the_keys_of_this_machine(
    engine, fresh: str, tmp_path: Path, bucket: Bucket, monkeypatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", bucket.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", bucket.secret_access_key)
    dockerfile = unique(TWO_STAGES)
    kept = s3(bucket, mode="max", upload_parallelism=2)
    first = build(
        engine.address, dockerfile, cache_to=kept, cache_from=kept, image=tmp_path / "one"
    )
    assert first.notes == []
    # One that is not there looks like an empty one.
    (warning,) = first.warnings
    assert warning.startswith("No step was taken from the cache of type s3. It was read")
    keys = bucket.keys()
    assert f"it/manifests/{kept.attrs['name']}" in keys
    assert sum(key.startswith("it/blobs/sha256:") for key in keys) >= 3
    second = build(fresh, dockerfile, cache_from=kept, image=tmp_path / "two")
    assert second.notes == second.warnings == []
    assert_taken(tmp_path / "one", second, tmp_path / "two")


def test_wrong_keys_are_remarked_on_and_not_shown(engine, bucket: Bucket) -> None:
    kept = s3(bucket, access_key_id=bucket.access_key_id, secret_access_key="planted-s3cr3t")
    built = build(engine.address, unique(TWO_STAGES), cache_from=kept)
    (warning,) = built.warnings
    assert "The cache of type s3 could not be read" in warning
    assert "SignatureDoesNotMatch" in warning
    assert "planted-s3cr3t" not in f"{warning} {built.snapshot.steps}"
