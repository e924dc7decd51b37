"""One's own builds as rows, without any service: every build that ends within a block."""

from __future__ import annotations

import logging
import queue
import threading
import time
from contextlib import ExitStack
from types import TracebackType

from depotlab._values import Value
from depotlab.errors import UsageError
from depotlab.telemetry._connection import Connection
from depotlab.telemetry._ended import EndedBuild, ended_builds_heard
from depotlab.telemetry._fromsnapshot import BuildIds, id_of
from depotlab.telemetry._reader import Telemetry
from depotlab.telemetry._stores import Store, Where, find_store

__all__ = ["Recording", "recording"]

_log = logging.getLogger(__name__)
_recordings: list[Recording] = []  # those that are open, in the order in which they began


def recording(
    project: str, *, where: Where = None, deployment: str = "", workspace: str = ""
) -> Recording:
    """Keep what the builds of a block did: steps, what they printed, how they ended.

    All builds count that any client of this process ends within the block, also those that fail or are cancelled. Those
    of a build service are in the telemetry of that one. Of two recordings into one store the inner one keeps a build.
    Texts that a build was given as secrets, and logins, are left out of every row. A build is not slower for it: its
    rows are written in a thread, and wait on this computer when the store is down or another process has it.

    Args:
        project: Under which name builds are looked at together.
        where: The store, as for `telemetry.open`; None is that of this computer's own builds.
        deployment: What the builds are for; empty takes what each calls itself.
        workspace: Whose project it is.

    Raises:
        UsageError: The project has no name, or the store takes no builds.
        TelemetryError: There is no place for rows that wait.

    Example:
        >>> with telemetry.recording("shop") as t:                      # doctest: +SKIP
        ...     bk.build(app)
        >>> t.slowest_steps(5)                                          # doctest: +SKIP
        <SlowSteps 3 slow steps>
    """
    if not isinstance(project, str) or not project:
        raise UsageError(
            f"recording(project={project!r}) is not a name.",
            hint="give the name under which builds are looked at together, such as 'shop'",
        )
    return Recording(find_store(where), project, deployment=deployment, workspace=workspace)


class Recording(Value):
    """Builds are being recorded. Made by `telemetry.recording`; in a `with` block it is a `Telemetry` to ask.

    At the end of the block all is written, or waits for its store; the `Telemetry` can be asked afterwards as well.
    """

    def __init__(self, store: Store, project: str, *, deployment: str, workspace: str) -> None:
        self._project = project
        self._deployment = deployment
        self._workspace = workspace
        self._store = store
        self._connection = Connection(store)
        self._telemetry = Telemetry(store.source, connection=self._connection)
        self._ended: queue.Queue[EndedBuild | None] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._open = ExitStack()
        self._n_builds = 0

    def __enter__(self) -> Telemetry:
        if self._thread is not None:
            raise UsageError(
                "This recording is open already.", hint="write telemetry.recording(...) once more"
            )
        self._connection.begin(self._ended.join)
        self._thread = threading.Thread(
            target=self._run, name="depotlab-recording-builds", daemon=True
        )
        self._thread.start()
        _recordings.append(self)
        self._open.callback(_recordings.remove, self)
        self._open.enter_context(ended_builds_heard(self._hear))
        return self._telemetry

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()
        self._ended.put(None)
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._connection.end()

    def _hear(self, build: EndedBuild) -> None:
        """Take a build, unless it is for a recording within this one: a store has each build once."""
        inner = [one for one in _recordings if one._store.place == self._store.place]  # noqa: SLF001 - its own class
        if inner and inner[-1] is self:
            self._ended.put(build)

    def _run(self) -> None:
        while True:
            build = self._ended.get()
            try:
                if build is None:
                    return
                self._keep(build)
                self._n_builds += 1
            except Exception:  # noqa: BLE001 - whatever it is, the builds after it are recorded
                _log.exception("a build could not be recorded")
            finally:
                self._ended.task_done()

    def _keep(self, build: EndedBuild) -> None:
        snapshot = build.fold.snapshot(at_ns=time.time_ns())
        ids = BuildIds(
            build_id=id_of(snapshot, ref=build.ref),
            project_id=self._project,
            workspace_id=self._workspace,
            deployment_id=self._deployment or snapshot.target,
            hide=build.hide,
        )
        self._connection.put(snapshot, ids, image=", ".join(build.names), digest=build.digest)

    def __repr__(self) -> str:
        state = "open" if self._thread is not None else "not open"
        return f"<Recording of {self._project!r}, {state}: {self._n_builds} builds>"
