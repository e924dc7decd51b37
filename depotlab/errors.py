"""Every exception that depotlab raises, by whose fault it is. Of ours it imports only `_frames`.

A reader should learn from an error whose fault it is (`blame`), which object it concerns
(the fields of the class) and what to try next (`hint`, one sentence). Errors survive pickling,
because notebooks send them between processes. None of them ever holds a secret.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, ClassVar

from depotlab._frames import colored, user_lines, whole_traceback

if TYPE_CHECKING:
    from depotlab._inside import Completed, FailedStep, OnOutput, Shell, Stdin, Writer
    from depotlab.buildkit import Listing
    from depotlab.llb import Picture
    from depotlab.progress import Snapshot
    from depotlab.widgets import Timeline

__all__ = [
    "BuildCanceled",
    "BuildFailed",
    "BuildTimeout",
    "BuildsFailed",
    "CommandFailed",
    "CommandTimeout",
    "ConnectionLost",
    "ContextError",
    "ContextRefused",
    "DaemonError",
    "DaemonTooOld",
    "DepotlabError",
    "DockerfileError",
    "EngineError",
    "FileMissing",
    "GraphError",
    "ImageNotFound",
    "LinkError",
    "MissingExtra",
    "NotRecorded",
    "PastError",
    "PathError",
    "ProtocolError",
    "RecordingError",
    "ReferenceInvalid",
    "RegistryError",
    "ServiceError",
    "SessionError",
    "SourceLocation",
    "StepFailed",
    "StorageError",
    "TelemetryError",
    "Unreachable",
    "UsageError",
]


@dataclass(frozen=True, slots=True, repr=False)
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

    def __repr__(self) -> str:
        place = f"{self.filename[-120:]!r}, {self.line}, {self.end_line}"
        return f"SourceLocation({place}{', …' if self.text else ''})"

    def _repr_html_(self) -> str:
        excerpt = html.escape(self.excerpt())
        return f"<div>{html.escape(str(self))}<pre>{excerpt}</pre></div>"

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


def _says(lines: Sequence[str], place: str) -> bool:
    return any(line.strip(" :") == f"at {place}" for line in lines)


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

    Cure:
        Read the hint below the message. `.blame` says where to look, the attributes say at what.
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
        """IPython asks this instead of printing frames of ours; `%tb Plain` prints them.

        Source: IPython `showtraceback`.
        """
        # In one piece: what IPython joins lines with depends on its mode.
        return whole_traceback(self) or ["\n".join(colored(self._lines()))]

    def _lines(self) -> list[str]:
        """What a notebook shows: the message, where the user's code was, and what else `str` says; the hint is last."""
        lines = f"{type(self).__name__}: {self._text()}".splitlines()
        after = len(self.message.splitlines()) or 1
        places = [place for place in user_lines(self.__traceback__) if not _says(lines, place)]
        last = next((n for n, line in enumerate(lines) if line.startswith("  hint: ")), len(lines))
        where = [f"  in {place}" for place in places]
        return [*lines[:after], *where, *lines[after:last], *self._noted(), *lines[last:]]

    def _text(self) -> str:
        """What a notebook shows of `str`."""
        return str(self)

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
    """A call that cannot work as it is written. Raised before anything is sent.

    Cure:
        Change the call as the hint says; the message names the argument and what it may be.
    """

    blame = "usage"


