"""Who is asked first for an image of docker.io follows from whether Docker Hub answers."""

import email.message
import threading
import urllib.error
import urllib.request

import pytest

from depotlab._local import _hub
from depotlab.errors import EngineError


@pytest.fixture(autouse=True)
def no_choice(monkeypatch):
    monkeypatch.delenv("DEPOTLAB_DOCKER_HUB", raising=False)


def test_a_demand_to_log_in_is_an_answer(monkeypatch) -> None:
    def refuse(url, **_):
        raise urllib.error.HTTPError(url, 401, "Unauthorized", email.message.Message(), None)

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    assert _hub.answers()


@pytest.mark.parametrize("error", [OSError("no route"), TimeoutError(), ValueError("bad proxy")])
def test_anything_else_is_none(monkeypatch, error) -> None:
    def fail(url, **_):
        raise error

    monkeypatch.setattr(urllib.request, "urlopen", fail)
    assert not _hub.answers()


def test_a_name_server_that_hangs_is_not_waited_for(monkeypatch) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(_hub, "_PATIENCE_S", 0.05)
    monkeypatch.setattr(_hub, "answers", lambda: go_on.wait())
    assert not _hub.ask_in_background()()
    go_on.set()


@pytest.mark.parametrize(("value", "first"), [("first", True), ("last", False)])
def test_the_variable_decides_without_asking(monkeypatch, value, first) -> None:
    monkeypatch.setenv("DEPOTLAB_DOCKER_HUB", value)
    monkeypatch.setattr(_hub, "answers", lambda: pytest.fail("it asked"))
    assert _hub.ask_in_background()() is first


def test_another_value_is_an_error(monkeypatch) -> None:
    monkeypatch.setenv("DEPOTLAB_DOCKER_HUB", "maybe")
    with pytest.raises(EngineError, match="maybe"):
        _hub.ask_in_background()
