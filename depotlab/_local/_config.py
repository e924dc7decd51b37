"""The texts that buildkitd and the registry read. Values in, text out; nothing is written here.

What was decided, and why:

* Only the OCI worker; containerd's is off even where there is one, its images are not ours.
* `network.host` and `security.insecure` are allowed. The socket is private to one user, who has
  the daemon's rights anyway, and a build still gets them only when its client asks for them.
* Our registry is a mirror of docker.io, first when Docker Hub does not answer and last when it
  does: a seeded busybox works with no network, and with one the real image is used.
* The cache may grow to 30 GB. BuildKit's default follows the size of the disk, up to 100 GB and
  keeping 20 % of it free, which on a nearly full laptop means no cache at all.

Source of the keys: moby/buildkit docs/buildkitd.toml.md and cmd/buildkitd/config/config.go;
distribution docs/content/about/configuration.md.
"""

from __future__ import annotations

import json
from pathlib import Path

HUB_HOST = "registry-1.docker.io"  # what docker.io means on the wire

_BUILDKITD = """\
# Written by depotlab each time the engine starts; changes are lost.
root = {root}
insecure-entitlements = ["network.host", "security.insecure"]

[log]
  format = "text"
  level = "info"

[grpc]
  address = [{address}]

# The default is one fixed path for the whole machine, which another daemon may own.
[otel]
  socketPath = {otel}

[worker.oci]
  enabled = true
  snapshotter = "auto"
  binary = {runtime}
  rootless = {rootless}
  noProcessSandbox = {no_process_sandbox}
  defaultCgroupParent = {cgroup}
  gc = true
  reservedSpace = "5GB"
  maxUsedSpace = "30GB"
  minFreeSpace = "2GB"

[worker.containerd]
  enabled = false

[registry."docker.io"]
  mirrors = {mirrors}

[registry.{registry}]
  http = true
"""

_REGISTRY = """\
# Written by depotlab each time the engine starts; changes are lost.
version: 0.1
log:
  level: warn
  accesslog:
    disabled: true
storage:
  filesystem:
    rootdirectory: {root}
  delete:
    enabled: true
  cache:
    blobdescriptor: inmemory
http:
  addr: 127.0.0.1:{port}
"""


def buildkitd_toml(
    *,
    root: Path,
    socket: Path,
    otel_socket: Path,
    runtime: Path,
    registry_port: int,
    rootless: bool,
    process_sandbox: bool,
    cgroup: str,
    hub_first: bool,
) -> str:
    """Return the daemon's configuration.

    Args:
        root: Where it keeps its cache.
        socket: Where it listens.
        otel_socket: Where build steps may send traces.
        runtime: The runc or crun that it is to use.
        registry_port: Loopback port of our registry.
        rootless: It runs in a user namespace.
        process_sandbox: Build steps get a process namespace of their own.
        cgroup: Parent control group of all build steps, so that an empty one can be removed.
        hub_first: Docker Hub is asked before our registry.
    """
    registry = f"localhost:{registry_port}"
    mirrors = [HUB_HOST, registry] if hub_first else [registry]
    return _BUILDKITD.format(
        root=_quoted(root),
        address=_quoted(f"unix://{socket}"),
        otel=_quoted(otel_socket),
        runtime=_quoted(runtime),
        rootless=_quoted(rootless),
        no_process_sandbox=_quoted(not process_sandbox),
        cgroup=_quoted(cgroup),
        mirrors=_quoted(mirrors),
        registry=_quoted(registry),
    )


def registry_yaml(*, root: Path, port: int) -> str:
    """Return the registry's configuration: loopback only, files below `root`, deleting allowed."""
    return _REGISTRY.format(root=_quoted(root), port=port)


def _quoted(value: Path | str | bool | list[str]) -> str:
    # JSON's strings, lists and booleans are valid TOML and YAML alike, with one exception:
    # TOML wants DEL escaped, and JSON leaves it. ensure_ascii would write surrogate pairs, which TOML refuses.
    text = json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)
    return text.replace("\x7f", "\\u007f")


def child_environment(inherited: dict[str, str], *, path: str) -> dict[str, str]:
    """Return the environment for the daemon and the registry.

    Variables by which they would take other settings than the files above are left out: the
    registry reads every REGISTRY_*, both export traces as OTEL_* says (to localhost by default),
    and buildkitd tells systemd about itself when NOTIFY_SOCKET is set.
    """
    refused = (
        "REGISTRY_",
        "OTEL_",
        "JAEGER_",
        "BUILDKIT",
        "NOTIFY_SOCKET",
        "LISTEN_",
        "TRACEPARENT",
    )
    kept = {k: v for k, v in inherited.items() if not k.startswith(refused)}
    return {**kept, "PATH": path, "OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}
