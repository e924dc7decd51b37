"""What decides which files of a context are sent: `include=`, `exclude=` and an ignore file, as one value.

Two parties choose. The user *offers* a part of a directory, by `include=`, `exclude=` and `ignore_file=`; these are
ours, and the builder never learns of them. Of what is offered the builder *asks* for what `.dockerignore` leaves
over: it fetches that file, reads it, and sends its lines back as patterns. So an `ignore_file=` takes the place of
`.dockerignore` by hiding it.

Source: moby/buildkit `frontend/dockerui/config.go`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from depotlab._transfer import BadPattern, IgnoreRule, TreeFilter, listed_rules, read_rules
from depotlab._values import Value
from depotlab.errors import ContextError, UsageError

__all__ = ["DOCKERIGNORE", "Choice", "choose", "filter_of", "malformed", "rules_in"]

DOCKERIGNORE = ".dockerignore"
# Larger than any that a builder is given in the metadata of a request.
_MAX_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, repr=False)
class Choice(Value):
    """What of a context is offered.

    Attributes:
        include: Patterns of which a path, or a directory above it, has to match one; empty for no such limit.
        exclude: Patterns of what is left out.
        ignore_file: Rules that are used in the place of `.dockerignore`, or None.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    ignore_file: Path | None = None

    def rules(self) -> tuple[tuple[IgnoreRule, ...], tuple[IgnoreRule, ...]]:
        """Return the rules that include, and those that leave out. Reads the ignore file.

        Raises:
            ContextError: The ignore file cannot be read.
        """
        included = listed_rules(self.include, "include=")
        excluded = listed_rules(self.exclude, "exclude=")
        if self.ignore_file is not None:
            in_file = rules_in(_read(self.ignore_file), str(self.ignore_file))
            # Last, so that nothing takes it back.
            hidden = IgnoreRule(DOCKERIGNORE, DOCKERIGNORE, "ignore_file=", 1)
            excluded = (*in_file, *excluded, hidden)
        return included, excluded

    def filter(self) -> TreeFilter | None:
        """Return the rules as a filter, or None if everything is offered.

        Raises:
            ContextError: The ignore file cannot be read, or has a malformed pattern.
        """
        included, excluded = self.rules()
        if not included and not excluded:
            return None
        return filter_of(included, excluded)


def choose(include: Sequence[str], exclude: Sequence[str], ignore_file: Path | None) -> Choice:
    """Return a choice whose arguments are checked.

    Raises:
        UsageError: A pattern is no text, or malformed.
        ContextError: The ignore file is not there.
    """
    lists = {"include": include, "exclude": exclude}
    for argument, patterns in lists.items():
        if isinstance(patterns, str):
            raise UsageError(
                f"{argument}={patterns!r} is one string.", hint=f"write {argument}=[{patterns!r}]"
            )
        for pattern in patterns:
            if not isinstance(pattern, str) or not pattern.strip():
                raise UsageError(
                    f"{argument}= has {pattern!r}, which is no pattern.",
                    hint="patterns are those of a .dockerignore, such as '**/*.csv'",
                )
            _check_pattern(argument, pattern)
    choice = Choice(tuple(include), tuple(exclude), ignore_file)
    choice.filter()
    return choice


def filter_of(included: Sequence[IgnoreRule], excluded: Sequence[IgnoreRule]) -> TreeFilter:
    """Return the filter of some rules.

    Raises:
        ContextError: A pattern is malformed.
    """
    try:
        return TreeFilter([r.pattern for r in included], [r.pattern for r in excluded])
    except BadPattern as error:
        source = next((r.source for r in (*excluded, *included)), "")
        raise malformed(source, error) from error


def rules_in(content: bytes, source: str) -> tuple[IgnoreRule, ...]:
    """Return the rules of an ignore file.

    Raises:
        ContextError: It cannot be understood.
    """
    try:
        return read_rules(content, source)
    except BadPattern as error:
        raise malformed(source, error) from error


def _check_pattern(argument: str, pattern: str) -> None:
    try:
        TreeFilter([], [rule.pattern for rule in listed_rules([pattern], argument)]).explain("x")
    except (BadPattern, UnicodeEncodeError) as error:
        raise UsageError(
            f"{argument}= has a malformed pattern: {error}.",
            hint="patterns are those of a .dockerignore; escape [ and \\ with a backslash",
        ) from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ContextError(
            f"The ignore file {path} cannot be read: {error.strerror}.",
            path=str(path),
            hint=f"relative paths start from {Path.cwd()}",
        ) from error
    if len(content) > _MAX_BYTES:
        raise ContextError(
            f"The ignore file {path} has more than {_MAX_BYTES >> 20} MiB.",
            path=str(path),
            hint="name the file with the patterns",
        )
    return content


def malformed(source: str, error: BadPattern) -> ContextError:
    """Return the error for an ignore file, or an argument, that cannot be understood."""
    return ContextError(
        f"{source} cannot be used: {error}.",
        path=source,
        hint="the syntax is that of .dockerignore",
    )
