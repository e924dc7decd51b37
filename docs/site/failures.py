"""The page of errors: every public error with its cause and its cure, who raises it, and what its messages say."""

from __future__ import annotations

import ast
import html
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import depotlab
from depotlab import api, errors
from docs.site import docstrings, public, reference
from docs.site.public import Index, Public

INTRO = """\
# Errors

Every error of depotlab is a `DepotlabError`. It says whose fault it is (`.blame`), which object it concerns (its own
attributes), and what to try next (`.hint`). This page is made from the classes and from the places that raise them:
what each error means, what to do about it, and the texts that it comes with. To find a message, search for a part
of it.

{summary}
"""
BLAME = {
    "usage": ("The call", "Something in the call cannot work as it is written. Nothing was sent."),
    "link": ("The link", "The builder cannot be reached, or the connection broke."),
    "protocol": ("The protocol", "The other side said what we do not understand."),
    "daemon": ("The build", "The builder did what it was asked, and that failed."),
    "depot": ("Depot", "Depot's API refused or failed a call."),
    "session": (
        "This side of the session",
        "The builder asked this computer for something, and did not get it.",
    ),
    "computer": ("This computer", "Something on this computer cannot be read or written."),
    "engine": (
        "The engine here",
        "The embedded engine, or a Depot on this computer, did not start or run.",
    ),
    "cancel": ("The end", "The build or the command was stopped."),
    "unknown": ("All of them", "The root, for an `except` that takes whatever depotlab raises."),
}


@dataclass(frozen=True)
class Message:
    """A text that an error comes with.

    Attributes:
        text: The message; `…` stands for what is filled in.
        hint: What it advises, or empty.
    """

    text: str
    hint: str


def public_errors() -> list[Public]:
    """All public errors: those of `depotlab.errors`, then those of the Depot API."""
    found = []
    for module in (errors, api):
        names = [n for n in module.__all__ if _is_error(getattr(module, n))]
        order = {name: at for at, name in enumerate(vars(module))}
        found += [
            Public(f"{module.__name__}.{name}", getattr(module, name), module.__name__)
            for name in sorted(names, key=order.__getitem__)
        ]
    return found


def _is_error(value: object) -> bool:
    return inspect.isclass(value) and issubclass(value, BaseException)


def page(index: Index) -> str:
    """Return the page.

    Raises:
        ValueError: An error has no cause or no cure in its docstring; all of them are named.
    """
    listed = public_errors()
    lacking = [each.name for each in listed if not _cause(each) or not _cure(each)]
    if lacking:
        raise ValueError(
            f"docstrings without a cause, or without a section `Cure:`: {', '.join(lacking)}"
        )
    rows = ["| error | what happened |", "|---|---|"]
    groups: dict[str, list[Public]] = {}
    for each in listed:
        groups.setdefault(each.value.blame, []).append(each)  # type: ignore[attr-defined]
    order = sorted(groups, key=lambda blame: list(BLAME).index(blame))
    for blame in order:
        for each in groups[blame]:
            said = docstrings.inline(docstrings.parse(each.value).summary, index.link)
            rows.append(f"| {{py:obj}}`{each.name} <{each.path}>` | {said} |")
    parts = [INTRO.format(summary="\n".join(rows))]
    raisers = _raisers(index)
    parts.append("```{py:module} depotlab.errors\n```")
    for blame in order:
        title, text = BLAME[blame]
        parts.append(f"## {title}\n\n`blame` is `{blame}`. {text}")
        parts += [_entry(each, index, raisers.get(each.path, [])) for each in groups[blame]]
    others = [p for p in index.by_module["depotlab.errors"] if not _is_error(p.value)]
    parts.append("## What errors are made of")
    parts.append("```{py:currentmodule} depotlab.errors\n```")
    parts += [reference.entry(each, index) for each in others]
    return "\n\n".join(parts) + "\n"


def _cause(each: Public) -> str:
    return docstrings.parse(each.value).text


def _cure(each: Public) -> str:
    return docstrings.parse(each.value).sections.get("Cure", "")


