"""Caches that could not be read or written, as they show in the events of a build."""

import pytest

from depotlab.buildkit.remarks import Remarks
from depotlab.progress import LogWritten, VertexUpdated, WarningRaised

IMPORT = VertexUpdated(
    "sha256:1",
    "importing cache manifest from r.example/me/cache:1",
    started_ns=1,
    completed_ns=2,
    error="failed to configure registry cache importer: r.example/me/cache:1: not found",
)


def read(*events):
    return Remarks().read(events)


def test_a_cache_that_is_not_there_yet_is_a_warning_and_no_failure():
    step, warning = read(IMPORT)
    assert step == IMPORT._replace(error="")
    assert isinstance(warning, WarningRaised)
    assert warning.vertex == "sha256:1"
    assert warning.short == "There is no cache r.example/me/cache:1 to start from."


def test_a_cache_that_cannot_be_read_is_told_with_the_reason():
    _, warning = read(
        IMPORT._replace(error="failed to configure registry cache importer: dial tcp: refused")
    )
    assert warning.short == "The cache r.example/me/cache:1 could not be read: dial tcp: refused"


def test_a_cache_without_a_reference_is_named_by_its_type():
    _, warning = read(IMPORT._replace(name="importing cache manifest from gha:12345678901234"))
    assert warning.short == "There is no cache of type gha to start from."


def test_a_cancelled_import_stays_cancelled():
    event = IMPORT._replace(error="context canceled")
    assert read(event) == [event]


def test_everything_else_passes_as_it_is():
    events = [
        VertexUpdated("sha256:2", "RUN make", error="exit code 1"),
        IMPORT._replace(error=""),
        LogWritten("sha256:2", 1, 1, b"x"),
    ]
    assert read(*events) == events


def test_the_step_that_failed_with_the_words_of_the_build_is_found():
    remarks = Remarks()
    remarks.read([VertexUpdated("sha256:3", "exporting cache to registry", error="401")])
    assert remarks.step_of("401") == "exporting cache to registry"
    assert remarks.step_of("rpc error: code = Unknown desc = 401") == "exporting cache to registry"
    assert remarks.step_of("402") == ""


def test_a_cache_that_may_fail_is_mentioned_when_the_build_has_succeeded():
    remarks = Remarks()
    remarks.read(
        [
            VertexUpdated("sha256:3", "exporting cache to registry", error="connection refused"),
            VertexUpdated("sha256:4", "RUN make", error="something else"),
        ]
    )
    (warning,) = remarks.ignored()
    assert warning.vertex == "sha256:3"
    assert warning.short == "The cache was not exported: connection refused"


READ = IMPORT._replace(error="")
BASE = VertexUpdated("sha256:8", "docker-image://busybox", started_ns=1, completed_ns=2)
MAKE = VertexUpdated("sha256:9", "RUN make", ("sha256:8",), started_ns=3, completed_ns=4)


def unhelpful(*events):
    remarks = Remarks()
    remarks.read(events)
    return [warning.short for warning in remarks.unhelpful()]


@pytest.mark.parametrize(
    ("events", "told"),
    [
        pytest.param([READ, BASE, MAKE], True, id="all steps ran: it had none of them"),
        pytest.param([READ, BASE._replace(is_cached=True), MAKE], True, id="a base image does not count"),
        pytest.param([READ, MAKE._replace(is_cached=True)], False, id="a step was cached"),
        pytest.param([READ, MAKE, MAKE._replace(digest="sha256:a", is_cached=True)], False, id="one of two was"),
        pytest.param([READ._replace(completed_ns=None), MAKE], False, id="it was not read to its end"),
        pytest.param([IMPORT, MAKE], False, id="it could not be read, which is told already"),
        pytest.param([READ, MAKE._replace(completed_ns=None)], False, id="nothing has run"),
        pytest.param([BASE, MAKE], False, id="there is no cache to read"),
    ],
)  # fmt: skip
def test_a_cache_that_was_read_for_nothing_is_told(events, told):
    assert bool(unhelpful(*events)) is told


def test_caches_that_were_read_for_nothing_are_named_once():
    other = READ._replace(digest="sha256:2", name="importing cache manifest from s3:12345678901234")
    assert unhelpful(READ, READ, other, MAKE) == [
        "No step was taken from the cache r.example/me/cache:1 or the cache of type s3."
    ]
