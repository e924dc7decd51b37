from pathlib import Path

import pytest

from depotlab import dockerfile
from depotlab.errors import ContextError, UsageError


@pytest.fixture
def context(tmp_path, monkeypatch):
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_working_directory_is_the_context_when_nothing_is_said(context):
    assert dockerfile().context == context
    assert dockerfile(".").directory == context


def test_text_needs_no_context():
    value = dockerfile(text="FROM busybox\nRUN echo hi")
    assert (value.context, value.directory) == (None, None)


def test_text_goes_with_a_context_too(context):
    value = dockerfile(context, text="FROM scratch\nCOPY . /\n")
    assert (value.context, value.directory) == (context, None)


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/moby/buildkit.git#master:examples",
        "github.com/moby/buildkit",
        "git@github.com:moby/buildkit.git",
        "ssh://git@host/x.git",
        "http://host/context.tar.gz",
    ],
)
def test_urls_pass_through_to_the_daemon(url):
    value = dockerfile(url)
    assert (value.context, value.directory) == (url, None)


def test_a_filename_is_looked_for_in_the_context_first(context):
    (context / "sub").mkdir()
    (context / "sub" / "web.Dockerfile").write_text("FROM scratch\n")
    value = dockerfile(context, filename="sub/web.Dockerfile")
    assert (value.directory, value.filename) == (context, "sub/web.Dockerfile")


def test_a_filename_may_be_a_path_of_its_own(context, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "My.Dockerfile"
    other.write_text("FROM scratch\n")
    value = dockerfile(context, filename=other)
    assert (value.directory, value.filename) == (other.parent, "My.Dockerfile")


def test_the_lower_case_name_is_found_as_the_frontend_finds_it(tmp_path):
    (tmp_path / "dockerfile").write_text("FROM scratch\n")
    assert dockerfile(tmp_path).filename == "Dockerfile"


def test_a_missing_directory_names_where_paths_start(context):
    with pytest.raises(ContextError) as caught:
        dockerfile("nowhere")
    assert caught.value.path == str(context / "nowhere")
    assert str(Path.cwd()) in caught.value.hint


def test_a_missing_dockerfile_says_what_is_there(tmp_path):
    (tmp_path / "web.Dockerfile").write_text("FROM scratch\n")
    with pytest.raises(ContextError, match=r"there is web\.Dockerfile") as caught:
        dockerfile(tmp_path)
    assert "filename=" in caught.value.hint


def test_a_file_as_context_is_refused(context):
    with pytest.raises(ContextError, match="not a directory"):
        dockerfile(context / "Dockerfile")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param({"text": "FROM x", "filename": "y"}, "not both", id="text and filename"),
        pytest.param({"text": " \n"}, "empty", id="empty text"),
        pytest.param({"text": "FROM x", "args": {"N": 1}}, "write args={'N': '1'}", id="a number"),
        pytest.param({"text": "FROM x", "args": {"N": None}}, "leave 'N' out", id="no value"),
    ],
)
def test_arguments_that_cannot_work_are_refused(arguments, words):
    with pytest.raises(UsageError) as refused:
        dockerfile(**arguments)
    assert words in str(refused.value)


def test_the_repr_is_one_line(context):
    assert repr(dockerfile(context, target="prod")) == f"<Dockerfile in {context}, target prod>"


# --------------------------------------------------------------------------- contexts of all kinds


def test_the_context_may_be_of_any_kind(tmp_path):
    from depotlab import llb
    from tests.unit.contexts.test_tar import TAR

    kinds = {
        "memory": {"Dockerfile": "FROM scratch"},
        "tar": TAR,
        "git": "https://host/x.git",
        "graph": llb.scratch(),
        "image": "docker-image://busybox",
    }
    for kind, source in kinds.items():
        value = dockerfile(source)
        assert value.main.kind == kind
        assert value.directory is None
    assert dockerfile(TAR).context is None
    assert dockerfile(dockerfile(TAR).main).main.kind == "tar"


def test_the_dockerfile_in_memory_has_to_be_there():
    assert (
        dockerfile({"web.Dockerfile": "FROM x"}, filename="web.Dockerfile").filename
        == "web.Dockerfile"
    )
    assert dockerfile({"dockerfile": "FROM x"}).filename == "Dockerfile"
    with pytest.raises(ContextError, match="did you mean 'Dockerfil'"):
        dockerfile({"Dockerfil": "FROM x"})
    assert dockerfile({}, text="FROM x").text == "FROM x"


def test_an_absolute_filename_is_on_this_machine_whatever_the_context_is(context):
    for source in ({}, "https://host/x.git"):
        value = dockerfile(source, filename=context / "Dockerfile")
        assert (value.directory, value.filename) == (context, "Dockerfile")
    assert dockerfile("https://host/x.git", filename="sub/Dockerfile").directory is None
    with pytest.raises(ContextError, match="There is no Nope"):
        dockerfile({}, filename=context / "Nope")


def test_names_of_contexts_are_those_that_the_frontend_looks_up(context):
    names = {
        "base": "base",
        "alpine:latest": "alpine",
        "docker.io/library/alpine": "alpine",
        "alpine:3.20": "alpine:3.20",
        "ghcr.io/me/app": "ghcr.io/me/app",
        "base::linux/arm64": "base::linux/arm64",
    }
    value = dockerfile(context, contexts=dict.fromkeys(names, "."))
    assert list(value.contexts) == sorted(set(names.values()), key=list(names.values()).index)
    assert repr(dockerfile(text="FROM b", contexts={"b": {}})) == (
        "<Dockerfile text with an empty context, contexts b>"
    )
    with pytest.raises(UsageError, match="'Base', which no Dockerfile can use"):
        dockerfile(context, contexts={"Base": "."})
    with pytest.raises(ContextError, match="does not exist"):
        dockerfile(context, contexts={"base": "nowhere"})


