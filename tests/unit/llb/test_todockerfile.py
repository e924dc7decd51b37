"""A graph said as a Dockerfile; whether both make the same files is tested on a real daemon."""

import pytest

from depotlab import llb, mount
from depotlab.errors import GraphError

BASE = llb.image("busybox")


def said(state):
    return state.to_dockerfile("linux/amd64").text


def last(state):
    return said(state).splitlines()[-1]


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("make -j8 && echo $HOME", "RUN make -j8 && echo $HOME"),
        (["make", "a b"], 'RUN ["make", "a b"]'),
        ("--help", 'RUN ["/bin/sh", "-c", "--help"]'),
        ("[ -f x ]", 'RUN ["/bin/sh", "-c", "[ -f x ]"]'),
        ("a\nb", 'RUN ["/bin/sh", "-c", "a\\nb"]'),
        ("a \\", 'RUN ["/bin/sh", "-c", "a \\\\"]'),
        ("cat <<X", 'RUN ["/bin/sh", "-c", "cat <<X"]'),
    ],
)
def test_a_command_is_written_so_that_it_is_read_as_it_was(command, line):
    assert last(BASE.run(command)) == line


def test_a_script_becomes_a_document_whose_mark_is_not_in_it():
    assert said(BASE.run("cat <<EOF\nhi\nEOF\n")) == (
        "FROM busybox\nRUN <<'EOFF'\ncat <<EOF\nhi\nEOF\nEOFF\n"
    )


@pytest.mark.parametrize(
    ("given", "flag"),
    [
        (mount.cache("/c"), "type=cache,target=/c"),
        (
            mount.cache("/c", id="pip", sharing="locked"),
            "type=cache,id=pip,target=/c,sharing=locked",
        ),
        (mount.tmpfs("/t"), "type=tmpfs,target=/t"),
        (mount.ssh(), "type=ssh,id=default,required=true"),
        (mount.secret("key", "/k"), "type=secret,id=key,target=/k,required=true"),
        (mount.secret("key", "/k", optional=True), "type=secret,id=key,target=/k"),
        (mount.secret("key", env="KEY"), "type=secret,id=key,env=KEY,required=true"),
        (mount.bind("/b", llb.image("alpine"), readonly=True), "type=bind,from=alpine,target=/b"),
    ],
)
def test_a_mount_becomes_a_flag(given, flag):
    assert last(BASE.run("x", mounts=[given])) == f"RUN --mount={flag} x"


def test_what_several_read_is_a_stage_of_its_own():
    deps = BASE.run("deps", name="deps")
    both = deps.run("a").copy(deps.run("b", name="B side"), "/out", "/in")
    assert said(both) == (
        "FROM busybox AS deps\nRUN deps\n\n"
        "FROM deps AS stage\nRUN b\n\n"
        "FROM deps\nRUN a\nCOPY --from=stage /out /in\n"
    )


def test_files_of_an_image_are_copied_from_its_name():
    assert (
        last(BASE.copy(llb.image("alpine:3"), "/etc", "/etc")) == "COPY --from=alpine:3 /etc /etc"
    )


def test_an_image_for_another_platform_says_so():
    arm = llb.image("busybox", platform="linux/arm64")
    assert said(arm.run("x")).startswith("FROM --platform=linux/arm64 busybox\n")
    with pytest.raises(GraphError, match="an image for linux/arm64"):
        said(BASE.copy(arm, "/a", "/b"))


def test_a_long_chain_with_many_branches_is_written_in_no_time():
    state = BASE
    for number in range(400):
        state = state.run(f"echo {number}").copy(state.run("side"), "/a", "/b")
    assert said(state).count("FROM ") == 800


def test_a_directory_of_this_computer_is_the_context(tmp_path):
    found = BASE.copy(llb.local(tmp_path), "a.txt", "/a/").to_dockerfile()
    assert found.text.splitlines()[-1] == "COPY a.txt /a/"
    assert found.context == tmp_path
    assert found.contexts == {}


