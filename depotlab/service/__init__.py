"""Builds for others: uploads, a queue, Depot projects, logs and telemetry.

    with BuildService(depot=Depot(local=True)) as service:
        context = service.upload("shop", "./app")
        build = service.build(context, project="shop", deployment="d1").check()

`depotlab.service.aio` has the same to await. Nothing heavy is imported before it is used.

May import `_verbs`, `telemetry`, `_serving`, `_portal` and what is below them. Needs the extra `service`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from depotlab.service import aio
    from depotlab.service._asking.git import git
    from depotlab.service._asking.tokens import Tokens
    from depotlab.service._boundary import (
        ContextFacts,
        EndUserError,
        GitContext,
        Storage,
        Upload,
        UploadedContext,
    )
    from depotlab.service._faces.blocking import BuildService
    from depotlab.service._http.server import Server
    from depotlab.service._reasons.rules import Rule
    from depotlab.service._remote.faces import RemoteBuildService
    from depotlab.service._settings.depot import Depot
    from depotlab.service._settings.limits import Limits
    from depotlab.service._settings.registry import Registry
    from depotlab.service._storage.localstore import LocalStorage
    from depotlab.service._storage.s3 import S3Storage
    from depotlab.service._values import (
        BuildInfo,
        BuildInfos,
        Health,
        LogLine,
        MadeToken,
        ProjectInfo,
        TokenInfo,
    )

__all__ = [
    "BuildInfo",
    "BuildInfos",
    "BuildService",
    "ContextFacts",
    "Depot",
    "EndUserError",
    "GitContext",
    "Health",
    "Limits",
    "LocalStorage",
    "LogLine",
    "MadeToken",
    "ProjectInfo",
    "Registry",
    "RemoteBuildService",
    "Rule",
    "S3Storage",
    "Server",
    "Storage",
    "TokenInfo",
    "Tokens",
    "Upload",
    "UploadedContext",
    "aio",
    "git",
]

# Where each public name lives. A module is named with an empty home. The rooms in here list no names of their own: a
# file is imported from its room, so that one that is light does not bring those that are heavy.
_HOMES = {
    "BuildInfo": "_values",
    "BuildInfos": "_values",
    "BuildService": "_faces.blocking",
    "ContextFacts": "_boundary",
    "Depot": "_settings.depot",
    "EndUserError": "_boundary",
    "GitContext": "_boundary",
    "Health": "_values",
    "Limits": "_settings.limits",
    "LocalStorage": "_storage.localstore",
    "LogLine": "_values",
    "MadeToken": "_values",
    "ProjectInfo": "_values",
    "Registry": "_settings.registry",
    "RemoteBuildService": "_remote.faces",
    "Rule": "_reasons.rules",
    "S3Storage": "_storage.s3",
    "Server": "_http.server",
    "Storage": "_boundary",
    "TokenInfo": "_values",
    "Tokens": "_asking.tokens",
    "Upload": "_boundary",
    "UploadedContext": "_boundary",
    "aio": "",
    "git": "_asking.git",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    found = importlib.import_module(f"{__name__}.{home or name}")
    value = getattr(found, name) if home else found
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
