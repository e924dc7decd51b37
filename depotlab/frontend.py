"""Dockerfile builds as values: what to ask the Dockerfile frontend for.

The frontend runs in the daemon; this room only says which Dockerfile, which context and which options.
Source of the names: moby/buildkit `frontend/dockerui`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from depotlab.errors import ContextError, UsageError

__all__ = ["Dockerfile", "dockerfile"]

# A context that the daemon fetches itself. Source: moby/buildkit frontend/dockerfile/dfgitutil and
# frontend/dockerui; the scp form `user@host:path` is git.
_REMOTE = re.compile(r"(https?|git|ssh)://|github\.com/|[^/@\s]+@[^/:\s]+:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A build of a Dockerfile. Make one with `depotlab.dockerfile`.

    Attributes:
        context: Directory on this machine, a remote URL, or None for an empty context.
        filename: Of the Dockerfile, relative to `directory` (or to the root of a remote context).
        directory: Directory on this machine that holds the Dockerfile; None when the text is given or the
            context is remote.
        text: The Dockerfile itself, when it was given as text.
        target: Stage to build, or empty for the last.
        args: Build arguments.
        labels: Labels for the image.
        no_cache: True runs every step; names of stages run only those.
    """

    context: Path | str | None
    filename: str = "Dockerfile"
    directory: Path | None = None
    text: str | None = None
    target: str = ""
    args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    no_cache: bool | tuple[str, ...] = False

    def __repr__(self) -> str:
        where = f"in {self.context}" if self.context is not None else "with an empty context"
        what = "Dockerfile text" if self.text is not None else self.filename
        stage = f", target {self.target}" if self.target else ""
        return f"<{what} {where}{stage}>"

    def check(self) -> None:
        """Look whether the directory and the Dockerfile are there.

        Raises:
            ContextError: With the path that is missing.
        """
        if isinstance(self.context, Path):
            _check_directory(self.context)
        if self.directory is None:
            return
        path = self.directory / self.filename
        if path.is_file():
            return
        # The frontend tries the lower-case name itself. Source: frontend/dockerui/config.go.
        if path.name == "Dockerfile" and path.with_name("dockerfile").is_file():
            return
        there = sorted(p.name for p in self.directory.iterdir() if "ockerfile" in p.name)
        found = f"; there is {', '.join(there[:5])}" if there else ""
        raise ContextError(
            f"There is no {self.filename} in {self.directory}{found}.",
            path=str(path),
            hint="name the file with filename=, or give the text with dockerfile(text=...)",
        )


def dockerfile(
    context: str | Path | None = None,
    *,
    text: str | None = None,
    filename: str | Path | None = None,
    target: str = "",
    args: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    no_cache: bool | Sequence[str] = False,
) -> Dockerfile:
    r"""Say which Dockerfile to build, and with what.

    Args:
        context: Directory that `COPY` reads from, or the URL of a git repository or tar archive, which the
            daemon fetches itself. Defaults to the working directory, or to nothing when `text` is given.
        text: A Dockerfile as text, instead of a file.
        filename: Of the Dockerfile, inside the context or as a path of its own.
        target: Stage to stop at.
        args: Build arguments, as `--build-arg`.
        labels: Labels for the image.
        no_cache: True to run everything again, or the names of the stages to run again.

    Raises:
        ContextError: The directory or the Dockerfile does not exist.
        UsageError: Arguments that contradict each other.

    Example:
        >>> dockerfile(text="FROM busybox\nRUN echo hi")
        <Dockerfile text with an empty context>
    """
    for name, value in (("args", args), ("labels", labels)):
        for key, item in (value or {}).items():
            if not isinstance(key, str) or not isinstance(item, str):
                raise UsageError(
                    f"{name}={{{key!r}: {item!r}}} must map strings to strings.",
                    hint=f"write {name}={{{str(key)!r}: {str(item)!r}}}",
                )
    if text is not None and filename is not None:
        raise UsageError(
            "dockerfile() takes text= or filename=, not both.", hint="leave one of them out"
        )
    if text is not None and not text.strip():
        raise UsageError(
            "dockerfile(text=...) is empty.", hint="the shortest one is text='FROM busybox'"
        )
    stages = no_cache if isinstance(no_cache, bool) else tuple(no_cache)
    if context is None and text is None:
        context = "."
    where: Path | str | None = None
    directory: Path | None = None
    name = str(filename) if filename is not None else "Dockerfile"
    if isinstance(context, str) and _REMOTE.match(context):
        where = context
    elif context is not None:
        where = Path(context).expanduser().absolute()
        if text is None:
            directory = where
    if directory is not None and filename is not None:
        path = Path(filename).expanduser()
        # As the Docker CLI: a path of its own when it is absolute or exists from here, else in the context.
        if path.is_absolute() or (not (directory / path).is_file() and path.is_file()):
            directory, name = path.absolute().parent, path.name
    request = Dockerfile(
        context=where,
        filename=name,
        directory=directory,
        text=text,
        target=target,
        args=dict(args or {}),
        labels=dict(labels or {}),
        no_cache=stages,
    )
    request.check()
    return request


def _check_directory(path: Path) -> None:
    if path.is_dir():
        return
    if path.exists():
        raise ContextError(
            f"The build context {path} is a file, not a directory.",
            path=str(path),
            hint="pass the directory that holds it",
        )
    raise ContextError(
        f"The build context {path} does not exist.",
        path=str(path),
        hint=f"relative paths start from {Path.cwd()}",
    )
