"""What daemons of BuildKit 0.8 to 0.32 say when they refuse, and what becomes of it."""

import base64
import json

import pytest

from depotlab._proto import rpcstatus_pb2
from depotlab._rpc import RpcFailed, Status
from depotlab.buildkit.faults import from_failure
from depotlab.errors import (
    ConnectionLost,
    DaemonError,
    DaemonTooOld,
    DockerfileError,
    ImageNotFound,
    RegistryError,
    StepFailed,
)


def failure(text, *, step="", code=Status.UNKNOWN, details=b""):
    return from_failure(RpcFailed(code, text, details), address="unix:///x", step=step)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('exporter "moby" could not be found', "no output of type 'moby'", "depotlab.export"),
        ('unknown cache exporter: "s4"', "a cache of type 's4'", "depotlab.cache"),
        ("duplicate cache exports [registry]", "the same: registry", "cache_to="),
        ("specifying multiple cache exports is not supported currently", "one cache only", "0.11"),
        (
            "failed to configure s3 cache exporter: bucket ($AWS_BUCKET) not set for s3 cache",
            "The cache of type 's3' cannot be exported: bucket",
            "depotlab.cache.s3(",
        ),
        ("unknown entitlement foo.bar", "no entitlement 'foo.bar'", "network.host"),
        (
            "granting entitlement security.insecure is not allowed by build daemon configuration",
            "does not grant the entitlement 'security.insecure'",
            "--allow-insecure-entitlement security.insecure",
        ),
        (
            "failed to load LLB: network.host is not allowed",
            "needs the entitlement 'network.host'",
            "allow='network.host'",
        ),
        ("secret npm: not found", "needs the secret 'npm'", "secrets={'npm': secret.env('NAME')}"),
        ("secret npm not found: not found", "needs the secret 'npm'", "secrets={'npm'"),
        ('no SSH key "" forwarded from the client', "needs an SSH agent", "ssh=ssh.agent()"),
        (
            'no SSH key "hub" forwarded from the client',
            "needs the SSH agent 'hub'",
            "ssh={'hub': ssh.agent()}",
        ),
        (
            'process "/bin/sh -c id" did not complete successfully: unable to find user app: no matching entries '
            "in passwd file",
            "runs as the user 'app'",
            "adduser",
        ),
        ('unknown attestation type "foo"', "no attestation of type 'foo'", "sbom="),
        ('invalid mode "xx"', 'cannot be made: invalid mode "xx"', "'max'"),
        ("invalid provenance SLSA version: xx", "SLSA version: xx", "v0.2"),
        ("unsupported compression type bogus", "compression 'bogus'", "zstd"),
        (
            "index annotations not supported for single platform export",
            "is for the index of the image",
            "without 'index:'",
        ),
        (
            'non-bool value specified for push: strconv.ParseBool: parsing "maybe": invalid syntax',
            "An attribute of an output is wrong: non-bool value specified for push",
            "depotlab.export",
        ),
        (
            'invalid source-date-epoch: strconv.ParseInt: parsing "abc": invalid syntax',
            'invalid source-date-epoch, parsing "abc"',
            "depotlab.export",
        ),
        (
            "docker exporter does not currently support exporting manifest lists",
            "several platforms or with attestations",
            "export.oci",
        ),
        (
            "failed to load LLB: requested experimental feature mergeop  has been disabled on the build server: "
            "only enabled with containerd image store backend",
            "has mergeop switched off: only enabled with containerd",
            "containerd image store",
        ),
        (
            "method /moby.filesync.v1.FileSend/diffcopy not supported by the client",
            "/moby.filesync.v1.FileSend/diffcopy",
            "destination",
        ),
        (
            "the session does not serve /containerd.services.content.v1.Content/Write",
            "Content/Write",
            "destination",
        ),
        (
            "write /var/lib/buildkit/x/fs/big: no space left on device",
            "no space left on its disk: write /var/lib/buildkit/x/fs/big",
            "bk.prune()",
        ),
    ],
)
def test_a_refusal_is_a_daemon_error_that_says_what_to_do(text, message, hint):
    error = failure(text)
    assert type(error) is DaemonError
    assert message in error.message
    assert hint in error.hint


def test_a_full_disk_is_told_as_such_whoever_met_it():
    details = rpcstatus_pb2.Status()
    details.details.add(
        type_url="github.com/moby/buildkit/errdefs.Frontend+json",
        value=json.dumps({"name": "dockerfile.v0"}).encode(),
    )
    error = failure(
        "failed to read dockerfile: write /Dockerfile: no space left on device",
        details=details.SerializeToString(),
    )
    assert type(error) is DaemonError
    assert "no space left on its disk" in error.message


