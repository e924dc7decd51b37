"""The image config travels with the graph, adds no op and changes no digest."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depotlab import llb
from depotlab.errors import GraphError
from depotlab.llb import Healthcheck, ImageConfig, Platform, State

from .support import exec_meta

ALPINE = llb.image("alpine")
EVERYTHING = ImageConfig(
    env={"B": "2", "A": "1=1"},
    entrypoint=("a", "b"),
    cmd=("c",),
    working_dir="/w",
    user="u:g",
    exposed_ports=("53/udp", "80/tcp"),
    labels={"k": "v"},
    volumes=("/v",),
    stop_signal="SIGINT",
    healthcheck=Healthcheck(("CMD", "true"), 1.5, 2, 3, 4, 5),
    shell=("/bin/bash", "-c"),
    on_build=("RUN x",),
)


def described(state: State) -> State:
    return (
        state.entrypoint(["a"])
        .cmd("b")
        .expose(8000, "53/udp")
        .label({"k": "v"}, more="x")
        .volume("/data")
        .stop_signal(15)
        .healthcheck("curl localhost", interval_s=5)
        .config(shell=["/bin/bash", "-c"], on_build=["RUN y"])
    )


def test_config_only_methods_add_no_op_and_change_no_digest() -> None:
    plain = ALPINE.run("x")
    assert (
        described(plain).marshal("linux/amd64").to_bytes()
        == plain.marshal("linux/amd64").to_bytes()
    )


def test_config_only_methods_set_their_fields() -> None:
    config = described(ALPINE).image_config()
    assert config == ImageConfig(
        entrypoint=("a",),
        cmd=("/bin/sh", "-c", "b"),
        exposed_ports=("53/udp", "8000/tcp"),
        labels={"k": "v", "more": "x"},
        volumes=("/data",),
        stop_signal="15",
        healthcheck=Healthcheck(("CMD-SHELL", "curl localhost"), 5),
        shell=("/bin/bash", "-c"),
        on_build=("RUN y",),
    )


def test_env_dir_and_user_go_into_the_image_too() -> None:
    config = ALPINE.env(A="1").dir("/a//b").dir("c").user("me").image_config()
    assert (config.env, config.working_dir, config.user) == ({"A": "1"}, "/a/b/c", "me")


def test_settings_of_one_run_do_not_go_into_the_image() -> None:
    assert not ALPINE.run("x", env={"A": "1"}, dir="/w", user="me").image_config()


def test_config_follows_the_files_through_steps() -> None:
    state = ALPINE.cmd(["x"])
    for later in (
        state.run("y"),
        state.mkdir("/d"),
        state.copy(ALPINE, "/a", "/b"),
        llb.build(state),
    ):
        assert later.image_config().cmd == ("x",)
    assert llb.diff(state, state.run("y").cmd(["z"])).image_config().cmd == ("x",)


def test_ports_may_be_ranges() -> None:
    assert ALPINE.expose("8000-8002").image_config().exposed_ports == (
        "8000/tcp",
        "8001/tcp",
        "8002/tcp",
    )


def test_healthcheck_forms() -> None:
    assert ALPINE.healthcheck(None).image_config().healthcheck == Healthcheck(("NONE",))
    argv = ALPINE.healthcheck(["a", "b"], retries=3).image_config().healthcheck
    assert argv == Healthcheck(("CMD", "a", "b"), retries=3)


def test_config_can_differ_from_what_steps_see() -> None:
    state = ALPINE.env(A="build").config(env={"A": "image"}, working_dir="/srv", user="web")
    assert state.image_config().env == {"A": "image"}
    assert list(exec_meta(state.run("x")).env) == ["A=build"]
    assert repr(state).endswith("config only: env {'A': 'image'}, working_dir '/srv', user 'web')")


def test_document_round_trip() -> None:
    document = EVERYTHING.to_json(Platform("linux", "arm64", "v8"))
    assert ImageConfig.from_json(document) == EVERYTHING
    parsed = json.loads(document)
    assert (parsed["os"], parsed["architecture"], parsed["variant"]) == ("linux", "arm64", "v8")
    assert parsed["config"]["Env"] == ["B=2", "A=1=1"]
    assert parsed["config"]["ExposedPorts"] == {"53/udp": {}, "80/tcp": {}}
    assert parsed["config"]["Healthcheck"]["Interval"] == 1_500_000_000


def test_empty_config_writes_nothing() -> None:
    document = json.loads(ImageConfig().to_json(Platform("linux", "amd64")))
    assert document["config"] == {}
    assert not ImageConfig()
    assert ImageConfig.from_json("{}") == ImageConfig()


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(b"{", id="cut off"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'{"config": 3}', id="config is a number"),
        pytest.param(b'{"config": {"Env": 3}}', id="env is a number"),
        pytest.param(b'{"config": {"Labels": [1]}}', id="labels are a list"),
        pytest.param(b'{"config": {"Healthcheck": {"Interval": "x"}}}', id="interval is text"),
        pytest.param(b"\xff", id="not UTF-8"),
    ],
)
def test_malformed_documents_are_refused(document: bytes) -> None:
    with pytest.raises(GraphError, match="document"):
        ImageConfig.from_json(document)


def test_over_a_base_variables_labels_ports_and_volumes_add_up() -> None:
    ours = ImageConfig(
        env={"A": "2"}, labels={"k": "2"}, exposed_ports=("80/tcp",), volumes=("/b",)
    )
    base = ImageConfig(
        env={"A": "1", "P": "/bin"},
        labels={"k": "1", "l": "1"},
        exposed_ports=("53/udp",),
        volumes=("/a",),
    )
    both = ours.over(base)
    assert list(both.env.items()) == [("A", "2"), ("P", "/bin")]
    assert both.labels == {"k": "2", "l": "1"}
    assert both.exposed_ports == ("53/udp", "80/tcp")
    assert both.volumes == ("/a", "/b")


@pytest.mark.parametrize(
    ("ours", "entrypoint", "cmd"),
    [
        pytest.param(ImageConfig(), ("be",), ("bc",), id="nothing set, both inherited"),
        pytest.param(ImageConfig(cmd=("c",)), ("be",), ("c",), id="a cmd keeps the entrypoint"),
        pytest.param(
            ImageConfig(entrypoint=("e",)), ("e",), None, id="an entrypoint drops the cmd"
        ),
        pytest.param(ImageConfig(entrypoint=("e",), cmd=("c",)), ("e",), ("c",), id="both set"),
        pytest.param(ImageConfig(cmd=()), ("be",), (), id="an empty cmd is a cmd"),
    ],
)
def test_entrypoint_and_cmd_over_a_base(
    ours: ImageConfig, entrypoint: tuple[str, ...], cmd: tuple[str, ...]
) -> None:
    both = ours.over(ImageConfig(entrypoint=("be",), cmd=("bc",)))
    assert (both.entrypoint, both.cmd) == (entrypoint, cmd)


def test_working_dir_over_a_base() -> None:
    base = ImageConfig(working_dir="/srv/app")
    assert ImageConfig().over(base).working_dir == "/srv/app"
    assert ImageConfig(working_dir="../x").over(base).working_dir == "/srv/x"
    assert ImageConfig(working_dir="/y").over(base).working_dir == "/y"
    assert ImageConfig(working_dir="z").over(ImageConfig()).working_dir == "/z"


def test_on_build_lines_of_the_base_are_not_inherited() -> None:
    assert ImageConfig().over(EVERYTHING).on_build == ()


def test_config_is_a_value() -> None:
    again = pickle.loads(pickle.dumps(EVERYTHING))
    assert again == EVERYTHING
    assert hash(again) == hash(EVERYTHING)
    with pytest.raises(TypeError):
        EVERYTHING.env["A"] = "2"
    with pytest.raises(AttributeError):
        EVERYTHING.cmd = ()
    given = {"A": "1"}
    config = ImageConfig(env=given)
    given["A"] = "2"
    assert config.env == {"A": "1"}


def test_repr_shows_what_is_set() -> None:
    assert repr(ImageConfig(cmd=("a",), env={"A": "1"})) == "ImageConfig(env {'A': '1'}, cmd ['a'])"


names = st.text(st.characters(codec="utf-8", exclude_characters="=\0"), min_size=1, max_size=4)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4)


@given(st.dictionaries(names, texts), st.dictionaries(names, texts))
def test_putting_a_config_over_an_empty_one_changes_nothing(
    env: dict[str, str], labels: dict[str, str]
) -> None:
    config = ImageConfig(env=env, labels=labels)
    assert config.over(ImageConfig()) == config
    assert ImageConfig().over(config) == config
    assert ImageConfig.from_json(config.to_json(Platform("linux", "amd64"))) == config