class GraphError(UsageError):
    """A graph that cannot be built: a wrong argument, or pieces that do not fit.

    Attributes:
        location: The call that made the piece, when known.

    Cure:
        Go to the line that the message shows, which made the piece. `state.explain()` shows what came before
        it.
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


class DaemonTooOld(GraphError):
    """A build or a call that needs a newer daemon than the one that is there. Nothing was built.

    Attributes:
        needs: The release of BuildKit that has it, such as `0.10`; empty when nobody knows.
        found: The daemon's version, such as `0.8.3`; empty when it does not say.
        features: What is asked for and missing, such as `llb.merge()`.

    Cure:
        Use a daemon of the release that the message names, or newer: update the one that is there, or build
        with `depotlab.local()`, which brings its own. Or leave out what `.features` lists.
    """

    def __init__(
        self,
        message: str,
        *,
        needs: str = "",
        found: str = "",
        features: tuple[str, ...] = (),
        hint: str = "",
        location: SourceLocation | None = None,
    ) -> None:
        super().__init__(message, hint=hint, location=location)
        self.needs = needs
        self.found = found
        self.features = features


class ReferenceInvalid(UsageError):
    """A malformed or reserved image name, tag or digest.

    Attributes:
        ref: The name as it was given.

    Cure:
        Write the name as `host/path:tag` or `host/path@sha256:…`; the host may be left out for Docker Hub.
    """

    def __init__(self, message: str, *, ref: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.ref = ref


class ContextError(UsageError):
    """A directory or Dockerfile on this machine that is missing or cannot be read.

    Attributes:
        path: What was looked for.

    Cure:
        Check the path, which is taken from the working directory of this process (`os.getcwd()`).
        `depotlab.context(...).preview()` shows what is there and what an ignore file drops.
    """

    def __init__(self, message: str, *, path: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.path = path


class MissingExtra(UsageError, ImportError):
    """A feature whose optional packages are not installed.

    Attributes:
        extra: The name to install, as in `pip install 'depotlab[EXTRA]'`.

    Cure:
        Run the `pip install` of the hint, then restart the kernel.
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

    Cure:
        See whether the daemon runs and where it listens. `depotlab doctor` looks for the usual causes on this
        computer.
    """

    blame = "link"

    def __init__(self, message: str, *, address: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.address = address


class Unreachable(LinkError):
    """Nothing answered at the address, or it refused us (no permission, wrong certificate).

    Cure:
        Check the address, that the daemon runs, and that this user may connect: a unix socket needs the
        rights of its group, TCP the right certificates (`tls=`). `depotlab.local()` needs no daemon.
    """


class ConnectionLost(LinkError):
    """The daemon went away in the middle of a build. What it did is kept in its cache.

    Cure:
        Build again: finished steps come from the cache. If it happens again, look at the daemon's log
        (`depotlab engine logs` for the embedded one); memory is the usual reason for a daemon that ends.
    """


class ProtocolError(DepotlabError):
    """The peer said something that its protocol does not allow, or that we do not know.

    Cure:
        Update depotlab or the daemon, whichever is older. Something between the two that changes HTTP/2 (a
        proxy) does this as well. Otherwise report it with the message.
    """

    blame = "protocol"


# ------------------------------------------------------------------------------------ the build


class DaemonError(DepotlabError):
    """The daemon refused or failed a build.

    Attributes:
        code: The gRPC status code by name, such as `UNKNOWN` or `NOT_FOUND`.
        locations: Places in sources that the daemon blames, most important first.
        vertex: Digest of the step it concerns, or empty.

    Cure:
        Read the daemon's own words in the message, and the place that `locations` names.
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

    Cure:
        Read `.log_tail`, or all of it in the log of the step. Look at what the command left with `.ls()` and
        `.read()`, try it again with `.run()`, or go in with `.shell()`. Exit code 127 is a program that is
        not there, 137 mostly a lack of memory.
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

    @property
    def snapshot(self) -> Snapshot:
        """What all steps of the build came to.

        Raises:
            UsageError: The error was copied, or comes from another process.
        """
        return self._look().snapshot

    @property
    def timeline(self) -> Timeline:
        """When the builder worked on each step, up to the failure; see `BuildResult.timeline`.

        Raises:
            UsageError: The error was copied, or comes from another process.
        """
        return self._look().timeline

    def view(self) -> None:
        """Show the build again, to be read and clicked; see `BuildResult.view`.

        Raises:
            UsageError: The error was copied, or comes from another process.
        """
        self._look().view()

    def graph(self) -> Picture:
        """Return the steps of the build as a picture, each coloured by what became of it.

        Raises:
            UsageError: The error was copied, or comes from another process.
        """
        return self._look().graph()

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

    def _text(self) -> str:
        """Less output than `str`: in a notebook the view above shows it."""
        return self._with_output(5)

    def _with_output(self, n_lines: int) -> str:
        return _with_tail(super().__str__(), self.log_tail[-n_lines:])


