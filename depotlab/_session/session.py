"""A session: what the daemon may ask us for while it builds.

One session belongs to one build. Its client opens `Control.Session` with the metadata below and
serves the handlers on that stream; the daemon, as the gRPC client, finds the session by its id.
It looks up file services in the list of methods before it calls them, and simply calls the others.

Source: moby/buildkit `session/session.go`, `session/grpc.go`, `session/manager.go`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from depotlab._rpc import HEALTH, Handler
from depotlab._session.auth import Auth
from depotlab._session.credentials import Credentials
from depotlab._session.filesync import FileSync, Moved
from depotlab._session.service import Service
from depotlab._session.upload import Uploads
from depotlab._session.versions import Versions, shared_key
from depotlab._transfer import HostTree, Tree
from depotlab.errors import DepotlabError

__all__ = ["Session"]


class Session:
    """What one build may ask for: directories, registry credentials, and other services.

    Args:
        locals: Directories on this machine, or trees in memory, by the name that the build knows
            them by, such as `context`.
        auth: Credentials by registry host, before those of the Docker configuration.
        finds_logins: Registries that are not in `auth` may be in that configuration.
        services: Further services; a method that two of them have belongs to the last.
        problems: The list that `services` report to, to be that of the session.

    Attributes:
        id: Random; goes into `SolveRequest.Session`.
        handlers: For the inner server, health included.
        problems: What went wrong on our side so far, oldest first. When the build fails, the
            first of them is the likely cause; when it succeeds they are warnings.
        moved: What was sent of each local directory, by name.
        trees: The directories, by name.

    Raises:
        ContextError: A directory is not there or may not be entered.
    """

    def __init__(
        self,
        locals: Mapping[str, Path | Tree] | None = None,  # noqa: A002 - BuildKit's word for them
        *,
        auth: Mapping[str, Credentials | tuple[str, str]] | None = None,
        finds_logins: bool = True,
        services: Iterable[Service] = (),
        problems: list[DepotlabError] | None = None,
    ) -> None:
        # The daemon splits the attribute `local.session` at a colon: hexadecimal has none.
        self.id = secrets.token_hex(16)
        self.problems: list[DepotlabError] = [] if problems is None else problems
        trees: dict[str, Tree] = {
            name: HostTree(local) if isinstance(local, Path) else local
            for name, local in (locals or {}).items()
        }
        versions = {
            name: Versions.of(tree.host_root)
            for name, tree in trees.items()
            if isinstance(tree, HostTree)
        }
        self.shared_key = shared_key(versions)
        files = FileSync(trees, versions=versions, report=self.problems.append)
        self.moved: Mapping[str, Moved] = files.moved
        self.trees: Mapping[str, Tree] = trees
        self._file_sync = files
        handlers: dict[str, Handler] = dict(HEALTH)
        logins = Auth(auth or {}, report=self.problems.append, finds=finds_logins)
        known: list[Service] = [files, logins, *services]
        for service in known:
            handlers.update(service.methods)
        self.handlers: Mapping[str, Handler] = handlers
        self._uploads = [service for service in known if isinstance(service, Uploads)]

    def offer(self, folders: Mapping[str, Path]) -> None:
        """Serve further directories, under names that the session does not have yet.

        Only for a session with a shared key of its own: the key says nothing of them, and the daemon would take
        one directory for the last that had its name.

        Raises:
            ContextError: A directory is not there or may not be entered.
        """
        for name, host_path in folders.items():
            tree = HostTree(host_path)
            self.trees = {**self.trees, name: tree}
            self._file_sync.add(name, tree, Versions.of(tree.host_root))

    def give_up(self) -> None:
        """End what the daemon does not end by itself when a build is cancelled. On the event loop."""
        for uploads in self._uploads:
            uploads.give_up()

    def __repr__(self) -> str:
        return f"<Session {self.id} with {', '.join(self.moved) or 'no directories'}>"

    def metadata(self) -> list[tuple[str, str]]:
        """Return keys and values for the metadata of `Control.Session`; keys repeat."""
        return [
            ("x-docker-expose-session-uuid", self.id),
            ("x-docker-expose-session-sharedkey", self.shared_key),
            *(("x-docker-expose-session-grpc-method", method) for method in self.handlers),
        ]
