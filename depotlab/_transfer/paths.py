"""Path arithmetic and file name patterns as Go's `path/filepath` does them on Unix.

The daemon and the Go client agree on what a pattern means through these functions, and they are
not those of `posixpath` and `fnmatch`: a clean path of nothing is `.`, `[!a]` does not negate, and a
malformed pattern is only noticed where the match gets to it.

Source: golang/go `path/filepath/match.go`, `internal/filepathlite/path.go`.
"""

from __future__ import annotations

from depotlab._transfer.goregex import BadPattern

__all__ = ["clean", "has_wildcards", "join", "match"]


def clean(path: str) -> str:
    """Return the shortest equal path: no `.`, no `//`, `..` taken back where it can be."""
    rooted = path.startswith("/")
    parts: list[str] = []
    for part in path.split("/"):
        if part in ("", "."):
            continue
        if part != "..":
            parts.append(part)
        elif parts and parts[-1] != "..":
            parts.pop()
        elif not rooted:
            parts.append(part)
    return ("/" if rooted else "") + "/".join(parts) or "."


def join(*paths: str) -> str:
    """Join the parts that are not empty with slashes and clean the result."""
    return clean("/".join(filter(None, paths)))


def has_wildcards(name: str) -> bool:
    """Tell whether a name has `*`, `?` or `[` that is not escaped."""
    at = 0
    while at < len(name):
        if name[at] == "\\":
            at += 1
        elif name[at] in "*?[":
            return True
        at += 1
    return False


def match(pattern: str, name: str) -> bool:
    """Tell whether a whole name matches a file name pattern.

    Works on bytes, as Go does: `?` and a class take one rune, or one byte where there is none.

    Raises:
        BadPattern: The pattern is malformed, and the match got as far as that.
    """
    return _match(
        pattern.encode("utf-8", "surrogateescape"), name.encode("utf-8", "surrogateescape")
    )


def _match(pattern: bytes, name: bytes) -> bool:
    while pattern:
        star, chunk, pattern = _next_chunk(pattern)
        if star and not chunk:
            return b"/" not in name
        # A chunk after a star may start anywhere up to the next slash; the first place where it
        # matches is the right one, except for the last chunk, which has to end with the name.
        last_start = 0
        if star:
            slash = name.find(b"/")
            last_start = len(name) if slash < 0 else slash
        for start in range(last_start + 1):
            rest = _match_chunk(chunk, name[start:])
            if rest is not None and (pattern or not rest):
                name = rest
                break
        else:
            return False
    return not name


def _next_chunk(pattern: bytes) -> tuple[bool, bytes, bytes]:
    """Split off a star, if there is one, and what follows up to the next star."""
    stripped = pattern.lstrip(b"*")
    star = len(stripped) < len(pattern)
    in_class = False
    at = 0
    while at < len(stripped):
        char = stripped[at : at + 1]
        if char == b"\\":
            at += 1
        elif char == b"[":
            in_class = True
        elif char == b"]":
            in_class = False
        elif char == b"*" and not in_class:
            break
        at += 1
    return star, stripped[:at], stripped[at:]


def _match_chunk(chunk: bytes, name: bytes) -> bytes | None:
    """Return what is left of the name after the chunk, or None. Reads the chunk to its end."""
    failed = False
    while chunk:
        failed = failed or not name
        char = chunk[:1]
        if char == b"[":
            rune, width = _rune(name) if not failed else (0, 0)
            name = name[width:]
            hit, chunk = _match_class(chunk[1:], rune)
            failed = failed or not hit
            continue
        if char == b"?":
            if not failed:
                failed = name[:1] == b"/"
                name = name[_rune(name)[1] :]
            chunk = chunk[1:]
            continue
        if char == b"\\":
            chunk = chunk[1:]
            if not chunk:
                raise BadPattern("a backslash at the end")
        if not failed:
            failed = chunk[:1] != name[:1]
            name = name[1:]
        chunk = chunk[1:]
    return None if failed else name


def _match_class(chunk: bytes, rune: int) -> tuple[bool, bytes]:
    """Read a class up to its bracket; return whether it takes the rune, and the rest."""
    negated = chunk.startswith(b"^")
    if negated:
        chunk = chunk[1:]
    hit = False
    first = True
    while first or not chunk.startswith(b"]"):
        first = False
        low, chunk = _class_rune(chunk)
        high = low
        if chunk.startswith(b"-"):
            high, chunk = _class_rune(chunk[1:])
        hit = hit or low <= rune <= high
    return hit != negated, chunk[1:]


def _class_rune(chunk: bytes) -> tuple[int, bytes]:
    if chunk[:1] in (b"", b"-", b"]"):
        raise BadPattern("a [ ] with nothing where a character belongs")
    if chunk.startswith(b"\\"):
        chunk = chunk[1:]
    rune, width = _rune(chunk)
    chunk = chunk[width:]
    if not chunk or (rune == _RUNE_ERROR and width == 1):
        raise BadPattern("a [ without its ], or bytes in it that are not UTF-8")
    return rune, chunk


_RUNE_ERROR = 0xFFFD


def _rune(text: bytes) -> tuple[int, int]:
    """Return the first rune and its width in bytes; a byte that starts none is U+FFFD, width 1."""
    if not text:
        return _RUNE_ERROR, 0
    lead = text[0]
    width = 1 if lead < 0x80 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    try:
        return ord(text[:width].decode("utf-8")), width
    except (UnicodeDecodeError, TypeError):
        return _RUNE_ERROR, 1
