"""One's own builds, recorded while a real engine builds them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import depotlab as dl
from depotlab import llb, mount, telemetry
from depotlab.errors import BuildTimeout, StepFailed


@pytest.fixture
def word() -> str:
    """Something that no other test has built."""
    return f"word {time.time_ns()}"


def test_builds_of_a_block_are_rows_with_all_steps_and_lines(
    bk: dl.Client, tmp_path: Path, word: str
) -> None:
    numbers = llb.image("busybox").run(f"echo {word}; seq 1 300")
    with telemetry.recording("shop", where=tmp_path / "builds.duckdb") as t:
        first = bk.build(numbers, name="numbers", progress="quiet")
        again = bk.build(numbers, name="numbers", progress="quiet")
        with pytest.raises(StepFailed) as caught:
            bk.build(numbers.run("echo nearly; exit 3"), name="fails", progress="quiet")
        assert len(t.builds(project="shop")) == 3
    bk.build(numbers, name="after the block", progress="quiet")
    failed, *succeeded = t.builds()
    assert [b.build_id for b in succeeded] == [again.ref, first.ref]
    for result in (first, again):
        worked_on = {(s.digest, s.state == "cached") for s in result.steps if s.intervals}
        assert {(s.step_id, s.cached) for s in t.steps(result)} == worked_on
    assert [line.text for line in t.logs(first)] == [word, *map(str, range(1, 301))]
    assert {r.of: r.cached_share for r in t.cache_hit_rate("build")}[again.ref] == 1.0
    assert (failed.status, failed.deployment) == ("failed", "fails")
    assert "exit code: 3" in failed.error
    assert [line.text for line in t.logs(failed)] == ["nearly"]
    assert [s.state for s in t.steps(failed)][-1] == "failed"
    with telemetry.open(tmp_path / "builds.duckdb") as t:
        assert t.add(caught.value, project="shop") == failed.build_id, "it is known"
        assert t.add(first, project="shop") == first.ref
        assert len(t.builds()) == 3


def test_secrets_of_a_build_are_in_no_row(bk: dl.Client, tmp_path: Path, word: str) -> None:
    path = tmp_path / "builds.duckdb"
    shown = llb.image("busybox").run(
        f"echo {word}; cat /run/secrets/key; false", mounts=[mount.secret("key")]
    )
    with telemetry.recording("shop", where=path) as t, pytest.raises(StepFailed):
        bk.build(shown, secrets={"key": "pl4nted-s3cr3t"}, progress="quiet")
    (build,) = t.builds()
    assert [line.text for line in t.logs(build)] == [word, "•••"]
    t.close()
    assert b"pl4nted" not in path.read_bytes()


def test_a_build_that_is_cut_off_is_kept_as_cancelled(
    bk: dl.Client, tmp_path: Path, word: str
) -> None:
    waits = llb.image("busybox").run(f"echo {word}; sleep 1000")
    with telemetry.recording("shop", where=tmp_path / "b.duckdb") as t, pytest.raises(BuildTimeout):
        bk.build(waits, timeout_s=1.0, progress="quiet")
    (build,) = t.builds()
    assert build.status == "canceled"
    assert t.flaky_steps("name").rows() == []
