"""Provenance of both versions, and an SBOM, as values."""

import json

import pytest

from depotlab.buildkit import Material, Package, Provenance, Sbom, attestation
from depotlab.errors import ProtocolError

V1 = {
    "buildDefinition": {
        "buildType": "https://example.org/type",
        "resolvedDependencies": [
            {"uri": "https://me:s3cret@example.org/a.git#main", "digest": {"sha1": "abc"}}
        ],
        "externalParameters": {
            "request": {
                "frontend": "dockerfile.v0",
                "args": {"build-arg:TOKEN": "s3cret", "target": "app"},
            }
        },
        "internalParameters": {"buildConfig": {"digestMapping": {"sha256:1": "step0"}}},
    },
    "runDetails": {
        "builder": {"id": "https://ci.example.org/7"},
        "metadata": {
            "startedOn": "2026-01-01T00:00:00Z",
            "buildkit_completeness": {"resolvedDependencies": True},
        },
    },
}
V02 = {
    "buildType": "https://example.org/old",
    "builder": {"id": "me"},
    "materials": [{"uri": "pkg:docker/busybox@1", "digest": {"sha256": "00"}}],
    "invocation": {"parameters": {"frontend": "dockerfile.v0", "args": {"target": "x"}}},
    "buildConfig": {"llbDefinition": []},
    "metadata": {"buildFinishedOn": "2026-01-02T00:00:00Z", "completeness": {"materials": False}},
}


def read(predicate, raw):
    return attestation(predicate, "linux/amd64", json.dumps(raw).encode())


def test_a_provenance_of_version_1():
    found = read("https://slsa.dev/provenance/v1", V1)
    assert isinstance(found, Provenance)
    assert found.builder_id == "https://ci.example.org/7"
    assert found.options == {"build-arg:TOKEN": "***", "target": "app"}
    assert found.materials == (Material("https://***@example.org/a.git#main", {"sha1": "abc"}),)
    assert found.is_complete
    assert found.graph["digestMapping"] == {"sha256:1": "step0"}
    assert "s3cret" not in repr(found) + found._repr_html_()


def test_a_provenance_of_version_02_says_the_same_in_other_words():
    found = read("https://slsa.dev/provenance/v0.2", V02)
    assert isinstance(found, Provenance)
    assert (found.frontend, found.options) == ("dockerfile.v0", {"target": "x"})
    assert found.materials[0].digests == {"sha256": "00"}
    assert found.finished_on.startswith("2026-01-02")
    assert not found.is_complete


def test_an_sbom_lists_packages():
    raw = {
        "name": "app",
        "creationInfo": {"creators": ["Tool: syft-1", "Organization: x"]},
        "packages": [
            {
                "name": "libc6",
                "versionInfo": "2.36",
                "licenseConcluded": "NOASSERTION",
                "licenseDeclared": "LGPL-2.1",
                "externalRefs": [{"referenceType": "purl", "referenceLocator": "pkg:deb/libc6"}],
            }
        ],
        "files": [{}, {}],
    }
    found = read("https://spdx.dev/Document", raw)
    assert isinstance(found, Sbom)
    assert found.packages == (Package("libc6", "2.36", "pkg:deb/libc6", "LGPL-2.1"),)
    assert (found.n_files, found.tools) == (2, ("syft-1",))
    assert "libc6" in found._repr_html_()


def test_what_is_not_known_stays_as_it_is():
    found = read("https://example.org/own", {"a": 1})
    assert (type(found).__name__, found.raw) == ("Attestation", {"a": 1})


def test_what_is_no_json_is_refused():
    with pytest.raises(ProtocolError, match="no JSON object"):
        attestation("https://example.org/own", "", b"[1]")
