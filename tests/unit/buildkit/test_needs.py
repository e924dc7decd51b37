"""What builds need of a daemon, and what is said when it does not have it."""

import pytest

from depotlab import export, llb
from depotlab.buildkit.caps import Cap, Capabilities, version_numbers
from depotlab.buildkit.capstable import (
    ASSUMED_GATEWAY,
    ASSUMED_LLB,
    GATEWAY,
    LLB,
    OLDEST,
    RELEASE_MARKS,
    known_from_the_start,
)
from depotlab.buildkit.needs import Need, graph_needs, refusal, spec_needs
from depotlab.buildkit.spec import SolveSpec
from depotlab.errors import DaemonTooOld, GraphError

ADDRESS = "unix:///run/b.sock"


def daemon(*, until: str, **off: str) -> Capabilities:
    """A daemon that has all of a release and before; `off` are switched off, with the reason."""

    def listed(table, assumed):
        limit = version_numbers(until)
        known = {cap for cap, since in table.items() if version_numbers(since.release) <= limit}
        return {cap: Cap(cap not in off, off.get(cap, "")) for cap in known | set(assumed)}

    return Capabilities(listed(LLB, ASSUMED_LLB), listed(GATEWAY, ASSUMED_GATEWAY))


def missing(state, found):
    plan = state.marshal("linux/amd64", source="calls")
    needs = [
        n for n in graph_needs(plan) if not known_from_the_start(n.cap) and not found.has(n.cap)
    ]
    return plan, needs


def test_no_capability_is_both_in_the_table_and_taken_for_granted():
    for cap, since in (*LLB.items(), *GATEWAY.items()):
        assert not known_from_the_start(cap)
        assert version_numbers(since.release) > version_numbers(OLDEST)
        assert since.words[0].islower(), "it stands in the middle of a sentence"


def test_the_mark_of_a_release_came_with_it():
    for release, cap in RELEASE_MARKS.items():
        assert LLB[cap].release == release


def test_an_everyday_graph_needs_nothing_that_has_to_be_asked_for():
    base = llb.image("busybox").run("make", env={"A": "b"}).dir("/x")
    app = base.copy(llb.local(".", include=["a"]), "a", "/a").mkfile("/f", b"").rm("/g")
    needs = graph_needs(app.marshal("linux/amd64"))
    assert needs
    assert [n.cap for n in needs if not known_from_the_start(n.cap)] == []


@pytest.mark.parametrize("attr", ["ulimit", "cgroup-parent"])
def test_options_that_old_frontends_take_no_notice_of_are_needs(attr):
    (need,) = spec_needs(SolveSpec("r", frontend="dockerfile.v0", attrs={attr: "x"}))
    assert LLB[need.cap].release == "0.10.0"
    assert spec_needs(SolveSpec("r", frontend="dockerfile.v0", attrs={"target": "x"})) == []


def test_a_need_names_the_first_step_that_has_it():
    one = llb.scratch().mkfile("/a", b"a")
    merged = llb.merge(one, llb.scratch().mkfile("/b", b"b"))
    plan = llb.merge(merged, llb.scratch().mkfile("/c", b"c")).marshal("linux/amd64")
    (need,) = (n for n in graph_needs(plan) if n.cap == "mergeop")
    first = next(d for d in plan.digests if "mergeop" in plan.metadata[d].caps)
    assert need.digest == first


def test_a_step_that_is_too_new_is_a_graph_error_at_its_line():
    found = daemon(until="0.9.0")
    merged = llb.merge(llb.scratch().mkfile("/a", b""), llb.scratch().mkfile("/b", b""))  # this one
    plan, needs = missing(merged.symlink("/a", "/c"), found)
    error = refusal(needs, found, address=ADDRESS, version="v0.9.3", plan=plan)
    assert type(error) is DaemonTooOld
    assert (error.needs, error.found, error.features) == ("0.19", "0.9.3", ("symlink()",))
    assert isinstance(error, GraphError)
    assert (
        "needs BuildKit 0.19 or newer for symlink(); the daemon at unix:///run/b.sock is 0.9.3"
        in str(error)
    )
    plan, needs = missing(merged, found)
    error = refusal(needs, found, address=ADDRESS, version="v0.9.3", plan=plan)
    assert "needs BuildKit 0.10 or newer for llb.merge()" in error.message
    assert error.location.filename.endswith("test_needs.py")
    assert "this one" in str(error)
    assert error.hint


