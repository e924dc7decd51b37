"""Why a path of a context is sent, or is not: the rule that decides, or that it is not there at all."""

from __future__ import annotations

import difflib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from depotlab._contexts.advice import rule_for, shown
from depotlab._contexts.kinds import Directory, Files
from depotlab._contexts.offer import Decision, Offer
from depotlab._contexts.tar import Tar
from depotlab._contexts.tarlist import members
from depotlab._transfer import IgnoreRule, TreeFilter
from depotlab._values import Value
from depotlab.errors import UsageError

__all__ = ["Why", "explain"]


@dataclass(frozen=True, slots=True, repr=False)
class Why(Value):
    """Whether a path is sent, and because of what. True if it is.

    Attributes:
        path: Relative to the context.
        is_sent: Whether it is.
        rule: The line or the argument that decided, or None.
        text: The same for people.
    """

    path: str
    is_sent: bool
    rule: IgnoreRule | None
    text: str

    def __bool__(self) -> bool:
        return self.is_sent

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<{self.text}>"


def explain(where: Directory | Files | Tar, offer: Offer, path: str | os.PathLike[str]) -> Why:
    """Tell whether a path would be sent, and which rule decides.

    Raises:
        UsageError: The path lies outside the context.
        ContextError: A rule is malformed.
    """
    name = _relative(where, path)
    label = shown(_raw(name))
    if isinstance(where, Tar):
        names = {member.path for member in members(where)}
        return _in_archive(name, label, names)
    missing = _missing(where, name, label)
    if missing:
        return Why(name, False, None, missing)
    decision = offer.decide(name)
    if decision.keeps:
        return Why(name, True, decision.rule, f"{label} is sent: {_because(name, decision)}")
    reason = _left_out(name, decision)
    if _is_needed(where, offer, name):
        text = f"{label} is sent only as the directory of what is below it; it is {reason}"
        return Why(name, True, decision.rule, text)
    return Why(name, False, decision.rule, f"{label} is {reason}")


def _relative(where: Directory | Files | Tar, path: str | os.PathLike[str]) -> str:
    if not isinstance(path, str | os.PathLike):
        raise UsageError(
            f"{path!r} is no path in the context {where}.",
            hint="paths are text relative to it, such as 'app/main.py'",
        )
    given = os.fspath(path)
    name = given
    if isinstance(where, Directory) and given.startswith("/"):
        name = os.path.relpath(os.path.normpath(given), where.host_path)
    name = os.path.normpath(name.strip("/") or ".")
    if name in (".", "..") or name.startswith("../"):
        raise UsageError(
            f"{given!r} is no path in the context {where}.",
            hint="paths are relative to it, such as 'app/main.py'",
        )
    # Paths of this machine are decoded by its locale, those of a context as UTF-8.
    return os.fsencode(name).decode("utf-8", "surrogateescape")


def _because(name: str, decision: Decision) -> str:
    if decision.rule is None:
        return "no rule speaks of it"
    return f"because of {decision.rule}{_above(name, decision)}"


def _left_out(name: str, decision: Decision) -> str:
    if decision.rule is None:
        return "left out: nothing in include= matches it"
    return f"left out by {decision.rule}{_above(name, decision)}"


def _above(name: str, decision: Decision) -> str:
    if decision.at == name:
        return ""
    return f" (it matches {shown(_raw(decision.at))}, and so all that is in it)"


def _is_needed(where: Directory | Files, offer: Offer, name: str) -> bool:
    """Whether something below a directory is sent, so that it is too."""
    below = TreeFilter([rule_for(_raw(name))]).within(offer.filter)
    return any(entry.path == _raw(name) for entry in where.tree().walk(below) if entry is not None)


def _in_archive(name: str, label: str, names: Iterable[bytes]) -> Why:
    raw = _raw(name)
    if any(one == raw or one.startswith(raw + b"/") for one in names):
        return Why(name, True, None, f"{label} is sent: ignore files do not apply to archives")
    near = _similar(name, (_text(one) for one in names))
    return Why(name, False, None, f"{label} is not in the archive{near}")


def _missing(where: Directory | Files, name: str, label: str) -> str:
    """Return why a path cannot be sent whatever the rules say, or nothing."""
    if isinstance(where, Files):
        paths = where.files
        if name in paths or any(path.startswith(f"{name}/") for path in paths):
            return ""
        return f"{label} is not in the context{_similar(name, paths)}"
    directory = where.tree().host_root
    parts = Path(os.fsdecode(_raw(name))).parts
    for number, part in enumerate(parts, 1):
        try:
            mode = (directory / part).lstat().st_mode
        except OSError:
            return f"{label} is not in the context{_similar(part, _names(directory))}"
        directory /= part
        if number < len(parts) and stat.S_ISLNK(mode):
            link = "/".join(parts[:number])
            return f"{label} is not sent by this name: {link} is a link; ask for what it leads to"
        if stat.S_ISSOCK(mode):
            return f"{label} is a socket: it means nothing on another machine, and is never sent"
    if name == ".fsutil-metadata":
        return f"{label} is never sent: BuildKit uses this name itself"
    return ""


def _similar(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f"; did you mean {shown(_raw(close[0]))}?" if close else ""


def _names(directory: Path) -> list[str]:
    try:
        return [path.name for path in directory.iterdir()]
    except OSError:
        return []


def _raw(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _text(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")
