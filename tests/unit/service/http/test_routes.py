"""The operations of plain HTTP as data: whatever is sent, it is read or refused in words."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depotlab._serving import Fault
from depotlab.service._http.jsonapp import JsonApp, _prefers_text
from depotlab.service._http.routepages import curl_lines, openapi, page
from depotlab.service._http.routes import ROUTES, find_route, read_body, read_query

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
CREATE = next(route for route in ROUTES if route.name == "create_build")
LIST = next(route for route in ROUTES if route.name == "list_builds")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_each_operation_is_found_and_answered(route):
    path = route.path.replace("{id}", "some-id")
    assert find_route(route.method, path) == (route, "some-id" if path != route.path else "")
    assert callable(getattr(JsonApp, f"_{route.name}"))


def answered(work, *asked):
    """What it returns, or the code with which it refuses."""
    try:
        return work(*asked)
    except Fault as fault:
        return fault.code


@given(st.sampled_from(["GET", "POST", "DELETE", "HEAD", "PUT", ""]), st.text())
def test_a_path_is_an_operation_or_is_refused(method, path):
    found = answered(find_route, method, path)
    assert found in ("not_found", "unimplemented") or found[0] in ROUTES


@given(st.binary() | ANY_JSON.map(json.dumps).map(str.encode))
def test_a_body_is_read_or_refused(body):
    read = answered(read_body, CREATE, body)
    assert read == "invalid_argument" or set(read) <= {field.name for field in CREATE.body}


@settings(max_examples=25)
@given(st.dictionaries(st.sampled_from([f.name for f in CREATE.body]), ANY_JSON))
def test_fields_of_any_kind_are_read_or_refused(fields):
    needed = {"project": "shop", "deployment": "d1"}
    read = answered(read_body, CREATE, json.dumps(needed | fields).encode())
    assert read == "invalid_argument" or isinstance(read["project"], str)


@given(st.binary(max_size=200))
def test_a_query_is_read_or_refused(query):
    read = answered(read_query, LIST, query)
    assert read == "invalid_argument" or isinstance(read.get("page_size", 0), int)


def test_half_of_a_character_is_refused():
    with pytest.raises(Fault, match="half of a character"):
        read_body(CREATE, b'{"project": "shop", "deployment": "d", "labels": {"a": "\\ud800"}}')


def test_the_page_and_the_document_say_the_same():
    said = openapi("http://127.0.0.1:8080")
    shown = page("http://127.0.0.1:8080")
    for route in ROUTES:
        operation = said["paths"][route.path][route.method.lower()]
        assert operation["summary"] in shown
        assert bool(operation.get("security")) == bool(route.may)
        for field in route.body:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            assert field.name in schema["properties"]
    json.dumps(said)


@pytest.mark.parametrize(
    ("accept", "is_text"),
    [
        pytest.param("", False, id="nothing"),
        pytest.param("*/*", False, id="curl"),
        pytest.param("text/plain", True, id="text"),
        pytest.param("Text/Plain; charset=utf-8, */*", True, id="text first"),
        pytest.param("application/json, text/plain, */*", False, id="axios"),
        pytest.param("application/x-ndjson, text/plain", False, id="lines of JSON first"),
    ],
)
def test_a_log_is_text_for_who_wants_that_first(accept, is_text):
    assert _prefers_text(accept) is is_text


def test_the_commands_trust_what_they_are_told_to():
    lines = curl_lines("https://builds", trust="--cacert ca.pem")
    assert sum("--cacert ca.pem" in line for line in lines) == 4
    assert not any("--cacert" in line for line in lines if "upload_url" in line)
