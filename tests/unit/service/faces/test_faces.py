"""The blocking and the awaitable service have the same verbs, arguments and words."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import depotlab as dl
from depotlab.errors import ServiceError
from depotlab.service import BuildService, aio
from depotlab.service._core.core import Core
from depotlab.telemetry import OpenTelemetry, Several

VERBS = sorted(name for name in dir(BuildService) if not name.startswith("_"))
METHODS = [name for name in VERBS if inspect.isfunction(getattr(BuildService, name))]
CARRIED = [
    name
    for name in METHODS
    if hasattr(Core, name) and name not in ("open", "close", "get_build_logs")
]


def test_both_faces_have_the_same_verbs():
    assert sorted(name for name in dir(aio.BuildService) if not name.startswith("_")) == VERBS
    assert {"build", "cancel_build", "create_build", "get_build_logs", "serve", "upload"} <= set(
        VERBS
    )
    assert inspect.signature(BuildService) == inspect.signature(aio.BuildService)


@pytest.mark.parametrize("name", METHODS)
def test_a_verb_has_one_list_of_arguments(name: str):
    blocking, awaitable = getattr(BuildService, name), getattr(aio.BuildService, name)
    ours, theirs = inspect.signature(blocking), inspect.signature(awaitable)
    assert list(ours.parameters.values()) == list(theirs.parameters.values())
    assert inspect.getdoc(blocking)
    assert inspect.getdoc(awaitable)
    assert not inspect.iscoroutinefunction(blocking)
    assert inspect.iscoroutinefunction(awaitable) == (name != "get_build_logs")


@pytest.mark.parametrize("name", CARRIED)
def test_a_verb_says_the_same_in_both(name: str):
    assert getattr(BuildService, name).__doc__ == getattr(aio.BuildService, name).__doc__
    assert inspect.signature(getattr(BuildService, name)) == inspect.signature(getattr(Core, name))


def test_a_service_that_was_not_entered_says_how_it_is_used(tmp_path: Path):
    service = BuildService(state=tmp_path / "state", telemetry=None)
    for ask in (
        service.projects,
        lambda: service.generate_upload_url("shop"),
        lambda: service.create_build("x", project="a", deployment="b"),
        lambda: service.get_build_logs("b1"),
        service.serve,
        lambda: service.tokens,
    ):
        with pytest.raises(ServiceError, match="not open") as caught:
            ask()
        assert caught.value.code == "failed_precondition"
        assert "with BuildService" in caught.value.hint
    assert repr(service) == f"<BuildService, not open, state in {tmp_path / 'state'}>"
    assert "not open" not in service._repr_html_()
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        pytest.param({"platform": "linux/riscv64"}, "platform cannot be", id="platform"),
        pytest.param({"depot": "local"}, "depot cannot be a value of str", id="depot"),
        pytest.param({"storage": "contexts"}, "storage cannot be", id="storage"),
        pytest.param({"registry": "ghcr.io/acme"}, "registry cannot be", id="registry"),
        pytest.param({"limits": {"max_running": 3}}, "limits cannot be", id="limits"),
        pytest.param({"git_tokens": "token"}, "git_tokens cannot be", id="tokens"),
        pytest.param({"error_rules": ["x"]}, "error_rules cannot be", id="rules"),
        pytest.param({"telemetry": 7}, "telemetry cannot be 7", id="telemetry"),
        pytest.param({"telemetry": "https://ch:8443"}, "ClickHouse", id="an address"),
    ],
)
def test_settings_are_checked_when_it_is_made(wrong, words, tmp_path: Path):
    with pytest.raises(ServiceError) as caught:
        BuildService(**({"state": tmp_path, "telemetry": None} | wrong))
    assert words in str(caught.value)


def test_telemetry_that_can_only_be_written_cannot_be_asked(tmp_path: Path):
    for telemetry in (None, Several(OpenTelemetry(InMemorySpanExporter()))):
        service = BuildService(state=tmp_path, telemetry=telemetry)
        with pytest.raises(ServiceError, match="no telemetry that can be asked"):
            _ = service.telemetry


def test_the_room_lists_what_it_promises():
    assert dir(dl.service) == sorted(dl.service.__all__)
    for name in dl.service.__all__:
        assert getattr(dl.service, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        dl.service.nope  # noqa: B018
