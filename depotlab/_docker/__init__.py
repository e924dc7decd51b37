"""The API of a Docker Engine (or podman), without the CLI: where it is, loading images, its BuildKit."""

from depotlab._docker.engine import DockerEngine, EngineVersion, RegistryLogin, registry_of
from depotlab._docker.exporters import (
    EnginePlan,
    has_containerd_store,
    host_gateway_ip,
    plan_for_engine,
)
from depotlab._docker.host import (
    DockerHost,
    DockerTls,
    docker_at,
    docker_config_dir,
    find_docker,
)
from depotlab._docker.sshaddress import SshAddress

__all__ = [
    "DockerEngine",
    "DockerHost",
    "DockerTls",
    "EnginePlan",
    "EngineVersion",
    "RegistryLogin",
    "SshAddress",
    "docker_at",
    "docker_config_dir",
    "find_docker",
    "has_containerd_store",
    "host_gateway_ip",
    "plan_for_engine",
    "registry_of",
]
