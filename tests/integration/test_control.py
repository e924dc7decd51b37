"""Caches, attestations, capabilities and the daemon's own cache, asked of a real daemon."""

import base64
import json
import subprocess
import tarfile
import time
import urllib.request

import pytest

import depotlab as dl
from depotlab import export, llb
from depotlab._portal import portal
from depotlab._proto import control_pb2
from depotlab._rpc import Channel, Endpoint
from depotlab._verbs.reproducible import verify_reproducible
from depotlab.buildkit import SolveSpec, attestations, capabilities, disk_usage, new_ref, prune
from depotlab.buildkit.caps import ask_capabilities
from depotlab.buildkit.capstable import GATEWAY, LLB, known_from_the_start
from depotlab.buildkit.control import CONTROL
from depotlab.buildkit.needs import Need, require
from depotlab.errors import DaemonError, RegistryError, UsageError
from depotlab.export import Output
from depotlab.progress import WarningRaised
from tests.support.images import inspect
from tests.support.ownbuildkitd import own_buildkitd
from tests.support.solves import graph_spec, run_solve


@pytest.fixture
def unique():
    """A value that makes a step run, whatever the cache has."""
    return f"{time.time_ns()}"


@pytest.fixture(scope="module")
def daemon(engine):
    """A daemon whose cache the tests may delete."""
    with own_buildkitd(mirror=engine.registry) as running:
        yield running


def on_channel(address, work):
    """Run a coroutine with a connection of its own."""

    async def main():
        channel = Channel(Endpoint(address))
        try:
            return await work(channel)
        finally:
            await channel.close()

    return portal().run(main())


def pushed(engine, name):
    ref = f"{engine.registry}/control/{name}"
    return ref, export.image(ref, push=True)


def warnings(solved):
    return [event for event in solved.events if type(event) is WarningRaised]


# ---------------------------------------------------------------------------------------- caches


@pytest.mark.parametrize("kind", ["graph", "dockerfile"])
def test_a_cache_in_a_registry_saves_the_work_of_another_daemon(engine, daemon, unique, kind):
    ref = f"{engine.registry}/control/cache-{kind}:1"
    attrs = {"ref": ref, "mode": "max"}
    caches = {"cache_imports": [("registry", attrs)], "cache_exports": [("registry", attrs)]}
    command = f"echo {unique} > /made"

    def spec(**fields):
        if kind == "graph":
            return graph_spec(llb.image("busybox").run(command, name="[2/2] RUN make"), **fields)
        text = f"FROM busybox\nRUN {command}\n"
        graph = llb.scratch().mkfile("/Dockerfile", text).mkfile("/Dockerfile.dockerignore", "#\n")
        inputs = {"dockerfile": graph.marshal("linux/amd64").to_bytes()}
        inputs["context"] = inputs["dockerfile"]
        return SolveSpec(new_ref(), frontend="dockerfile.v0", inputs=inputs, **fields)

    def state(solved):
        (step,) = (s for s in solved.snapshot.steps if "RUN" in s.name)
        return str(step.state)

    first = run_solve(engine.address, spec(**caches))
    assert state(first) == "ran"
    assert [w.short for w in warnings(first)] == [f"There is no cache {ref} to start from."]
    assert not first.snapshot.failed, "a cache that is not there yet is no failed step"
    assert json.loads(first.response.get("cache.manifest", "{}")) is not None

    other = run_solve(daemon.address, spec(cache_imports=caches["cache_imports"]))
    assert state(other) == "cached"
    assert warnings(other) == []


def test_a_cache_that_cannot_be_read_is_reported_and_the_build_goes_on(engine, unique):
    spec = graph_spec(
        llb.image("busybox").run(f"echo {unique}"),
        cache_imports=[("registry", {"ref": "localhost:1/no/cache:1"}), ("nonesuch", {})],
    )
    found = sorted(w.short for w in warnings(run_solve(engine.address, spec)))
    assert "The cache localhost:1/no/cache:1 could not be read" in found[0]
    assert "connection refused" in found[0]
    assert "nonesuch" in found[1]


def test_a_cache_that_may_fail_is_a_warning_of_a_build_that_succeeds(engine, unique):
    attrs = {"ref": "localhost:1/x:1", "ignore-error": "true"}
    spec = graph_spec(
        llb.image("busybox").run(f"echo {unique} > /x"), cache_exports=[("registry", attrs)]
    )
    (warning,) = warnings(run_solve(engine.address, spec))
    assert "The cache was not exported" in warning.short


