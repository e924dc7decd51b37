"""Every exception that depotlab raises, by whose fault it is. Imports nothing of ours.

A reader should learn from an error whose fault it is (`blame`), which object it concerns
(the fields of the class) and what to try next (`hint`, one sentence). Errors survive pickling,
because notebooks send them between processes. None of them ever holds a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from depotlab._inside import Completed, FailedStep, OnOutput, Shell, Stdin, Writer
    from depotlab.buildkit import Listing

__all__ = [
    "BuildCanceled",
    "BuildTimeout",
    "BuildsFailed",
    "CommandFailed",
    "CommandTimeout",
    "ConnectionLost",
    "ContextError",
    "DaemonError",
    "DepotlabError",
    "DockerfileError",
    "EngineError",
    "FileMissing",
    "GraphError",
    "ImageNotFound",
    "LinkError",
    "MissingExtra",
    "PastError",
    "PathError",
    "ProtocolError",
    "ReferenceInvalid",
    "RegistryError",
    "SessionError",
    "SourceLocation",
    "StepFailed",
    "Unreachable",
    "UsageError",
]


@dataclass(frozen=True, slots=True)
class SourceLocation:
    """A place in a file, a notebook cell or a Dockerfile that made a build step.

    Attributes:
        filename: As a reader would say it: a path, `cell [3]`, or `Dockerfile`.
        line: First line, counted from 1.
        end_line: Last line, counted from 1, at least `line`.
        text: The whole source text when it is known, else empty.
    """

    filename: str
    line: int
    end_line: int
    text: str = ""

    def __str__(self) -> str:
        return f"{self.filename}, line {self.line}"

    def excerpt(self, *, around: int = 3) -> str:
        """Return the marked lines with `around` lines before and after, or an empty string."""
        lines = self.text.splitlines()
        if not 1 <= self.line <= len(lines):
            return ""
        first = max(1, self.line - around)
        last = min(len(lines), max(self.end_line, self.line) + around)
        width = len(str(last))
        return "\n".join(
            f"{'>' if self.line <= number <= max(self.end_line, self.line) else ' '} "
            f"{number:>{width}} | {lines[number - 1]}"
            for number in range(first, last + 1)
        )


def _place(location: SourceLocation, *, around: int) -> list[str]:
    """The lines of a message that show a place, with the source around it when that is known."""
    excerpt = location.excerpt(around=around).splitlines()
    return [f"  at {location}{':' if excerpt else ''}", *(f"    {line}" for line in excerpt)]


class DepotlabError(Exception):
    """The root of all errors of this library.

    Attributes:
        message: What happened, one or a few sentences.
        hint: What to try next, one sentence, or empty.
        blame: Whose fault it is: usage, link, protocol, daemon, session, computer, engine or cancel.
    """

    blame: ClassVar[str] = "unknown"

    def __init__(self, message: str, *, hint: str = "", **fields: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        for name, value in fields.items():
            setattr(self, name, value)

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        fields = {k: v for k, v in self.__dict__.items() if k != "message"}
        return _rebuild, (type(self), self.message, fields)

    def _render_traceback_(self) -> list[str]:
        """IPython asks this instead of printing frames of ours. Source: IPython `showtraceback`."""
        return [f"{type(self).__name__}: {self}", *self._noted()]

    def _noted(self) -> list[str]:
        """What was noted on the way here: Python shows it, and so do we."""
        return [note for note in getattr(self, "__notes__", ()) if isinstance(note, str)]


def _rebuild(kind: type[DepotlabError], message: str, fields: Mapping[str, Any]) -> DepotlabError:
    error = kind.__new__(kind)
    Exception.__init__(error, message)
    error.message = message
    error.__dict__.update(fields)
    return error


# ---------------------------------------------------------------------------- the caller's side


class UsageError(DepotlabError, ValueError):
    """A call that cannot work as it is written. Raised before anything is sent."""

    blame = "usage"


class GraphError(UsageError):
    """A graph that cannot be built: a wrong argument, or pieces that do not fit.

    Attributes:
        location: The call that made the piece, when known.
    """

    def __init__(
        self, message: str, *, hint: str = "", location: SourceLocation | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.location = location

    def __str__(self) -> str:
        if self.location is None:
            return super().__str__()
        lines = [self.message, *_place(self.location, around=1)]
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


class ReferenceInvalid(UsageError):
    """A malformed or reserved image name, tag or digest.

    Attributes:
        ref: The name as it was given.
    """

    def __init__(self, message: str, *, ref: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.ref = ref


class ContextError(UsageError):
    """A directory or Dockerfile on this machine that is missing or cannot be read.

    Attributes:
        path: What was looked for.
    """

    def __init__(self, message: str, *, path: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.path = path


class MissingExtra(UsageError, ImportError):
    """A feature whose optional packages are not installed.

    Attributes:
        extra: The name to install, as in `pip install 'depotlab[EXTRA]'`.
    """

    def __init__(self, feature: str, *, extra: str) -> None:
        super().__init__(
            f"{feature} needs packages that are not installed.",
            hint=f"run: pip install 'depotlab[{extra}]'",
        )
        self.extra = extra


# ------------------------------------------------------------------------------------- the link


class LinkError(DepotlabError):
    """The daemon could not be reached, or the connection broke.

    Attributes:
        address: Where the daemon was expected, such as `unix:///run/buildkit/buildkitd.sock`.
    """

    blame = "link"

    def __init__(self, message: str, *, address: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.address = address


class Unreachable(LinkError):
    """Nothing answered at the address, or it refused us (no permission, wrong certificate)."""


class ConnectionLost(LinkError):
    """The daemon went away in the middle of a build. What it did is kept in its cache."""


class ProtocolError(DepotlabError):
    """The peer said something that its protocol does not allow, or that we do not know."""

    blame = "protocol"


# ------------------------------------------------------------------------------------ the build


class DaemonError(DepotlabError):
    """The daemon refused or failed a build.

    Attributes:
        code: The gRPC status code by name, such as `UNKNOWN` or `NOT_FOUND`.
        locations: Places in sources that the daemon blames, most important first.
        vertex: Digest of the step it concerns, or empty.
    """

    blame = "daemon"

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        code: str = "UNKNOWN",
        locations: tuple[SourceLocation, ...] = (),
        vertex: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.locations = locations
        self.vertex = vertex

    def __str__(self) -> str:
        parts = [self.message]
        for location in self.locations[:2]:
            parts += _place(location, around=3)
        if self.hint:
            parts.append(f"  hint: {self.hint}")
        return "\n".join(parts)


class StepFailed(DaemonError):
    """A command in the build ended with a non-zero exit code.

    What it left behind can be looked at: `ls`, `read`, `run` and `shell` find its files as it left them, its mounts,
    secrets and variables. It is kept for ten minutes; where it cannot be (a Dockerfile, several platforms, at Depot),
    the first look runs the failed command once more. With `depotlab.aio`, give the error to the client's verbs:
    `await bk.run(error, ...)`.

    Attributes:
        step: The step by the name that the progress shows.
        exit_code: As the process returned it, 1 to 255.
        log_tail: The last lines of its output, decoded, oldest first.
        cell: File or notebook cell and line that called `run()`, or the Dockerfile line, when known.
    """

    def __init__(
        self,
        message: str,
        *,
        step: str,
        exit_code: int,
        log_tail: tuple[str, ...] = (),
        hint: str = "",
        code: str = "UNKNOWN",
        locations: tuple[SourceLocation, ...] = (),
        vertex: str = "",
    ) -> None:
        super().__init__(message, hint=hint, code=code, locations=locations, vertex=vertex)
        self.step = step
        self.exit_code = exit_code
        self.log_tail = log_tail

    _looker: ClassVar[Callable[[StepFailed], FailedStep] | None] = None

    @property
    def cell(self) -> SourceLocation | None:
        """Where the step was asked for."""
        return self.locations[0] if self.locations else None

    def ls(self, path: str | PurePath = ".", *, before: bool = False) -> Listing:
        """List a directory as the failed command left it; relative paths start where it ran. Blocks.

        Args:
            path: Of the directory; cache mounts are there too.
            before: As the command found it.

        Raises:
            FileMissing: There is no such directory.
            UsageError: The error was copied, or comes from another process.
        """
        return self._look().ls(path, before=before)

    def read(
        self,
        path: str | PurePath,
        *,
        offset: int = 0,
        length: int | None = None,
        before: bool = False,
    ) -> bytes:
        """Return a file, or a range of it in bytes, as the failed command left it. Blocks.

        Args:
            path: Of the file.
            offset: Where to begin.
            length: How many at most; None reads to the end.
            before: As the command found it.

        Raises:
            FileMissing: There is no such file.
            UsageError: The error was copied, or comes from another process.
        """
        return self._look().read(path, offset=offset, length=length, before=before)

    def run(
        self,
        command: str | Sequence[str],
        *,
        env: Mapping[str, str | int] | None = None,
        cwd: str | PurePath = "",
        user: str = "",
        stdin: Stdin = None,
        tty: bool = False,
        timeout_s: float | None = None,
        check: bool = False,
        on_output: OnOutput | None = None,
        stdout: Writer | None = None,
        max_output_bytes: int = 16 << 20,
        before: bool = False,
    ) -> Completed:
        """Run a command where the failed one ran; the arguments are those of `Client.run`. Blocks.

        Each call starts from what the failed command left behind; what it writes is gone afterwards.
        """
        options = {
            "env": env,
            "cwd": cwd,
            "user": user,
            "stdin": stdin,
            "tty": tty,
            "timeout_s": timeout_s,
            "check": check,
            "on_output": on_output,
            "stdout": stdout,
            "max_output_bytes": max_output_bytes,
            "before": before,
        }
        return self._look().run(command, options)

    def shell(
        self,
        command: str | Sequence[str] | None = None,
        *,
        env: Mapping[str, str | int] | None = None,
        cwd: str | PurePath = "",
        user: str = "",
        before: bool = False,
        height_px: int = 320,
    ) -> Shell:
        """Open a shell where the failed command ran; the arguments are those of `Client.shell`."""
        options = {"env": env, "cwd": cwd, "user": user, "before": before, "height_px": height_px}
        return self._look().shell(command, options)

    def _look(self) -> FailedStep:
        looker = type(self)._looker  # noqa: SLF001 - its own class
        if looker is None:
            raise UsageError(
                "This error comes from another process, where its build was.",
                hint="look at it there, or build again here",
            )
        return looker(self)

    def __str__(self) -> str:
        return self._with_output(20)

    def _render_traceback_(self) -> list[str]:
        """Less output than `str`: in a notebook the view above shows it."""
        return [f"{type(self).__name__}: {self._with_output(5)}", *self._noted()]

    def _with_output(self, n_lines: int) -> str:
        text = super().__str__()
        if not self.log_tail:
            return text
        tail = "\n".join(f"    {line}" for line in self.log_tail[-n_lines:])
        return f"{text}\n  last lines of its output:\n{tail}"


class DockerfileError(DaemonError):
    """A Dockerfile that the frontend could not parse or use; `locations` has the line."""


class ImageNotFound(DaemonError):
    """An image or tag that the registry does not have, or does not show to us.

    Attributes:
        ref: The image as the daemon named it.
    """

    def __init__(self, message: str, *, ref: str, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.ref = ref


class RegistryError(DaemonError):
    """A registry refused a pull, a push or a login.

    Attributes:
        host: The registry, such as `ghcr.io`, when the message names it.
    """

    def __init__(self, message: str, *, host: str = "", **fields: Any) -> None:
        super().__init__(message, **fields)
        self.host = host


class BuildsFailed(DepotlabError):
    """Some of many builds failed.

    Attributes:
        errors: What each of them failed with, by name, in the order in which they did.
        results: Of those that succeeded, by name.
    """

    blame = "daemon"

    def __init__(
        self,
        message: str,
        *,
        errors: Mapping[str, Exception],
        results: Mapping[str, Any],
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.errors = dict(errors)
        self.results = dict(results)


class SessionError(DepotlabError):
    """Our side failed to give the daemon what it asked for (a file, a credential).

    Attributes:
        path: The file or directory it concerns, or empty.
    """

    blame = "session"

    def __init__(self, message: str, *, path: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.path = path


class PastError(DepotlabError):
    """What past builds on this computer were cannot be read or written. No build fails by it.

    Attributes:
        path: The file that they are kept in.
    """

    blame = "computer"

    def __init__(self, message: str, *, path: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.path = path


class BuildCanceled(DepotlabError):
    """The build was cancelled, by the user or by the daemon."""

    blame = "cancel"


class BuildTimeout(DepotlabError, TimeoutError):
    """The build took longer than it was allowed; it was cancelled on the daemon.

    Attributes:
        timeout_s: The limit that was passed, in seconds.
    """

    blame = "cancel"

    def __init__(self, message: str, *, timeout_s: float, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.timeout_s = timeout_s


# ------------------------------------------------------------------------------ files of a build


class PathError(DepotlabError):
    """A path inside a state that is not what a call needs, such as a directory where a file is read.

    Attributes:
        path: The path in the state, absolute.
    """

    blame = "usage"

    def __init__(self, message: str, *, path: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.path = path


class FileMissing(PathError, FileNotFoundError):
    """A path that is not in the state.

    Attributes:
        near: Paths that are there and have similar names, the most similar first.
    """

    def __init__(
        self, message: str, *, path: str, near: tuple[str, ...] = (), hint: str = ""
    ) -> None:
        super().__init__(message, path=path, hint=hint)
        self.near = near


# --------------------------------------------------------------------------- commands in containers


class CommandFailed(DepotlabError):
    """A command that was run in a state could not be started, or failed where that was not expected.

    Attributes:
        command: Its argv.
        exit_code: 1 to 255 as it returned it; 127 when there is no such program, 126 when it cannot be run, and
            125 when its container could not be started.
        output_tail: The last lines that it wrote, oldest first.
    """

    blame = "usage"

    def __init__(
        self,
        message: str,
        *,
        command: tuple[str, ...] = (),
        exit_code: int,
        output_tail: tuple[str, ...] = (),
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.command = command
        self.exit_code = exit_code
        self.output_tail = output_tail

    def __str__(self) -> str:
        return _with_tail(super().__str__(), self.output_tail)


class CommandTimeout(DepotlabError, TimeoutError):
    """A command that was run in a state took longer than it was allowed; it was killed.

    Attributes:
        command: Its argv.
        timeout_s: The limit that was passed, in seconds.
        output_tail: The last lines that it wrote, oldest first.
    """

    blame = "cancel"

    def __init__(
        self,
        message: str,
        *,
        timeout_s: float,
        command: tuple[str, ...] = (),
        output_tail: tuple[str, ...] = (),
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.command = command
        self.timeout_s = timeout_s
        self.output_tail = output_tail

    def __str__(self) -> str:
        return _with_tail(super().__str__(), self.output_tail)


def _with_tail(text: str, lines: tuple[str, ...]) -> str:
    if not lines:
        return text
    return f"{text}\n  last lines of its output:\n" + "\n".join(f"    {line}" for line in lines)


# ----------------------------------------------------------------------- the engine on this computer


class EngineError(DepotlabError):
    """The engine on this computer could not be installed, started or stopped.

    Attributes:
        log_tail: The last lines of the engine's log, oldest first, when there is one.
    """

    blame = "engine"

    def __init__(self, message: str, *, hint: str = "", log_tail: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.log_tail = log_tail

    def __str__(self) -> str:
        text = super().__str__()
        if not self.log_tail:
            return text
        return text + "\n  last lines of its log:\n" + "\n".join(f"    {x}" for x in self.log_tail)
