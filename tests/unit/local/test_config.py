"""What buildkitd and the registry are told."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depotlab._local import _config

# Any path that the kernel takes and that UTF-8 can write.
PATHS = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1
).map(lambda text: Path("/") / text)


def config(**changes) -> str:
    values = {
        "root": Path("/s/root"),
        "socket": Path("/s/run/buildkitd.sock"),
        "otel_socket": Path("/s/run/otel.sock"),
        "runtime": Path("/usr/sbin/runc"),
        "registry_port": 20123,
        "rootless": False,
        "process_sandbox": True,
        "cgroup": "depotlab-0123",
        "hub_first": False,
    }
    return _config.buildkitd_toml(**{**values, **changes})


def test_the_daemon_listens_on_its_private_socket_and_nowhere_else() -> None:
    read = tomllib.loads(config())
    assert read["grpc"] == {"address": ["unix:///s/run/buildkitd.sock"]}
    assert read["otel"] == {"socketPath": "/s/run/otel.sock"}
    assert "debugAddress" not in config()


def test_only_the_oci_worker_runs_with_the_runtime_that_was_found() -> None:
    worker = tomllib.loads(config())["worker"]
    assert worker["containerd"] == {"enabled": False}
    assert worker["oci"]["enabled"] is True
    assert worker["oci"]["binary"] == "/usr/sbin/runc"
    assert worker["oci"]["defaultCgroupParent"] == "depotlab-0123"


@pytest.mark.parametrize(
    ("hub_first", "mirrors"),
    [
        pytest.param(False, ["localhost:20123"], id="with no network our registry comes first"),
        pytest.param(
            True,
            ["registry-1.docker.io", "localhost:20123"],
            id="with a network the real image wins over a seeded one",
        ),
    ],
)
def test_who_is_asked_for_images_of_docker_io(hub_first: bool, mirrors: list[str]) -> None:
    registries = tomllib.loads(config(hub_first=hub_first))["registry"]
    assert registries["docker.io"]["mirrors"] == mirrors
    assert registries["localhost:20123"] == {"http": True}


def test_rootless_without_a_process_sandbox_says_both() -> None:
    oci = tomllib.loads(config(rootless=True, process_sandbox=False))["worker"]["oci"]
    assert (oci["rootless"], oci["noProcessSandbox"]) == (True, True)


@given(PATHS)
def test_any_path_survives_toml(path: Path) -> None:
    assert tomllib.loads(config(root=path))["root"] == str(path)


def test_the_registry_listens_on_loopback_only_and_lets_images_be_deleted() -> None:
    assert _config.registry_yaml(root=Path('/s/re "gistry'), port=20123) == (
        "# Written by depotlab each time the engine starts; changes are lost.\n"
        "version: 0.1\n"
        "log:\n"
        "  level: warn\n"
        "  accesslog:\n"
        "    disabled: true\n"
        "storage:\n"
        "  filesystem:\n"
        '    rootdirectory: "/s/re \\"gistry"\n'
        "  delete:\n"
        "    enabled: true\n"
        "  cache:\n"
        "    blobdescriptor: inmemory\n"
        "http:\n"
        "  addr: 127.0.0.1:20123\n"
    )


def test_variables_that_would_change_a_child_are_not_inherited() -> None:
    given_ones = {
        "HOME": "/h",
        "HTTPS_PROXY": "http://p",
        "REGISTRY_HTTP_ADDR": "0.0.0.0:1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://elsewhere",
        "BUILDKITD_DEBUGADDR": "0.0.0.0:2",
        "NOTIFY_SOCKET": "/n",
    }
    assert _config.child_environment(given_ones, path="/bin") == {
        "HOME": "/h",
        "HTTPS_PROXY": "http://p",
        "PATH": "/bin",
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_METRICS_EXPORTER": "none",
    }
