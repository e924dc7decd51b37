"""Base images pass their config on once it is known, exactly as FROM does."""

from __future__ import annotations

import pytest

from depotlab import llb, mount
from depotlab.errors import GraphError
from depotlab.llb import ImageConfig, ImageRef, Platform, State

from .support import actions, exec_meta, last_exec, messages

REF = "docker.io/library/python:3.12"
BASE = llb.image("python:3.12")
CONFIG = ImageConfig(
    env={"PATH": "/usr/local/bin:/bin", "LANG": "C"},
    working_dir="/srv",
    user="web",
    cmd=("python3",),
    labels={"vendor": "x"},
)


def resolved(state: State) -> State:
    return state.resolved({(REF, None): CONFIG})


def test_an_image_alone_is_asked_for() -> None:
    assert llb.unresolved(BASE) == (ImageRef(REF, None),)
    assert llb.unresolved(BASE) == ((REF, None),)


@pytest.mark.parametrize(
    ("state", "refs"),
    [
        pytest.param(llb.scratch(), [], id="scratch has no config"),
        pytest.param(BASE.run("x"), [REF], id="a run takes variables"),
        pytest.param(
            llb.scratch().copy(BASE, "/a", "/b"), [], id="absolute paths of a copy need none"
        ),
        pytest.param(
            llb.scratch().copy(BASE, "a", "/b"),
            [REF],
            id="a relative source starts at its directory",
        ),
        pytest.param(llb.scratch().copy(BASE.dir("/w"), "a", "/b"), [], id="unless that was set"),
        pytest.param(
            llb.image("alpine").run("x", mounts=[mount.bind("/p", BASE)]),
            ["docker.io/library/alpine:latest"],
            id="a mounted image is only files",
        ),
        pytest.param(
            llb.scratch().copy(BASE.run("make"), "/a", "/b"), [REF], id="a run further down counts"
        ),
        pytest.param(llb.merge(llb.image("a"), BASE), ["docker.io/library/a:latest"], id="merge"),
        pytest.param(llb.local("/x", name="x"), [], id="a directory has no config"),
    ],
)
def test_only_images_whose_config_matters_are_asked_for(state: State, refs: list[str]) -> None:
    assert [each.ref for each in llb.unresolved(state)] == refs


def test_images_are_asked_for_once_per_platform() -> None:
    arm = llb.image("python:3.12", platform="linux/arm64")
    both = llb.merge(BASE.run("a"), BASE.run("b"), arm.run("c"))
    arm64 = Platform("linux", "arm64")
    assert llb.unresolved(both) == ((REF, None), (REF, arm64))
    amd64 = Platform("linux", "amd64")
    assert llb.unresolved(both, amd64) == ((REF, amd64), (REF, arm64))


def test_variables_of_the_base_come_first_and_ours_override() -> None:
    state = resolved(BASE.env(LANG="de", A="1").run("x", env={"B": "2"}))
    assert list(exec_meta(state).env) == ["PATH=/usr/local/bin:/bin", "LANG=de", "A=1", "B=2"]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        pytest.param(BASE, "/srv", id="the directory of the base"),
        pytest.param(BASE.dir("app"), "/srv/app", id="a relative one continues it"),
        pytest.param(BASE.dir("a").dir("../../b"), "/b", id="also upwards"),
        pytest.param(BASE.dir("/opt"), "/opt", id="an absolute one stands"),
        pytest.param(BASE.dir("x").dir("/opt").dir("y"), "/opt/y", id="and is continued"),
    ],
)
def test_directories_start_at_that_of_the_base(state: State, expected: str) -> None:
    done = resolved(state.run("x"))
    assert exec_meta(done).cwd == expected
    assert done.image_config().working_dir == expected


def test_the_user_of_the_base_holds_unless_one_is_set() -> None:
    assert exec_meta(resolved(BASE.run("x"))).user == "web"
    assert exec_meta(resolved(BASE.user("root").run("x"))).user == "root"
    assert exec_meta(resolved(BASE.user("").run("x"))).user == ""


def test_every_step_below_is_changed() -> None:
    state = resolved(BASE.run("a").mkdir("d").run("b"))
    execs = [op for op in messages(state) if op.WhichOneof("op") == "exec"]
    assert [op.exec.meta.cwd for op in execs] == ["/srv", "/srv"]
    (mkdir,) = actions(resolved(BASE.run("a").mkdir("d")))
    assert mkdir.path == "/srv/d"


