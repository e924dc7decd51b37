"""The blocking and the awaitable face use the same words."""

import inspect

import pytest

from depotlab import aio, client

VERBS = [n for n in dir(client.Client) if not n.startswith("_")]


def shape(function):
    signature = inspect.signature(function)
    return [(p.name, p.kind, p.default, p.annotation) for p in signature.parameters.values()]


def test_both_faces_have_the_same_verbs():
    assert [n for n in dir(aio.Client) if not n.startswith("_")] == VERBS
    assert sorted(client.__all__) == sorted(aio.__all__)


@pytest.mark.parametrize("name", [n for n in VERBS if callable(getattr(client.Client, n))])
def test_a_verb_has_one_signature(name):
    blocking, awaitable = getattr(client.Client, name), getattr(aio.Client, name)
    assert shape(blocking) == shape(awaitable)
    assert (
        inspect.signature(blocking).return_annotation
        == inspect.signature(awaitable).return_annotation
    )


DOORS = [n for n in client.__all__ if inspect.isfunction(getattr(client, n))]


@pytest.mark.parametrize("name", DOORS)
def test_a_door_has_one_signature(name):
    assert shape(getattr(client, name)) == shape(getattr(aio, name))
    assert inspect.iscoroutinefunction(getattr(aio, name))


@pytest.mark.parametrize("face", [client, aio])
def test_every_public_name_has_a_docstring(face):
    for name in face.__all__:
        assert inspect.getdoc(getattr(face, name))
    for name in VERBS:
        assert inspect.getdoc(getattr(face.Client, name)), name


GATEWAY = [n for n in dir(client.Gateway) if not n.startswith("_")]


def test_both_gateways_have_the_same_verbs():
    assert [n for n in dir(aio.Gateway) if not n.startswith("_")] == GATEWAY
    assert {"ls", "read", "run", "solve", "tree"} <= set(GATEWAY)


@pytest.mark.parametrize("name", [n for n in GATEWAY if callable(getattr(client.Gateway, n))])
def test_a_verb_of_the_gateway_has_one_signature_and_one_docstring(name):
    blocking, awaitable = getattr(client.Gateway, name), getattr(aio.Gateway, name)
    assert shape(blocking) == shape(awaitable)
    assert inspect.getdoc(blocking) == inspect.getdoc(awaitable)
    assert inspect.iscoroutinefunction(awaitable)
