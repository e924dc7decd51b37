"""A Dockerfile is asked what it takes, what is wrong in it, and which graph it is."""

import asyncio

import pytest

import depotlab as dl
from depotlab import aio, export
from depotlab.errors import DockerfileError, UsageError

TEXT = """\
ARG BASE=busybox
FROM $BASE AS base
# V is the version
ARG V=1
ENV LEVEL=high
RUN --mount=type=secret,id=key,required=true echo $V > /v
# app is what runs
FROM base as app
WORKDIR /srv
COPY app /srv/app
USER 1000
CMD ["cat", "app/main.py"]
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.py").write_text("print(1)")
    (tmp_path / "app" / "notes.txt").write_text("not for the image")
    (tmp_path / ".dockerignore").write_text("**/*.txt")
    (tmp_path / "Dockerfile").write_text(TEXT)
    return tmp_path


def test_what_a_target_can_be_given(bk, folder):
    found = bk.outline(dl.dockerfile(folder, args={"V": "7"}))
    assert found.target == "app"
    arguments = {one.name: one for one in found.arguments}
    assert (arguments["V"].value, arguments["V"].description) == ("7", "is the version")
    assert arguments["V"].line == 4
    assert [(one.name, one.required, one.line) for one in found.secrets] == [("key", True, 6)]


def test_which_stages_there_are(bk, folder):
    found = bk.targets(dl.dockerfile(folder))
    assert [(one.name, one.base, one.is_default, one.line) for one in found] == [
        ("base", "$BASE", False, 2),
        ("app", "base", True, 8),
    ]


def test_what_is_wrong_and_how_it_could_be(bk, folder):
    (finding,) = bk.lint(dl.dockerfile(folder))
    assert (finding.rule, finding.line) == ("FromAsCasing", 8)
    assert finding.fix == "FROM base AS app"
    assert finding.url.startswith("https://")
    assert bk.lint(dl.dockerfile(folder, check="skip=all")).ok


def test_a_dockerfile_that_cannot_be_read_names_its_line(bk):
    wrong = dl.dockerfile(text="FROM busybox\nRAN echo hi")
    for ask in (bk.outline, bk.targets, bk.to_state):
        with pytest.raises(DockerfileError) as caught:
            ask(wrong)
        assert caught.value.locations[0].line == 2
        assert "> 2 | RAN echo hi" in str(caught.value)
    (finding,) = bk.lint(wrong)
    assert (finding.rule, finding.line, finding.text) == ("BuildError", 2, "RAN echo hi")


def test_only_a_dockerfile_is_asked(bk, folder):
    for ask in (bk.outline, bk.targets, bk.lint, bk.to_state):
        with pytest.raises(UsageError, match="no Dockerfile build"):
            ask(str(folder))


def test_one_platform_is_one_graph(bk):
    with pytest.raises(UsageError, match="for one platform"):
        bk.to_state(dl.dockerfile(text="FROM busybox"), platform="linux/amd64,linux/arm64")


def test_a_result_without_any_file_is_no_graph(bk):
    with pytest.raises(UsageError, match="made no graph"):
        bk.to_state(dl.dockerfile(text="FROM scratch"))


def test_a_context_in_memory_cannot_be_part_of_a_graph(bk):
    text = "FROM busybox\nCOPY a /a"
    with pytest.raises(UsageError, match="copies from the context 'context'"):
        bk.to_state(dl.dockerfile({"a": "x"}, text=text))
    assert bk.lint(dl.dockerfile({"a": "x"}, text=text)).ok


def test_further_directories_come_along(bk, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    text = "FROM scratch\nCOPY file /one\nCOPY --from=more file /two"
    target = dl.dockerfile(tmp_path / "one", text=text, contexts={"more": tmp_path / "two"})
    bk.build(bk.to_state(target), output=export.local(tmp_path / "out"), progress="quiet")
    assert (tmp_path / "out" / "two").read_text() == "two"


def test_a_dockerfile_becomes_a_graph_that_builds_the_same_files(bk, folder, tmp_path):
    target = dl.dockerfile(folder)
    state = bk.to_state(target)
    options = {"secrets": {"key": "x"}, "progress": "quiet"}
    outs = [tmp_path / "one", tmp_path / "two"]
    for one, out in zip((target, state), outs, strict=True):
        bk.build(one, output=export.local(out), **options)
    assert (outs[1] / "srv/app/main.py").read_text() == "print(1)"
    for out in outs:
        assert not (out / "srv/app/notes.txt").exists()
        assert (out / "v").read_text() == "1\n"


def test_the_graph_has_the_settings_of_the_dockerfile(bk, folder):
    state = bk.to_state(dl.dockerfile(folder))
    config = state.image_config()
    assert config.cmd == ("cat", "app/main.py")
    assert (config.working_dir, config.user) == ("/srv", "1000")
    assert config.env["LEVEL"] == "high"
    more = state.run('echo "$LEVEL $(pwd) $(id -u)"', name="ask")
    result = bk.build(more, secrets={"key": "x"}, progress="quiet")
    assert result.logs("ask").strip() == "high /srv 1000"


def test_operations_keep_their_digests(bk):
    target = dl.dockerfile(text="FROM busybox\nRUN echo hi\nRUN echo more")
    built = bk.build(target, progress="quiet")
    digests = set(bk.to_state(target).marshal().digests)
    assert {step.digest for step in built.steps if step.name.startswith("[")} - {
        step.digest for step in built.steps if step.is_internal
    } <= digests


def test_the_graph_knows_the_lines_of_the_dockerfile(bk):
    state = bk.to_state(dl.dockerfile(text="FROM busybox\nRUN false"))
    with pytest.raises(dl.errors.StepFailed) as caught:
        bk.build(state, progress="quiet")
    assert [(at.filename, at.line) for at in caught.value.locations] == [("Dockerfile", 2)]


def test_the_awaitable_face_asks_the_same(engine, folder):
    async def main():
        async with await aio.connect(engine.address) as bk:
            target = dl.dockerfile(folder)
            return await asyncio.gather(
                bk.outline(target), bk.targets(target), bk.lint(target), bk.to_state(target)
            )

    outline, targets, lint, state = asyncio.run(main())
    assert (outline.target, len(targets), len(lint)) == ("app", 2, 1)
    assert state.image_config().user == "1000"
