"""What a Docker Engine's own BuildKit is sent, and what it is not asked for."""

import pytest

from depotlab import export
from depotlab._docker import has_containerd_store, host_gateway_ip, plan_for_engine
from depotlab.errors import UsageError

CLASSIC = [{}]
CONTAINERD = [{"org.mobyproject.buildkit.worker.snapshotter": "overlayfs"}]


def test_the_store_is_told_by_a_label():
    assert not has_containerd_store(CLASSIC)
    assert has_containerd_store(CONTAINERD)


def test_the_host_gateway_is_told_by_a_label():
    label = "org.mobyproject.buildkit.worker.moby.host-gateway-ip"
    assert host_gateway_ip([{}, {label: "172.17.0.1"}]) == "172.17.0.1"
    assert host_gateway_ip(CLASSIC) == ""


@pytest.mark.parametrize("labels", [CLASSIC, CONTAINERD])
def test_images_of_the_engine_go_before_those_of_registries(labels):
    assert plan_for_engine(labels, ()).frontend_attrs == {"image-resolve-mode": "local"}


def test_the_classic_store_gets_images_by_its_own_exporter_and_pushes_afterwards():
    output = export.image("ghcr.io/me/a:1", "ghcr.io/me/b:1", push=True)
    plan = plan_for_engine(CLASSIC, [output])
    (sent,) = plan.outputs
    assert (sent.type, sent.attrs) == ("moby", {"name": "ghcr.io/me/a:1,ghcr.io/me/b:1"})
    assert sent.names == output.names
    assert plan.pushes == ("ghcr.io/me/a:1", "ghcr.io/me/b:1")


def test_an_image_that_stays_is_not_pushed():
    plan = plan_for_engine(CLASSIC, [export.image("me/a:1")])
    assert plan.pushes == ()


def test_the_containerd_store_pushes_by_itself():
    output = export.image("ghcr.io/me/a:1", push=True, compression="zstd")
    plan = plan_for_engine(CONTAINERD, [output], n_platforms=2, attestations=True)
    (sent,) = plan.outputs
    assert (sent.type, sent.attrs) == ("moby", output.attrs)
    assert plan.pushes == ()


def test_the_classic_store_cannot_send_an_image_to_another_engine():
    with pytest.raises(
        UsageError, match="classic image store, which cannot send an image"
    ) as caught:
        plan_for_engine(CLASSIC, [], loads_elsewhere=True)
    assert "push it to a registry" in caught.value.hint
    assert plan_for_engine(CONTAINERD, [], loads_elsewhere=True).outputs == ()


@pytest.mark.parametrize("labels", [CLASSIC, CONTAINERD])
def test_files_go_as_they_are(labels, tmp_path):
    outputs = [export.tar(tmp_path / "a.tar"), export.local(tmp_path / "out")]
    assert list(plan_for_engine(labels, outputs).outputs) == outputs


def test_the_containerd_store_makes_archives(tmp_path):
    outputs = [export.oci(tmp_path / "a.tar"), export.docker(tmp_path / "b.tar", "me/a:1")]
    assert list(plan_for_engine(CONTAINERD, outputs).outputs) == outputs


@pytest.mark.parametrize("make", [export.oci, export.docker])
def test_the_classic_store_makes_no_archives(make, tmp_path):
    with pytest.raises(UsageError, match="classic image store") as caught:
        plan_for_engine(CLASSIC, [make(tmp_path / "a.tar", "me/a:1")])
    assert "docker save" in caught.value.hint
    assert "containerd image store" in caught.value.hint


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"compression": "zstd"}, "compression=zstd"),
        ({"annotations": {"a": "b"}}, "annotation.a=b"),
        ({"push_by_digest": True}, "push-by-digest=true"),
        ({"insecure": True}, "registry.insecure=true"),
        ({"store": False}, "store=false"),
        ({"rewrite_timestamp": True, "source_date_epoch": 0}, "rewrite-timestamp=true"),
    ],
)
def test_what_the_classic_store_would_ignore_is_refused(options, named):
    with pytest.raises(UsageError, match="cannot keep the attribute") as caught:
        plan_for_engine(CLASSIC, [export.image("ghcr.io/me/a", **options)])
    assert named in str(caught.value)


def test_what_the_classic_store_does_anyway_may_be_asked_for():
    output = export.image("me/a:1", unpack=True, oci_mediatypes=False)
    assert plan_for_engine(CLASSIC, [output]).outputs[0].attrs == {"name": "me/a:1"}


def test_a_name_from_the_result_is_refused():
    with pytest.raises(UsageError, match="name from the result"):
        plan_for_engine(CLASSIC, [export.image("*")])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"n_platforms": 2}, "several platforms"),
        ({"attestations": True}, "provenance"),
        ({"cache_exports": ["registry"]}, "write a cache of type 'registry'"),
        ({"cache_imports": ["gha"]}, "read a cache of type 'gha'"),
    ],
)
def test_what_the_classic_store_cannot_do_is_refused_before_anything_is_sent(options, match):
    with pytest.raises(UsageError, match=match):
        plan_for_engine(CLASSIC, (), **options)
    plan_for_engine(CONTAINERD, (), **options)


def test_caches_that_the_classic_store_knows_pass():
    plan_for_engine(CLASSIC, (), cache_exports=["inline"], cache_imports=["registry", "local"])