# ------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("fields", "kind", "message", "hint"),
    [
        pytest.param(
            {"cache_exports": [("registry", {"ref": "localhost:1/x:1"})]},
            RegistryError,
            "not exported to localhost:1",
            "check the network",
            id="a cache in a registry that is not there",
        ),
        pytest.param(
            {"cache_exports": [("nonesuch", {})]}, DaemonError, "'nonesuch'", "depotlab.cache", id="no such cache"
        ),
        pytest.param(
            {"cache_exports": [("s3", {})]}, DaemonError, "bucket", "depotlab.cache.s3", id="s3 without a bucket"
        ),
        pytest.param(
            {"cache_exports": [("local", {"dest": "/x"})]},
            DaemonError,
            "The cache was not exported",  # the daemon tells our answer, or that its own writer met the end
            "",
            id="a directory that the session does not serve",
        ),
        pytest.param(
            {"cache_exports": [("registry", {"ref": "a"})] * 2},
            DaemonError,
            "are the same",
            "cache_to=",
            id="the same cache twice",
        ),
        pytest.param(
            {"entitlements": ["time.travel"]}, DaemonError, "'time.travel'", "network.host", id="no such right"
        ),
        pytest.param({"exporters": [Output("nonesuch")]}, DaemonError, "'nonesuch'", "export", id="no such output"),
        pytest.param(
            {"exporters": [Output("image", {"name": "x", "compression": "lzma"})]},
            DaemonError,
            "'lzma'",
            "zstd",
            id="no such compression",
        ),
        pytest.param(
            {"exporters": [Output("image", {"push": "maybe"})]},
            DaemonError,
            "attribute of an output",
            "depotlab.export",
            id="an attribute that cannot be read",
        ),
        pytest.param(
            {"attests": {"taste": ""}}, DaemonError, "'taste'", "provenance=", id="no such attestation"
        ),
    ],
)  # fmt: skip
def test_what_the_daemon_refuses_is_a_typed_error_with_a_hint(
    engine, unique, fields, kind, message, hint
):
    graph = llb.image("busybox").run(f"echo {unique} > /x")
    with pytest.raises(DaemonError) as caught:
        run_solve(engine.address, graph_spec(graph, **fields))
    assert type(caught.value) is kind
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_right_that_the_daemon_does_not_grant(daemon):
    spec = graph_spec(llb.scratch().mkfile("/x", b""), entitlements=["security.insecure"])
    with pytest.raises(DaemonError, match="does not grant the entitlement"):
        run_solve(daemon.address, spec)


def test_a_step_that_needs_a_right_nobody_asked_for(engine):
    spec = graph_spec(llb.image("busybox").network("host").run("true"))
    with pytest.raises(DaemonError) as caught:
        run_solve(engine.address, spec)
    assert "allow='network.host'" in caught.value.hint
    granted = graph_spec(
        llb.image("busybox").network("host").run("true"), entitlements=["network.host"]
    )
    assert run_solve(engine.address, granted).events


# ---------------------------------------------------------------------------------- attestations

SCANNER = b"""#!/bin/sh
set -eu
name=$(basename "$BUILDKIT_SCAN_SOURCE")
n=$(find "$BUILDKIT_SCAN_SOURCE" -type f -name marker | wc -l)
cat > "$BUILDKIT_SCAN_DESTINATION/$name.spdx.json" <<END
{"_type": "https://in-toto.io/Statement/v0.1", "predicateType": "https://spdx.dev/Document",
 "predicate": {"spdxVersion": "SPDX-2.3", "name": "$name", "packages": [{"name": "marker",
  "SPDXID": "SPDXRef-marker", "downloadLocation": "NOASSERTION", "versionInfo": "$n"}]}}
END
"""


