"""What the build service tells of builds, logs, projects, tokens and itself: frozen values, shown as tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, ClassVar, Literal

from depotlab._values import Rows, Value, cut, table_html, time_text
from depotlab.errors import BuildCanceled, BuildFailed
from depotlab.service._boundary import BuildContext, BuildState, EndUserError, UploadedContext

__all__ = [
    "BuildInfo",
    "BuildInfos",
    "Health",
    "LogLine",
    "MadeToken",
    "May",
    "ProjectInfo",
    "ProjectInfos",
    "TokenInfo",
]

May = Literal["build", "read", "admin"]
"""What a token may: upload, start and cancel builds; look at builds and their logs; all of it, and the tokens."""

_STREAMS = {0: "service", 1: "stdout", 2: "stderr"}
_SHOWN_ROWS = 50
_COLUMNS = (
    "build_id",
    "project",
    "deployment",
    "state",
    "created_at",
    "took_s",
    "attempts",
    "cached_steps",
    "total_steps",
    "image",
    "error",
)


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class BuildInfo(Value):
    """A build as it stands.

    Attributes:
        build_id: Unique over all projects.
        project: The customer's project.
        deployment: What the build is for.
        workspace: Whose project it is, or empty.
        state: `queued`, `running`, `succeeded`, `failed` or `canceled`; it never goes back. A build that is tried
            again stays `running` until it is done.
        image: Name that was pushed, or empty.
        digest: Of the image, or empty.
        depot_project_id: What Depot calls the project; empty until it is known, as the next.
        depot_build_id: What Depot calls the last try.
        created_at: When it was asked for; all moments are in UTC.
        started_at: When its first turn came.
        finished_at: When it ended.
        attempts: How often it was tried.
        stages: How many seconds each stage has taken so far, all tries together, by its name: `queued`, `context`,
            `project`, `machine`, `solve`, `drain`, `finish`.
        stage: Where it is now; empty when it has ended.
        error: Why it failed or was cancelled.
        cached_steps: Steps that were found in the cache.
        total_steps: Steps that were needed.
        n_log_lines: Offset that the next line of its log would have: what to resume from.
        context: What is built.
        platform: Such as `linux/amd64`.
    """

    build_id: str
    project: str
    deployment: str
    workspace: str = ""
    state: BuildState
    image: str = ""
    digest: str = ""
    depot_project_id: str = ""
    depot_build_id: str = ""
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    attempts: int = 0
    stages: Mapping[str, float] = field(default_factory=dict)
    stage: str = ""
    error: EndUserError | None = None
    cached_steps: int = 0
    total_steps: int = 0
    n_log_lines: int = 0
    context: BuildContext
    platform: str = "linux/amd64"

    @property
    def has_ended(self) -> bool:
        """Nothing of it will change any more."""
        return self.state not in ("queued", "running")

    def check(self) -> BuildInfo:
        """Return the build itself if it succeeded or has not ended.

        Raises:
            BuildFailed: It failed; the message is the one for the customer.
            BuildCanceled: It was cancelled.
        """
        if self.state == "failed":
            error = self.error or EndUserError("unknown", "The build failed.")
            raise BuildFailed(
                error.message, build_id=self.build_id, category=error.category, raw=error.raw
            )
        if self.state == "canceled":
            why = f" {self.error.message}" if self.error is not None else ""
            raise BuildCanceled(f"The build {self.build_id} was cancelled.{why}")
        return self

    def __repr__(self) -> str:
        more = self.error.message if self.error is not None else self.image or self.stage
        tail = f": {cut(more, 90)}" if more not in ("", self.state) else ""
        what = f"{cut(self.build_id, 20)} of {cut(self.project, 30)} ({cut(self.deployment, 30)})"
        return f"<build {what} {self.state}{tail}>"

    def _facts(self) -> Iterable[tuple[str, object]]:
        for name, value in ((f.name, getattr(self, f.name)) for f in fields(self)):
            match value:
                case EndUserError():
                    yield name, value.message
                case UploadedContext():
                    yield name, value.key
                case Mapping():
                    yield name, {key: f"{seconds:.1f} s" for key, seconds in value.items()}
                case _:
                    yield name, value

    def row(self) -> dict[str, Any]:
        """Return what a table shows of it."""
        ended = self.finished_at
        took_s = None if ended is None else (ended - self.created_at).total_seconds()
        more = {"took_s": took_s, "error": "" if self.error is None else self.error.message}
        return {name: more[name] if name in more else getattr(self, name) for name in _COLUMNS}


class BuildInfos(Rows[BuildInfo]):
    """A page of builds, the newest first.

    Args:
        items: The builds.
        next_page_token: For `list_builds`.

    Attributes:
        next_page_token: What gives the next page; empty at the last.
    """

    _columns: ClassVar[tuple[str, ...]] = _COLUMNS

    def __init__(self, items: Iterable[BuildInfo], next_page_token: str = "") -> None:
        super().__init__(items)
        self.next_page_token = next_page_token

    def rows(self) -> list[dict[str, Any]]:
        """Return a dictionary for each build, for tables of any kind."""
        return [build.row() for build in self]

    def _headline(self) -> str:
        more = ", and more on the next page" if self.next_page_token else ""
        return f"{len(self)} {'build' if len(self) == 1 else 'builds'}{more}"

    def __repr__(self) -> str:
        return f"<{self._headline()}>"

    def _repr_html_(self) -> str:
        rest = len(self) - _SHOWN_ROWS
        return table_html(
            self._headline(),
            ("build", "project", "deployment", "state", "created", "took", "what"),
            map(_cells, self[:_SHOWN_ROWS]),
            notes=[f"and {rest} more"] if rest > 0 else [],
            right=frozenset({"took"}),
        )


def _cells(build: BuildInfo) -> tuple[str, ...]:
    ended = build.finished_at
    took = "" if ended is None else f"{(ended - build.created_at).total_seconds():.1f} s"
    return (
        cut(build.build_id, 20),
        cut(build.project, 40),
        cut(build.deployment, 40),
        build.state,
        time_text(build.created_at),
        took,
        cut(build.error.message if build.error is not None else build.image or build.stage, 120),
    )


@dataclass(frozen=True, slots=True, repr=False)
class LogLine(Value):
    """One line of a build's log.

    Attributes:
        offset: Its place in the log, from 0. The line after it may have a higher one than the next number.
        at: When.
        step_id: Digest of the step; empty for words of the service.
        step: Its name, when that was known by then.
        stream: 1 for standard output, 2 for standard error, 0 for words of the service.
        text: Without its end. Of a line with more than 64 KiB its beginning; telemetry has all of it.
    """

    offset: int
    at: datetime
    step_id: str
    step: str
    stream: int
    text: str

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        where = cut(self.step, 40) or _STREAMS.get(self.stream, str(self.stream))
        return f"<line {self.offset} of {where}: {cut(self.text, 110)}>"


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class ProjectInfo(Value):
    """A customer's project.

    Attributes:
        project: As the customer's platform calls it.
        workspace: Whose it is, or empty.
        depot_project_id: As Depot calls it; empty until its first build has come that far.
        n_queued: Builds that wait for their turn.
        n_running: Builds that run, or wait for their next try.
        n_builds: Builds that are kept, those among them.
        last_build_at: When the newest was asked for.
    """

    project: str
    workspace: str = ""
    depot_project_id: str = ""
    n_queued: int = 0
    n_running: int = 0
    n_builds: int = 0
    last_build_at: datetime | None = None


class ProjectInfos(Rows[ProjectInfo]):
    """Projects, by name."""

    _columns: ClassVar[tuple[str, ...]] = tuple(f.name for f in fields(ProjectInfo))

    def rows(self) -> list[dict[str, Any]]:
        """Return a dictionary for each project, for tables of any kind."""
        return [{name: getattr(project, name) for name in self._columns} for project in self]

    def _headline(self) -> str:
        return f"{len(self)} {'project' if len(self) == 1 else 'projects'}"

    def __repr__(self) -> str:
        return f"<{self._headline()}>"

    def _repr_html_(self) -> str:
        rest = len(self) - _SHOWN_ROWS
        return table_html(
            self._headline(),
            ("project", "workspace", "at Depot", "queued", "running", "builds", "last build"),
            (
                (
                    cut(one.project, 60),
                    cut(one.workspace, 60),
                    cut(one.depot_project_id, 20),
                    str(one.n_queued),
                    str(one.n_running),
                    str(one.n_builds),
                    "" if one.last_build_at is None else time_text(one.last_build_at),
                )
                for one in self[:_SHOWN_ROWS]
            ),
            notes=[f"and {rest} more"] if rest > 0 else [],
            right=frozenset({"queued", "running", "builds"}),
        )


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class Health(Value):
    """How a service is.

    Attributes:
        takes_builds: `create_build` is not refused.
        starts_builds: Builds whose turn has come are started.
        why_not: Why they are not, in words; empty if they are.
        n_queued: Builds that wait for their turn.
        n_running: Builds that run now.
        n_waiting: Builds that wait until they are tried again.
        projects: Projects that have such builds.
        storage: Empty if the store answered when it was last asked, else what it said.
        telemetry: Numbers of the writer, by name; empty without telemetry.
    """

    takes_builds: bool
    starts_builds: bool
    why_not: str = ""
    n_queued: int = 0
    n_running: int = 0
    n_waiting: int = 0
    projects: tuple[str, ...] = ()
    storage: str = ""
    telemetry: Mapping[str, object] = field(default_factory=dict)

    def __repr__(self) -> str:
        state = "healthy" if self.starts_builds and self.takes_builds else "not well"
        why = f": {cut(self.why_not, 100)}" if self.why_not else ""
        return f"<service {state}, {self.n_queued} queued, {self.n_running} running{why}>"


@dataclass(frozen=True, slots=True, repr=False)
class TokenInfo(Value):
    """A token, without its secret.

    Attributes:
        token_id: To revoke it.
        description: Whom or what it is for.
        projects: That it is for; empty means all.
        may: `build`, `read`, `admin`.
        created_at: UTC.
        expires_at: UTC, or None for never.
    """

    token_id: str
    description: str
    projects: tuple[str, ...]
    may: tuple[May, ...]
    created_at: datetime
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, repr=False)
class MadeToken(TokenInfo):
    """A token that was just made. Nobody can show `secret` again; the repr does not either.

    Attributes:
        secret: What clients send.
    """

    secret: str = field(default="", repr=False)