def test_a_feature_that_is_switched_off_is_told_with_the_daemons_reason():
    found = daemon(until="0.30.0", mergeop="graph driver store")
    merged = llb.merge(llb.scratch().mkfile("/a", b""), llb.scratch().mkfile("/b", b""))
    plan, needs = missing(merged, found)
    error = refusal(needs, found, address=ADDRESS, version="v0.30.0", plan=plan)
    assert (
        error.message
        == f"The daemon at {ADDRESS} has llb.merge() switched off: graph driver store."
    )
    assert "containerd image store" in error.hint


@pytest.mark.parametrize(
    ("version", "found", "words"),
    [
        ("v0.12.5", daemon(until="0.12.0"), f"the daemon at {ADDRESS} is 0.12.5"),
        ("", daemon(until="0.12.0"), "does not say its version, but has that of 0.12"),
        (
            "v0.0.0+unknown",
            daemon(until="0.11.0"),
            "does not say its version, but has that of 0.11",
        ),
        ("", Capabilities.assumed(), "is older than all that list what they can do"),
    ],
)
def test_a_daemon_is_described_by_its_version_or_by_what_it_has(version, found, words):
    error = refusal([Need("exporter.multiple")], found, address=ADDRESS, version=version)
    assert type(error) is DaemonTooOld
    assert (error.needs, error.found) == ("0.13", version.removeprefix("v"))
    assert words in error.message


def test_a_feature_that_nobody_knows_is_named():
    error = refusal([Need("new.thing")], daemon(until="0.31.0"), address=ADDRESS, version="v0.31.0")
    assert "needs a newer BuildKit for the feature new.thing" in error.message


IMAGE = export.image("a/b:1")


@pytest.mark.parametrize(
    ("fields", "caps"),
    [
        pytest.param({}, set(), id="nothing"),
        pytest.param({"exporters": [IMAGE]}, set(), id="one image"),
        pytest.param({"exporters": [IMAGE, IMAGE]}, {"exporter.multiple"}, id="two outputs"),
        pytest.param(
            {"exporters": [export.image("a", annotations={"k": "v"})]},
            {"exporter.image.annotations"},
            id="annotations",
        ),
        pytest.param(
            {"exporters": [IMAGE], "source_date_epoch": 0},
            {"exporter.sourcedateepoch"},
            id="an epoch",
        ),
        pytest.param(
            {"exporters": [export.image("a", compression="zstd")]}, {"exec.secretenv"}, id="zstd"
        ),
        pytest.param(
            {"exporters": [export.Output("oci", {"rewrite-timestamp": "true"})]},
            {"exporter.multiple"},
            id="rewritten times",
        ),
        pytest.param({"cache_imports": [("registry", {})]}, set(), id="a cache in a registry"),
        pytest.param(
            {"cache_imports": [("s3", {})], "cache_exports": [("gha", {})]},
            {"cache.s3", "cache.gha"},
            id="caches elsewhere",
        ),
        pytest.param(
            {"cache_exports": [("inline", {}), ("registry", {})]},
            {"source.policy"},
            id="two caches",
        ),
        pytest.param({"attests": {"sbom": ""}}, {"exporter.image.attestations"}, id="attestations"),
        pytest.param({"entitlements": ["network.host"]}, set(), id="an old right"),
        pytest.param({"entitlements": ["device=gpu"]}, {"exec.meta.cdi"}, id="a device"),
    ],
)
def test_what_a_build_asks_for_beside_its_graph(fields, caps):
    assert {need.cap for need in spec_needs(SolveSpec("r", **fields))} == caps


def test_the_words_of_a_stand_in_are_those_of_the_feature():
    spec = SolveSpec("r", exporters=[export.image("a", compression="zstd")])
    found = daemon(until="0.9.0")
    error = refusal(spec_needs(spec), found, address=ADDRESS, version="v0.9.0")
    assert "BuildKit 0.10 or newer for compression='zstd'" in error.message


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("v0.13.1-rc2", (0, 13, 1)),
        ("0.8", (0, 8, 0)),
        ("", ()),
        ("dev", ()),
        ("v1.2.3+x", (1, 2, 3)),
    ],
)
def test_versions_are_compared_as_numbers(text, numbers):
    assert version_numbers(text) == numbers


def test_capabilities_are_shown_in_a_line():
    assert repr(daemon(until="0.30.0", diffop="x")).endswith("off: diffop>")
