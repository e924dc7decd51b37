"""depotlab: build container images from a notebook.

Graphs of BuildKit operations in Python (`depotlab.llb`) or Dockerfiles (`depotlab.dockerfile`), built on any
BuildKit or on an engine that the library starts on this computer, with live progress.

    >>> import depotlab as dl
    >>> from depotlab import llb, export
    >>> bk = dl.local()                                              # doctest: +SKIP
    >>> app = llb.image("busybox").run("echo hello > /hello").cmd(["cat", "/hello"])
    >>> bk.build(app, tags="ghcr.io/me/hello:1", push=True).digest   # doctest: +SKIP

Nothing heavy is imported before it is used: gRPC, protobuf and widgets come with the first client.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from depotlab import aio, cache, errors, export, frontend, llb, mount, recipes, secret, ssh
    from depotlab._contexts import Context, File, context
    from depotlab._nested import allow_asyncio_run
    from depotlab._oci import Layout as OciLayout
    from depotlab._rpc import TLS
    from depotlab._verbs import Build, BuildResult
    from depotlab.client import (
        Client,
        build_all,
        connect,
        depot,
        depot_config,
        local,
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
    "Dockerfile",
    "File",
    "OciLayout",
    "__version__",
    "aio",
    "allow_asyncio_run",
    "build_all",
    "cache",
    "connect",
    "context",
    "depot",
    "depot_config",
    "dockerfile",
    "errors",
    "export",
    "frontend",
    "llb",
    "local",
    "mount",
    "recipes",
    "secret",
    "ssh",
    "verify_reproducible",
]

# Where each public name lives. Modules are named with an empty attribute.
_HOMES = {
    "TLS": ("depotlab._rpc", "TLS"),
    "Build": ("depotlab._verbs", "Build"),
    "BuildResult": ("depotlab._verbs", "BuildResult"),
    "Client": ("depotlab.client", "Client"),
    "Context": ("depotlab._contexts", "Context"),
    "Dockerfile": ("depotlab.frontend", "Dockerfile"),
    "File": ("depotlab._contexts", "File"),
    "OciLayout": ("depotlab._oci", "Layout"),
    "aio": ("depotlab.aio", ""),
    "allow_asyncio_run": ("depotlab._nested", "allow_asyncio_run"),
    "build_all": ("depotlab.client", "build_all"),
    "cache": ("depotlab.cache", ""),
    "connect": ("depotlab.client", "connect"),
    "context": ("depotlab._contexts", "context"),
    "depot": ("depotlab.client", "depot"),
    "depot_config": ("depotlab.client", "depot_config"),
    "dockerfile": ("depotlab.frontend", "dockerfile"),
    "errors": ("depotlab.errors", ""),
    "export": ("depotlab.export", ""),
    "frontend": ("depotlab.frontend", ""),
    "llb": ("depotlab.llb", ""),
    "local": ("depotlab.client", "local"),
    "mount": ("depotlab.mount", ""),
    "recipes": ("depotlab.recipes", ""),
    "secret": ("depotlab.secret", ""),
    "ssh": ("depotlab.ssh", ""),
    "verify_reproducible": ("depotlab.client", "verify_reproducible"),
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


def __dir__() -> list[str]:
    return sorted(__all__)
