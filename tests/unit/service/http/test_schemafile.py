"""The schema that a server hands out is the one that it was made from."""

from depotlab.service._http.rpc import SERVICE, BuildServiceMethods
from depotlab.service._http.schemafile import schema
from tests.support.pages import ROOT

SOURCE = ROOT / "protos" / "depotlab" / "_proto" / "build_service.proto"


def said(text):
    """Its lines, without comments and blank ones."""
    lines = (line.partition("//")[0].rstrip() for line in text.splitlines())
    return [line for line in lines if line]


def test_it_says_what_its_source_says_and_which_methods_there_are():
    lines = said(schema(SERVICE, BuildServiceMethods(None).methods()))
    begin = lines.index("service BuildService {")
    end = lines.index("}", begin)
    assert lines[begin + 1 : end] == [
        "  rpc GenerateUploadURL(GenerateUploadURLRequest) returns (GenerateUploadURLResponse);",
        "  rpc CreateBuild(CreateBuildRequest) returns (CreateBuildResponse);",
        "  rpc GetBuild(GetBuildRequest) returns (GetBuildResponse);",
        "  rpc ListBuilds(ListBuildsRequest) returns (ListBuildsResponse);",
        "  rpc GetBuildLogs(GetBuildLogsRequest) returns (stream GetBuildLogsResponse);",
        "  rpc CancelBuild(CancelBuildRequest) returns (CancelBuildResponse);",
    ]
    ours = "package depotlab.build_service;"  # private, see protos/README.md
    source = [
        line if line != ours else "package depotlab.service.v1;"
        for line in said(SOURCE.read_text())
    ]
    assert lines[:begin] + lines[end + 1 :] == source
