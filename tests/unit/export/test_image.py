import pickle
from datetime import UTC, datetime

import pytest

from depotlab import export
from depotlab.errors import UsageError


def attrs(**options):
    return dict(export.image("a", **options).attrs)


def test_names_and_push_become_attributes():
    out = export.image("h/a:1", "h/a:2", push=True)
    assert dict(out.attrs) == {"name": "h/a:1,h/a:2", "push": "true"}
    assert out.names == ("h/a:1", "h/a:2")
    assert out.push
    assert out.destination is None


def test_without_arguments_it_is_an_unnamed_image():
    assert dict(export.image().attrs) == {}
    assert repr(export.image()) == "<output image: no name>"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"insecure": True}, {"registry.insecure": "true"}),
        ({"push_by_digest": True}, {"push-by-digest": "true"}),
        ({"compression": "zstd"}, {"compression": "zstd"}),
        (
            {"compression": "zstd", "compression_level": 22},
            {"compression": "zstd", "compression-level": "22"},
        ),
        ({"compression_level": 0}, {"compression-level": "0"}),
        ({"force_compression": True}, {"force-compression": "true"}),
        ({"oci_mediatypes": False}, {"oci-mediatypes": "false"}),
        ({"oci_mediatypes": True}, {"oci-mediatypes": "true"}),
        ({"oci_artifact": False}, {"oci-artifact": "false"}),
        ({"attestation_inline": True}, {"attestation-inline": "true"}),
        ({"prefer_nondist_layers": True}, {"prefer-nondist-layers": "true"}),
        ({"store": False}, {"store": "false"}),
        ({"unpack": True}, {"unpack": "true"}),
        ({"name_canonical": True}, {"name-canonical": "true"}),
        ({"dangling_name_prefix": "p"}, {"dangling-name-prefix": "p"}),
        ({"dangling_name_empty_only": True}, {"danging-name-empty-only": "true"}),
        ({"rewrite_timestamp": True}, {"rewrite-timestamp": "true"}),
        ({"source_date_epoch": 0}, {"source-date-epoch": "0"}),
        (
            {"source_date_epoch": datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)},
            {"source-date-epoch": "1000000000"},
        ),
        ({"annotations": {"k": "v"}}, {"annotation.k": "v"}),
        ({"annotations": {"index:k": "v"}}, {"annotation-index.k": "v"}),
        ({"annotations": {"a.b/c": ""}}, {"annotation.a.b/c": ""}),
        (
            {"annotations": {"index-descriptor,manifest-descriptor:k": "v"}},
            {"annotation-index-descriptor.k": "v", "annotation-manifest-descriptor.k": "v"},
        ),
        (
            {"annotations": {"manifest[linux/arm64/v8]:k": "v", "manifest:k": "w"}},
            {"annotation-manifest[linux/arm64/v8].k": "v", "annotation-manifest.k": "w"},
        ),
    ],
)
def test_every_option_is_the_attribute_that_the_daemon_reads(options, expected):
    assert attrs(**options) == {"name": "a", **expected}


def test_options_that_say_no_more_than_the_default_are_left_out():
    assert attrs(store=True, unpack=False, push=False, force_compression=False) == {"name": "a"}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: export.image(push=True), "needs a name"),
        (lambda: export.image(push_by_digest=True), "needs a name"),
        (lambda: export.image("h:5000/a:1", push_by_digest=True), "h:5000/a'"),
        (lambda: export.image("a,b"), "comma"),
        (lambda: export.image(""), "as strings"),
        (lambda: export.image(" a"), "as strings"),
        (lambda: export.image(1), "as strings"),
        (lambda: attrs(compression="zip"), "'gzip'|not known"),
        (lambda: attrs(compression="zst"), "did you mean 'zstd'"),
        (lambda: attrs(compression_level=10), "from 0 to 9"),
        (lambda: attrs(compression="zstd", compression_level=23), "from 0 to 22"),
        (lambda: attrs(compression_level=True), "no level"),
        (lambda: attrs(compression="uncompressed", compression_level=1), "means nothing"),
        (lambda: attrs(compression="estargz", oci_mediatypes=False), "needs OCI media types"),
        (lambda: attrs(oci_artifact=True, oci_mediatypes=False), "needs OCI media types"),
        (lambda: attrs(unpack=True, rewrite_timestamp=True), "not both"),
        (lambda: attrs(push="yes"), "neither True nor False"),
        (lambda: attrs(store=None) and attrs(store="no"), "neither True nor False"),
        (lambda: attrs(source_date_epoch=-1), "not a time"),
        (lambda: attrs(source_date_epoch=1.5), "not a time"),
        (lambda: attrs(source_date_epoch=datetime(2020, 1, 1)), "no time zone"),
        (lambda: attrs(annotations={"k": 1}), "strings to strings"),
        (lambda: attrs(annotations=["k=v"]), "takes a mapping, not an object of type list"),
        (lambda: attrs(annotations={"a key": "v"}), "no key"),
        (lambda: attrs(annotations={"": "v"}), "no key"),
        (lambda: attrs(annotations={"manifests:k": "v"}), "did you mean 'manifest'"),
        (lambda: attrs(annotations={"index[linux/amd64]:k": "v"}), "cannot be for"),
        (lambda: attrs(annotations={"manifest[linux]:k": "v"}), "cannot be for"),
    ],
)
def test_mistakes_are_raised_in_the_call(call, words):
    with pytest.raises(UsageError, match=words):
        call()


def test_outputs_are_values():
    one, two = export.image("a", annotations={"k": "v"}), export.image("a", annotations={"k": "v"})
    assert one == two
    assert hash(one) == hash(two)
    assert pickle.loads(pickle.dumps(one)) == one