def statements(engine, ref):
    """The attestations of an image, by type of predicate, read with another tool."""
    raw = subprocess.run(
        ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{ref}"],
        capture_output=True,
        check=True,
    ).stdout
    image, attested = json.loads(raw)["manifests"]
    assert attested["annotations"]["vnd.docker.reference.digest"] == image["digest"]
    host, _, name = ref.partition("/")
    name, _, _ = name.partition(":")

    def get(kind, digest):
        request = urllib.request.Request(
            f"http://{host}/v2/{name}/{kind}/{digest}", headers={"Accept": attested["mediaType"]}
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    layers = get("manifests", attested["digest"])["layers"]
    return {
        layer["annotations"]["in-toto.io/predicate-type"]: get("blobs", layer["digest"])
        for layer in layers
    }


def test_provenance_of_a_graph_says_what_it_was_made_of(engine, unique):
    ref, output = pushed(engine, "provenance:1")
    graph = llb.image("busybox").run(f"echo {unique}")
    spec = graph_spec(graph, exporters=[output], attests=attestations(provenance="max"))
    solved = run_solve(engine.address, spec)
    found = statements(engine, ref)
    ((kind, statement),) = found.items()
    assert kind.startswith("https://slsa.dev/provenance/")
    assert "busybox" in json.dumps(statement["predicate"])
    assert f"echo {unique}" in json.dumps(statement["predicate"]), "max tells the steps"
    descriptor = json.loads(base64.b64decode(solved.response["containerimage.descriptor"]))
    assert descriptor["mediaType"].endswith("index.v1+json")


def test_an_sbom_of_a_graph_is_what_the_scanner_wrote(engine, unique):
    scanner, output = pushed(engine, "scanner:1")
    config = {"config": {"Entrypoint": ["/scan"]}, "os": "linux", "architecture": "amd64"}
    plan = llb.image("busybox").mkfile("/scan", SCANNER, mode=0o755).marshal("linux/amd64")

    async def make(bridge):
        result = await bridge.solve(plan.to_bytes())
        await bridge.finish(result, {"containerimage.config": json.dumps(config).encode()})

    run_solve(engine.address, SolveSpec(new_ref(), run=make, plan=plan, exporters=[output]))
    ref, output = pushed(engine, "sbom:1")
    graph = llb.image("busybox").run(f"echo {unique} > /marker")
    spec = graph_spec(graph, exporters=[output], attests=attestations(sbom=scanner))
    run_solve(engine.address, spec)
    ((kind, statement),) = statements(engine, ref).items()
    assert kind == "https://spdx.dev/Document"
    (package,) = statement["predicate"]["packages"]
    assert (package["name"], package["versionInfo"]) == ("marker", "1")
    assert inspect(ref)[0]["rootfs"], "the image itself is as ever"


# ------------------------------------------------------------------------------- reproducibility


def built_twice(engine, state):
    def build(host_path):
        output = export.oci(host_path, rewrite_timestamp=True)
        spec = graph_spec(state, no_cache=True, exporters=[output], source_date_epoch=0)
        return run_solve(engine.address, spec).response["containerimage.digest"]

    return verify_reproducible(build)


def test_a_graph_that_makes_the_same_files_is_reproducible(engine, unique):
    state = llb.image("busybox").run(f"mkdir /a; echo {unique} > /a/b; date > /dev/null")
    found = built_twice(engine, state)
    assert found, found
    assert found.first == found.second


def test_a_graph_that_does_not_is_told_by_its_first_file(engine, tmp_path):
    state = (
        llb.image("busybox")
        .run("mkdir -p /srv && echo same > /srv/a")
        .run("cat /proc/sys/kernel/random/uuid > /srv/id; echo same > /srv/z")
    )
    found = built_twice(engine, state)
    assert not found
    assert (found.difference.path, found.difference.layer) == ("srv/id", 3)
    assert [change.what for change in found.difference.changes] == ["content"]
    assert "uuid" in found.difference.step


def test_the_epoch_dates_the_files_of_an_archive(engine, unique, tmp_path):
    state = llb.image("busybox").run(f"echo {unique} > /x")
    output = export.tar(tmp_path / "root.tar")
    run_solve(engine.address, graph_spec(state, exporters=[output], source_date_epoch=86400))
    with tarfile.open(tmp_path / "root.tar") as tar:
        assert tar.getmember("x").mtime == 86400


# ---------------------------------------------------------------------------------- capabilities


def test_every_capability_of_this_daemon_is_in_the_table(engine):
    """A new BuildKit has new ones: then the table wants a row."""
    found = on_channel(engine.address, ask_capabilities)
    unknown = [
        cap
        for cap in (*found.llb, *found.gateway)
        if not known_from_the_start(cap) and cap not in LLB and cap not in GATEWAY
    ]
    assert unknown == []
    assert not found.is_assumed
    assert found.has("mergeop")


def test_asking_leaves_no_record_in_the_history(engine):
    async def records(channel):
        request = control_pb2.BuildHistoryRequest(EarlyExit=True).SerializeToString()
        answers = channel.stream(CONTROL + "ListenBuildHistory", request)
        return {control_pb2.BuildHistoryEvent.FromString(data).record.Ref async for data in answers}

    async def work(channel):
        before = await records(channel)
        await ask_capabilities(channel)
        return await records(channel) - before

    run_solve(engine.address, graph_spec(llb.scratch().mkfile("/x", b"")))
    assert on_channel(engine.address, work) == set()


def test_a_need_that_this_daemon_does_not_know_is_refused_before_anything_is_sent(engine):
    plan = llb.scratch().mkfile("/x", b"").marshal("linux/amd64")

    async def work(channel):
        await capabilities(channel)
        await require(channel, [Need("warp.drive", digest=plan.digests[0])], plan=plan)

    with pytest.raises(UsageError, match=r"newer BuildKit for the feature warp\.drive"):
        on_channel(engine.address, work)


# ----------------------------------------------------------------------------------- the daemon's cache


def fill(daemon, unique):
    base = llb.image("busybox")
    top = base.run(f"echo {unique} > /a").run("dd if=/dev/zero of=/b bs=1k count=100")
    run_solve(daemon.address, graph_spec(top))
    run_solve(daemon.address, graph_spec(base.run(f"echo {unique}2 > /c")))


def test_the_cache_is_listed_filtered_and_summed(daemon, unique):
    fill(daemon, unique)
    whole = on_channel(daemon.address, disk_usage)
    assert whole.total_bytes > 100_000
    assert whole.reclaimable_bytes <= whole.total_bytes
    (image,) = (r for r in whole if r.size_bytes > 1_000_000)
    assert image.type == "regular"
    assert image.n_used >= 1
    children = [r for r in whole if image.id in r.parents]
    assert children, "steps lie on the image"

    async def some(channel):
        return await disk_usage(channel, filters=[f"id=={image.id}", "type==exec.cachemount"])

    assert [r.id for r in on_channel(daemon.address, some)] == [image.id]


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"filters": "description~=dd"},
        {"filters": "type==frontend"},
        {"keep_for_s": 3600},
        {"all": True},
    ],
    ids=str,
)
def test_a_dry_run_says_what_a_prune_does(daemon, unique, how):
    fill(daemon, unique)

    async def work(channel):
        planned = await prune(channel, dry_run=True, **how)
        assert await disk_usage(channel), "nothing was deleted"
        return planned, await prune(channel, **how)

    planned, gone = on_channel(daemon.address, work)
    assert {r.id for r in planned} == {r.id for r in gone}
    assert planned.freed_bytes == gone.freed_bytes
    assert planned.is_dry_run
    assert not gone.is_dry_run
    if how in ({}, {"all": True}):
        assert gone.freed_bytes > 100_000


