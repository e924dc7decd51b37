"""Why was it not cached, of builds on Depot: the project is the builder, and Dockerfiles leave no record."""

from __future__ import annotations

from pathlib import Path

import pytest

import depotlab as dl
from depotlab import llb
from depotlab._past import CauseKind
from depotlab._plane import lease_plane
from depotlab.errors import UsageError


@pytest.fixture(scope="module")
def bk(tmp_path_factory: pytest.TempPathFactory):
    lease = lease_plane(tmp_path_factory.mktemp("plane"))
    try:
        with dl.depot(local=lease.state) as client:
            yield client
    finally:
        lease.close()


def test_a_graph_is_explained_as_on_any_daemon(bk) -> None:
    tools = llb.scratch().copy(llb.local("/bin", include=["busybox"]), "/busybox", "/bin/sh")
    first, second = (
        bk.build(tools.run(f"echo {n}", name="say"), name="depot-why", progress="quiet")
        for n in "ab"
    )
    found = second.why()
    assert found.cause.kind is CauseKind.COMMAND
    assert found.compared_with == first.ref
    again = bk.build(tools.run("echo b", name="say"), name="depot-why", progress="quiet").why()
    assert again.steps == ()


def test_of_a_dockerfile_steps_are_compared_by_their_names(bk, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one")
    results = []
    for text in ("FROM scratch\nCOPY a /a\n", "FROM scratch\nCOPY a /b\n"):
        (tmp_path / "Dockerfile").write_text(text)
        results.append(bk.build(dl.dockerfile(tmp_path), progress="quiet"))
    found = results[1].why()
    assert found.cause.kind is CauseKind.COMMAND
    assert "COPY a /b" in found.cause.step
    assert "COPY a /a" in found.cause.what


def test_depot_keeps_the_history_itself(bk) -> None:
    for ask in (bk.history, lambda: bk.inspect("x"), lambda: bk.replay("x"), lambda: bk.pin("x")):
        with pytest.raises(UsageError, match="Builds on Depot leave no record"):
            ask()


def test_a_dockerfile_is_asked_on_a_machine(bk, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch as one\nCOPY a /a\n")
    target = dl.dockerfile(tmp_path)
    assert bk.lint(target)[0].rule == "FromAsCasing"
    assert bk.targets(target)[0].name == "one"
