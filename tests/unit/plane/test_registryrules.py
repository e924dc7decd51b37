"""Who may do what in the registry."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depotlab._plane.registryrules import Denied, Forward, decide

DIGEST = "sha256:" + "a" * 64


def login(password: str, user: str = "x-token") -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def admit(user: str, password: str, project_id: str, push: bool) -> bool:
    """`rw-p` may push to p, `ro-p` may pull from it."""
    right, _, project = password.partition("-")
    return right in ("rw", "ro") and project_id in ("", project) and (not push or right == "rw")


def status(method: str, target: str, authorization: str | None) -> int:
    decision = decide(method, target, authorization, admit)
    return 200 if isinstance(decision, Forward) else decision.status


@pytest.mark.parametrize(
    ("method", "target", "password", "expected"),
    [
        pytest.param("GET", "/v2/", None, 401, id="a login is asked for"),
        pytest.param("GET", "/v2/", "rw-p", 200, id="docker login with a good token"),
        pytest.param("GET", "/v2", "ro-p", 200, id="without the slash too"),
        pytest.param("GET", "/v2/", "bad", 401, id="docker login with a bad token"),
        pytest.param("GET", "/v2/p/manifests/b1", None, 401, id="nobody reads without a login"),
        pytest.param("GET", "/v2/p/manifests/b1", "ro-p", 200, id="pull"),
        pytest.param("HEAD", f"/v2/p/manifests/{DIGEST}", "ro-p", 200, id="pull by digest"),
        pytest.param("GET", f"/v2/p/blobs/{DIGEST}", "ro-p", 200, id="a layer"),
        pytest.param("GET", "/v2/p/tags/list?n=5&last=b", "ro-p", 200, id="tags"),
        pytest.param("GET", f"/v2/p/referrers/{DIGEST}", "ro-p", 200, id="referrers"),
        pytest.param("POST", "/v2/p/blobs/uploads/", "rw-p", 200, id="push begins"),
        pytest.param(
            "PATCH", "/v2/p/blobs/uploads/1-2?_state=x%3D", "rw-p", 200, id="push goes on"
        ),
        pytest.param("PUT", f"/v2/p/blobs/uploads/1-2?digest={DIGEST}", "rw-p", 200, id="and ends"),
        pytest.param("PUT", "/v2/p/manifests/b1", "rw-p", 200, id="a tag"),
        pytest.param("PUT", "/v2/p/manifests/b1", "ro-p", 403, id="a pull token does not push"),
        pytest.param("DELETE", "/v2/p/manifests/b1", "ro-p", 403, id="nor delete"),
        pytest.param("GET", "/v2/q/manifests/b1", "rw-p", 403, id="another project is closed"),
        pytest.param("GET", "/v2/q/manifests/b1", "bad", 401, id="a bad token is told to log in"),
        pytest.param("GET", "/v2/_catalog", "rw-p", 404, id="nobody lists projects"),
        pytest.param("GET", "/v2/library/busybox/manifests/latest", None, 200, id="the shelf"),
        pytest.param(
            "GET", "/v2/library/busybox/manifests/latest?ns=docker.io", None, 200, id="as a mirror"
        ),
        pytest.param("PUT", "/v2/library/busybox/manifests/x", "rw-p", 403, id="nobody fills it"),
        pytest.param("GET", "/v2/grafana/grafana/manifests/x", None, 404, id="not on the shelf"),
        pytest.param("CONNECT", "/v2/p/manifests/b1", "rw-p", 405, id="no such method"),
        pytest.param("GET", "/", "rw-p", 404, id="elsewhere"),
        pytest.param("GET", "http://other/v2/p/manifests/b", "rw-p", 404, id="no proxy for others"),
    ],
)
def test_decide(method, target, password, expected):
    authorization = login(password) if password else None
    assert status(method, target, authorization) == expected


@pytest.mark.parametrize(
    "target",
    [
        "/v2/p/../q/manifests/b1",
        "/v2/p/blobs/../../q/manifests/b1",
        "/v2/p%2f..%2fq/manifests/b1",
        "/v2//q/manifests/b1",
        "/v2/p/manifests/..",
        "/v2/p/manifests/b1/../../../q/manifests/b1",
        "/v2/p/manifests/%2e%2e",
        "/v2/p/manifests/a\\b",
        "/v2/P/manifests/b1",
    ],
)
def test_paths_that_the_registry_could_read_otherwise_are_refused(target):
    assert status("GET", target, login("rw-p")) == 404


@given(st.text(max_size=40), st.sampled_from(["GET", "PUT"]))
def test_no_path_leads_a_login_out_of_its_project(path, method):
    decision = decide(method, f"/v2/{path}", login("rw-p"), admit)
    if isinstance(decision, Forward):
        assert decision.target == "/v2/" or decision.target.startswith(("/v2/p/", "/v2/library/"))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (f"mount={DIGEST}&from=p", f"mount={DIGEST}&from=p"),
        (f"mount={DIGEST}&from=library/busybox", f"mount={DIGEST}&from=library/busybox"),
        (f"mount={DIGEST}&from=q", ""),
        (f"mount={DIGEST}&from=p&from=q", ""),
        (f"mount={DIGEST}", ""),
        (f"mount={DIGEST}&from=other/q", ""),
        ("digest-algorithm=sha512", "digest-algorithm=sha512"),
    ],
)
def test_a_blob_is_taken_over_only_from_where_the_login_may_read(query, expected):
    decision = decide("POST", f"/v2/p/blobs/uploads/?{query}", login("rw-p"), admit)
    assert isinstance(decision, Forward)
    assert decision.target.partition("?")[2] == expected


@pytest.mark.parametrize(
    "authorization", ["Bearer rw-p", "Basic", "Basic ???", "Basic cnc=", "Basic eDo=", "basic /w=="]
)
def test_other_logins_are_none(authorization):
    assert status("GET", "/v2/p/manifests/b1", authorization) == 401


def test_the_name_of_the_scheme_is_read_in_any_case():
    assert status("GET", "/v2/", login("rw-p").replace("Basic", "bAsIc")) == 200


def test_what_is_denied_is_told_as_the_protocol_does():
    denied = decide("PUT", "/v2/p/manifests/b1", login("ro-p"), admit)
    assert isinstance(denied, Denied)
    assert denied.body == (
        b'{"errors": [{"code": "DENIED", "message": "this login may not push to p"}]}'
    )
    assert b"ro-p" not in denied.body