def _entry(each: Public, index: Index, raisers: list[str]) -> str:
    kind = each.value
    assert inspect.isclass(kind)
    said = docstrings.parse(kind)
    bases = [base for base in kind.__bases__ if base is not object]
    above = ", ".join(
        f"{{py:obj}}`{base.__name__} <{index.path_of(base)}>`"
        if index.path_of(base)
        else f"`{base.__name__}`"
        for base in bases
    )
    lines = [
        f"### {each.name}",
        f"```{{py:currentmodule}} {each.module}\n```",
        f"::::::::{{py:exception}} {each.name}\n:no-typesetting:\n::::::::",
        f"**Cause.** {docstrings.prose(said.text, index.link)}",
        f"**Cure.** {docstrings.prose(said.sections['Cure'], index.link)}",
        f"A kind of {above}." if above else "",
        reference.attributes(said, kind, index),
    ]
    if raisers:
        shown = ", ".join(
            f"{{py:obj}}`{path.removeprefix('depotlab.')} <{path}>`" for path in raisers
        )
        lines.append(f"Raised by {shown}.")
    lines.append(_messages_block(each.name))
    methods = [m for m in public.members(kind) if m.owner is kind]
    for method in methods:
        made = reference.member_entry(method, index, fences="::::::")
        lines.append(made.replace(f"}} {method.name}", f"}} {each.name}.{method.name}", 1))
    return "\n\n".join(line for line in lines if line)


def _raisers(index: Index) -> dict[str, list[str]]:
    """For each error the public verbs whose docstrings say that they raise it. Twins in `aio` are left out."""
    found: dict[str, list[str]] = {}
    for each in index.everything():
        if each.path.startswith(("depotlab.aio", "aio.")):
            continue
        callables = [(each.path, each.value)]
        if inspect.isclass(each.value):
            callables = [
                (f"{each.path}.{m.name}", public.function_of(m.value))
                for m in public.members(each.value)
            ]
        for path, value in callables:
            for names, _ in docstrings.parse(value).items.get("Raises", []):
                for name in names.split(", "):
                    error = index.link(name) or index.link(f"errors.{name}")
                    if error and path not in found.setdefault(error, []):
                        found[error].append(path)
    return found


def _messages_block(name: str) -> str:
    messages = raised().get(name, [])
    if not messages:
        return ""
    rows = "\n".join(
        f"<tr><td>{html.escape(m.text)}</td><td>{html.escape(m.hint)}</td></tr>" for m in messages
    )
    said = "1 text" if len(messages) == 1 else f"{len(messages)} texts"
    return (
        f'<details class="messages"><summary>{said} that it comes with</summary>\n'
        f"<table><thead><tr><th>message</th><th>hint</th></tr></thead><tbody>\n{rows}\n</tbody></table>\n</details>"
    )


@cache
def raised() -> dict[str, list[Message]]:
    """The texts with which our source makes each error, by the name of its class."""
    names = {each.name for each in public_errors()}
    found: dict[str, list[Message]] = {}
    for path in sorted(Path(depotlab.__file__).parent.rglob("*.py")):
        if "_proto" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = (
                node.func.attr
                if isinstance(node.func, ast.Attribute)
                else getattr(node.func, "id", "")
            )
            if called not in names:
                continue
            for message in _messages(node):
                if message not in found.setdefault(called, []):
                    found[called].append(message)
    return found


def _messages(call: ast.Call) -> Iterator[Message]:
    texts = list(_texts(call.args[0])) if call.args else []
    hints = [text for word in call.keywords if word.arg == "hint" for text in _texts(word.value)]
    for text in texts:
        if any(letter.isalpha() for letter in text):
            yield Message(text, hints[0] if hints else "")


def _texts(node: ast.expr) -> Iterator[str]:
    """The texts that an expression may be; `…` for what is only known when it runs."""
    match node:
        case ast.Constant(value=str() as text):
            yield text
        case ast.JoinedStr(values=parts):
            yield "".join(next(iter(_texts(part)), "…") for part in parts)
        case ast.FormattedValue():
            yield "…"
        case ast.IfExp(body=first, orelse=second):
            yield from _texts(first)
            yield from _texts(second)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            yield next(iter(_texts(left)), "…") + next(iter(_texts(right)), "…")
