"""What would be sent of a context, as a value: counts, sizes, the biggest, what hardly belongs there, and why.

What a preview says is the most that a build can ask for: a builder asks only for what `COPY` and `ADD` name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from depotlab._contexts.advice import Finding, rules_text
from depotlab._contexts.kinds import Directory, Files
from depotlab._contexts.look import look
from depotlab._contexts.offer import Decision, Offer, OwnRules, offer_of
from depotlab._contexts.survey import Branch, Count
from depotlab._contexts.tar import Tar
from depotlab._contexts.tarlist import members
from depotlab._contexts.why import Why, explain
from depotlab._transfer import BadPattern, IgnoreRule, is_requestable
from depotlab._values import Value
from depotlab.errors import ContextError, UsageError

if TYPE_CHECKING:
    from depotlab._contexts.value import Context

__all__ = ["ContextFile", "Preview", "preview"]


_N_LISTED = 4
_MATTERS = 0.01


class ContextFile(NamedTuple):
    """A file that would be sent.

    Attributes:
        path: Relative to the context; bytes that are not UTF-8 are surrogates.
        size_bytes: Of its content.
    """

    path: str
    size_bytes: int


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Preview(Value):
    """What would be sent of a context. Made by `Context.preview` and `Dockerfile.preview`.

    Attributes:
        title: What was looked at.
        kept: How much would be sent, at most.
        dropped: How much is left out.
        dropped_is_partial: Whether that was too much to be counted to its end.
        biggest_files: That would be sent, the biggest first.
        biggest_directories: The same for directories, without those that only hold another one.
        warnings: What is sent and hardly meant to be, the most serious first.
        problems: What would make the build fail.
        rules: The rules that decide, in order.
        ignore_file: Where the builder's rules stand; empty if there are none.
        tree: The top of the tree, with the biggest branches.
        notes: What else is good to know.
    """

    title: str
    kept: Count
    dropped: Count
    dropped_is_partial: bool
    biggest_files: tuple[ContextFile, ...]
    biggest_directories: tuple[ContextFile, ...]
    warnings: tuple[Finding, ...]
    problems: tuple[str, ...]
    rules: tuple[IgnoreRule, ...]
    ignore_file: str
    tree: Branch
    notes: tuple[str, ...]
    _where: Directory | Files | Tar = field(repr=False)
    _offer: Offer = field(repr=False)

    def files(self) -> Iterator[ContextFile]:
        """Yield every file that would be sent, links and all else that is no directory included.

        Walks again, so it tells what is there now.

        Raises:
            ContextError: The archive cannot be read.
            SessionError: A directory that would be sent cannot be read, as in a build.
        """
        if isinstance(self._where, Tar):
            # A path may come several times, and the last one counts, as when it is unpacked.
            for member in {member.path: member for member in members(self._where)}.values():
                if member.kind != "directory":
                    yield ContextFile(_text(member.path), member.size_bytes)
            return
        for entry in self._where.tree().walk(self._offer.filter):
            if entry is not None and entry.mode < 1 << 31:
                is_content = is_requestable(entry.mode) and not entry.link
                yield ContextFile(_text(entry.path), entry.size_bytes if is_content else 0)

    def why(self, path: str | os.PathLike[str]) -> Why:
        r"""Tell whether a path would be sent, and which rule decides.

        Args:
            path: Relative to the context, or absolute in it.

        Raises:
            UsageError: The path lies outside the context.
            ContextError: A rule is malformed.

        Example:
            >>> from depotlab import dockerfile
            >>> files = {"app.py": "", "big.csv": "1,2", ".dockerignore": "# data\n*.csv\n"}
            >>> print(dockerfile(files, text="FROM scratch").preview().why("big.csv"))
            big.csv is left out by .dockerignore:2: *.csv
        """
        return explain(self._where, self._offer, path)

    def decide(self, path: str) -> Decision:
        """Return the rule that decides about a path, whether it is there or not. See `why`."""
        return self._offer.decide(path)

    @property
    def suggested_rules(self) -> str:
        """Lines for the end of `.dockerignore` that leave out what is warned of."""
        return rules_text(self.warnings)

    def __repr__(self) -> str:
        from depotlab._contexts.preview_text import headline

        return f"<preview of {self.title}: {headline(self)}>"

    def __str__(self) -> str:
        from depotlab._contexts.preview_text import to_text

        return to_text(self)

    def _repr_html_(self) -> str:
        from depotlab._contexts.preview_html import to_html

        return to_html(self)


def preview(
    context: Context, own: OwnRules | None = None, *, notes: tuple[str, ...] = ()
) -> Preview:
    """Return what would be sent of a context.

    Args:
        context: A directory, files in memory, or an archive that can be read again.
        own: The ignore file of the Dockerfile, if it has one.
        notes: For people.

    Raises:
        ContextError: The context or an ignore file cannot be read.
        UsageError: Nothing of it is sent from here, or it can be read only once.
    """
    where = context.where
    if not isinstance(where, Directory | Files | Tar):
        raise UsageError(
            _NOTHING[context.kind], hint="a preview shows what is sent from this machine"
        )
    if isinstance(where, Tar):
        if where.once:
            raise UsageError(
                f"The archive from {where} can be read only once, so a look at it would use it up.",
                hint="give a path, bytes, a file that can be wound back, or a function that returns the iterator",
            )
        offer = Offer((), (), (), "")
        size = "" if where.size_bytes is None else f" ({where.size_bytes:,} bytes)"
        note = f"The archive is sent as a whole{size}; ignore files do not apply to archives."
        notes = (*notes, note)
    else:
        offer = offer_of(where, own)
    try:
        seen = look(where, offer.filter)
    except BadPattern as error:
        source = offer.ignore_file or context.kind
        raise ContextError(
            f"{source} cannot be used: {error}.", path=source, hint="correct the pattern"
        ) from error
    return Preview(
        title=str(where),
        kept=seen.top.kept,
        dropped=seen.top.dropped,
        dropped_is_partial=seen.dropped_is_partial,
        biggest_files=_listed(seen.survey.biggest_files, seen.top.kept),
        biggest_directories=_listed(seen.survey.biggest_directories, seen.top.kept),
        warnings=seen.advisor.findings(),
        problems=tuple(seen.problems),
        rules=offer.rules,
        ignore_file=offer.ignore_file,
        tree=seen.top,
        notes=notes,
        _where=where,
        _offer=offer,
    )


_NOTHING = {
    "git": "The builder fetches a git repository itself: nothing of it is sent from here.",
    "http": "The builder fetches a download itself: nothing of it is sent from here.",
    "graph": "The builder makes the files of a graph itself: nothing of it is sent but its local directories.",
    "image": "The builder fetches an image itself: nothing of it is sent from here.",
    "oci-layout": "The builder asks for the layers of an image one by one, and only for those that it has not.",
}


def _listed(found: list[tuple[bytes, int]], all_kept: Count) -> tuple[ContextFile, ...]:
    """Return some, and more as long as they matter."""
    return tuple(
        ContextFile(_text(path), n_bytes)
        for number, (path, n_bytes) in enumerate(found)
        if number < _N_LISTED or n_bytes >= _MATTERS * all_kept.n_bytes
    )


def _text(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")
