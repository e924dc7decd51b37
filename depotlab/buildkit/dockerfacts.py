"""What the Dockerfile frontend says of a Dockerfile without building it, as values with line numbers.

Source: moby/buildkit `frontend/subrequests/{outline,targets,lint}`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from depotlab._values import Rows, Tabular, safe_html
from depotlab.buildkit.covered import covered_value
from depotlab.buildkit.lintfixes import fix_for
from depotlab.errors import ProtocolError

__all__ = [
    "Argument",
    "Lint",
    "LintFinding",
    "Need",
    "Outline",
    "Stage",
    "Stages",
    "lint_of",
    "outline_of",
    "stages_of",
]

T = TypeVar("T")

BUILD_ERROR = "BuildError"
"""The rule of a finding that is no rule: what keeps the Dockerfile from being built."""


class Argument(NamedTuple):
    """A build argument that a target takes.

    Attributes:
        name: As in `ARG`.
        value: What it has; covered if its name says that it is a secret. Empty when nothing is said.
        description: From the comment above it, which must begin with its name.
        line: Where it is declared, from 1; 0 if nobody knows.
    """

    name: str
    value: str = ""
    description: str = ""
    line: int = 0


class Need(NamedTuple):
    """A secret, an agent or a cache mount that a target uses.

    Attributes:
        name: Its id.
        required: Without it the build fails.
        line: Where it is used, from 1; 0 if nobody knows.
    """

    name: str
    required: bool = False
    line: int = 0


class Stage(NamedTuple):
    """A stage of a Dockerfile.

    Attributes:
        name: After `AS`, or empty.
        base: What it starts from, as it is written.
        description: From the comment above it.
        platform: What is said with `--platform`, or empty.
        is_default: It is what is built when no target is named.
        line: Of its `FROM`, from 1.
    """

    name: str
    base: str
    description: str = ""
    platform: str = ""
    is_default: bool = False
    line: int = 0


class LintFinding(NamedTuple):
    """A remark of the linter.

    Attributes:
        rule: Its name, such as `FromAsCasing`; `BuildError` for what keeps the Dockerfile from being built.
        message: What is wrong here.
        description: What the rule says.
        url: Where it is explained.
        line: First line, from 1; 0 for the whole file.
        end_line: Last line.
        text: Those lines as they are.
        fix: Those lines as they could be; empty where only a person can know.
    """

    rule: str
    message: str
    description: str = ""
    url: str = ""
    line: int = 0
    end_line: int = 0
    text: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Outline(Tabular):
    """What a target of a Dockerfile can be given.

    Attributes:
        target: Its name, or empty.
        description: From the comment above its `FROM`.
        arguments: Build arguments that count for it.
        secrets: Secrets that its steps mount.
        ssh: Agents that its steps mount.
        caches: Cache mounts of its steps.
    """

    target: str
    description: str = ""
    arguments: tuple[Argument, ...] = ()
    secrets: tuple[Need, ...] = ()
    ssh: tuple[Need, ...] = ()
    caches: tuple[Need, ...] = ()

    _columns: ClassVar = ("kind", "name", "value", "description", "required", "line")

    def rows(self) -> list[dict[str, Any]]:
        """Return a dictionary for each argument, secret, agent and cache mount, for tables of any kind."""
        values: list[tuple[Any, ...]] = [
            ("argument", one.name, one.value, one.description, False, one.line)
            for one in self.arguments
        ]
        values += [
            (kind, need.name, "", "", need.required, need.line)
            for kind, needs in (("secret", self.secrets), ("ssh", self.ssh), ("cache", self.caches))
            for need in needs
        ]
        return [dict(zip(self._columns, row, strict=True)) for row in values]

    def _rows(self) -> Iterator[tuple[str, ...]]:
        for one in self.arguments:
            yield "argument", one.name, one.value, one.description, _line(one.line)
        for kind, needs in (("secret", self.secrets), ("ssh", self.ssh), ("cache", self.caches)):
            for need in needs:
                yield kind, need.name, "", "required" if need.required else "", _line(need.line)

    def _headline(self) -> str:
        counts = {
            "argument": len(self.arguments),
            "secret": len(self.secrets),
            "agent": len(self.ssh),
            "cache mount": len(self.caches),
        }
        said = ", ".join(f"{n} {word}{'' if n == 1 else 's'}" for word, n in counts.items() if n)
        return f"{self.target or 'Dockerfile'}: {said or 'takes nothing'}"

    def __repr__(self) -> str:
        return f"<Outline {self._headline()}>"

    def __str__(self) -> str:
        return _text(self._headline(), self._rows())

    def _repr_html_(self) -> str:
        return _html(self._headline(), ("", "name", "value", "", "line"), self._rows())


class _Listed(Rows[T], Generic[T]):
    """Values that a notebook shows as a table."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._headline()}>"

    def __str__(self) -> str:
        return _text(self._headline(), self._rows())

    def _headline(self) -> str:
        raise NotImplementedError

    def _rows(self) -> Iterator[tuple[str, ...]]:
        raise NotImplementedError


