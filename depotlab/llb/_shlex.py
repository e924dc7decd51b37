"""Words of a command line, split by the rules of github.com/google/shlex.

They differ from Python's `shlex`: only space, tab, carriage return and newline separate words, a backslash
in double quotes always disappears, and `#` starts a comment at the start of a word only.
"""

from __future__ import annotations

from depotlab.llb._check import refuse, string


def shlex(command: str, *, strict: bool = True) -> list[str]:
    """Split a command line into an argv, without a shell.

    Args:
        command: As typed in a shell; nothing is expanded.
        strict: False to drop an unfinished last word silently, as the Go client does.

    Raises:
        GraphError: A quote or backslash at the end is not finished.

    Example:
        >>> shlex("echo 'two words' # and a comment")
        ['echo', 'two words']
    """
    words: list[str] = []
    word: list[str] | None = None  # None between words
    quote = ""
    escaped = comment = False
    for char in string("command", command):
        if comment:
            comment = char != "\n"
        elif escaped:
            word = word if word is not None else []
            word.append(char)
            escaped = False
        elif quote:
            if char == quote:
                quote = ""
            elif char == "\\" and quote == '"':
                escaped = True
            else:
                word = word if word is not None else []
                word.append(char)
        elif char in " \t\r\n":
            if word is not None:
                words.append("".join(word))
            word = None
        elif char == "#" and word is None:
            comment = True
        else:
            word = [] if word is None else word
            if char in "\"'":
                quote = char
            elif char == "\\":
                escaped = True
            else:
                word.append(char)
    if quote or escaped:
        if strict:
            what = f"the quote {quote}" if quote else "the backslash at the end"
            refuse(f"{what} in {command!r} is not finished.")
        word = None
    if word is not None:
        words.append("".join(word))
    return words
