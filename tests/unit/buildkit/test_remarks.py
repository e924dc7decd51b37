"""Caches that could not be read or written, as they show in the events of a build."""

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