class Stages(_Listed[Stage]):
    """The stages of a Dockerfile, in order."""

    _columns = Stage._fields

    def rows(self) -> list[dict[str, Any]]:
        """Return a dictionary for each stage, for tables of any kind."""
        return [stage._asdict() for stage in self]

    def _headline(self) -> str:
        word = "stage" if len(self) == 1 else "stages"
        return f"{len(self)} {word}: {', '.join(one.name or one.base for one in self)}"

    def _rows(self) -> Iterator[tuple[str, ...]]:
        for one in self:
            default = "default" if one.is_default else ""
            yield one.name, one.base, one.platform, default, one.description, _line(one.line)

    def _repr_html_(self) -> str:
        heads = ("stage", "from", "platform", "", "", "line")
        return _html(self._headline(), heads, self._rows())


class Lint(_Listed[LintFinding]):
    """What the linter found in a Dockerfile, in the order of its lines."""

    _columns = LintFinding._fields

    def rows(self) -> list[dict[str, Any]]:
        """Return a dictionary for each finding, for tables of any kind."""
        return [finding._asdict() for finding in self]

    @property
    def ok(self) -> bool:
        """Whether it found nothing."""
        return not self

    def _headline(self) -> str:
        if not self:
            return "nothing found"
        fixable = sum(bool(one.fix) for one in self)
        word = "finding" if len(self) == 1 else "findings"
        return f"{len(self)} {word}, {fixable} with a fix"

    def _rows(self) -> Iterator[tuple[str, ...]]:
        for one in self:
            yield _line(one.line), one.rule, one.message, one.fix

    def _repr_html_(self) -> str:
        return _html(self._headline(), ("line", "rule", "what", "could be"), self._rows())


def outline_of(data: bytes) -> Outline:
    """Read the answer to `frontend.outline`.

    Raises:
        ProtocolError: It is none.
    """
    raw = _read(data, "frontend.outline")
    return Outline(
        target=str(raw.get("name") or ""),
        description=str(raw.get("description") or ""),
        arguments=tuple(
            Argument(
                str(one.get("name")),
                covered_value(str(one.get("name")), str(one.get("value") or "")),
                str(one.get("description") or ""),
                _lines(one)[0],
            )
            for one in raw.get("args") or ()
        ),
        secrets=_needs(raw.get("secrets")),
        ssh=_needs(raw.get("ssh")),
        caches=tuple(
            Need(str(one.get("ID") or one.get("name") or ""), False, _lines(one)[0])
            for one in raw.get("cache") or ()
        ),
    )


def stages_of(data: bytes) -> Stages:
    """Read the answer to `frontend.targets`.

    Raises:
        ProtocolError: It is none.
    """
    raw = _read(data, "frontend.targets")
    return Stages(
        Stage(
            name=str(one.get("name") or ""),
            base=str(one.get("base") or ""),
            description=str(one.get("description") or ""),
            platform=str(one.get("platform") or ""),
            is_default=bool(one.get("default")),
            line=_lines(one)[0],
        )
        for one in raw.get("targets") or ()
    )


def lint_of(data: bytes) -> Lint:
    """Read the answer to `frontend.lint`.

    Raises:
        ProtocolError: It is none.
    """
    raw = _read(data, "frontend.lint")
    sources = [
        base64.b64decode(one.get("data") or "").decode("utf-8", "replace").splitlines()
        for one in raw.get("sources") or ()
    ]
    told = list(raw.get("warnings") or ())
    if broken := raw.get("buildError"):
        message = str(broken.get("message") or "")
        told.append({**broken, "ruleName": BUILD_ERROR, "detail": message})
    found = []
    for one in told:
        first, last = _lines(one)
        number = int((one.get("location") or {}).get("sourceIndex") or 0)
        lines = sources[number][first - 1 : last] if first and number < len(sources) else []
        text = "\n".join(lines)
        rule, message = str(one.get("ruleName") or ""), str(one.get("detail") or "")
        found.append(
            LintFinding(
                rule,
                message,
                str(one.get("description") or ""),
                str(one.get("url") or ""),
                first,
                last,
                text,
                fix_for(rule, message, text),
            )
        )
    return Lint(sorted(found, key=lambda one: (one.line, one.rule)))


def _needs(listed: Sequence[Mapping[str, Any]] | None) -> tuple[Need, ...]:
    return tuple(
        Need(str(one.get("name") or ""), bool(one.get("required")), _lines(one)[0])
        for one in listed or ()
    )


def _read(data: bytes, request: str) -> Mapping[str, Any]:
    try:
        raw = json.loads(data)
    except ValueError:
        raw = None
    if not isinstance(raw, dict):
        raise ProtocolError(
            f"The frontend answered {request} with something else than a JSON object.",
            hint="a frontend of your own may not know the question: leave syntax= out",
        )
    return raw


def _lines(one: Mapping[str, Any]) -> tuple[int, int]:
    ranges = (one.get("location") or {}).get("ranges") or ()
    if not ranges:
        return 0, 0
    first = int((ranges[0].get("start") or {}).get("line") or 0)
    return first, int((ranges[-1].get("end") or {}).get("line") or first)


def _line(number: int) -> str:
    return str(number) if number else ""


def _text(headline: str, rows: Iterable[Sequence[str]]) -> str:
    return "\n".join([headline, *(f"  {'  '.join(filter(None, row))}" for row in rows)])


def _html(headline: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    style = 'style="text-align:left"'
    titles = "".join(f"<th {style}>{safe_html(name)}</th>" for name in heads)
    body = "".join(
        "<tr>" + "".join(f"<td {style}>{safe_html(cell)}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return (
        f"<div><b>{safe_html(headline)}</b>"
        f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>"
    )
