"""How wide text is, without a font. Widths are upper bounds, so that text stays inside its box.

A picture is read with whatever font a page has. For each character the table holds the widest of
DejaVu Sans (Linux; Verdana is as wide) and Helvetica (Arial and Liberation Sans share its metrics);
the usual interface fonts of other systems are narrower. Sources: the advance widths in DejaVuSans.ttf
2.37 and in Adobe's font metrics for Helvetica.
"""

from __future__ import annotations

import unicodedata

__all__ = ["FONT", "clean", "fit", "width_px", "wrap"]

FONT = "system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,'DejaVu Sans',sans-serif"

# Thousandths of the font size, from U+0020 to U+007E.
_ASCII = """
318 401 460 838 637 951 780 275 391 391 500 838 318 361 318 337 637 637 637 637 637 637 637 637 637
637 337 337 838 838 838 556 1015 685 687 722 771 667 611 778 752 295 500 667 558 863 749 788 667 788
722 667 611 732 685 989 686 667 686 391 337 391 838 556 500 613 635 550 635 616 353 635 634 278 278
580 278 975 634 612 635 635 412 521 393 634 592 818 592 592 525 637 337 637 838
"""

# Characters that change the direction of text can make a label read as another.
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def clean(text: str, *, lines: bool = False) -> str:
    """Return the text on one line (or on lines), with nothing left that XML or a reader cannot bear.

    White space becomes single spaces; control characters, lone surrogates, characters that XML 1.0
    forbids and those that turn the direction of text are dropped.
    """
    if lines:
        return "\n".join(filter(None, (clean(line) for line in text.splitlines())))
    words = " ".join(text.split())
    if words.isascii() and words.isprintable():
        return words
    kept = [c for c in words if c not in _BIDI and unicodedata.category(c) not in _DROPPED]
    return " ".join("".join(kept).split())


_DROPPED = frozenset({"Cc", "Cs", "Cn", "Co"})


class _Widths(dict[str, float]):
    """Widths in em by character, found when first asked for."""

    def __missing__(self, char: str) -> float:
        self[char] = em = _width_em(char)
        return em


def _width_em(char: str) -> float:
    category = unicodedata.category(char)
    if category in ("Mn", "Me", "Cf"):
        return 0.0
    if unicodedata.east_asian_width(char) in "WF":
        return 1.65 if category == "So" else 1.05
    expanded = unicodedata.normalize("NFKD", char)
    if len(expanded) > 1 or expanded != char:
        base = [c for c in expanded if unicodedata.category(c) not in ("Mn", "Me")]
        # Letters with accents are as wide as without; ligatures are no wider than their parts.
        return sum(_WIDTHS_EM[c] if c.isascii() else 1.25 for c in base) or 1.25
    code = ord(char)
    if 0x12000 <= code < 0x12550 or code == 0xFDFD:
        return 12.0  # cuneiform and the basmala sign: single characters as wide as words
    if category in ("Ll", "Lu") and code < 0x530:
        return 1.15
    return 1.75 if category in ("So", "Sm", "Po", "Lo") else 1.2


_WIDTHS_EM = _Widths({chr(32 + i): int(n) / 1000 for i, n in enumerate(_ASCII.split())})
_WIDTHS_EM["…"] = 1.0
_WIDTHS_EM["×"] = _WIDTHS_EM["→"] = 0.838
_WIDTHS_EM["·"] = 0.318


def width_px(text: str, size_px: float) -> float:
    """Return how wide the text can get at a font size, in px."""
    widths = _WIDTHS_EM
    return size_px * sum([widths[c] for c in text])


def fit(text: str, room_px: float, size_px: float) -> str:
    """Return the text, cut with an ellipsis if it is wider than the room.

    A name without spaces (an image, a path) loses its middle, since its end tells most; a sentence
    or a command loses its end. Empty if not even one character and the ellipsis have room.
    """
    if width_px(text, size_px) <= room_px:
        return text
    left = room_px - width_px("…", size_px)
    if left <= 0:
        return ""
    if " " in text:
        head = _prefix(text, left, size_px)
        return head.rstrip() + "…" if head else ""
    tail = _prefix(text[::-1], left * 0.6, size_px)[::-1]
    head = _prefix(text, left - width_px(tail, size_px), size_px)
    return f"{head}…{tail}" if head else ""


def _prefix(text: str, room_px: float, size_px: float) -> str:
    used = 0.0
    for i, char in enumerate(text):
        used += _WIDTHS_EM[char] * size_px
        if used > room_px:
            return text[:i]
    return text


def wrap(text: str, room_px: float, size_px: float, *, max_lines: int) -> list[str]:
    """Return the text on at most so many lines, broken at spaces, the last one cut if need be."""
    lines: list[str] = []
    words = text.split(" ")
    start = 0
    while start < len(words) and len(lines) < max_lines - 1:
        end = start + 1
        while end < len(words) and width_px(" ".join(words[start : end + 1]), size_px) <= room_px:
            end += 1
        if end == len(words):
            break
        lines.append(fit(" ".join(words[start:end]), room_px, size_px))
        start = end
    rest = " ".join(words[start:])
    if rest or not lines:
        lines.append(fit(rest, room_px, size_px))
    return lines
