"""What a server stands on: a listener for HTTP/1.1 and HTTP/2, methods as Connect, gRPC and JSON, a database file.

The Depot of this computer and the build service are made of it. May import `errors`. Listener and methods need
connectrpc and hypercorn (the extras `plane` and `service`), and are imported when they are first used: a client of a
service needs neither.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from depotlab._serving.database import Database
from depotlab._serving.faults import Fault, FaultCode
from depotlab._serving.places import bind, is_loopback

if TYPE_CHECKING:
    from depotlab._serving.listener import App, Listener
    from depotlab._serving.rpc import Method, RpcApp, methods

__all__ = [
    "App",
    "Database",
    "Fault",
    "FaultCode",
    "Listener",
    "Method",
    "RpcApp",
    "bind",
    "is_loopback",
    "methods",
]

_HOMES = {
    "App": "listener",
    "Listener": "listener",
    "Method": "rpc",
    "RpcApp": "rpc",
    "methods": "rpc",
}


def __getattr__(name: str) -> Any:
    """Import what needs an extra when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
