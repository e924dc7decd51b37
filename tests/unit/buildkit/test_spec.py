"""The request that a build is asked for with."""

import json

import pytest

from depotlab._proto import control_pb2, ops_pb2
from depotlab.buildkit.spec import SolveSpec, new_ref, solve_request
from depotlab.export import Output

IMPORTS = [("registry", {"ref": "r/c:1"}), ("gha", {"token": "planted-secret"})]


def request(**fields):
    data = solve_request(SolveSpec("ref1", **fields), "session1")
    return control_pb2.SolveRequest.FromString(data)


def test_names_and_rights_are_passed_on():
    sent = request(frontend="dockerfile.v0", attrs={"target": "x"}, entitlements=["network.host"])
    assert (sent.Ref, sent.Session, sent.Frontend) == ("ref1", "session1", "dockerfile.v0")
    assert dict(sent.FrontendAttrs) == {"target": "x"}
    assert list(sent.Entitlements) == ["network.host"]
    assert not sent.Internal


def test_a_definition_is_absent_so_that_the_client_is_the_frontend():
    assert not request().HasField("Definition")


def test_inputs_are_whole_definitions():
    definition = ops_pb2.Definition(**{"def": [b"op"]})
    sent = request(inputs={"dockerfile": definition.SerializeToString()})
    assert sent.FrontendInputs["dockerfile"] == definition


def test_the_first_output_is_also_told_as_old_daemons_read_it():
    sent = request(exporters=[Output("image", {"name": "a"}), Output("tar")])
    assert [e.Type for e in sent.Exporters] == ["image", "tar"]
    assert sent.ExporterDeprecated == "image"
    assert dict(sent.ExporterAttrsDeprecated) == {"name": "a"}


def test_caches_are_listed_with_type_and_attributes():
    sent = request(cache_exports=[("inline", {})], cache_imports=IMPORTS)
    assert [(e.Type, dict(e.Attrs)) for e in sent.Cache.Exports] == [("inline", {})]
    assert [(e.Type, dict(e.Attrs)) for e in sent.Cache.Imports] == IMPORTS


def test_a_frontend_in_the_daemon_is_told_of_cache_imports_in_its_options():
    sent = request(frontend="dockerfile.v0", cache_imports=IMPORTS)
    told = json.loads(sent.FrontendAttrs["cache-imports"])
    assert [(e["Type"], e["Attrs"]) for e in told] == IMPORTS


def test_our_own_frontend_keeps_credentials_of_caches_out_of_the_options():
    """The daemon's history shows options to everybody."""
    assert "planted" not in str(request(cache_imports=IMPORTS).FrontendAttrs)


def test_no_cache_means_no_field():
    sent = request(frontend="dockerfile.v0")
    assert not sent.HasField("Cache")
    assert not sent.FrontendAttrs


@pytest.mark.parametrize("frontend", ["", "dockerfile.v0"])
def test_attestations_are_options_whoever_the_frontend_is(frontend):
    sent = request(frontend=frontend, attests={"provenance": "mode=max", "sbom": ""})
    assert dict(sent.FrontendAttrs) == {"attest:provenance": "mode=max", "attest:sbom": ""}


def test_the_epoch_dates_every_output_that_has_none_of_its_own():
    sent = request(
        exporters=[Output("oci"), Output("tar", {"source-date-epoch": "7"})], source_date_epoch=0
    )
    assert [e.Attrs["source-date-epoch"] for e in sent.Exporters] == ["0", "7"]
    assert sent.ExporterAttrsDeprecated["source-date-epoch"] == "0"
    assert not sent.FrontendAttrs


def test_the_epoch_is_a_build_argument_of_a_dockerfile_unless_it_was_given_there():
    name = "build-arg:SOURCE_DATE_EPOCH"
    assert request(frontend="dockerfile.v0", source_date_epoch=5).FrontendAttrs[name] == "5"
    sent = request(frontend="dockerfile.v0", source_date_epoch=5, attrs={name: "9"})
    assert sent.FrontendAttrs[name] == "9"


def test_an_internal_build_says_so():
    assert request(is_internal=True).Internal


def test_credentials_are_not_in_the_repr():
    spec = SolveSpec(
        new_ref(),
        cache_imports=IMPORTS,
        cache_exports=IMPORTS,
        attrs={"build-arg:T": "planted-argument"},
    )
    assert "planted" not in repr(spec)


def test_names_of_builds_do_not_come_back():
    assert len({new_ref() for _ in range(100)}) == 100
