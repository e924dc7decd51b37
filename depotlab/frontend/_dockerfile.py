"""A Dockerfile build as a value, and the function that makes one."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from depotlab._contexts import (
    Context,
    Directory,
    Files,
    Git,
    Http,
    OwnRules,
    Preview,
    Source,
    context,
    preview,
    read_inside,
)
from depotlab._values import Value
from depotlab.errors import ContextError
from depotlab.frontend import _options as options

__all__ = ["Dockerfile", "dockerfile"]

Network = Literal["sandbox", "host", "none"]
ResolveMode = Literal["default", "pull", "local"]


@dataclass(frozen=True, slots=True, repr=False)
class Dockerfile(Value):
    """A build of a Dockerfile. Make one with `depotlab.dockerfile`.

    Attributes:
        main: The context that `COPY` reads from.
        filename: Of the Dockerfile, relative to `directory`, or in the main context.
        directory: Directory on this machine that holds the Dockerfile; None when the text is given or the
            Dockerfile is in a context that is no directory.
        text: The Dockerfile itself, when it was given as text.
        target: Stage to build, or empty for the last.
        args: Build arguments.
        labels: Labels for the image.
        no_cache: True runs every step; names of stages run only those.
        contexts: Further contexts by the name that `FROM` and `COPY --from` know them by.
        syntax: The frontend image to use instead of the daemon's own, or empty.
        network: Of every `RUN`; empty leaves it to the Dockerfile.
        add_hosts: Addresses by host name, for every `RUN`.
        shm_size_bytes: Of `/dev/shm` in every `RUN`; 0 for the daemon's own.
        ulimits: Soft and hard limit by name, for every `RUN`; -1 is none.
        cgroup_parent: For every `RUN`, or empty.
        hostname: In every `RUN`, or empty.
        image_resolve_mode: Whether base images are looked up anew; empty leaves it to the daemon.
        lint: What to check in the Dockerfile, as in a `# check=` line, or empty.
    """

    main: Context
    filename: str = "Dockerfile"
    directory: Path | None = None
    text: str | None = None
    target: str = ""
    args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    no_cache: bool | tuple[str, ...] = False
    contexts: Mapping[str, Context] = field(default_factory=dict)
    syntax: str = ""
    network: str = ""
    add_hosts: Mapping[str, str] = field(default_factory=dict)
    shm_size_bytes: int = 0
    ulimits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    cgroup_parent: str = ""
    hostname: str = ""
    image_resolve_mode: str = ""
    lint: str = ""

    @property
    def context(self) -> Path | str | None:
        """Where the main context is: a directory, or a URL; None for all other kinds."""
        where = self.main.where
        if isinstance(where, Directory):
            return where.host_path
        return str(where) if isinstance(where, Git | Http) else None

    def __repr__(self) -> str:
        where = self.main.where
        place = f"in {where}"
        if isinstance(where, Files):
            place = f"with {where}" if where.files else "with an empty context"
        what = "Dockerfile text" if self.text is not None else self.filename
        more = [f"target {self.target}"] if self.target else []
        if self.contexts:
            more.append(f"contexts {', '.join(self.contexts)}")
        return f"<{', '.join([f'{what} {place}', *more])}>"

    def check(self) -> None:
        """Look whether the directory and the Dockerfile are there.

        Raises:
            ContextError: With the path that is missing.
        """
        for where in (self.main.where, *(one.where for one in self.contexts.values())):
            if isinstance(where, Directory) and not where.host_path.is_dir():
                context(where.host_path)  # says what is there instead
        if self.directory is not None:
            _check_file(self.directory, self.filename)
        elif isinstance(self.main.where, Files) and self.text is None:
            _check_in_memory(self.main.where, self.filename)

    def preview(self) -> Preview:
        """Return what would be sent of the main context, by the ignore file that counts for this Dockerfile.

        See `Context.preview`. The Dockerfile itself is sent besides.

        Raises:
            ContextError: The context or an ignore file cannot be read.
            UsageError: Nothing of the context is sent from here, or it can be read only once.
        """
        own = None
        name = f"{self.filename}.dockerignore"
        if self.directory is not None:
            content = read_inside(self.directory, name)
            own = None if content is None else OwnRules(name, content)
        elif isinstance(self.main.where, Files) and name in self.main.where.files:
            own = OwnRules(name, self.main.where.files[name].data)
        note = (
            "This is the most that can be sent: the builder asks only for what COPY and ADD name."
        )
        return preview(self.main, own, notes=(note,))


def dockerfile(
    context: Source | Context | None = None,
    *,
    text: str | None = None,
    filename: str | os.PathLike[str] | None = None,
    target: str = "",
    args: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    no_cache: bool | Sequence[str] = False,
    contexts: Mapping[str, Source | Context] | None = None,
    syntax: str = "",
    network: Network | None = None,
    add_hosts: Mapping[str, str] | None = None,
    shm_size_bytes: int = 0,
    ulimits: Mapping[str, int | tuple[int, int]] | None = None,
    cgroup_parent: str = "",
    hostname: str = "",
    image_resolve_mode: ResolveMode | None = None,
    check: str = "",
) -> Dockerfile:
    r"""Say which Dockerfile to build, and with what.

    Args:
        context: What `COPY` reads from: anything that `depotlab.context` takes, such as a directory, a mapping
            of paths to contents, an archive, a URL, or a graph. Defaults to the working directory, or to nothing
            when `text` is given.
        text: A Dockerfile as text, instead of a file.
        filename: Of the Dockerfile: a path in the context. For a directory also a path of its own; for other
            contexts an absolute path is a file on this machine.
        target: Stage to stop at.
        args: Build arguments, as `--build-arg`.
        labels: Labels for the image.
        no_cache: True to run everything again, or the names of the stages to run again.
        contexts: Further contexts by name, for `FROM NAME` and `COPY --from=NAME`; a name that the Dockerfile
            uses already, such as that of a base image, is replaced. Archives are unpacked; another download is
            one file named `context`. A graph brings its image configuration along.
        syntax: Frontend image to use instead of the daemon's own, as in a `# syntax=` line.
        network: Of every `RUN`: `sandbox`, `host` (which needs the entitlement `network.host`) or `none`.
        add_hosts: IP addresses by host name, for every `RUN`.
        shm_size_bytes: Of `/dev/shm` in every `RUN`.
        ulimits: Limits by name, `{"nofile": 1024}` or `{"nofile": (1024, 4096)}` for soft and hard; -1 is none.
        cgroup_parent: Of every `RUN`.
        hostname: In every `RUN`.
        image_resolve_mode: `pull` asks the registry for base images even if the daemon has them, `local`
            prefers what it has.
        check: What to check in the Dockerfile, as in a `# check=` line: `skip=JSONArgsRecommended;error=true`.

    Raises:
        ContextError: The context or the Dockerfile does not exist.
        UsageError: Arguments that contradict each other, or are nothing that they may be.

    Example:
        >>> dockerfile(text="FROM busybox\nRUN echo hi")
        <Dockerfile text with an empty context>
    """
    options.check_text_arguments(text, filename, args, labels, no_cache, target)
    if context is None:
        context = "." if text is None else {}
    main = _as_context(context)
    directory, name = _find_dockerfile(main, text, filename)
    request = Dockerfile(
        main=main,
        filename=name,
        directory=directory,
        text=text,
        target=target,
        args=dict(args or {}),
        labels=dict(labels or {}),
        no_cache=no_cache if isinstance(no_cache, bool) else tuple(no_cache),
        contexts={
            options.context_name(key): _as_context(one)
            for key, one in options.mapping("contexts", contexts).items()
        },
        syntax=options.syntax(syntax, args or {}),
        network=options.choice("network", network, options.NETWORKS),
        add_hosts=options.hosts(add_hosts or {}),
        shm_size_bytes=options.size("shm_size_bytes", shm_size_bytes),
        ulimits={key: options.ulimit(key, value) for key, value in (ulimits or {}).items()},
        cgroup_parent=options.word("cgroup_parent", cgroup_parent),
        hostname=options.host_name("hostname", hostname) if hostname else "",
        image_resolve_mode=options.choice(
            "image_resolve_mode", image_resolve_mode, options.RESOLVE_MODES
        ),
        lint=options.lint(check, args or {}),
    )
    request.check()
    return request


_as_context = context  # the argument of `dockerfile` has the same name


def _find_dockerfile(
    main: Context, text: str | None, filename: str | os.PathLike[str] | None
) -> tuple[Path | None, str]:
    """Return the directory on this machine that the Dockerfile is in, if it is in one, and its name there."""
    name = os.fspath(filename) if filename is not None else "Dockerfile"
    if text is not None:
        return None, name
    path = Path(os.path.expanduser(name))  # noqa: PTH111 - never raises
    if not isinstance(main.where, Directory):
        if path.is_absolute():
            return path.parent, path.name
        return None, name
    directory = main.where.host_path
    # As the Docker CLI: a path of its own when it is absolute or exists from here, else in the context.
    if filename is not None and (
        path.is_absolute() or (not (directory / path).is_file() and path.is_file())
    ):
        return path.absolute().parent, path.name
    return directory, name


def _check_file(directory: Path, filename: str) -> None:
    path = directory / filename
    if path.is_file():
        return
    # The frontend tries the lower-case name itself. Source: frontend/dockerui/config.go.
    if path.name == "Dockerfile" and path.with_name("dockerfile").is_file():
        return
    there = (
        sorted(p.name for p in directory.iterdir() if "ockerfile" in p.name)
        if directory.is_dir()
        else []
    )
    found = f"; there is {', '.join(there[:5])}" if there else ""
    raise ContextError(
        f"There is no {filename} in {directory}{found}.",
        path=str(path),
        hint="name the file with filename=, or give the text with dockerfile(text=...)",
    )


def _check_in_memory(files: Files, filename: str) -> None:
    if filename in files.files or (filename == "Dockerfile" and "dockerfile" in files.files):
        return
    close = difflib.get_close_matches(filename, list(files.files), n=1)
    near = f" did you mean {close[0]!r}?" if close else ""
    raise ContextError(
        f"There is no {filename} among the files of the context.{near}",
        path=filename,
        hint="add it to the mapping, name it with filename=, or give the text with dockerfile(text=...)",
    )
