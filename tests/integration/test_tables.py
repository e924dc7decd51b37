"""What verbs give back, as pandas tables: of a real builder, with the types that the names of columns say."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import depotlab as dl
from depotlab import llb

TEXT = "FROM busybox AS base\nARG WHO=you\nRUN echo {0} $WHO > /hi && dd if=/dev/zero of=/big bs=1k count=40\n"


@pytest.fixture
def built(bk: dl.Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> list[dl.BuildResult]:
    """Two builds of one name, the second with another command."""
    monkeypatch.setenv("DEPOTLAB_PAST", str(tmp_path / "past.sqlite3"))
    words = [f"{time.time_ns()}", f"{time.time_ns()}x"]
    return [
        bk.build(dl.dockerfile(text=TEXT.format(word)), name="tables", progress="quiet")
        for word in words
    ]


def kinds(frame: Any) -> dict[str, str]:
    """Return the types of the columns whose names say what they hold."""
    return {
        name: str(kind).split("[")[0]
        for name, kind in frame.dtypes.items()
        if name.endswith(("_at", "_bytes", "_s")) or name.startswith("n_")
    }


def test_builds_and_their_steps(bk: dl.Client, built: list[dl.BuildResult]) -> None:
    steps = built[1].steps.to_pandas()
    (ran,) = steps[steps.name.str.contains("RUN echo")].to_dict("records")
    assert ran["state"] == "ran"
    assert ran["duration_s"] > 0
    assert datetime.now(UTC) - ran["started_at"] < timedelta(hours=1)
    assert kinds(steps) == {
        "duration_s": "float64",
        "started_at": "datetime64",
        "ended_at": "datetime64",
        "n_log_lines": "int64",
    }
    history = bk.history(limit=2).to_pandas()
    assert history.ref.tolist() == [built[1].ref, built[0].ref]
    assert (history.completed_at >= history.created_at).all()
    assert (history.n_steps >= history.n_cached).all()
    assert bk.inspect(built[0].ref).steps.to_pandas().name.tolist()
    past = dl.past().builds().to_pandas()
    assert past.ref.tolist()[:2] == [built[1].ref, built[0].ref]


def test_why_and_what_differs(built: list[dl.BuildResult]) -> None:
    why = built[1].why().to_pandas()
    assert why.kind.tolist() == ["command changed"]
    found = dl.compare(*built).to_pandas()
    assert {"operation"} == set(found.kind)
    (command,) = found[found.field == "command"].to_dict("records")
    assert command["a"] != command["b"]


def test_files_and_sizes(bk: dl.Client, built: list[dl.BuildResult]) -> None:
    target = built[1].at("RUN echo")
    base = llb.image("busybox")
    listed = bk.ls(target, "/").to_pandas()
    assert listed.set_index("path").size_bytes["/big"] == 40 * 1024
    assert kinds(listed) == {"size_bytes": "int64", "modified_at": "datetime64"}
    assert bk.find(target, "big").to_pandas().path.tolist() == ["/big"]
    assert bk.find(target, "no such name").to_pandas().size_bytes.sum() == 0
    assert bk.du(target).to_pandas().set_index("path").size_bytes["/big"] == 40 * 1024
    layers = bk.layers(target).to_pandas()
    assert layers[layers.name.str.contains("RUN")].size_bytes.tolist()[0] >= 40 * 1024
    diff = bk.diff(base, target).to_pandas()
    assert {"/big", "/hi"} <= set(diff[diff.kind == "added"].path)


def test_a_cache_and_a_dockerfile(bk: dl.Client, built: list[dl.BuildResult]) -> None:
    usage = bk.disk_usage()
    frame = usage.to_pandas()
    assert frame.size_bytes.sum() == usage.total_bytes
    assert frame.groupby("type").size_bytes.sum().to_dict() == usage.by_type
    assert kinds(frame) == {
        "size_bytes": "int64",
        "created_at": "datetime64",
        "last_used_at": "datetime64",
        "n_used": "int64",
    }
    dockerfile = dl.dockerfile(text=TEXT.format("x").replace(" AS ", " as "))
    assert bk.lint(dockerfile).to_pandas().rule.tolist() == ["FromAsCasing"]
    assert bk.targets(dockerfile).to_pandas().name.tolist() == ["base"]
    outline = bk.outline(dockerfile).to_pandas()
    assert outline[["kind", "name", "value"]].to_numpy().tolist() == [["argument", "WHO", "you"]]


def test_many_builds(bk: dl.Client) -> None:
    targets = {name: llb.scratch().mkfile("/a", name) for name in ("one", "two")}
    frame = dl.build_all(targets, bk, progress="quiet").to_pandas()
    assert sorted(frame.name) == ["one", "two"]
    assert (frame.n_steps >= 1).all()
