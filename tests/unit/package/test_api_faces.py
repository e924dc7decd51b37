"""The Depot API has the same names, signatures and words in both faces; notebooks and completion see them."""

import inspect

import pytest

import depotlab as dl
from depotlab import _depot, aio, api, client

PARTS = ("Projects", "Builds", "Images", "Usages")
FACES = {
    part: (
        getattr(inspect.getmodule(client.DepotApi), part),
        getattr(inspect.getmodule(aio.DepotApi), part),
    )
    for part in PARTS
}
METHODS = [
    (part, name)
    for part in PARTS
    for name in vars(getattr(_depot, part))
    if not name.startswith("_")
]


def names(kind):
    return sorted(name for name in dir(kind) if not name.startswith("_"))


def test_both_faces_and_the_api_itself_have_the_same_names():
    assert names(client.DepotApi) == names(aio.DepotApi)
    for part, (blocking, awaitable) in FACES.items():
        assert names(blocking) == names(awaitable) == names(getattr(_depot, part))


@pytest.mark.parametrize(("part", "name"), METHODS)
def test_a_method_has_one_signature_and_one_docstring(part, name):
    core = getattr(getattr(_depot, part), name)
    blocking, awaitable = (getattr(face, name) for face in FACES[part])
    assert inspect.signature(blocking) == inspect.signature(core) == inspect.signature(awaitable)
    assert blocking.__doc__ == awaitable.__doc__ == core.__doc__ != ""
    assert inspect.iscoroutinefunction(awaitable) == inspect.iscoroutinefunction(core)
    assert not inspect.iscoroutinefunction(blocking)


def test_what_a_notebook_asks_for_is_told():
    method = client.DepotApi.organizations
    assert str(inspect.signature(method)) == "(self) -> 'Listing[Organization]'"


def test_the_public_room_lists_what_it_promises_and_nothing_else():
    assert dl.api is api
    assert dir(api) == sorted(api.__all__)
    for name in api.__all__:
        value = getattr(api, name)
        assert not inspect.isclass(value) or inspect.getdoc(value), name
    errors = [n for n in _depot.__all__ if isinstance(getattr(_depot, n), type)]
    errors = [n for n in errors if issubclass(getattr(_depot, n), Exception)]
    assert set(errors) <= set(api.__all__)