def test_copies_start_and_end_at_the_directories_of_their_images() -> None:
    (copy,) = actions(resolved(llb.scratch().dir("/t").copy(BASE, "a", "b")))
    assert (copy.src, copy.dest) == ("/srv/a", "/t/b")
    (copy,) = actions(resolved(BASE.copy(llb.image("other").dir("/o"), "a", ".")))
    assert (copy.src, copy.dest) == ("/o/a", "/srv/")


def test_the_image_config_is_the_whole_one_afterwards() -> None:
    config = resolved(BASE.run("x").cmd(["mine"]).label(me="y")).image_config()
    assert config.cmd == ("mine",)
    assert config.env == CONFIG.env
    assert config.labels == {"vendor": "x", "me": "y"}


def test_a_resolved_state_can_be_extended() -> None:
    state = resolved(BASE).env(A="1").dir("sub").run("x")
    assert list(exec_meta(state).env) == ["PATH=/usr/local/bin:/bin", "LANG=C", "A=1"]
    assert exec_meta(state).cwd == "/srv/sub"
    assert llb.unresolved(state) == ()


def test_without_resolving_the_bytes_are_those_of_the_go_client() -> None:
    assert exec_meta(BASE.run("x")).cwd == "/"
    assert list(exec_meta(BASE.run("x")).env) == []


def test_images_that_are_not_given_stay_as_they_are() -> None:
    state = BASE.run("x")
    assert state.resolved({}) == state
    assert state.resolved({("docker.io/library/other:latest", None): CONFIG}) == state


def test_configs_are_chosen_by_platform() -> None:
    amd64, arm64 = Platform("linux", "amd64"), Platform("linux", "arm64")
    arm = llb.image("python:3.12", platform=arm64)
    configs = {
        (REF, amd64): ImageConfig(user="amd"),
        (REF, arm64): ImageConfig(user="arm"),
    }
    assert exec_meta(BASE.run("x").resolved(configs, platform=amd64)).user == "amd"
    assert exec_meta(arm.run("x").resolved(configs, platform=amd64)).user == "arm"


def test_digests_pin_the_image() -> None:
    digest = "sha256:" + "a" * 64
    state = BASE.run("x").resolved({(REF, None): CONFIG}, digests={(REF, None): digest})
    assert messages(state)[0].source.identifier == f"docker-image://{REF}@{digest}"
    with pytest.raises(GraphError, match="hexadecimal digits"):
        BASE.resolved({(REF, None): CONFIG}, digests={(REF, None): "sha256:abc"})


def test_options_of_the_image_survive() -> None:
    base = llb.image("python:3.12", platform="linux/arm64", resolve_mode="pull", name="pull it")
    key = (REF, Platform("linux", "arm64"))
    state = base.run("x").resolved({key: CONFIG})
    assert state.marshal().ops[0].name == "pull it"
    assert messages(state)[0].source.attrs["image.resolvemode"] == "pull"
    assert last_exec(state).platform.Architecture == "arm64"


def test_sharing_survives() -> None:
    built = BASE.run("build")
    state = BASE.run("use", mounts=[mount.bind("/a", built), mount.bind("/b", built)])
    assert len(messages(resolved(state))) == 3
    assert len(last_exec(resolved(state)).inputs) == 2


def test_untouched_parts_are_kept() -> None:
    other = llb.local("/x", name="x")
    state = BASE.run("x", mounts=[mount.bind("/x", other)])
    done = resolved(state)
    assert done != state
    assert done.resolved({(REF, None): CONFIG}) == done


def test_exec_stays_an_exec() -> None:
    run = resolved(BASE.run("x", mounts=[mount.bind("/out")]))
    assert exec_meta(run.mounted("/out")).cwd == "/srv"


def test_a_config_of_another_type_is_refused() -> None:
    with pytest.raises(GraphError, match="ImageConfig"):
        BASE.resolved({(REF, None): {"Env": []}})


def test_config_document_can_be_applied_by_hand() -> None:
    state = BASE.env(A="1").with_image_config(
        {"os": "linux", "architecture": "arm64", "config": {"Env": ["B=2"], "WorkingDir": "/w"}}
    )
    op = last_exec(state.run("x"))
    assert (list(op.exec.meta.env), op.exec.meta.cwd) == (["A=1", "B=2"], "/w")
    assert op.platform.Architecture == "arm64"
