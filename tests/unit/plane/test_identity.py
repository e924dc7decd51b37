"""Names at the gate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depotlab._plane.identity import Identity, MachineKey, parse_uri
from depotlab.errors import UsageError

PROJECT = st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True)
BUILD = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,30}", fullmatch=True)


@given(PROJECT, st.sampled_from(["amd64", "arm64"]), BUILD)
def test_what_a_certificate_says_is_read_back(project, platform, build):
    identity = Identity(build, MachineKey(project, platform))
    assert parse_uri(identity.uri) == identity


@given(PROJECT, PROJECT)
def test_two_machines_never_share_a_name(one, two):
    names = {
        MachineKey(project, platform).server_name
        for project in (one, two)
        for platform in ("amd64", "arm64")
    }
    assert len(names) == 2 * len({one, two})


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "spiffe://depotlab.internal/project/p/platform/amd64/build/",
        "spiffe://depotlab.internal/project/p/platform/amd64/build/b/more",
        "spiffe://depotlab.internal/project/p/platform/s390x/build/b",
        "spiffe://depotlab.internal/project/../platform/amd64/build/b",
        "spiffe://elsewhere.internal/project/p/platform/amd64/build/b",
        "https://depotlab.internal/project/p/platform/amd64/build/b",
    ],
)
def test_other_uris_name_nobody(uri):
    assert parse_uri(uri) is None


@pytest.mark.parametrize("project", ["", "..", "a/b", "A", "-a", "a-", "a" * 61, "a.b", "ä"])
def test_an_id_that_is_no_folder_no_host_name_and_no_repository_is_refused(project):
    with pytest.raises(UsageError, match="cannot be the id of a project"):
        MachineKey(project, "amd64")


@pytest.mark.parametrize("build", ["", "a/b", "-a", "a b", "a" * 101])
def test_an_id_that_does_not_fit_into_a_certificate_is_refused(build):
    with pytest.raises(UsageError, match="cannot be the id of a build"):
        Identity(build, MachineKey("p", "amd64"))
