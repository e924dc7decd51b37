"""The texts that a machine's buildkitd and the registry read. Values in, text out; nothing is written here.

As in the embedded engine only the OCI worker is on, and what needs more rights is allowed to builds that ask for it.
Garbage goes as on the vendor's machines: first what nothing used for so many days, then the oldest down to the size.

Sources: moby/buildkit docs/buildkitd.toml.md, cmd/buildkitd/config/config.go, cache/manager.go (`prune`);
distribution docs/content/about/configuration.md.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from depotlab._plane.boundary import CachePolicy, Platform

_BUILDKITD = """\
# Written by depotlab each time the machine starts; changes are lost.
root = {root}
insecure-entitlements = ["network.host", "security.insecure"]

[log]
  format = "text"
  level = "info"

[grpc]
  address = [{address}]

# The default is one fixed path for the whole computer, which another daemon may own.
[otel]
  socketPath = {otel}

[worker.oci]
  enabled = true
{platforms}  snapshotter = "auto"
  binary = {runtime}
  rootless = {rootless}
  noProcessSandbox = {no_process_sandbox}
  defaultCgroupParent = {cgroup}
  gc = true
{policies}
[worker.containerd]
  enabled = false

[registry."docker.io"]
  mirrors = {mirrors}

[registry.{registry}]
  http = true
"""

_TOO_OLD = """
  [[worker.oci.gcpolicy]]
    all = true
    keepDuration = "{hours}h"
"""

_TOO_MUCH = """
  [[worker.oci.gcpolicy]]
    all = true
    maxUsedSpace = "{keep_gb}GB"
    minFreeSpace = "2GB"
"""

_REGISTRY = """\
# Written by depotlab each time the registry starts; changes are lost.
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
  net: unix
  addr: {socket}
  secret: {secret}
"""


def machine_toml(
    *,
    root: Path,
    socket: Path,
    otel_socket: Path,
    runtime: Path,
    platform: Platform | None,
    policy: CachePolicy,
    registry: str,
    mirrors: Sequence[str],
    rootless: bool,
    process_sandbox: bool,
    cgroup: str,
) -> str:
    """Return the configuration of one machine.

    Args:
        root: Where it keeps its cache.
        socket: Where it listens.
        otel_socket: Where build steps may send traces.
        runtime: The runc or crun that it is to use.
        platform: What builds get that name none; None is this computer's own, which works besides anyway.
        policy: How much of the cache stays.
        registry: The plane's registry, `HOST:PORT`, plain http.
        mirrors: Registries that are asked for images of docker.io, in order.
        rootless: It runs in a user namespace.
        process_sandbox: Build steps get a process namespace of their own.
        cgroup: Parent control group of all build steps.
    """
    policies = _TOO_MUCH.format(keep_gb=policy.keep_gb)
    if policy.keep_days:
        policies = _TOO_OLD.format(hours=24 * policy.keep_days) + policies
    return _BUILDKITD.format(
        root=_quoted(str(root)),
        address=_quoted(f"unix://{socket}"),
        otel=_quoted(str(otel_socket)),
        platforms=f'  platforms = ["linux/{platform}"]\n' if platform else "",
        runtime=_quoted(str(runtime)),
        rootless=_quoted(rootless),
        no_process_sandbox=_quoted(not process_sandbox),
        cgroup=_quoted(cgroup),
        policies=policies,
        mirrors=_quoted(list(mirrors)),
        registry=_quoted(registry),
    )


def registry_yaml(*, root: Path, socket: Path, secret: str) -> str:
    """Return the registry's configuration: a private socket, files below `root`, deleting allowed.

    Args:
        root: Where it keeps blobs and tags.
        socket: Where it listens.
        secret: Signs the state of uploads, so that one that began before a restart can go on.
    """
    return _REGISTRY.format(
        root=_quoted(str(root)), socket=_quoted(str(socket)), secret=_quoted(secret)
    )


def _quoted(value: str | bool | list[str]) -> str:
    # JSON's strings, lists and booleans are valid TOML and YAML alike, with one exception:
    # TOML wants DEL escaped, and JSON leaves it. ensure_ascii would write surrogate pairs, which TOML refuses.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
