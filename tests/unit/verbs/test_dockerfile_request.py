"""What is asked of the daemon for a Dockerfile build, and what the session has to serve for it."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from depotlab import llb
from depotlab._contexts import context
from depotlab._transfer import HostTree, MemoryTree, TreeFilter
from depotlab._verbs.dockerfile import (
    DockerfileRequest,
    dockerfile_request,
    images_of,
    wants_platform,
)
from depotlab._verbs.request import BuildRequest
from depotlab.errors import ContextError, UsageError
from depotlab.frontend import dockerfile
from depotlab.llb import ImageConfig
from tests.unit.contexts.test_tar import TAR
from tests.unit.contexts.test_value import layout  # noqa: F401 - a fixture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    (tmp_path / "a.txt").write_text("a")
    return tmp_path


def ask(target, **request) -> DockerfileRequest:
    extra = {key: request.pop(key) for key in ("platform", "configs", "digests") if key in request}
    return dockerfile_request(target, BuildRequest(target, "test", **request), **extra)


def ops(encoded: bytes):
    return llb.load(encoded).marshal().ops


def texts(encoded: bytes) -> str:
    return encoded.decode("latin-1")


def listed(tree) -> list[str]:
    return [e.path.decode() for e in tree.walk(TreeFilter()) if e is not None]


# --------------------------------------------------------------------------- the main context


def test_a_directory_is_served_and_the_dockerfile_goes_along(folder: Path) -> None:
    asked = ask(dockerfile(folder))
    assert set(asked.folders) == {"context"}
    assert isinstance(asked.folders["context"], HostTree)
    assert set(asked.inputs) == {"dockerfile"}
    assert "COPY . /" in texts(asked.inputs["dockerfile"])
    assert "# no ignore file" in texts(asked.inputs["dockerfile"])
    assert asked.attrs == {"filename": "Dockerfile"}
    assert not asked.uploads
    assert not asked.stores


@pytest.mark.parametrize("own", [True, False])
def test_the_ignore_rules_go_under_the_name_of_the_dockerfile(folder: Path, own: bool) -> None:
    (folder / ".dockerignore").write_text("theirs\n")
    if own:
        (folder / "Dockerfile.dockerignore").write_text("mine\n")
    text = texts(ask(dockerfile(folder)).inputs["dockerfile"])
    assert "/Dockerfile.dockerignore" in text
    assert ("mine" in text) is own
    assert ("theirs" in text) is not own


def test_rules_of_the_user_take_the_place_of_the_ignore_file(folder: Path) -> None:
    (folder / ".dockerignore").write_text("theirs\n")
    (folder / "Dockerfile.dockerignore").write_text("mine\n")
    (folder / "rules").write_text("a.txt\n")
    target = dockerfile(context(folder, ignore_file=folder / "rules"))
    asked = ask(target)
    assert "mine" not in texts(asked.inputs["dockerfile"])
    assert "theirs" not in texts(asked.inputs["dockerfile"])
    assert listed(asked.folders["context"]) == ["Dockerfile", "Dockerfile.dockerignore", "rules"]
    (folder / "Dockerfile").rename(folder / "real")
    (folder / "Dockerfile").symlink_to("real")  # served as a directory, and still without its rules
    assert "Dockerfile.dockerignore" not in listed(ask(target).folders["dockerfile"])


def test_an_ignore_file_that_is_not_offered_does_not_count(folder: Path) -> None:
    (folder / ".dockerignore").write_text("theirs\n")
    asked = ask(dockerfile(context(folder, exclude=[".dockerignore"])))
    assert "theirs" not in texts(asked.inputs["dockerfile"])


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda f: (f / "Dockerfile").write_text("# syntax=docker/dockerfile:1\nFROM x"), id="syntax line"),
        pytest.param(lambda f: ((f / "real").write_text("FROM x"), (f / "Dockerfile").unlink(),
                                (f / "Dockerfile").symlink_to("real")), id="a link"),
        pytest.param(lambda f: (f / "Dockerfile").rename(f / "dockerfile"), id="lower case"),
    ],
)  # fmt: skip
def test_where_inputs_may_not_be_understood_the_dockerfile_is_served(folder: Path, make) -> None:
    make(folder)
    asked = ask(dockerfile(folder))
    assert asked.inputs == {}
    assert set(asked.folders) == {"context", "dockerfile"}


def test_files_in_memory_are_served_and_their_dockerfile_goes_along() -> None:
    files = {"Dockerfile": "FROM scratch\n", "a.py": "1", ".dockerignore": "*.log\n"}
    asked = ask(dockerfile(files))
    assert listed(asked.folders["context"]) == [".dockerignore", "Dockerfile", "a.py"]
    assert "*.log" in texts(asked.inputs["dockerfile"])
    asked = ask(dockerfile({"Dockerfile": "#syntax=x\nFROM y"}))
    assert asked.inputs == {}
    assert listed(asked.folders["dockerfile"]) == ["Dockerfile", "Dockerfile.dockerignore"]
    asked = ask(dockerfile({"sub/web": "FROM y"}, filename="sub/web"))
    assert listed(asked.folders["dockerfile"]) == ["sub", "sub/web", "sub/web.dockerignore"]
    assert "FROM z" in texts(ask(dockerfile({"dockerfile": "FROM z"})).inputs["dockerfile"])


def test_text_with_a_syntax_is_served(folder: Path) -> None:
    asked = ask(dockerfile(folder, text="FROM x", syntax="docker/dockerfile:1"))
    assert asked.attrs["build-arg:BUILDKIT_SYNTAX"] == "docker/dockerfile:1"
    assert listed(asked.folders["dockerfile"]) == ["Dockerfile", "Dockerfile.dockerignore"]


def test_an_archive_is_an_input_that_the_daemon_pulls_and_unpacks() -> None:
    asked = ask(dockerfile(TAR))
    [upload_id] = asked.uploads
    assert b"".join(asked.uploads[upload_id]()) == TAR
    assert set(asked.inputs) == {"context", "dockerfile"}
    assert asked.inputs["context"] == asked.inputs["dockerfile"]
    assert f"http://buildkit-session/{upload_id}" in texts(asked.inputs["context"])
    assert not asked.folders
    assert "context" not in asked.attrs
    [other] = ask(dockerfile(TAR)).uploads
    assert other != upload_id


def test_an_archive_with_a_dockerfile_of_our_own(folder: Path) -> None:
    for target in (dockerfile(TAR, text="FROM a"), dockerfile(TAR, filename=folder / "Dockerfile")):
        asked = ask(target)
        assert set(asked.inputs) == {"context", "dockerfile"}
        assert asked.inputs["context"] != asked.inputs["dockerfile"]
        assert not asked.folders
    asked = ask(dockerfile(TAR, text="# syntax=x\nFROM a"))
    assert set(asked.inputs) == {"context"}
    assert set(asked.folders) == {"dockerfile"}


def test_what_the_daemon_fetches_is_named(folder: Path) -> None:
    asked = ask(dockerfile("https://host/x.git#main"))
    assert asked.attrs == {"filename": "Dockerfile", "context": "https://host/x.git#main"}
    assert not asked.inputs
    assert not asked.folders
    for target in (
        dockerfile("https://host/x.tar", text="FROM a"),
        dockerfile("https://host/x.tar", filename=folder / "Dockerfile"),
    ):
        asked = ask(target)
        assert asked.attrs["dockerfilekey"] == "dockerfile"
        assert set(asked.folders) == {"dockerfile"}
        assert not asked.inputs


def test_graphs_images_and_layouts_are_inputs(layout: Path) -> None:  # noqa: F811
    asked = ask(dockerfile(llb.scratch().mkfile("/Dockerfile", b"FROM x")))
    assert asked.inputs["context"] == asked.inputs["dockerfile"]
    asked = ask(dockerfile("docker-image://busybox:1", text="FROM x"))
    assert "docker-image://docker.io/library/busybox:1" in texts(asked.inputs["context"])
    asked = ask(dockerfile(f"oci-layout://{layout}:app", text="FROM x"))
    [store_id] = asked.stores
    assert store_id.startswith("oci:")
    assert f"oci-layout://{store_id[4:]}@sha256:" in texts(asked.inputs["context"])


@pytest.mark.parametrize("source", [llb.scratch(), "docker-image://scratch"])
def test_nothing_at_all_is_an_empty_directory(source) -> None:
    asked = ask(dockerfile(source, text="FROM x"))
    assert isinstance(asked.folders["context"], MemoryTree)
    assert "context" not in asked.inputs


# --------------------------------------------------------------------------- further contexts


def test_every_kind_has_a_value_that_the_frontend_knows(folder: Path, layout: Path) -> None:  # noqa: F811
    contexts = {
        "dir": folder, "mem": {"x": "1"}, "tar": TAR, "img": "docker-image://busybox", "none": "docker-image://scratch",
        "web": "https://host/x.git#main", "scp": "git@host:x.git", "ssh": "ssh://git@host/x.git", "me": "me@host:x.git",
        "file": "https://host/x.csv", "oci": f"oci-layout://{layout}:app", "graph": llb.image("busybox").run("true"),
        "empty": llb.scratch(),
    }  # fmt: skip
    asked = ask(dockerfile(text="FROM x", contexts=contexts), platform="linux/arm64")
    values = {
        key.removeprefix("context:"): value
        for key, value in asked.attrs.items()
        if key.startswith("context:")
    }
    [store_id] = asked.stores
    digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    assert values == {
        "dir": "local:context-dir", "mem": "local:context-mem", "tar": "input:named:tar",
        "img": "docker-image://busybox", "none": "docker-image://scratch",
        "web": "https://host/x.git#main", "scp": "git@host:x.git", "ssh": "input:named:ssh", "me": "input:named:me",
        "file": "input:named:file", "oci": f"oci-layout://{store_id[4:]}@{digest}", "graph": "input:named:graph",
        "empty": "docker-image://scratch",
    }  # fmt: skip
    assert set(asked.folders) == {"context", "context-dir", "context-mem"}
    # Or an old frontend would look for images of these names.
    assert asked.attrs["frontend.caps"] == "moby.buildkit.frontend.contexts+forward"
    assert len(asked.uploads) == 1
    assert set(asked.inputs) == {
        "dockerfile",
        *(f"named:{n}" for n in ("tar", "ssh", "me", "file", "graph")),
    }
    assert "arm64" in texts(asked.inputs["named:graph"])
    assert "git://host/x.git" in texts(asked.inputs["named:ssh"])


def test_a_graph_brings_its_configuration_and_its_directories(folder: Path) -> None:
    state = llb.scratch().copy(llb.local(folder, name="src"), "a.txt", "/a").env(A="1").cmd(["x"])
    asked = ask(dockerfile(text="FROM base", contexts={"base": state}), platform="linux/amd64")
    metadata = json.loads(asked.attrs["input-metadata:named:base"])
    config = json.loads(base64.b64decode(metadata["containerimage.config"]))
    assert config["config"] == {"Env": ["A=1"], "Cmd": ["x"]}
    assert (config["os"], config["architecture"]) == ("linux", "amd64")
    assert set(asked.folders) == {"context", "src"}
    plain = ask(dockerfile(text="FROM base", contexts={"base": llb.scratch().mkfile("/x", b"")}))
    assert not any(key.startswith("input-metadata") for key in plain.attrs)


def test_base_images_are_resolved_if_their_configurations_are_known() -> None:
    state = llb.image("busybox").run("true")
    target = dockerfile(state, text="FROM base", contexts={"base": state})
    assert wants_platform(target)
    [image] = images_of(target, BuildRequest(target, "t"), platform="linux/arm64")
    assert (image.ref, str(image.platform)) == ("docker.io/library/busybox:latest", "linux/arm64")
    asked = ask(
        target,
        platform="linux/arm64",
        configs={image: ImageConfig(env={"FROM_BASE": "yes"})},
        digests={image: "sha256:" + "1" * 64},
    )
    for name in ("context", "named:base"):
        assert "FROM_BASE=yes" in texts(asked.inputs[name])
        assert "@sha256:" + "1" * 64 in texts(asked.inputs[name])
    metadata = json.loads(asked.attrs["input-metadata:named:base"])
    config = json.loads(base64.b64decode(metadata["containerimage.config"]))
    assert config["config"]["Env"] == ["FROM_BASE=yes"]
    assert not wants_platform(dockerfile({}, text="FROM x"))
    assert images_of(dockerfile({}, text="FROM x"), BuildRequest(target, "t")) == ()


def test_for_several_platforms_a_graph_goes_along_several_times() -> None:
    target = dockerfile(text="FROM base", contexts={"base": llb.image("busybox").env(A="1")})
    asked = ask(target, platforms=("linux/amd64", "linux/arm64"))
    assert asked.attrs["platform"] == "linux/amd64,linux/arm64"
    for platform in ("linux/amd64", "linux/arm64"):
        assert asked.attrs[f"context:base::{platform}"] == f"input:named:base::{platform}"
        assert platform.removeprefix("linux/") in texts(asked.inputs[f"named:base::{platform}"])
    assert "context:base" not in asked.attrs


def test_two_directories_with_one_name_are_refused(
    tmp_path: Path, folder: Path, monkeypatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    state = llb.scratch().copy(llb.local("."), "x", "/x")  # the local source `context`
    with pytest.raises(UsageError, match="local source called 'context'") as caught:
        ask(dockerfile(folder, contexts={"base": state}))
    assert "llb.local(" in caught.value.hint
    # One directory under one name is no trouble, unless only a part of it is offered.
    (other / "Dockerfile").write_text("FROM base")
    assert set(ask(dockerfile(other, contexts={"base": state})).folders) == {"context"}
    with pytest.raises(UsageError, match="local source called"):
        ask(dockerfile(context(other, exclude=["x"]), contexts={"base": state}))


def test_a_directory_of_a_graph_that_is_not_there_is_named(tmp_path: Path) -> None:
    state = llb.scratch().copy(llb.local(tmp_path / "gone"), "x", "/x")
    with pytest.raises(ContextError, match="does not exist"):
        ask(dockerfile(text="FROM base", contexts={"base": state}))


# --------------------------------------------------------------------------- options


def test_options_become_attributes(folder: Path) -> None:
    target = dockerfile(
        folder, target="prod", args={"V": "1"}, labels={"a": "b"}, no_cache=["x", "y"], network="none",
        add_hosts={"db": "10.0.0.5", "six": "::1"}, shm_size_bytes=1024, ulimits={"nofile": 5, "core": (1, -1)},
        cgroup_parent="/lab", hostname="box", image_resolve_mode="local", check="skip=all",
    )  # fmt: skip
    assert ask(target, platforms=("linux/arm64",)).attrs == {
        "filename": "Dockerfile", "target": "prod", "platform": "linux/arm64", "build-arg:V": "1", "label:a": "b",
        "no-cache": "x,y", "force-network-mode": "none", "add-hosts": "db=10.0.0.5,six=::1", "shm-size": "1024",
        "ulimit": "nofile=5:5,core=1:-1", "cgroup-parent": "/lab", "hostname": "box", "image-resolve-mode": "local",
        "build-arg:BUILDKIT_DOCKERFILE_CHECK": "skip=all",
    }  # fmt: skip
    assert ask(dockerfile(folder, no_cache=True)).attrs["no-cache"] == ""
    assert ask(dockerfile(folder), no_cache=True).attrs["no-cache"] == ""


def test_build_arguments_may_be_empty(folder: Path) -> None:
    assert ask(dockerfile(folder, args={"V": ""})).attrs["build-arg:V"] == ""
