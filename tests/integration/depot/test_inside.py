"""Looking into states on Depot: a build of its own, on a machine, for as long as somebody looks."""

from __future__ import annotations

from pathlib import Path

import pytest

import depotlab as dl
from depotlab import frontend, llb
from depotlab._plane import lease_plane

APP = llb.image("busybox").run("echo 1 > /one; head -c 5000 /dev/zero > /zero", name="make")


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory):
    lease = lease_plane(tmp_path_factory.mktemp("plane"))
    yield lease
    lease.close()


@pytest.fixture
def bk(plane):
    with dl.depot(local=plane.state) as client:
        yield client


def builds(plane, *, finished: bool) -> int:
    with dl.depot_api(token=plane.token, url=plane.url) as api:
        listed = api.builds.list(plane.project)
        return sum((build.finished_at is not None) is finished for build in listed)


def test_files_and_layers_of_a_state(bk):
    assert bk.read_text(APP, "/one") == "1\n"
    assert bk.layers(APP)[1].size_bytes == 5002
    assert bk.diff(llb.image("busybox"), APP).largest[0].path == "/zero"


def test_a_function_builds_and_its_steps_are_looked_at(bk):
    @frontend.function
    def app(gw):
        return APP if gw.exists(APP, "/one") else llb.scratch()

    result = bk.build(app(), progress="quiet")
    assert result.depot.build_id
    assert bk.exists(result.at("make"), "/zero")


def test_a_look_is_one_build_that_is_finished_when_the_client_closes(plane: object, tmp_path: Path):
    before = builds(plane, finished=True)
    with dl.depot(local=plane.state) as bk:
        bk.ls(APP)
        bk.ls(APP, "/bin")
        assert builds(plane, finished=False) == 1
    assert builds(plane, finished=False) == 0
    assert builds(plane, finished=True) == before + 1
