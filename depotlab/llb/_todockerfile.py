"""A graph said as a Dockerfile, where that has words for it.

A Dockerfile is a row of stages, each a chain of instructions on one file system. So the graph is cut into chains: at
what is read by several, and at what is copied or mounted from. What an instruction says is in `_dockerwords`.

What has no words is refused with all its reasons at once, since half a Dockerfile would build something else.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from depotlab._values import Value
from depotlab.errors import GraphError
from depotlab.llb._config import ImageConfig
from depotlab.llb._decode import as_bytes, fields
from depotlab.llb._dockerstages import Edge, Reason, Stages
from depotlab.llb._dockerwords import (
    CannotSay,
    chown_flag,
    config_lines,
    copy_line,
    mount_flag,
    quoted,
    run_line,
    step_env,
    text_file,
)
from depotlab.llb._fields import _Values as Values
from depotlab.llb._platform import Platform, host_platform
from depotlab.llb._view import OpView, split_op

if TYPE_CHECKING:
    from depotlab.llb._definition import Definition
    from depotlab.llb._state import State

__all__ = ["DockerfileText", "to_dockerfile"]

_MAX_REASONS = 8
_NETWORKS = {1: "--network=host", 2: "--network=none"}


@dataclass(frozen=True, slots=True, repr=False)
class DockerfileText(Value):
    """A graph said as a Dockerfile.

    Attributes:
        text: The Dockerfile.
        context: Directory that `COPY` reads from; None if nothing is read from this machine.
        contexts: Further directories, by the names that `COPY --from` knows them by.
        lines: The line of the instruction that each op became, from 1, by digest.
        remarks: What is not quite the same.
    """

    text: str
    context: Path | None = None
    contexts: Mapping[str, Path] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        n_lines = len(self.text.splitlines())
        n_stages = sum(line.startswith("FROM ") for line in self.text.splitlines())
        return f"<DockerfileText {n_lines} lines, {n_stages} stages>"


class _Settings(NamedTuple):
    """What an instruction finds set by those before it. None: as the base image has it."""

    env: Mapping[str, str]
    directory: str | None
    user: str | None


_UNSET = _Settings({}, None, None)


def to_dockerfile(state: State, platform: str | Platform | None = None) -> DockerfileText:
    """Return a graph as a Dockerfile; see `State.to_dockerfile`."""
    definition = state.marshal(platform, local_unique_id="")
    if not definition.head:
        lines = ["FROM scratch", *_checked_config(state.image_config())]
        return DockerfileText("\n".join(lines) + "\n")
    return _Translation(definition, state.image_config(), _platform_of(platform)).run()


def _platform_of(given: str | Platform | None) -> str:
    platform = Platform.parse(given) if isinstance(given, str) else given or host_platform()
    return str(platform)


def _checked_config(config: ImageConfig) -> list[str]:
    try:
        return config_lines(config)
    except CannotSay as why:
        raise GraphError(
            f"This graph cannot be said as a Dockerfile: its image config has {why}.",
            hint="build the graph itself",
        ) from None


class _Translation:
    def __init__(self, definition: Definition, config: ImageConfig, platform: str) -> None:
        self._config = config
        self._stages = Stages(definition)
        self._platform = platform
        self._host_paths = definition.locals
        self._out: list[str] = []
        self._n_lines = 0
        self._lines: dict[str, int] = {}
        self._ends: dict[Edge, _Settings] = {}
        self._main = next(iter(definition.locals), "")
        self._contexts: dict[str, Path] = {}
        self._reads_context = False
        self._remarks: list[str] = []

    def run(self) -> DockerfileText:
        """Cut, write, and look whether everything could be said.

        Raises:
            GraphError: Something could not; with all reasons.
        """
        reasons = self._stages.reasons
        for edge in self._stages.ends:
            self._stage(edge)
        try:
            self._finish()
        except CannotSay as why:
            reasons.append(("image config", str(why), None))
        if reasons:
            raise _refusal(reasons)
        context = self._host_paths.get(self._main) if self._reads_context else None
        return DockerfileText(
            "\n".join(self._out) + "\n",
            context,
            self._contexts,
            self._lines,
            tuple(dict.fromkeys(self._remarks)),
        )

    def _stage(self, end: Edge) -> None:
        chain: list[Edge] = []
        at: Edge | None = end
        while (
            at is not None
            and not self._stages.is_source(at)
            and (at == end or at not in self._ends)
        ):
            chain.append(at)
            at = self._stages.bases[at]
        if self._out:
            self._write("")
        name = self._stages.names.get(end, "")
        settings = self._from(at, f" AS {name}" if name else "")
        for edge in reversed(chain):
            view = self._stages.views[edge[0]]
            try:
                settings = self._instruction(view, settings)
            except CannotSay as why:
                self._stages.because(view, str(why))
        self._ends[end] = settings

    def _from(self, base: Edge | None, named: str) -> _Settings:
        if base is None:
            self._write(f"FROM scratch{named}")
            return _UNSET
        view = self._stages.views[base[0]]
        if not self._stages.is_source(base):
            self._write(f"FROM {self._stages.names[base]}{named}")
            return self._ends[base]
        if not self._stages.is_image(base):
            self._stages.because(view, "a result that is a source and no image")
            return _UNSET
        other = self._stages.platform(base)
        flag = f" --platform={other}" if other and other != self._platform else ""
        self._say(view, f"FROM{flag} {self._stages.image(base)}{named}")
        return _UNSET

    def _write(self, text: str) -> None:
        self._out.append(text)
        self._n_lines += text.count("\n") + 1

    def _say(self, view: OpView, text: str) -> None:
        self._lines[view.digest] = self._n_lines + 1
        self._write(text)

    def _instruction(self, view: OpView, settings: _Settings) -> _Settings:
        _, kind, payload = split_op(view.data)
        if kind == "exec":
            return self._run(view, payload, settings)
        if kind == "file":
            for number, value in fields(payload):
                if number == 2:
                    settings = self._action(view, Values(value), settings)
        elif kind == "merge":
            for edge in view.inputs[1:]:
                self._say(view, f"COPY --from={self._source(view, edge)} / /")
        return settings

    def _source(self, view: OpView, edge: Edge) -> str:
        """Return what `--from` calls something; empty for the main context."""
        if not self._stages.is_source(edge):
            return self._stages.names[edge]
        identifier = self._stages.identifier(edge)
        if self._stages.is_image(edge):
            other = self._stages.platform(edge)
            if other and other != self._platform:
                raise CannotSay(f"copying from an image for {other}")
            return self._stages.image(edge)
        if identifier.startswith("local://"):
            return self._context(view, edge, identifier.removeprefix("local://"))
        raise CannotSay(f"reading {identifier} other than by ADD")

    def _context(self, view: OpView, edge: Edge, name: str) -> str:
        _, _, payload = split_op(self._stages.views[edge[0]].data)
        attrs = dict(_entries(payload))
        for key, what in (("includepattern", "include"), ("excludepatterns", "exclude")):
            if attrs.get(f"local.{key}") or attrs.get(f"local.{key}s"):
                self._remarks.append(
                    f"{what}= of the directory {name!r} is not in the Dockerfile: use a .dockerignore file"
                )
        host_path = self._host_paths.get(name)
        if host_path is None:
            raise CannotSay(f"the directory {name!r}, which is not known here")
        if name == self._main:
            self._reads_context = True
            return ""
        short = re.sub(r"[^a-z0-9_.-]+", "-", name.lower()).strip("-.") or "context"
        self._contexts[short] = host_path
        return short

    def _run(self, view: OpView, payload: bytes, settings: _Settings) -> _Settings:
        values = Values(payload)
        meta = values.inner(1)
        for number, what in (
            (5, "proxy settings"),
            (6, "extra hosts"),
            (7, "a host name"),
            (9, "limits"),
            (10, "a parent of its control group"),
            (12, "exit codes beside 0 that are fine"),
        ):
            if meta.has(number):
                raise CannotSay(f"{what} of one step")
        if values.has(6):
            raise CannotSay("devices")
        flags = []
        if values.integer(3) in _NETWORKS:
            flags.append(_NETWORKS[values.integer(3)])
        if values.integer(4) == 1:
            flags.append("--security=insecure")
        for raw in (as_bytes(v) for n, v in fields(payload) if n == 2):
            mount = Values(raw)
            given = mount.integer(1)
            if mount.text(3) == "/":
                if mount.text(2).strip("/"):
                    raise CannotSay("a part of another state as the root")
                continue
            edge = view.inputs[given] if 0 <= given < len(view.inputs) else None
            flag = mount_flag(mount, None if edge is None else self._source(view, edge))
            flags.append(flag)
        for raw in (as_bytes(v) for n, v in fields(payload) if n == 5):
            secret = Values(raw)
            required = "" if secret.flag(3) else ",required=true"
            flags.append(f"--mount=type=secret,id={secret.text(1)},env={secret.text(2)}{required}")
        settings = self._set(step_env(meta), meta.text(3), meta.text(4), settings)
        self._say(view, run_line(meta.texts(1), flags))
        return settings

    def _set(self, env: Mapping[str, str], directory: str, user: str, now: _Settings) -> _Settings:
        """Write what brings the settings from what they are to what a step has."""
        lost = [name for name in now.env if name not in env]
        if lost:
            raise CannotSay(f"taking back the variable {lost[0]}")
        for name, value in env.items():
            if now.env.get(name) != value:
                self._write(f"ENV {name}={quoted(value)}")
        if directory not in ("", now.directory or "/"):
            self._write(copy_line("WORKDIR", (), directory, "").rstrip())
        wanted = user or now.user
        if user != (now.user or ""):
            self._write(f"USER {user or 'root'}")
        return _Settings(dict(env), directory or now.directory, wanted)

    def _action(self, view: OpView, action: Values, now: _Settings) -> _Settings:
        for number, write in (
            (4, self._copy),
            (5, self._mkfile),
            (6, self._mkdir),
            (7, self._rm),
            (8, self._symlink),
        ):
            if action.has(number):
                return write(view, action, action.inner(number), now)
        raise CannotSay("a file operation of an unknown kind")

    def _copy(self, view: OpView, action: Values, copy: Values, now: _Settings) -> _Settings:
        edge = view.inputs[action.integer(2)]
        identifier = self._stages.identifier(edge)
        flags = []
        if identifier.startswith(("http://", "https://")):
            return self._add(view, edge, copy, now)
        source = self._source(view, edge)
        if source:
            flags.append(f"--from={source}")
        flags += _copy_flags(copy)
        path = copy.text(1)
        shown = path if source else (path.lstrip("/") or ".")
        self._say(view, copy_line("COPY", flags, shown, copy.text(2)))
        return now

    def _add(self, view: OpView, edge: Edge, copy: Values, now: _Settings) -> _Settings:
        _, _, payload = split_op(self._stages.views[edge[0]].data)
        attrs = dict(_entries(payload))
        if set(attrs) - {"http.checksum", "http.filename"}:
            raise CannotSay("settings of a download")
        if copy.text(1).strip("/") != (attrs.get("http.filename") or copy.text(1).strip("/")):
            raise CannotSay("a part of a download")
        flags = [f"--checksum={attrs['http.checksum']}"] if "http.checksum" in attrs else []
        flags += _copy_flags(copy)
        self._say(view, copy_line("ADD", flags, self._stages.identifier(edge), copy.text(2)))
        return now

    def _mkfile(self, view: OpView, action: Values, made: Values, now: _Settings) -> _Settings:
        _no_time(made, 5)
        owner = made.inner(4) if made.has(4) else None
        self._say(view, text_file(made.text(1), made.raw(3), made.integer(2), owner))
        return now

    def _mkdir(self, view: OpView, action: Values, made: Values, now: _Settings) -> _Settings:
        _no_time(made, 5)
        if made.has(4) or made.integer(2) != 0o755 or (now.user or "root") != "root":
            raise CannotSay("a new directory with an owner or a mode other than 755")
        self._say(view, copy_line("WORKDIR", (), made.text(1), "").rstrip())
        return now._replace(directory=posixpath.normpath(made.text(1)))

    def _rm(self, view: OpView, action: Values, gone: Values, now: _Settings) -> _Settings:
        raise CannotSay("deleting without a program in the image; say it with run('rm -rf …')")

    def _symlink(self, view: OpView, action: Values, link: Values, now: _Settings) -> _Settings:
        raise CannotSay("a link without a program in the image; say it with run('ln -s …')")

    def _finish(self) -> None:
        """Write what the image config has and the steps have not said."""
        config, now = self._config, self._ends[self._stages.head]
        for name, value in config.env.items():
            if now.env.get(name) != value:
                self._write(f"ENV {name}={quoted(value)}")
        extra = [name for name in now.env if name not in config.env]
        if extra and config.env:
            self._remarks.append(f"the image has the variable {', '.join(extra)} too")
        directory = config.working_dir
        if directory and directory != (now.directory or ""):
            self._write(copy_line("WORKDIR", (), directory, "").rstrip())
        elif now.directory not in (None, "/") and not directory:
            self._write("WORKDIR /")
        if config.user and config.user != now.user:
            self._write(f"USER {config.user}")
        for line in config_lines(config):
            self._write(line)


def _copy_flags(copy: Values) -> list[str]:
    _no_time(copy, 11)
    for number, is_usual, what in (
        (5, True, "links that are not followed"),
        (6, True, "a directory itself and not its content"),
        (7, False, "unpacking"),
        (8, True, "a target that must be there"),
        (14, False, "replacing what is there"),
    ):
        if copy.flag(number) is not is_usual:
            raise CannotSay(f"a copy with {what}")
    if copy.texts(12) or copy.texts(16):
        raise CannotSay("a copy of only some files of a directory")
    flags = [f"--exclude={pattern}" for pattern in copy.texts(13)]
    if copy.text(15):
        flags.append(f"--chmod={copy.text(15)}")
    elif copy.integer(4) >= 0:
        flags.append(f"--chmod={copy.integer(4):o}")
    return [*flags, *chown_flag(copy.inner(3) if copy.has(3) else None)]


def _no_time(values: Values, number: int) -> None:
    if values.integer(number) != -1:
        raise CannotSay("a time of files")


def _entries(payload: bytes) -> list[tuple[str, str]]:
    found = []
    for number, value in fields(payload):
        if number == 2:
            entry = Values(value)
            found.append((entry.text(1), entry.text(2)))
    return found


def _refusal(reasons: list[Reason]) -> GraphError:
    unique = list(dict.fromkeys((name, why) for name, why, _ in reasons))
    listed = [f"  {name}: {why}" for name, why in unique[:_MAX_REASONS]]
    if len(unique) > _MAX_REASONS:
        listed.append(f"  and {len(unique) - _MAX_REASONS} more")
    place = next((place for _, _, place in reasons if place is not None), None)
    return GraphError(
        "\n".join(["This graph cannot be said as a Dockerfile. There are no words for:", *listed]),
        hint="build the graph itself, or say these steps differently",
        location=place,
    )
