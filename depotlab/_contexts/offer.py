"""What decides about every path of a context: first the user's choice, then the ignore file that the builder reads.

The builder reads `DOCKERFILE.dockerignore` beside the Dockerfile, else `.dockerignore` in the context, and asks for
what its lines leave over. It reads through links only inside the directory, and counts a file that it cannot
read as none. Source: moby/buildkit `frontend/dockerui/config.go`, `frontend/dockerui/namedcontext.go`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from depotlab._contexts.ignoring import DOCKERIGNORE, filter_of, malformed, rules_in
from depotlab._contexts.kinds import Directory, Files
from depotlab._transfer import BadPattern, IgnoreRule, TreeFilter
from depotlab._values import Value
from depotlab.errors import ContextError

__all__ = ["Decision", "Offer", "OwnRules", "offer_of", "read_inside"]


@dataclass(frozen=True, slots=True)
class OwnRules:
    """The ignore file of a Dockerfile itself, which wins over that of the context.

    Attributes:
        name: For people.
        content: What is in it.
    """

    name: str
    content: bytes


@dataclass(frozen=True, slots=True, repr=False)
class Decision(Value):
    """What becomes of a path, and because of what.

    Attributes:
        keeps: Whether it is sent.
        rule: The rule that decided; None if no rule speaks of it, or none includes it.
        at: The path that the rule matched: the path itself, or a directory above it.
    """

    keeps: bool
    rule: IgnoreRule | None
    at: str


class Offer:
    """The rules for a context, in the order in which they are applied.

    Args:
        included: The user's rules of which one has to match.
        excluded: The user's rules for what is left out.
        ignored: The rules that the builder sends back.
        ignore_file: Where those stand, for people; empty if there are none.

    Attributes:
        rules: All of them.
        filter: All of them as one filter.

    Raises:
        ContextError: A pattern is malformed.
    """

    def __init__(
        self,
        included: tuple[IgnoreRule, ...],
        excluded: tuple[IgnoreRule, ...],
        ignored: tuple[IgnoreRule, ...],
        ignore_file: str,
    ) -> None:
        self.ignore_file = ignore_file
        self.rules = included + excluded + ignored
        self._parties = (
            (filter_of(included, excluded), included, excluded),
            (filter_of((), ignored), (), ignored),
        )
        self.filter: TreeFilter = self._parties[1][0].within(self._parties[0][0])

    def decide(self, path: str) -> Decision:
        """Tell what becomes of a path.

        Args:
            path: Relative and clean, decoded with `surrogateescape`.

        Raises:
            ContextError: A pattern is malformed.
        """
        decision = Decision(True, None, path)
        for wanted, included, excluded in self._parties:
            try:
                verdict = wanted.explain(path)
            except BadPattern as error:
                raise malformed(self.ignore_file, error) from error
            if verdict.rule is not None:
                rules = included if verdict.by == "include" else excluded
                decision = Decision(verdict.keeps, rules[verdict.rule], verdict.at)
            if not verdict.keeps:
                return decision if verdict.rule is not None else Decision(False, None, verdict.at)
        return decision


def offer_of(where: Directory | Files, own: OwnRules | None) -> Offer:
    """Return the rules for a context. Reads its ignore file.

    Raises:
        ContextError: An ignore file cannot be read or understood.
    """
    choice = where.choice
    included, excluded = choice.rules()
    if choice.ignore_file is not None:
        return Offer(included, excluded, (), str(choice.ignore_file))
    if own is not None:
        return Offer(included, excluded, rules_in(own.content, own.name), own.name)
    content = _content(where, included, excluded)
    if content is None:
        return Offer(included, excluded, (), "")
    return Offer(included, excluded, rules_in(content, DOCKERIGNORE), DOCKERIGNORE)


def _content(
    where: Directory | Files, included: Sequence[IgnoreRule], excluded: Sequence[IgnoreRule]
) -> bytes | None:
    """Return the ignore file as the builder gets it, or None if it gets none."""
    if not filter_of(included, excluded).explain(DOCKERIGNORE).keeps:
        return None
    if isinstance(where, Files):
        file = where.files.get(DOCKERIGNORE)
        return None if file is None else file.data
    return read_inside(where.host_path, DOCKERIGNORE)


def read_inside(host_dir: Path, name: str) -> bytes | None:
    """Return the content of a file in a directory, reached through links inside it only; None if there is none.

    Raises:
        ContextError: It may not be read.
    """
    try:
        root = host_dir.resolve()
        path = (root / name).resolve()
        if not path.is_relative_to(root) or not path.is_file():
            return None
        return path.read_bytes()
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, up to Python 3.12
        if isinstance(error, PermissionError):
            raise ContextError(
                f"{host_dir / name} cannot be read: {error.strerror}.",
                path=str(host_dir / name),
                hint="check its permissions",
            ) from error
        return None
