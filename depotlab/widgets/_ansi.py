"""Makes the output of a build step safe to show. Names and logs are anybody's text.

Colours (SGR, the sequences that end in `m`) are understood; every other control sequence is
dropped: a log must not move the cursor, set a window title or write to the clipboard. So are the
characters that turn the direction of text around, which can make a line read as another.
Grammar of sequences: ECMA-48 5.4 and 8.3; colours: 8.3.117 and xterm's 256.
"""

from __future__ import annotations

import re
from html import escape

__all__ = ["colored_html", "only_colors", "plain"]

_SEQUENCE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC: titles, links, the clipboard
    r"|\x1b[PX^_][^\x1b]*(?:\x1b\\)?"  # DCS, SOS, PM, APC
    r"|\x1b[ -/]*[0-~]?"  # other escapes
    r"|[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
)
_SGR = re.compile(r"\x1b\[([0-9;:]*)m")

# Mid-tones that can be read on white and on near-black.
_BASIC = ("#868e96", "#e03131", "#2f9e44", "#b08800", "#1c7ed6", "#ae3ec9", "#0c8599", "#868e96")


def plain(text: str) -> str:
    """Return the text with no control character left but the tab."""
    return _SEQUENCE.sub("", text)


def only_colors(text: str) -> str:
    """Return the text with colours kept and switched off at its end, and nothing else."""
    if "\x1b" not in text:
        return plain(text)
    kept = _SEQUENCE.sub(lambda m: m[0] if _SGR.fullmatch(m[0]) else "", text)
    return kept + "\x1b[0m" if "\x1b" in kept else kept


def colored_html(text: str) -> str:
    """Return escaped HTML, with the colours as spans with inline styles."""
    if "\x1b" not in text:
        return escape(plain(text))
    out: list[str] = []
    style = ""
    for index, part in enumerate(_SGR.split(text)):
        if index % 2:
            style = _restyled(style, part)
        elif part:
            clean = escape(plain(part))
            out.append(f'<span style="{style}">{clean}</span>' if style else clean)
    return "".join(out)


def _restyled(style: str, parameters: str) -> str:
    """Return the inline style after one SGR sequence."""
    rules = dict(rule.split(":", 1) for rule in style.split(";") if rule)
    codes = [int(code) if code.isdigit() else 0 for code in re.split("[;:]", parameters)]
    while codes:
        code = codes.pop(0)
        if code == 0:
            rules.clear()
        elif code == 1:
            rules["font-weight"] = "bold"
        elif code == 2:
            rules["opacity"] = ".7"
        elif code == 3:
            rules["font-style"] = "italic"
        elif code == 4:
            rules["text-decoration"] = "underline"
        elif code == 22:
            rules.pop("font-weight", None)
            rules.pop("opacity", None)
        elif code in (23, 24):
            rules.pop("font-style" if code == 23 else "text-decoration", None)
        elif 30 <= code <= 37 or 90 <= code <= 97:
            rules["color"] = _BASIC[code % 10]
        elif code == 39:
            rules.pop("color", None)
        elif code in (38, 48):
            color = _extended(codes)
            # Backgrounds are left out: whoever reads chose the page, and the text must stay legible.
            if color and code == 38:
                rules["color"] = color
    return ";".join(f"{name}:{value}" for name, value in rules.items())


def _extended(codes: list[int]) -> str:
    """Take `5;N` or `2;R;G;B` off the front of the codes and return the colour, or nothing."""
    kind = codes.pop(0) if codes else 0
    if kind == 5 and codes:
        n = codes.pop(0)
        if n < 16:
            return _BASIC[n % 8]
        if n < 232:
            levels = (0, 95, 135, 175, 215, 255)
            red, green, blue = (levels[(n - 16) // 6**k % 6] for k in (2, 1, 0))
            return f"#{red:02x}{green:02x}{blue:02x}"
        return _BASIC[0]
    if kind == 2 and len(codes) >= 3:
        red, green, blue = (min(255, codes.pop(0)) for _ in range(3))
        return f"#{red:02x}{green:02x}{blue:02x}"
    return ""