def test_a_prune_with_a_bound_leaves_about_so_much(daemon, unique):
    fill(daemon, unique)

    async def work(channel):
        before = await disk_usage(channel)
        planned = await prune(channel, keep_bytes=3_500_000, dry_run=True)
        gone = await prune(channel, keep_bytes=3_500_000)
        return before, planned, gone, await disk_usage(channel)

    before, planned, gone, after = on_channel(daemon.address, work)
    assert planned.notes
    assert after.total_bytes <= max(3_500_000, before.total_bytes)
    largest = max((r.size_bytes for r in before), default=0)
    assert abs(planned.freed_bytes - gone.freed_bytes) <= largest


# ------------------------------------------------------------------------------ by the public verbs


def test_a_dockerfile_is_verified_by_the_public_verb(bk, monkeypatch):
    monkeypatch.setenv("DEPOTLAB_UI", "off")
    same = dl.dockerfile(text="FROM busybox\nRUN mkdir /a && echo same > /a/b\n")
    found = dl.verify_reproducible(same, bk)
    assert found, found
    assert found.first.digest == found.second.digest
    other = dl.dockerfile(text="FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /id\n")
    found = dl.verify_reproducible(other, bk)
    assert not found
    assert (found.difference.path, found.difference.step.split()[0]) == ("id", "RUN")


def test_a_build_that_writes_down_the_time_is_not_reproducible_however_quick_it_is(bk, monkeypatch):
    monkeypatch.setenv("DEPOTLAB_UI", "off")
    found = dl.verify_reproducible(dl.dockerfile(text="FROM busybox\nRUN date > /made\n"), bk)
    assert not found
    assert found.difference.path == "made"


def test_the_cache_is_a_table_by_the_public_verb(bk):
    usage = bk.disk_usage()
    assert usage.total_bytes == sum(row["size_bytes"] for row in usage.rows())
    planned = bk.prune(filters="type==exec.cachemount", dry_run=True)
    assert all(record.type == "exec.cachemount" for record in planned)
    with pytest.raises(UsageError, match="no filter"):
        bk.disk_usage(filters="type=regular")


def test_provenance_of_a_dockerfile_by_the_public_verb(bk, engine, monkeypatch):
    monkeypatch.setenv("DEPOTLAB_UI", "off")
    ref = f"{engine.registry}/control/attested:1"
    target = dl.dockerfile(text="FROM busybox\nRUN echo attested\n")
    bk.build(target, tags=ref, push=True, provenance="min")
    ((kind, statement),) = statements(engine, ref).items()
    assert kind.startswith("https://slsa.dev/provenance/")
    assert "echo attested" not in json.dumps(statement), "min does not tell the steps"
