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
    from depotlab import aio, errors, export, frontend, llb, mount, recipes
    from depotlab._nested import allow_asyncio_run
    from depotlab._rpc import TLS
    from depotlab._verbs import Build, BuildResult
    from depotlab.client import Client, connect, local
    from depotlab.frontend import Dockerfile, dockerfile

__version__ = "0.1.0.dev0"

__all__ = [
    "TLS",
    "Build",
    "BuildResult",
    "Client",
    "Dockerfile",
    "__version__",
    "aio",
    "allow_asyncio_run",
    "connect",
    "dockerfile",
    "errors",
    "export",
    "frontend",
    "llb",
    "local",
    "mount",
    "recipes",
]

# Where each public name lives. Modules are named with an empty attribute.
_HOMES = {
    "TLS": ("depotlab._rpc", "TLS"),
    "Build": ("depotlab._verbs", "Build"),
    "BuildResult": ("depotlab._verbs", "BuildResult"),
    "Client": ("depotlab.client", "Client"),
    "Dockerfile": ("depotlab.frontend", "Dockerfile"),
    "aio": ("depotlab.aio", ""),
    "allow_asyncio_run": ("depotlab._nested", "allow_asyncio_run"),
    "connect": ("depotlab.client", "connect"),
    "dockerfile": ("depotlab.frontend", "dockerfile"),
    "errors": ("depotlab.errors", ""),
    "export": ("depotlab.export", ""),
    "frontend": ("depotlab.frontend", ""),
    "llb": ("depotlab.llb", ""),
    "local": ("depotlab.client", "local"),
    "mount": ("depotlab.mount", ""),
    "recipes": ("depotlab.recipes", ""),
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
