"""Notebooks as pages: cells as they are, with the outputs that were saved in them."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

PICTURES = {"image/svg+xml": "svg", "image/png": "png"}
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def page(path: Path, into: Path) -> str:
    """Return a notebook as Markdown, and write its pictures.

    Args:
        path: The notebook.
        into: The folder of the page, for pictures.
    """
    made = json.loads(path.read_text(encoding="utf-8"))
    parts = []
    for number, cell in enumerate(made["cells"], 1):
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(text)
        elif cell["cell_type"] == "code":
            parts += _code(text, cell.get("outputs", []), into, f"{path.stem}-{number}")
    head, _, rest = "\n\n".join(part for part in parts if part).partition("\n")
    return f"{head}\n\n{{download}}`The notebook <{path.name}>`\n{rest}\n"


def _code(text: str, outputs: list[dict[str, Any]], into: Path, name: str) -> list[str]:
    language = "ipython" if text.lstrip().startswith(("%", "!")) else "python"
    parts = [_fenced(text, language)] if text.strip() else []
    for at, output in enumerate(outputs):
        shown = _output(output, into, f"{name}-{at}")
        if shown:
            parts.append(f":::{{container}} cell-output\n{shown}\n:::")
    return parts


def _output(output: dict[str, Any], into: Path, name: str) -> str:
    match output["output_type"]:
        case "stream":
            return _fenced(_ANSI.sub("", "".join(output["text"])).rstrip(), "text")
        case "error":
            return _fenced(_ANSI.sub("", "\n".join(output["traceback"])), "text")
        case "display_data" | "execute_result":
            return _shown(output["data"], into, name)
    raise ValueError(f"an output of an unknown kind: {output['output_type']}")


def _shown(data: dict[str, Any], into: Path, name: str) -> str:
    if "text/html" in data:
        return _fenced("".join(data["text/html"]), "{raw} html")
    for kind, ending in PICTURES.items():
        if kind in data:
            content = "".join(data[kind])
            picture = into / f"{name}.{ending}"
            picture.write_bytes(base64.b64decode(content) if ending == "png" else content.encode())
            return f"![{_words(data)}]({picture.name})"
    return _fenced(_ANSI.sub("", "".join(data.get("text/plain", ""))), "text")


def _words(data: dict[str, Any]) -> str:
    """What a picture is for who cannot see it: the first line of its text."""
    text = "".join(data.get("text/plain", "")) or "a picture"
    return re.sub(r"[\[\]<>\\`]", "", text.splitlines()[0])[:120]


def _fenced(text: str, info: str) -> str:
    ticks = "`" * max(3, *(len(run) + 1 for run in re.findall(r"`+", text)), 3)
    return f"{ticks}{info}\n{text}\n{ticks}"
