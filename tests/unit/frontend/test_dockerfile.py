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
        pytest.param({"text": "FROM x", "args": {"N": 1}}, "strings to strings", id="a number"),
    ],
)
def test_arguments_that_cannot_work_are_refused(arguments, words):
    with pytest.raises(UsageError, match=words):
        dockerfile(**arguments)


def test_the_repr_is_one_line(context):
    assert repr(dockerfile(context, target="prod")) == f"<Dockerfile in {context}, target prod>"
