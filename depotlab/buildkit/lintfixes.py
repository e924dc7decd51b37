"""How lines of a Dockerfile could be written that its linter objects to, for the rules where that is certain.

Source of the rules: moby/buildkit `frontend/dockerfile/linter/ruleset.go`, docs.docker.com/reference/build-checks.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping

__all__ = ["fix_for"]

_SHELL_SIGNS = re.compile(r"[|&;<>()$`*?\[\]#~=%!{}]")
_INSTRUCTION = re.compile(r"(\s*)([A-Za-z]+)(\s+)(.*)", re.DOTALL)


def fix_for(rule: str, message: str, text: str) -> str:
    """Return how the lines could be written, or nothing.

    Example:
        >>> fix_for("FromAsCasing", "", "FROM busybox as base")
        'FROM busybox AS base'
    """
    fix = _FIXES.get(rule)
    match = _INSTRUCTION.fullmatch(text)
    if fix is None or match is None:
        return ""
    fixed = fix(match, message)
    return fixed if fixed != text else ""


def _from_as(match: re.Match[str], message: str) -> str:
    word = "AS" if match[2].isupper() else "as"
    return re.sub(r"\s(as)\s", f" {word} ", match[0], flags=re.IGNORECASE)


def _stage_name(match: re.Match[str], message: str) -> str:
    return re.sub(r"(\sas\s+)(\S+)", lambda m: m[1] + m[2].lower(), match[0], flags=re.IGNORECASE)


def _casing(match: re.Match[str], message: str) -> str:
    word = match[2].lower() if "lowercase" in message else match[2].upper()
    return f"{match[1]}{word}{match[3]}{match[4]}"


def _maintainer(match: re.Match[str], message: str) -> str:
    name = match[4].strip().strip('"')
    return (
        f"{match[1]}LABEL org.opencontainers.image.authors={json.dumps(name, ensure_ascii=False)}"
    )


def _json_args(match: re.Match[str], message: str) -> str:
    """Turn a shell command into a list of words, where no shell is needed to run it."""
    command = match[4].strip()
    if _SHELL_SIGNS.search(command) or "\n" in command:
        return ""
    try:
        words = shlex.split(command)
    except ValueError:
        return ""
    return f"{match[1]}{match[2]}{match[3]}{json.dumps(words, ensure_ascii=False)}"


def _key_value(match: re.Match[str], message: str) -> str:
    name, _, value = match[4].strip().partition(" ")
    value = value.strip()
    if "=" in name or "\n" in value or '"' in value:
        return ""
    quoted = f'"{value}"' if re.search(r"\s", value) else value
    return f"{match[1]}{match[2]}{match[3]}{name}={quoted}"


def _continuation(match: re.Match[str], message: str) -> str:
    return "\n".join(line for line in match[0].split("\n") if line.strip())


def _protocol(match: re.Match[str], message: str) -> str:
    return f"{match[1]}{match[2]}{match[3]}{match[4].lower()}"


_FIXES: Mapping[str, Callable[[re.Match[str], str], str]] = {
    "FromAsCasing": _from_as,
    "StageNameCasing": _stage_name,
    "ConsistentInstructionCasing": _casing,
    "MaintainerDeprecated": _maintainer,
    "JSONArgsRecommended": _json_args,
    "LegacyKeyValueFormat": _key_value,
    "NoEmptyContinuation": _continuation,
    "ExposeProtoCasing": _protocol,
}
