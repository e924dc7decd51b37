"""Attestations as the options that a daemon reads."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depotlab.buildkit import attestations
from depotlab.errors import ReferenceInvalid, UsageError


@pytest.mark.parametrize(
    ("asked", "options"),
    [
        ({}, {}),
        ({"provenance": None, "sbom": None}, {}),
        ({"provenance": False, "sbom": False}, {}),
        ({"provenance": True}, {"provenance": "mode=min"}),
        ({"provenance": "max"}, {"provenance": "mode=max"}),
        ({"provenance": {"version": "v0.2"}}, {"provenance": "version=v0.2"}),
        (
            {"provenance": {"mode": "min", "inline_only": True}},
            {"provenance": "mode=min,inline-only=true"},
        ),
        ({"sbom": True}, {"sbom": ""}),
        ({"sbom": "ghcr.io/me/scan:1"}, {"sbom": "generator=ghcr.io/me/scan:1"}),
        ({"sbom": {"generator": "s", "scan_deep": "yes"}}, {"sbom": "generator=s,scan_deep=yes"}),
    ],
)
def test_what_is_asked_for_becomes_an_option(asked, options):
    assert attestations(**asked) == options


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"provenance": "full"}, "mode must be one of min, max"),
        ({"provenance": {"moed": "max"}}, "keys are mode"),
        ({"provenance": {"version": "v2"}}, "v1, v0.2"),
        ({"provenance": {"mode": 1}}, "texts"),
        ({"provenance": 5}, "not understood"),
        ({"sbom": 5}, "not understood"),
    ],
)
def test_what_the_daemon_would_not_know_is_refused(asked, words):
    with pytest.raises(UsageError) as caught:
        attestations(**asked)
    assert words in str(caught.value)
    assert caught.value.hint


def test_a_scanner_whose_name_is_no_image_is_refused():
    with pytest.raises(ReferenceInvalid):
        attestations(sbom="Not An Image")


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=40))
def test_any_value_survives_the_way_through_a_line_of_fields(value):
    line = attestations(provenance={"builder_id": value})["provenance"]
    assert (
        next(csv.reader(io.StringIO(line, newline=""))) == [f"builder-id={value}"]
        or "\x00" in value
    )
