"""The service's values as JSON, and back: what plain HTTP and `RemoteBuildService` say to each other.

Names are those of the values. Moments are ISO 8601 in UTC with microseconds; what is not known is null.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from depotlab.errors import ProtocolError
from depotlab.service._boundary import (
    BuildContext,
    EndUserError,
    GitContext,
    Upload,
    UploadedContext,
)
from depotlab.service._values import BuildInfo, LogLine, MadeToken, ProjectInfo, TokenInfo

__all__ = [
    "Json",
    "build_json",
    "line_json",
    "project_json",
    "read_build",
    "read_line",
    "read_made_token",
    "read_project",
    "read_token",
    "read_upload",
    "token_json",
    "upload_json",
]

Json = dict[str, Any]

_BUILD_TEXTS = (
    "build_id",
    "project",
    "deployment",
    "workspace",
    "state",
    "image",
    "digest",
    "depot_project_id",
    "depot_build_id",
    "stage",
    "platform",
)
_BUILD_NUMBERS = ("attempts", "cached_steps", "total_steps", "n_log_lines")
_BUILD_MOMENTS = ("created_at", "started_at", "finished_at")


def build_json(build: BuildInfo) -> Json:
    """Return a build as a JSON object. What is built is in one of `build_context_path` and `git`."""
    said: Json = {name: getattr(build, name) for name in (*_BUILD_TEXTS, *_BUILD_NUMBERS)}
    said |= {name: _moment_json(getattr(build, name)) for name in _BUILD_MOMENTS}
    said["stages"] = dict(build.stages)
    said["error"] = None if build.error is None else asdict(build.error)
    is_git = isinstance(build.context, GitContext)
    said["build_context_path"] = None if is_git else build.context.key  # type: ignore[union-attr]
    said["git"] = asdict(build.context) if is_git else None
    return said


def read_build(said: Any) -> BuildInfo:
    """Read what `build_json` made.

    Raises:
        ProtocolError: It is none.
    """
    with _reading("build"):
        texts: Json = {name: str(said.get(name, "")) for name in _BUILD_TEXTS}
        numbers: Json = {name: int(said.get(name, 0)) for name in _BUILD_NUMBERS}
        created_at = _moment(said["created_at"])
        assert created_at is not None
        context: BuildContext = (
            GitContext(**said["git"])
            if said.get("git")
            else UploadedContext(str(said.get("build_context_path") or ""))
        )
        error = said.get("error")
        return BuildInfo(
            **texts,
            **numbers,
            created_at=created_at,
            started_at=_moment(said.get("started_at")),
            finished_at=_moment(said.get("finished_at")),
            stages={str(name): float(s) for name, s in said.get("stages", {}).items()},
            error=None if error is None else EndUserError(**error),
            context=context,
        )


def line_json(line: LogLine) -> Json:
    """Return a line of a log as a JSON object."""
    return {
        "offset": line.offset,
        "at": _moment_json(line.at),
        "step_id": line.step_id,
        "step": line.step,
        "stream": line.stream,
        "text": line.text,
    }


def read_line(said: Any) -> LogLine:
    """Read what `line_json` made.

    Raises:
        ProtocolError: It is none.
    """
    with _reading("line of a log"):
        at = _moment(said["at"])
        assert at is not None
        return LogLine(
            int(said["offset"]),
            at,
            str(said["step_id"]),
            str(said["step"]),
            int(said["stream"]),
            str(said["text"]),
        )


def upload_json(upload: Upload) -> Json:
    """Return leave to upload as a JSON object; it holds a secret."""
    return {
        "upload_url": upload.upload_url,
        "build_context_path": upload.build_context_path,
        "expires_in_s": upload.expires_in_s,
        "max_bytes": upload.max_bytes,
        "headers": dict(upload.headers),
    }


def read_upload(said: Any) -> Upload:
    """Read what `upload_json` made.

    Raises:
        ProtocolError: It is none.
    """
    with _reading("upload"):
        return Upload(
            str(said["upload_url"]),
            str(said["build_context_path"]),
            int(said["expires_in_s"]),
            int(said["max_bytes"]),
            {str(name): str(value) for name, value in said.get("headers", {}).items()},
        )


def project_json(project: ProjectInfo) -> Json:
    """Return a project as a JSON object."""
    return asdict(project) | {"last_build_at": _moment_json(project.last_build_at)}


def read_project(said: Any) -> ProjectInfo:
    """Read what `project_json` made.

    Raises:
        ProtocolError: It is none.
    """
    with _reading("project"):
        return ProjectInfo(**(said | {"last_build_at": _moment(said["last_build_at"])}))


def token_json(token: TokenInfo) -> Json:
    """Return a token as a JSON object; one that was just made has its secret in it."""
    said: Json = {
        "token_id": token.token_id,
        "description": token.description,
        "projects": list(token.projects) or "*",
        "may": list(token.may),
        "created_at": _moment_json(token.created_at),
        "expires_at": _moment_json(token.expires_at),
    }
    return said | {"secret": token.secret} if isinstance(token, MadeToken) else said


def read_token(said: Any) -> TokenInfo:
    """Read what `token_json` made of a token without its secret.

    Raises:
        ProtocolError: It is none.
    """
    with _reading("token"):
        return TokenInfo(**_token_fields(said))


def read_made_token(said: Any) -> MadeToken:
    """Read what `token_json` made of a token that was just made.

    Raises:
        ProtocolError: It is none.
    """
    with _reading("token"):
        return MadeToken(**_token_fields(said), secret=str(said["secret"]))


def _token_fields(said: Mapping[str, Any]) -> Json:
    return {
        "token_id": str(said["token_id"]),
        "description": str(said["description"]),
        "projects": () if said["projects"] == "*" else tuple(said["projects"]),
        "may": tuple(said["may"]),
        "created_at": _moment(said["created_at"]),
        "expires_at": _moment(said["expires_at"]),
    }


def _moment_json(at: datetime | None) -> str | None:
    if at is None:
        return None
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


class _reading:  # noqa: N801 - used as a word in a with statement
    """Says of any JSON that is not of the right form that it is none of ours."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(
            error, AssertionError | AttributeError | KeyError | TypeError | ValueError
        ) and not isinstance(error, ProtocolError):
            raise ProtocolError(
                f"What the service sent is no {self._what}.",
                hint="check that the address is that of a depotlab build service, of this version",
            ) from error
