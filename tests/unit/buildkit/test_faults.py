"""Texts and details as a BuildKit 0.32.2 daemon sends them."""

import base64
import json

import pytest

from depotlab._proto import rpcstatus_pb2
from depotlab._rpc import RpcFailed, Status
from depotlab.buildkit.faults import from_failure, parse_details
from depotlab.errors import (
    BuildCanceled,
    ConnectionLost,
    DaemonError,
    DockerfileError,
    ImageNotFound,
    RegistryError,
    StepFailed,
)

DIGEST = "sha256:" + "a" * 64


def details(**values):
    status = rpcstatus_pb2.Status(code=2)
    for name, value in values.items():
        url = f"github.com/moby/buildkit/{name.replace('__', '.')}+json"
        status.details.add(type_url=url, value=json.dumps(value).encode())
    return status.SerializeToString()


def failure(text, *, code=Status.UNKNOWN, **values):
    return from_failure(
        RpcFailed(code, text, details(**values) if values else b""), address="unix:///x"
    )


def source(line, text="FROM busybox\nRUN false\n"):
    return {
        "info": {"filename": "Dockerfile", "data": base64.b64encode(text.encode()).decode()},
        "ranges": [{"start": {"line": line}, "end": {"line": line}}],
    }


def test_a_failed_process_is_a_failed_step_with_code_vertex_and_line():
    error = failure(
        'failed to solve: process "/bin/sh -c false" did not complete successfully: exit code: 3',
        errdefs__Source=source(2),
        errdefs__Vertex={"digest": DIGEST},
        gatewayapi__ExitMessage={"Code": 3},
    )
    assert isinstance(error, StepFailed)
    assert (error.exit_code, error.vertex, error.step) == (3, DIGEST, "/bin/sh -c false")
    assert str(error.cell) == "Dockerfile, line 2"
    assert "> 2 | RUN false" in str(error)


def test_the_exit_code_is_read_from_the_text_when_details_are_missing():
    error = failure('process "make" did not complete successfully: exit code: 127')
    assert isinstance(error, StepFailed)
    assert error.exit_code == 127
    assert "not found" in error.hint


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        pytest.param(
            "x:1: failed to resolve source metadata for docker.io/library/x:1: docker.io/library/x:1: not found",
            ImageNotFound,
            "the registry does not know it",
            id="unknown tag",
        ),
        pytest.param(
            "me/x: failed to resolve source metadata for docker.io/me/x:latest: pull access denied, "
            "repository does not exist or may require authorization: server message: insufficient_scope",
            ImageNotFound,
            "does not show it to you",
            id="unknown or private repository",
        ),
        pytest.param(
            "busybox: failed to resolve source metadata for docker.io/library/busybox:latest: failed to do "
            'request: Head "https://registry-1.docker.io/v2/": dial tcp: lookup registry-1.docker.io: no such host',
            RegistryError,
            "could not be reached to pull",
            id="no network",
        ),
        pytest.param(
            "failed to push localhost:5000/x:1: unexpected status from POST request to "
            "http://localhost:5000/v2/x/blobs/uploads/: 401 Unauthorized",
            RegistryError,
            "localhost:5000 refused to push",
            id="push refused",
        ),
        pytest.param(
            "failed to push h:5000/x:1: failed to do request: Head "
            '"https://h:5000/v2/x/blobs/sha256:1": http: server gave HTTP response to HTTPS client',
            RegistryError,
            "insecure=True",
            id="a registry with plain HTTP",
        ),
        pytest.param(
            'failed to compute cache key: failed to calculate checksum of ref a::b: "/nofile": not found',
            DaemonError,
            "There is no /nofile",
            id="a file that is not in the context",
        ),
        pytest.param(
            f'failed to copy: failed commit on ref "layer-{DIGEST}": unexpected commit digest sha256:{"b" * 64}, '
            f"expected {DIGEST}: failed precondition",
            DaemonError,
            f"The blob {DIGEST} is damaged",
            id="a layer of a layout with another content",
        ),
        pytest.param("", DaemonError, "gave no reason", id="no text at all"),
    ],
)
def test_what_the_daemon_says_becomes_a_type_and_a_hint(text, kind, words):
    error = failure(text, errdefs__Stack={})
    assert type(error) is kind
    assert words in str(error)


@pytest.mark.parametrize(
    ("ref", "after", "hint"),
    [
        ("docker.io/library/bild:latest", " (did you mean build?)", "the stage 'build'?"),
        ("docker.io/docker/dockerfile:1", "", "leave that line out"),
        ("docker.io/docker/buildkit-syft-scanner:stable-1", "", "sbom= asks for it"),
        ("docker.io/library/python:3.12", "", "started with no network"),
        ("ghcr.io/me/app:1", "", "check the name and the tag"),
    ],
)
def test_an_image_that_is_not_there_says_who_wanted_it_and_what_to_do(ref, after, hint):
    error = failure(f"failed to resolve source metadata for {ref}: {ref}: not found{after}")
    assert type(error) is ImageNotFound
    assert error.ref == ref
    assert hint in error.hint
    assert ("no network" in error.hint) == ("python" in ref)


def test_what_the_frontend_refuses_is_a_dockerfile_error_with_the_line():
    error = failure(
        "dockerfile parse error on line 2: unknown instruction: RUNN (did you mean RUN?)",
        errdefs__Frontend={"name": "dockerfile.v0"},
        errdefs__Source=source(2, "FROM scratch\nRUNN x\n"),
    )
    assert isinstance(error, DockerfileError)
    assert error.locations[0].line == 2
    assert "> 2 | RUNN x" in str(error)


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (Status.CANCELLED, "anything", BuildCanceled),
        (Status.UNKNOWN, "failed to solve: context canceled", BuildCanceled),
        (Status.UNAVAILABLE, "Socket closed", ConnectionLost),
    ],
)
def test_codes_that_are_no_build_failure(code, text, kind):
    assert type(failure(text, code=code)) is kind


@pytest.mark.parametrize("data", [b"", b"\xff\xff", b"\x0a", details(errdefs__Vertex=[1, 2])])
def test_details_that_cannot_be_read_are_skipped(data):
    assert parse_details(data).vertex == ""


def test_unknown_details_are_skipped_and_known_ones_kept():
    found = parse_details(details(new__Thing={"x": 1}, errdefs__Vertex={"digest": DIGEST}))
    assert found.vertex == DIGEST
