"""depotlab: build container images from a notebook.

Graphs of BuildKit operations in Python (`depotlab.llb`) or Dockerfiles (`depotlab.dockerfile`), built on any
BuildKit or on an engine that the library starts on this computer, with live progress.

    >>> import depotlab as dl
    >>> from depotlab import llb, export
    >>> bk = dl.local()                                              # doctest: +SKIP
    >>> app = llb.image("busybox").run("echo hello > /hello").cmd(["cat", "/hello"])
    >>> bk.build(app, tags=f"{bk.registry}/hello:1", push=True).digest   # doctest: +SKIP

Nothing heavy is imported before it is used: gRPC, protobuf and widgets come with the first client.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from depotlab import (
        aio,
        api,
        cache,
        course,
        errors,
        export,
        frontend,
        llb,
        mount,
        recipes,
        secret,
        service,
        ssh,
        telemetry,
    )
    from depotlab._contexts import Context, File, context
    from depotlab._nested import allow_asyncio_run
    from depotlab._oci import Layout as OciLayout
    from depotlab._past import past
    from depotlab._rpc import TLS
    from depotlab._verbs import Build, BuildResult, Pulled, compare
    from depotlab._wire import wire
    from depotlab.client import (
        Client,
        DepotApi,
        Gateway,
        Recording,
        build_all,
        connect,
        depot,
        depot_api,
        depot_config,
        depot_login,
        depot_logout,
        local,
        pull,
        record,
        recorded,
        verify_reproducible,
    )
    from depotlab.frontend import Dockerfile, dockerfile

__version__ = "0.1.0.dev0"

__all__ = [
    "TLS",
    "Build",
    "BuildResult",
    "Client",
    "Context",
    "DepotApi",
    "Dockerfile",
    "File",
    "Gateway",
    "OciLayout",
    "Pulled",
    "Recording",
    "__version__",
    "aio",
    "allow_asyncio_run",
    "api",
    "build_all",
    "cache",
    "compare",
    "connect",
    "context",
    "course",
    "depot",
    "depot_api",
    "depot_config",
    "depot_login",
    "depot_logout",
    "dockerfile",
    "errors",
    "export",
    "frontend",
    "llb",
    "local",
    "mount",
    "past",
    "pull",
    "recipes",
    "record",
    "recorded",
    "secret",
    "service",
    "ssh",
    "telemetry",
    "verify_reproducible",
    "wire",
]

# Where each public name lives. Modules are named with an empty attribute.
_HOMES = {
    "TLS": ("depotlab._rpc", "TLS"),
    "Build": ("depotlab._verbs", "Build"),
    "BuildResult": ("depotlab._verbs", "BuildResult"),
    "Client": ("depotlab.client", "Client"),
    "Context": ("depotlab._contexts", "Context"),
    "DepotApi": ("depotlab.client", "DepotApi"),
    "Dockerfile": ("depotlab.frontend", "Dockerfile"),
    "File": ("depotlab._contexts", "File"),
    "Gateway": ("depotlab.client", "Gateway"),
    "OciLayout": ("depotlab._oci", "Layout"),
    "Pulled": ("depotlab._verbs", "Pulled"),
    "Recording": ("depotlab.client", "Recording"),
    "aio": ("depotlab.aio", ""),
    "allow_asyncio_run": ("depotlab._nested", "allow_asyncio_run"),
    "api": ("depotlab.api", ""),
    "build_all": ("depotlab.client", "build_all"),
    "cache": ("depotlab.cache", ""),
    "compare": ("depotlab._verbs", "compare"),
    "connect": ("depotlab.client", "connect"),
    "context": ("depotlab._contexts", "context"),
    "course": ("depotlab.course", ""),
    "depot": ("depotlab.client", "depot"),
    "depot_api": ("depotlab.client", "depot_api"),
    "depot_config": ("depotlab.client", "depot_config"),
    "depot_login": ("depotlab.client", "depot_login"),
    "depot_logout": ("depotlab.client", "depot_logout"),
    "dockerfile": ("depotlab.frontend", "dockerfile"),
    "errors": ("depotlab.errors", ""),
    "export": ("depotlab.export", ""),
    "frontend": ("depotlab.frontend", ""),
    "llb": ("depotlab.llb", ""),
    "local": ("depotlab.client", "local"),
    "mount": ("depotlab.mount", ""),
    "past": ("depotlab._past", "past"),
    "pull": ("depotlab.client", "pull"),
    "recipes": ("depotlab.recipes", ""),
    "record": ("depotlab.client", "record"),
    "recorded": ("depotlab.client", "recorded"),
    "secret": ("depotlab.secret", ""),
    "service": ("depotlab.service", ""),
    "ssh": ("depotlab.ssh", ""),
    "telemetry": ("depotlab.telemetry", ""),
    "verify_reproducible": ("depotlab.client", "verify_reproducible"),
    "wire": ("depotlab._wire", "wire"),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    try:
        module, attribute = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'depotlab' has no attribute {name!r}") from None
    found = importlib.import_module(module)
    value = getattr(found, attribute) if attribute else found
    globals()[name] = value
    return value


def load_ipython_extension(ipython: Any) -> None:
    """Register the magics: what `%load_ext depotlab` calls."""
    from depotlab._magics import load

    load(ipython)


def __dir__() -> list[str]:
    return sorted(__all__)