class DockerfileError(DaemonError):
    """A Dockerfile that the frontend could not parse or use; `locations` has the line.

    Cure:
        Correct the line that the message shows; `bk.lint(dockerfile)` finds more of them without a build.
    """


class ImageNotFound(DaemonError):
    """An image or tag that the registry does not have, or does not show to us.

    Attributes:
        ref: The image as the daemon named it.

    Cure:
        Check the spelling and the tag. A private image looks the same as one that is not there: log in
        (`auth=`, or `docker login`). With no network only images of the embedded registry are there.
    """

    def __init__(self, message: str, *, ref: str, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.ref = ref


class RegistryError(DaemonError):
    """A registry refused a pull, a push or a login.

    Attributes:
        host: The registry, such as `ghcr.io`, when the message names it.

    Cure:
        Log in to `.host` with `auth={host: (user, password)}` or `docker login`, and check that the account
        may push there. When a limit of pulls is the reason, a login raises it.
    """

    def __init__(self, message: str, *, host: str = "", **fields: Any) -> None:
        super().__init__(message, **fields)
        self.host = host


class BuildsFailed(DepotlabError):
    """Some of many builds failed.

    Attributes:
        errors: What each of them failed with, by name, in the order in which they did.
        results: Of those that succeeded, by name.

    Cure:
        Look at `.errors`, each of which has its own cure. With `keep_going=True` the others are built all the
        same; `.results` has those that were done.
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
        written: Outputs of the same build that are in place all the same, in their order.

    Cure:
        Look at `.path`: see that it can be read, or that there is room to write it, and build again.
    """

    blame = "session"

    def __init__(
        self, message: str, *, path: str = "", written: tuple[str, ...] = (), hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.path = path
        self.written = written


class PastError(DepotlabError):
    """What past builds on this computer were cannot be read or written. No build fails by it.

    Attributes:
        path: The file that they are kept in.

    Cure:
        See whether `.path` can be written, or delete it: only comparisons with earlier builds are lost.
        `DEPOTLAB_PAST=off` keeps nothing.
    """

    blame = "computer"

    def __init__(self, message: str, *, path: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.path = path


class RecordingError(DepotlabError):
    """A recording cannot be read or written.

    Attributes:
        path: Of its file.

    Cure:
        See that `.path` is there, can be read or written, and is whole; a recording that was cut off or made
        by a newer depotlab has to be made again.
    """

    blame = "computer"

    def __init__(self, message: str, *, path: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.path = path


class NotRecorded(DepotlabError):
    """Something was asked of a recording that was not asked when it was made, so that it has no answer.

    Attributes:
        asked: What was asked, in a few words.
        nearest: What was recorded that comes nearest, the nearest first, and how it differs.
        path: The file of the recording.

    Cure:
        Ask for one of `.nearest`, or build live: `depotlab.local()` takes the same code. Or record again,
        with what is missing.
    """

    blame = "usage"

    def __init__(
        self,
        message: str,
        *,
        asked: str = "",
        nearest: tuple[str, ...] = (),
        path: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.asked = asked
        self.nearest = nearest
        self.path = path

    def __str__(self) -> str:
        text = super().__str__()
        if not self.nearest:
            return text
        return f"{text}\n  what was recorded:\n" + "\n".join(f"    {one}" for one in self.nearest)


class BuildCanceled(DepotlabError):
    """The build was cancelled, by the user or by the daemon.

    Cure:
        Build again when you want to; what was finished is in the cache. If nobody cancelled it, the daemon
        was stopped.
    """

    blame = "cancel"


class BuildTimeout(DepotlabError, TimeoutError):
    """The build took longer than it was allowed; it was cancelled on the daemon.

    Attributes:
        timeout_s: The limit that was passed, in seconds.

    Cure:
        Allow more time with `timeout_s=`, or find the step that takes it: `.logs()` and the view show which
        one ran. Finished steps are in the cache.
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

    Cure:
        Use the verb for what is there (`ls` for a directory, `read` for a file); `bk.stat(target, path)` says
        what it is.
    """

    blame = "usage"

    def __init__(self, message: str, *, path: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.path = path


class FileMissing(PathError, FileNotFoundError):
    """A path that is not in the state.

    Attributes:
        near: Paths that are there and have similar names, the most similar first.

    Cure:
        Take one of `.near`, or look with `bk.tree(target)` or `bk.find(target, name)`. Relative paths start
        in the working directory of the image.
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

    Cure:
        Read `.output_tail`. 127 means that the image has no such program, or no shell: give an argv as a
        list. Without `check=True` an exit code is a value and no error.
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

    Cure:
        Allow more with `timeout_s=`, or see in `.output_tail` what it waited for; a command that asks needs
        `stdin=` or `bk.shell`.
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


def _with_tail(text: str, lines: tuple[str, ...], *, of: str = "output") -> str:
    """Put the last lines of an output before the hint, which ends every message."""
    if not lines:
        return text
    text, hint, said = text.partition("\n  hint: ")
    tail = "\n".join(f"    {line}" for line in lines)
    return f"{text}\n  last lines of its {of}:\n{tail}{hint}{said}"


# ----------------------------------------------------------------------- the engine on this computer


class EngineError(DepotlabError):
    """The engine on this computer could not be installed, started or stopped.

    Attributes:
        log_tail: The last lines of the engine's log, oldest first, when there is one.

    Cure:
        Run `depotlab doctor`: it names what this computer lacks and the command that brings it. The end of
        the engine's log is in `.log_tail`.
    """

    blame = "engine"

    def __init__(self, message: str, *, hint: str = "", log_tail: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.log_tail = log_tail

    def __str__(self) -> str:
        return _with_tail(super().__str__(), self.log_tail, of="log")


# --------------------------------------------------------------------------- builds for others


class ServiceError(DepotlabError):
    """The build service does not do what it was asked.

    Attributes:
        code: As the Connect protocol names it: `invalid_argument`, `not_found`, `already_exists`,
            `unauthenticated`, `permission_denied`, `resource_exhausted`, `failed_precondition`, `unavailable` or
            `internal`.

    Cure:
        The message says which value is wrong or what is not there. `resource_exhausted` and `unavailable` pass: ask
        again later.
    """

    blame = "usage"

    def __init__(self, message: str, *, code: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code


class ContextRefused(ServiceError):
    """An uploaded context is not built: it is not there, too large, no archive, or unpacks to too much.

    Attributes:
        reason: `missing`, `too_large`, `not_an_archive`, `damaged` or `unpacks_to_too_much`.

    Cure:
        Upload a tar archive (plain, gzip, zstd, bzip2 or xz) within the limits to a new upload URL, and build that.
    """

    def __init__(self, message: str, *, reason: str, hint: str = "") -> None:
        super().__init__(message, code="invalid_argument", hint=hint)
        self.reason = reason


class BuildFailed(DepotlabError):
    """A build of the build service failed. Raised by `BuildInfo.check()`; the message is the one for the customer.

    Attributes:
        build_id: Of the build, for `get_build_logs`.
        category: Which advice the message is, such as `dockerfile_syntax`.
        raw: What the daemon, Depot or the store said.

    Cure:
        Do what the message says, or read the log of the build; `.raw` has the words that the message stands for.
    """

    blame = "daemon"

    def __init__(
        self,
        message: str,
        *,
        build_id: str,
        category: str = "unknown",
        raw: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.build_id = build_id
        self.category = category
        self.raw = raw


class StorageError(DepotlabError):
    """The store of contexts does not answer, or refuses.

    Attributes:
        is_transient: It may work later.

    Cure:
        Check the endpoint, the bucket and the keys that the storage was given; when it is only down, builds wait
        and are tried again.
    """

    blame = "computer"

    def __init__(self, message: str, *, is_transient: bool, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.is_transient = is_transient


class TelemetryError(DepotlabError):
    """What is kept of builds cannot be written or asked.

    Attributes:
        is_transient: It may work later; what was to be written is kept until then.

    Cure:
        Check the address and the login of the store, or the SQL. Builds go on, and no row is lost while the store is
        down.
    """

    blame = "computer"

    def __init__(self, message: str, *, is_transient: bool = False, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.is_transient = is_transient


def __dir__() -> list[str]:
    return sorted(__all__)