def test_a_cache_that_a_registry_refuses_is_a_registry_error():
    text = (
        'error writing layer blob: failed to do request: Head "http://r.example/v2/x/blobs/sha256:1": '
        "dial tcp 10.0.0.1:80: connect: connection refused"
    )
    error = failure(text, step="exporting cache to registry")
    assert type(error) is RegistryError
    assert error.host == "r.example"
    assert "The cache was not exported to r.example" in error.message
    assert "ignore_error=True" in error.hint
    denied = failure(
        "error writing manifest blob: unexpected status from PUT request to "
        "https://r.example/v2/x/manifests/1: 403 Forbidden",
        step="exporting cache to registry",
    )
    assert "log in to r.example" in denied.hint


def test_a_cache_that_cannot_be_written_elsewhere_names_the_place():
    error = failure(
        "error writing layer blob: disk on fire", step="exporting cache to client directory"
    )
    assert type(error) is DaemonError
    assert "client directory: error writing layer blob: disk on fire" in error.message
    assert "ignore_error=True" in error.hint


def test_a_daemon_that_does_not_know_what_is_asked_is_too_old():
    error = failure("failed to load LLB: unknown API capability mergeop")
    assert type(error) is DaemonTooOld
    assert "This build needs BuildKit 0.10 or newer for llb.merge()" in error.message
    assert (error.needs, error.features) == ("0.10", ("llb.merge()",))
    assert "update" in error.hint


@pytest.mark.parametrize(
    ("words", "release"),
    [
        ("unsupported frontend capability moby.buildkit.frontend.contexts", "0.10"),
        ("failed to solve with frontend dockerfile.v0: unsupported request frontend.lint", "0.14"),
        ("unsupported request frontend.outline", "0.11"),
    ],
)
def test_a_frontend_that_does_not_know_what_is_asked_is_too_old(words, release):
    error = failure(f"rpc error: code = Unknown desc = {words}")
    assert type(error) is DaemonTooOld
    assert error.needs == release
    assert f"needs BuildKit {release} or newer" in error.message
    assert "# syntax=" in error.hint


def test_what_nobody_knows_is_too_new_all_the_same():
    error = failure("unknown API capability some.day")
    assert type(error) is DaemonTooOld
    assert (error.needs, error.features) == ("", ("the feature some.day",))


def test_an_image_that_an_old_daemon_does_not_find_is_named_by_the_step():
    def blamed(text):
        step = "[internal] load metadata for host:1/a:latest"
        return from_failure(RpcFailed(Status.UNKNOWN, text, b""), address="x", step=step)

    network = blamed(
        'rpc error: code = Unknown desc = failed to do request: Head "http://host:1/v2/a/manifests/latest": '
        "dial tcp: connect: connection refused"
    )
    assert type(network) is RegistryError
    assert network.host == "host:1"
    missing = blamed("host:1/a:latest: not found")
    assert type(missing) is ImageNotFound
    assert missing.ref == "host:1/a:latest"


def test_a_dockerfile_that_an_old_frontend_refuses_is_a_dockerfile_error():
    error = failure(
        "failed to solve with frontend dockerfile.v0: failed to create LLB definition: "
        "dockerfile parse error line 3: unknown instruction: ECHO"
    )
    assert type(error) is DockerfileError
    assert error.message == "Dockerfile parse error line 3: unknown instruction: ECHO"


def test_a_file_that_an_old_daemon_does_not_find_is_named():
    error = failure('failed to compute cache key: "/nothere" not found: not found')
    assert error.message == "There is no /nothere where the step copies it from."


def test_a_download_that_did_not_come_says_from_where():
    error = failure(
        'failed to load cache key: Get "http://nowhere/x": dial tcp: lookup nowhere: no such host'
    )
    assert type(error) is DaemonError
    assert error.message == (
        "http://nowhere/x could not be downloaded: dial tcp: lookup nowhere: no such host"
    )
    assert "check the address" in error.hint


def test_a_session_that_the_daemon_lost_is_a_lost_connection():
    error = failure("no active session for abc: context deadline exceeded")
    assert type(error) is ConnectionLost
    assert "build again" in error.hint


def test_a_failed_step_of_an_old_daemon_is_a_failed_step_with_its_line():
    """Daemons before 0.9 say it in other words, and those before 0.11 spell positions with capitals."""
    source = {
        "info": {"filename": "a.py", "data": base64.b64encode(b"one\ntwo\n").decode()},
        "ranges": [{"start": {"Line": 2}, "end": {"Line": 2}}],
    }
    details = rpcstatus_pb2.Status()
    details.details.add(
        type_url="github.com/moby/buildkit/errdefs.Source+json", value=json.dumps(source).encode()
    )
    error = failure(
        "executor failed running [/bin/sh -c exit 3]: exit code: 3",
        details=details.SerializeToString(),
    )
    assert type(error) is StepFailed
    assert (error.exit_code, error.step) == (3, "/bin/sh -c exit 3")
    assert error.cell.line == 2
