"""Docstrings as Markdown: sections of Google's style become fields and tables, names of ours become links."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field

SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises", "Example", "Examples", "Cure")
ITEMIZED = ("Args", "Attributes", "Raises")
# Remarks about rooms are for those who write the library.
ROOM_REMARK = re.compile(
    r"\s*(?:May import [^.]*\.|Of ours it imports [^.]*\.|Imports nothing of ours\.|A pure room[^.]*\.)"
    r"|; a public room above [^.]*(?=\.)"
)
_CODE_SPAN = re.compile(r"(`+)(.+?)\1", re.DOTALL)


@dataclass(frozen=True)
class Docstring:
    """A docstring in parts.

    Attributes:
        text: What comes before the sections, in Markdown.
        sections: By title: lines as they are, or pairs of a name and what it is.
    """

    text: str = ""
    sections: dict[str, str] = field(default_factory=dict)
    items: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """The first paragraph on one line."""
        return " ".join(self.text.split("\n\n")[0].split())


def parse(documented: object) -> Docstring:
    """Return the parts of the docstring of an object; of one without, nothing."""
    return parse_text(inspect.getdoc(documented) or "")


def parse_text(text: str) -> Docstring:
    head: list[str] = []
    bodies: dict[str, list[str]] = {}
    into = head
    for line in text.splitlines():
        title = line[:-1] if line.endswith(":") else ""
        if title in SECTIONS:
            into = bodies.setdefault(title, [])
        elif line and not line[0].isspace() and into is not head:
            head += ["", line]  # a paragraph behind a section belongs to those before it
            into = head
        else:
            into.append(line)
    plain = re.sub(r"\n{3,}", "\n\n", ROOM_REMARK.sub("", "\n".join(head)).strip())
    sections = {title: inspect.cleandoc("\n" + "\n".join(body)) for title, body in bodies.items()}
    items = {title: _items(sections.pop(title)) for title in ITEMIZED if title in sections}
    return Docstring(plain, sections, items)


def _items(body: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for line in body.splitlines():
        start = re.match(r"(\*{0,2}[\w.]+(?:, \*{0,2}[\w.]+)*):(?: (.*))?$", line)
        if start:
            found.append((start[1], start[2] or ""))
        elif found:
            name, text = found[-1]
            found[-1] = (name, f"{text} {line.strip()}".strip())
        elif line.strip():
            raise ValueError(f"no `name: text`: {line!r}")
    return found


def prose(text: str, link: Callable[[str], str | None]) -> str:
    """Return text of a docstring as Markdown.

    Args:
        text: Paragraphs, with code in backticks, and examples that begin with `>>>` or are indented.
        link: Gives the name of what a text in backticks is documented as, or None.
    """
    blocks = []
    for block in re.split(r"\n\s*\n", text):
        if block.lstrip().startswith(">>>"):
            blocks.append(example(block))
        elif block.startswith("    "):
            blocks.append(f"```text\n{inspect.cleandoc(chr(10) + block)}\n```")
        elif block.startswith("|"):
            blocks.append(block)
        else:
            blocks.append(inline(block, link))
    return "\n\n".join(blocks)


def inline(text: str, link: Callable[[str], str | None]) -> str:
    """Return running text as Markdown, with links; what Markdown or HTML would misread is escaped."""
    out, at = [], 0
    for span in _CODE_SPAN.finditer(text):
        out.append(_escaped(text[at : span.start()]))
        code = " ".join(span[2].split())
        path = link(code) if span[1] == "`" else None
        out.append(f"{{py:obj}}`{code} <{path}>`" if path else f"{span[1]}{code}{span[1]}")
        at = span.end()
    out.append(_escaped(text[at:]))
    return "".join(out)


def _escaped(text: str) -> str:
    text = re.sub(r"([\\<\[\]])", r"\\\1", text)
    return re.sub(r"\*(?=[*./\s])|(?<=\*)\*", r"\\*", text)


def example(text: str) -> str:
    """Return an example as a block of code, without the marks of the test that runs it."""
    shown = re.sub(r"[ \t]*# doctest: \+\w+", "", inspect.cleandoc("\n" + text))
    return f"```{'pycon' if '>>>' in shown else 'python'}\n{shown}\n```"
