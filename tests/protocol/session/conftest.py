"""Every test here has a home of its own: nothing of the user's is read or written."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    for name in (
        "DOCKER_CONFIG",
        "DOCKER_AUTH_CONFIG",
        "XDG_STATE_HOME",
        "BUILDKIT_NO_CLIENT_TOKEN",
        "REGISTRY_USERNAME",
        "REGISTRY_PASSWORD",
        "REGISTRY_URL",
    ):
        monkeypatch.delenv(name, raising=False)
    return home
