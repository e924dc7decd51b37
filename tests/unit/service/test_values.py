"""How builds, logs, projects and the service show themselves."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta

import pytest

from depotlab.errors import BuildFailed
from depotlab.service import BuildInfo, BuildInfos, EndUserError, Health, LogLine, UploadedContext
from depotlab.service._values import ProjectInfo, ProjectInfos

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
QUEUED = BuildInfo(
    build_id="b1",
    project="shop",
    deployment="d1",
    state="queued",
    created_at=NOON,
    context=UploadedContext("shop/1.tar.gz"),
    stage="queued",
)
FAILED = BuildInfo(
    build_id="b2",
    project="shop",
    deployment="d2",
    state="failed",
    created_at=NOON,
    finished_at=NOON + timedelta(seconds=90),
    context=UploadedContext("shop/2.tar.gz"),
    stages={"solve": 80.25},
    error=EndUserError("dockerfile_syntax", "Line 3 of the Dockerfile is <wrong>.", "raw words"),
)


def test_a_build_in_a_line_says_what_matters_now():
    assert repr(QUEUED) == "<build b1 of shop (d1) queued>"
    assert repr(FAILED) == "<build b2 of shop (d2) failed: Line 3 of the Dockerfile is <wrong>.>"


def test_a_build_as_a_table_has_its_stages_and_its_words():
    shown = FAILED._repr_html_()
    assert "solve=80.2 s" in shown
    assert "is &lt;wrong&gt;" in shown
    assert "shop/2.tar.gz" in shown


def test_builds_are_a_table():
    page = BuildInfos([QUEUED, FAILED], "17")
    assert repr(page) == "<2 builds, and more on the next page>"
    assert "90.0 s" in page._repr_html_()
    frame = page.to_pandas()
    assert frame.took_s.isna().tolist() == [True, False]
    assert frame.error.tolist() == ["", "Line 3 of the Dockerfile is <wrong>."]
    assert frame.created_at[0] == NOON


def test_what_has_not_failed_passes_the_check():
    assert QUEUED.check() is QUEUED
    assert not QUEUED.has_ended
    with pytest.raises(BuildFailed) as caught:
        FAILED.check()
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.category, again.raw, again.build_id) == ("dockerfile_syntax", "raw words", "b2")


def test_a_line_of_a_log_prints_as_its_text():
    line = LogLine(7, NOON, "sha256:1", "RUN make", 1, "hello")
    assert str(line) == "hello"
    assert repr(line) == "<line 7 of RUN make: hello>"
    assert repr(LogLine(8, NOON, "", "", 0, "again")) == "<line 8 of service: again>"


def test_projects_and_health():
    projects = ProjectInfos([ProjectInfo(project="shop", n_builds=3, last_build_at=NOON)])
    assert repr(projects) == "<1 project>"
    assert "2026-01-02 12:00" in projects._repr_html_()
    assert projects.to_pandas().n_builds.tolist() == [3]
    health = Health(takes_builds=True, starts_builds=False, why_not="the store is down", n_queued=4)
    assert repr(health) == "<service not well, 4 queued, 0 running: the store is down>"