def test_a_directory_that_is_gone_when_it_is_built_is_named(context):
    (context / "more").mkdir()
    value = dockerfile(context, contexts={"more": "more"})
    (context / "more").rmdir()
    with pytest.raises(ContextError, match="more does not exist"):
        value.check()


# --------------------------------------------------------------------------- options


def test_options_are_kept_as_they_are_asked_of_the_frontend(context):
    value = dockerfile(
        context,
        syntax="docker/dockerfile:1 --flag",
        network="none",
        add_hosts={"db": "10.0.0.5", "six": "::1"},
        shm_size_bytes=64 << 20,
        ulimits={"nofile": (1024, 4096), "core": -1},
        cgroup_parent="/lab",
        hostname="box",
        image_resolve_mode="pull",
        check=" skip=JSONArgsRecommended, FromAsCasing ; error=true",
    )
    assert value.ulimits == {"nofile": (1024, 4096), "core": (-1, -1)}
    assert (value.network, value.image_resolve_mode, value.hostname) == ("none", "pull", "box")
    assert value.lint == "skip=JSONArgsRecommended, FromAsCasing ; error=true"
    assert dockerfile(context).network == ""


@pytest.mark.parametrize(
    ("arguments", "words", "hint"),
    [
        ({"network": "hsot"}, "network='hsot' is none of sandbox, host, none", "did you mean 'host'"),
        ({"network": "default"}, "is none of", "'sandbox'"),
        ({"image_resolve_mode": "always"}, "is none of default, pull, local", "'pull'"),
        ({"ulimits": {"nofiles": 1}}, "'nofiles', which is no limit", "did you mean 'nofile'"),
        ({"ulimits": {"nofile": (5, 1)}}, "above the hard one", ""),
        ({"ulimits": {"nofile": (-1, 1)}}, "above the hard one", ""),
        ({"ulimits": {"nofile": "1024"}}, "is no limit", "1024"),
        ({"ulimits": {"nofile": True}}, "is no limit", ""),
        ({"ulimits": {"nofile": (1, 2, 3)}}, "is no limit", ""),
        ({"add_hosts": {"db": "database"}}, "no IP address", ""),
        ({"add_hosts": {"db": "host-gateway"}}, "no IP address", "word of the Docker Engine"),
        ({"add_hosts": {"d b": "1.2.3.4"}}, "no host name", ""),
        ({"add_hosts": ["db=1.2.3.4"]}, "not a mapping", ""),
        ({"shm_size_bytes": "64m"}, "no number of bytes", "67108864"),
        ({"shm_size_bytes": -1}, "no number of bytes", ""),
        ({"hostname": "a b"}, "no host name", ""),
        ({"cgroup_parent": 3}, "not text", ""),
        ({"target": 3}, "not text", ""),
        ({"no_cache": "stage"}, "is one string", "['stage']"),
        ({"no_cache": ["a,b"]}, "names no stage", ""),
        ({"args": {"": "x"}}, "empty name", ""),
        ({"args": "x"}, "not a mapping", ""),
        ({"text": b"FROM x"}, "bytes, not text", ""),
        ({"syntax": "me/App"}, "lowercase", ""),
        ({"syntax": "x", "args": {"BUILDKIT_SYNTAX": "y"}}, "the same thing", ""),
        ({"check": "error=true", "args": {"BUILDKIT_DOCKERFILE_CHECK": "y"}}, "the same thing", ""),
        ({"check": "skpi=all"}, "the part 'skpi=all'", "did you mean 'skip'"),
        ({"check": "skip"}, "the part 'skip'", ""),
        ({"check": "error=yes"}, "error=yes", "error=true"),
        ({"check": "skip=JSONArgRecommended"}, "the rule 'JSONArgRecommended'", "JSONArgsRecommended"),
        ({"check": True}, "not text", "skip=all"),
    ],
)  # fmt: skip
def test_options_that_cannot_work_are_refused_with_what_is_near(context, arguments, words, hint):
    with pytest.raises(UsageError) as caught:
        dockerfile(**arguments)
    assert words in caught.value.message
    assert hint in caught.value.hint


def test_a_check_that_a_newer_daemon_may_know_is_let_through(context):
    assert (
        dockerfile(context, check="skip=SomethingEntirelyNew").lint == "skip=SomethingEntirelyNew"
    )
    assert (
        dockerfile(context, check="experimental=all;skip=all").lint == "experimental=all;skip=all"
    )


def test_a_build_is_a_value(context):
    assert dockerfile(context, args={"A": "1"}) == dockerfile(str(context), args={"A": "1"})
    with pytest.raises(AttributeError):
        dockerfile(context).target = "x"


@pytest.mark.parametrize(
    "arguments",
    [
        {"text": "FROM busybox\nRUN echo \ud800"},
        {"text": "FROM busybox", "args": {"TOKEN": "planted\ud800"}},
        {"text": "FROM busybox", "labels": {"a": "planted\ud800"}},
        {"text": "FROM busybox", "target": "\ud800"},
    ],
)
def test_what_cannot_be_written_as_utf_8_is_refused_and_not_shown(arguments) -> None:
    with pytest.raises(UsageError, match="cannot be written as UTF-8") as caught:
        dockerfile(**arguments)
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize("given", ["assets=dir", ["assets=dir"]])
def test_contexts_that_are_no_mapping_are_refused(given) -> None:
    with pytest.raises(UsageError, match=r"contexts= is (str|list), not a mapping"):
        dockerfile(text="FROM busybox", contexts=given)
