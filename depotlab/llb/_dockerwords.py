"""Single instructions of a Dockerfile: how a run, a copy, a file is written so that BuildKit reads the same again.

Source of the syntax: docs.docker.com/reference/dockerfile, moby/buildkit `frontend/dockerfile/instructions`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence

from depotlab.llb._config import ImageConfig
from depotlab.llb._fields import _Values as Values

__all__ = [
    "AGENT",
    "CannotSay",
    "chown_flag",
    "config_lines",
    "copy_line",
    "mount_flag",
    "quoted",
    "run_line",
    "step_env",
    "text_file",
]

_SHELL = ("/bin/sh", "-c")
# Source: moby/buildkit `client/llb/exec.go`, where the first agent is mounted unless a place is said.
AGENT = "/run/buildkit/ssh_agent."
_SHARING = {1: "private", 2: "locked"}
# What could be read as something else than the command itself: options, lists, here-documents, escapes, comments.
_TRICKY = re.compile(r"^\s|\s$|^--|^\[|<<|\\$|^#|^@", re.MULTILINE)
_WORD = re.compile(r"[A-Za-z0-9_./:@%+,=-]+")


class CannotSay(Exception):
    """A Dockerfile has no words for something; the message says for what."""


def step_env(meta: Values) -> dict[str, str]:
    """Return the variables of a step, without the one that names its agent: both languages set that themselves."""
    found = dict(text.partition("=")[::2] for text in meta.texts(2))
    if found.get("SSH_AUTH_SOCK", "").startswith(AGENT):
        del found["SSH_AUTH_SOCK"]
    return found


def json_words(words: Iterable[str]) -> str:
    """Return a list of words as an instruction takes it."""
    return json.dumps(list(words), ensure_ascii=False)


def quoted(value: str) -> str:
    """Return the value of a variable or a label, with nothing in it that is expanded."""
    if "\n" in value:
        raise CannotSay("a value with a line break")
    if _WORD.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'


def run_line(args: Sequence[str], flags: Sequence[str]) -> str:
    """Return a `RUN`, in the plainest of its forms that is certain to be read as these words."""
    head = " ".join(["RUN", *flags])
    command = args[2] if len(args) == 3 and tuple(args[:2]) == _SHELL else None
    if command is None or not command.strip():
        return f"{head} {json_words(args)}"
    if not _TRICKY.search(command) and "\n" not in command:
        return f"{head} {command}"
    if command.endswith("\n") and not command.startswith("#!") and "\r" not in command:
        return here_document(head, command)
    return f"{head} {json_words(args)}"


def here_document(head: str, content: str, tail: str = "") -> str:
    """Return an instruction with a document below it; its content ends with a line break, or is empty."""
    lines = set(content.splitlines())
    mark = "EOF"
    while mark in lines:
        mark += "F"
    return f"{head} <<'{mark}'{tail}\n{content}{mark}"


def text_file(path: str, data: bytes, mode: int, owner: Values | None) -> str:
    """Return a `COPY` that writes a file.

    Raises:
        CannotSay: The content is no text, or its last line has no end.
    """
    try:
        content = data.decode()
    except UnicodeDecodeError:
        raise CannotSay("a file whose content is no text") from None
    if content and not content.endswith("\n"):
        raise CannotSay("a file whose last line has no line break: a here-document adds one")
    if "\r" in content or "\0" in content:
        raise CannotSay("a file with control characters")
    flags = [f"--chmod={mode:o}", *chown_flag(owner)]
    return here_document(f"COPY {' '.join(flags)}", content, f" {_path(path)}")


def chown_flag(owner: Values | None) -> list[str]:
    """Return the flag for an owner, if there is one."""
    if owner is None:
        return []
    sides = []
    for number in (1, 2):
        side = owner.inner(number)
        sides.append(side.inner(1).text(1) if side.has(1) else str(side.integer(2)))
    return [f"--chown={':'.join(sides if owner.has(2) else sides[:1])}"]


def _path(path: str) -> str:
    if re.search(r"[\s\"'$\\\[]", path):
        raise CannotSay(f"the path {path!r} in this place")
    return path


def copy_line(word: str, flags: Sequence[str], source: str, target: str) -> str:
    """Return a `COPY` or an `ADD`."""
    paths = [source, target]
    words = json_words(paths) if any(re.search(r"[\s\"'\[]", p) for p in paths) else " ".join(paths)
    if any("$" in path or "\\" in path for path in paths):
        raise CannotSay("a path with a dollar sign or a backslash")
    return " ".join([word, *flags, words])


def mount_flag(mount: Values, source: str | None) -> str:
    """Return the flag for one mount of a run.

    Args:
        mount: A `pb.Mount`.
        source: What it shows, as `--from` takes it; empty for the main context, None for nothing.

    Raises:
        CannotSay: There is no flag for it.
    """
    target, kind = mount.text(3), mount.integer(6)
    parts: list[str] = []
    if kind in (0, 3) and source is not None:
        parts += [f"from={source}"] if source else []
        if mount.text(2).strip("/"):
            parts.append(f"source={mount.text(2)}")
    match kind:
        case 0:
            if source is None:
                raise CannotSay(f"an empty mount at {target}, except as tmpfs")
            if mount.integer(4) >= 0 and not mount.flag(5):
                raise CannotSay(f"a mount at {target} that is written to and used later")
            parts = ["type=bind", *parts, f"target={target}"] + ([] if mount.flag(5) else ["rw"])
        case 1:
            secret = mount.inner(21)
            parts = ["type=secret", f"id={secret.text(1)}", f"target={target}"]
            parts += _owner_parts(secret, 0o400)
            parts += [] if secret.flag(5) else ["required=true"]
        case 2:
            agent = mount.inner(22)
            parts = ["type=ssh", f"id={agent.text(1) or 'default'}"]
            parts += [] if target.startswith(AGENT) else [f"target={target}"]
            parts += _owner_parts(agent, 0o600)
            parts += [] if agent.flag(5) else ["required=true"]
        case 3:
            cache = mount.inner(20)
            name = (
                cache.text(1).removeprefix("/") if cache.text(1).startswith("//") else cache.text(1)
            )
            named = [f"id={name}"] if name != target else []
            parts = ["type=cache", *named, *parts, f"target={target}"]
            parts += [f"sharing={_SHARING[n]}" for n in (cache.integer(2),) if n in _SHARING]
            parts += ["ro"] if mount.flag(5) else []
        case 4:
            size = mount.inner(19).integer(1)
            parts = ["type=tmpfs", f"target={target}", *([f"size={size}"] if size else [])]
        case _:
            raise CannotSay(f"a mount at {target} of an unknown kind")
    if any("," in part or " " in part for part in parts):
        raise CannotSay(f"a mount at {target} with a comma or a space in it")
    return f"--mount={','.join(parts)}"


def _owner_parts(values: Values, usual_mode: int) -> list[str]:
    parts = [f"uid={values.integer(2)}"] if values.integer(2) else []
    parts += [f"gid={values.integer(3)}"] if values.integer(3) else []
    return parts + ([f"mode={values.integer(4):04o}"] if values.integer(4) != usual_mode else [])


def config_lines(config: ImageConfig) -> list[str]:
    """Return the instructions for what only the image config has; variables, directory and user are not among them."""
    lines = [f"LABEL {quoted(key)}={quoted(value)}" for key, value in config.labels.items()]
    lines += [f"EXPOSE {port}" for port in config.exposed_ports]
    if config.volumes:
        lines.append(f"VOLUME {json_words(config.volumes)}")
    if config.stop_signal:
        lines.append(f"STOPSIGNAL {config.stop_signal}")
    if config.shell:
        lines.append(f"SHELL {json_words(config.shell)}")
    check = config.healthcheck
    if check is not None:
        seconds: Mapping[str, float] = {
            "interval": check.interval_s,
            "timeout": check.timeout_s,
            "start-period": check.start_period_s,
            "start-interval": check.start_interval_s,
        }
        flags = [f"--{name}={value:g}s" for name, value in seconds.items() if value]
        flags += [f"--retries={check.retries}"] if check.retries else []
        kind, *words = check.test or ("NONE",)
        command = "NONE"
        if kind == "CMD-SHELL":
            command = f"CMD {' '.join(words)}"
        elif kind == "CMD":
            command = f"CMD {json_words(words)}"
        lines.append(" ".join(["HEALTHCHECK", *([] if command == "NONE" else flags), command]))
    lines += [f"ONBUILD {line}" for line in config.on_build]
    if config.entrypoint is not None:
        lines.append(f"ENTRYPOINT {json_words(config.entrypoint)}")
    if config.cmd is not None:
        lines.append(f"CMD {json_words(config.cmd)}")
    return lines