def test_further_directories_are_contexts_of_their_own(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    state = BASE
    for name in ("one", "two"):
        state = state.copy(llb.local(tmp_path / name, name=name), ".", f"/{name}")
    found = state.to_dockerfile()
    assert found.context == tmp_path / "one"
    assert found.contexts == {"two": tmp_path / "two"}
    assert "COPY --from=two " in found.text


def test_a_file_becomes_a_document():
    assert said(llb.scratch().mkfile("/a", "one $X\ntwo\n", mode=0o600)) == (
        "FROM scratch\nCOPY --chmod=600 <<'EOF' /a\none $X\ntwo\nEOF\n"
    )


def test_a_download_is_added():
    state = BASE.copy(llb.http("https://example.org/a.txt", filename="a.txt"), "a.txt", "/b/")
    assert last(state) == "ADD https://example.org/a.txt /b/"


def test_settings_are_written_when_they_change():
    state = BASE.env(A="1").dir("/a").run("x").env(B="with $ and space").user("me").run("y")
    assert said(state).splitlines() == [
        "FROM busybox",
        "ENV A=1",
        "WORKDIR /a",
        "RUN x",
        'ENV B="with \\$ and space"',
        "USER me",
        "RUN y",
    ]


def test_the_image_config_comes_last():
    state = BASE.cmd(["a"]).entrypoint("b c").expose(80).label(x="y").volume("/v").stop_signal(15)
    assert said(state).splitlines()[1:] == [
        "LABEL x=y",
        "EXPOSE 80/tcp",
        'VOLUME ["/v"]',
        "STOPSIGNAL 15",
        'ENTRYPOINT ["/bin/sh", "-c", "b c"]',
        'CMD ["a"]',
    ]


def test_nothing_at_all_is_scratch():
    assert said(llb.scratch()) == "FROM scratch\n"


def test_each_operation_knows_its_line():
    state = BASE.run("one").mkfile("/a", "x\n").run("two")
    found = state.to_dockerfile("linux/amd64")
    lines = found.text.splitlines()
    shown = [lines[number - 1].split()[0] for number in found.lines.values()]
    assert shown == ["FROM", "RUN", "COPY", "RUN"]
    assert lines[list(found.lines.values())[-1] - 1] == "RUN two"
    assert repr(found) == "<DockerfileText 6 lines, 1 stages>"


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (BASE.rm("/x"), "deleting without a program"),
        (BASE.symlink("/a", "/b"), "a link without a program"),
        (BASE.mkfile("/a", "no end"), "whose last line has no line break"),
        (BASE.mkfile("/a", b"\xff\n"), "content is no text"),
        (BASE.mkdir("/a", mode=0o700), "a mode other than 755"),
        (BASE.hosts({"a": "10.0.0.1"}).run("x"), "extra hosts"),
        (llb.diff(BASE, BASE.run("x")), "kind diff"),
        (
            BASE.run("x", mounts=[mount.bind("/o", BASE, readonly=False)]).mounted("/o"),
            "written to a mount",
        ),
        (llb.git("https://example.org/a.git"), "a source and no image"),
        (BASE.env(A="1").run("x").reset(BASE).run("y"), "taking back the variable A"),
        (BASE.label(a="x\ny"), "a value with a line break"),
    ],
)
def test_what_has_no_words_is_refused_with_the_reason(state, reason):
    with pytest.raises(GraphError, match="cannot be said as a Dockerfile") as caught:
        said(state)
    assert reason in str(caught.value)


def test_all_reasons_are_told_at_once_with_the_line_of_the_first():
    state = BASE.rm("/x").run("fine").symlink("/a", "/b")
    with pytest.raises(GraphError) as caught:
        said(state)
    assert "rm /x" in str(caught.value)
    assert "symlink" in str(caught.value)
    assert caught.value.location.filename.endswith("test_todockerfile.py")
