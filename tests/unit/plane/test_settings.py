"""What buildkitd and the registry are told."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from depotlab._plane.boundary import CachePolicy
from depotlab._plane.settings import machine_toml, registry_yaml


def settings(**changes) -> dict:
    values = {
        "root": Path('/s/"quoted"\x7f/root'),
        "socket": Path("/s/run/b.sock"),
        "otel_socket": Path("/s/run/otel.sock"),
        "runtime": Path("/usr/bin/runc"),
        "platform": "arm64",
        "policy": CachePolicy(25, 7),
        "registry": "127.0.0.1:20123",
        "mirrors": ["registry-1.docker.io", "127.0.0.1:20123"],
        "rootless": False,
        "process_sandbox": True,
        "cgroup": "depotlab-x",
    }
    return tomllib.loads(machine_toml(**{**values, **changes}))


def test_a_machine_is_told_everything():
    found = settings()
    assert found["root"] == '/s/"quoted"\x7f/root'
    assert found["grpc"]["address"] == ["unix:///s/run/b.sock"]
    assert found["otel"]["socketPath"] == "/s/run/otel.sock"
    assert found["insecure-entitlements"] == ["network.host", "security.insecure"]
    assert found["worker"]["containerd"] == {"enabled": False}
    worker = found["worker"]["oci"]
    assert worker["platforms"] == ["linux/arm64"]
    assert (worker["rootless"], worker["noProcessSandbox"]) == (False, False)
    assert found["registry"]["127.0.0.1:20123"] == {"http": True}
    assert found["registry"]["docker.io"]["mirrors"] == ["registry-1.docker.io", "127.0.0.1:20123"]


def test_a_machine_of_this_computers_own_platform_keeps_all_its_variants():
    assert "platforms" not in settings(platform=None)["worker"]["oci"]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        pytest.param(
            CachePolicy(25, 7),
            [
                {"all": True, "keepDuration": "168h"},
                {"all": True, "maxUsedSpace": "25GB", "minFreeSpace": "2GB"},
            ],
            id="first what is too old, then what is too much",
        ),
        pytest.param(
            CachePolicy(1, 0),
            [{"all": True, "maxUsedSpace": "1GB", "minFreeSpace": "2GB"}],
            id="no days: age does not matter",
        ),
    ],
)
def test_the_cache_policy_becomes_what_buildkit_collects(policy, expected):
    worker = settings(policy=policy)["worker"]["oci"]
    assert worker["gc"] is True
    assert worker["gcpolicy"] == expected


def test_the_registry_listens_on_a_private_socket_only():
    text = registry_yaml(root=Path("/s/registry"), socket=Path("/s/run/r.sock"), secret="abc")
    assert "net: unix" in text
    assert 'addr: "/s/run/r.sock"' in text
    assert 'secret: "abc"' in text
    assert "delete:\n    enabled: true" in text
