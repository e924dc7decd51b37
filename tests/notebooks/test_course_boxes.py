"""What the boxes "Now do it with Docker" say of their Dockerfiles is what happens."""

import re

import nbformat
import pytest

import depotlab as dl
from notebooks.course import make


def dockerfiles(lesson):
    (path,) = [path for path in make.LESSONS if path.name.startswith(lesson)]
    (box,) = [c.source for c in nbformat.read(path, as_version=4).cells if "<summary>" in c.source]
    return re.findall(r"^```dockerfile\n(.*?)^```", box, re.M | re.S)


def names(result):
    return [step.name for step in result.steps]


def test_two_stages_that_need_the_tools_install_them_once(bk):
    (text,) = dockerfiles("02")
    result = bk.build(dl.dockerfile(text=text), no_cache=True, progress="quiet")
    assert sum("RUN echo tools" in name for name in names(result)) == 1


def test_a_target_that_does_not_read_the_tests_does_not_run_them(bk):
    (text,) = dockerfiles("04")
    result = bk.build(dl.dockerfile(text=text, target="release"), progress="quiet")
    assert not [name for name in names(result) if "tests" in name]
    with pytest.raises(dl.errors.StepFailed):
        bk.build(dl.dockerfile(text=text, target="tests"), progress="quiet")


def test_another_stamp_reruns_no_stage_that_takes_the_answer_only(bk, tmp_path):
    (text,) = [text for text in dockerfiles("05") if "ARG STAMP" in text]
    for stamp in (f"monday {tmp_path}", f"tuesday {tmp_path}"):
        page = dl.dockerfile(text=text, args={"STAMP": stamp})
        result = bk.build(page, progress="quiet")
    assert result.snapshot.step("RUN echo 42").state == "ran"
    assert result.snapshot.step("RUN cat /answer").state == "cached"
