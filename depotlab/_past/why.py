"""Finds why steps of a build were not taken from the cache, by comparing it with an earlier one.

BuildKit finds a step in its cache by the operation and by what it reads: for an image its digest, for files of a
context their content. So a step that ran has changed itself, or reads something that has, or the cache has lost it.
What progress says of the steps decides which ran; the graphs and the listings of both builds say what is different.
Source: moby/buildkit `solver/edge.go`, `solver/llbsolver/ops`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from depotlab._past.build import PastBuild, PastGraph, PastOp
from depotlab._past.cause import Cause, CauseKind, StepReason, Why
from depotlab._past.difference import graph_like
from depotlab._past.fields import kind_of, own_fields, said_of
from depotlab._past.files import relevant_files, source_of
from depotlab._past.listing import FileChange, differences
from depotlab.errors import UsageError
from depotlab.llb import OpView
from depotlab.llb import compare as compare_graphs

__all__ = ["explain"]

_RAN = "ran"


def explain(
    after: PastBuild,
    before: PastBuild | None,
    *,
    listings: Mapping[str, bytes],
    step: str | None = None,
    notes: Sequence[str] = (),
) -> Why:
    """Say why steps of a build ran.

    Args:
        after: The build.
        before: An earlier one, or None.
        listings: What was sent for both, by the digests that they name.
        step: Only this one: its name or digest, or a part of the name that no other has.
        notes: To be shown with the answer.

    Raises:
        UsageError: No step matches, or several.
    """
    reasons: list[StepReason] = []
    n_steps = 0
    wanted = ""
    views: list[tuple[str, str]] = []
    for graph in after.graphs:
        earlier = graph_like(graph, before)
        asked = _Asked(after, before, graph, earlier, listings)
        reasons += asked.reasons()
        n_steps += asked.n_steps
        views += asked.names()
    if not after.graphs:
        reasons, n_steps, views = _by_steps(after, before)
    if step is not None:
        digests, wanted = _chosen(views, step)
        reasons = [one for one in reasons if one.digest in digests]
    causes = tuple(dict.fromkeys(cause for one in reasons for cause in one.causes))
    return Why(
        causes,
        tuple(reasons),
        n_steps,
        before.ref if before else "",
        datetime.fromtimestamp(before.at_s, UTC) if before else None,
        (*notes, *_option_notes(after, before, causes)),
        wanted,
    )


class _Asked:
    """One graph, and the one of the earlier build."""

    def __init__(
        self,
        after: PastBuild,
        before: PastBuild | None,
        graph: PastGraph,
        earlier: PastGraph | None,
        listings: Mapping[str, bytes],
    ) -> None:
        self._after = after
        self._before = before
        self._listings = listings
        self._ops: dict[str, PastOp] = {op.digest: op for op in graph.ops}
        definition = graph.definition()
        self._views = {view.digest: view for view in definition.ops if view.kind != "final"}
        self._steps = {digest: step for step in after.steps for digest in step.digests}
        self._by_name = {step.name: step for step in after.steps}
        self._own: dict[str, Cause | None] = {}
        self._changes = {}
        if earlier is not None:
            compared = compare_graphs(earlier.definition(), definition)
            self._changes = {
                change.op_b.digest: change for change in compared.changes if change.op_b is not None
            }
        self.n_steps = sum(view.kind != "source" for view in self._views.values())
        self._files: dict[str, tuple[FileChange, ...]] = {}
        self._roots_of: dict[str, tuple[Cause, ...]] = {}
        for view in self._views.values():  # inputs before users
            self._roots_of[view.digest] = self._find_roots(view)

    def names(self) -> list[tuple[str, str]]:
        """Return digest and name of each step that can run."""
        return [(d, self._name(v)) for d, v in self._views.items() if v.kind != "source"]

    def reasons(self) -> list[StepReason]:
        """Return why each step ran that did, inputs first."""
        found = []
        for digest, view in self._views.items():
            if view.kind == "source" or not self._ran(view):
                continue
            own = self._cause(view)
            if own is not None and own.kind is CauseKind.INPUTS and self._roots(view):
                own = None  # what it reads now is new itself
            causes = (own,) if own is not None else self._roots(view) or (self._lost(view),)
            is_consequence = own is None and causes[0].step != self._name(view)
            found.append(StepReason(self._name(view), digest, causes, is_consequence))
        return _once(found)

    def _name(self, view: OpView) -> str:
        step = self._steps.get(view.digest)
        return step.name if step is not None else view.name

    def _ran(self, view: OpView) -> bool:
        # A daemon renames a vertex whose op also occurs with ignore-cache.
        step = self._steps.get(view.digest) or self._by_name.get(view.name)
        return step is not None and step.state == _RAN

    def _cause(self, view: OpView) -> Cause | None:
        """Return what changed in an operation itself, or in the files it takes from this computer."""
        if view.digest not in self._own:
            self._own[view.digest] = self._find_cause(view)
        return self._own[view.digest]

    def _find_cause(self, view: OpView) -> Cause | None:
        op = self._ops[view.digest]
        name = self._name(view)
        if op.no_cache and view.kind != "source":
            return Cause(CauseKind.NO_CACHE, name, "it was asked to run again", op.place)
        if self._before is None:
            return None
        change = self._changes.get(view.digest)
        if change is not None:
            if change.op_a is None:
                if view.kind == "source":
                    return Cause(CauseKind.SOURCE, name, f"{source_of(view)} is read now", op.place)
                return Cause(CauseKind.NEW, name, "the step is new", op.place)
            fields = own_fields(change.fields)
            if fields:
                kind = kind_of(view, fields, self._changed_arguments())
                return Cause(kind, name, said_of(kind, fields), op.place, fields)
        if view.kind == "source":
            return self._moved(view)
        files, context = self._files_for(view)
        if files:
            what = _files_said(files)
            return Cause(CauseKind.FILES, name, what, op.place, (), files, context)
        return None

    def _changed_arguments(self) -> set[str]:
        assert self._before is not None
        ours, theirs = self._before.options, self._after.options
        return {
            key.removeprefix("build argument ")
            for key in ours.keys() | theirs.keys()
            if key.startswith("build argument ") and ours.get(key) != theirs.get(key)
        }

    def _moved(self, view: OpView) -> Cause | None:
        """Return that a branch or a download is not what it was."""
        assert self._before is not None
        scheme, _, rest = source_of(view).partition("://")
        if scheme not in ("git", "http", "https"):
            return None
        bare = rest.partition("#")[0].removesuffix(".git")
        for uri, digest in self._after.sources.items():
            was = self._before.sources.get(uri)
            if bare and bare in uri and was is not None and was != digest:
                where = self._ops[view.digest].place
                what = f"{uri} moved: {_hash(was)} → {_hash(digest)}"
                return Cause(CauseKind.SOURCE, self._name(view), what, where)
        return None

    def _files_for(self, view: OpView) -> tuple[tuple[FileChange, ...], str]:
        """Return what changed of the files that a step takes from a context, and the name of the context."""
        for digest, _ in view.inputs:
            source = self._views.get(digest)
            address = source_of(source) if source is not None else ""
            if not address.startswith("local://"):
                continue
            context = address.removeprefix("local://")
            if context not in self._files:
                self._files[context] = self._context_changes(context)
            found = relevant_files(view, digest, self._files[context])
            if all(change.what == "touched" for change in found):
                found = self._certain(view, found)
            if found:
                return found, context
        return (), ""

    def _certain(self, view: OpView, touched: tuple[FileChange, ...]) -> tuple[FileChange, ...]:
        """Say what it means that files have only another time, by what became of the step that reads them."""
        if not self._ran(view):
            return ()  # their content is what it was
        if len(touched) == 1:
            return (touched[0]._replace(what="changed", detail="same size"),)
        return touched

    def _context_changes(self, context: str) -> tuple[FileChange, ...]:
        assert self._before is not None
        ours, theirs = self._before.listings.get(context), self._after.listings.get(context)
        if ours is None or theirs is None or ours == theirs:
            return ()
        sides = self._listings.get(ours), self._listings.get(theirs)
        if sides[0] is None or sides[1] is None:
            return ()
        return differences(sides[0], sides[1])

    def _roots(self, view: OpView) -> tuple[Cause, ...]:
        """Return the nearest causes among all that a step needs."""
        return self._roots_of[view.digest]

    def _find_roots(self, view: OpView) -> tuple[Cause, ...]:
        found: dict[Cause, None] = {}
        for digest in dict.fromkeys(each for each, _ in view.inputs):
            needed = self._views[digest]
            cause, deeper = self._cause(needed), self._roots_of[digest]
            if cause is not None and (cause.kind is not CauseKind.INPUTS or not deeper):
                found[cause] = None
            elif deeper:
                found |= dict.fromkeys(deeper)
            elif needed.kind != "source" and self._ran(needed):
                found[self._lost(needed)] = None
        return tuple(found)

    def _lost(self, view: OpView) -> Cause:
        """Return why a step ran in which, and before which, nothing changed."""
        name, place = self._name(view), self._ops[view.digest].place
        after, before = self._after, self._before
        if before is None:
            what = "no earlier build of this name is known on this computer"
            return Cause(CauseKind.FIRST, name, what, place)
        imports = after.options.get("cache imports", "")
        if imports:
            failed = next(iter(after.remarks), "")
            why = f": {failed}" if failed else f" ({imports}), nor in the builder's own"
            return Cause(
                CauseKind.IMPORT_MISSED, name, f"it was not found in the imported cache{why}", place
            )
        if before.builder != after.builder:
            what = f"nothing changed, and {after.builder} has not built it before ({before.builder} has)"
            return Cause(CauseKind.OTHER_BUILDER, name, what, place)
        if not self._was_made(view):
            what = "nothing changed, but the earlier build did not need it"
            return Cause(CauseKind.NEW, name, what, place)
        what = "nothing changed: the builder no longer has it in its cache (pruned, or collected)"
        return Cause(CauseKind.EVICTED, name, what, place)

    def _was_made(self, view: OpView) -> bool:
        assert self._before is not None
        name = self._name(view)
        states = {step.state for step in self._before.steps if step.name == name}
        return not states or bool(states & {_RAN, "cached"})


def _once(reasons: Sequence[StepReason]) -> list[StepReason]:
    """Leave out steps that a group shows as one."""
    return list({(one.step, one.causes): one for one in reversed(reasons)}.values())[::-1]


def _files_said(files: Sequence[FileChange]) -> str:
    first = files[0]
    more = f", and {len(files) - 1} more" if len(files) > 1 else ""
    return f"{first}{more}"


def _hash(text: str) -> str:
    return text.partition(":")[2][:12] or text


# ----------------------------------------------------------------------------- what else there is


def _by_steps(
    after: PastBuild, before: PastBuild | None
) -> tuple[list[StepReason], int, list[tuple[str, str]]]:
    """Explain with nothing but the names of steps: a builder that keeps no record tells no more of a Dockerfile."""
    known = {step.name for step in before.steps} if before else set()
    steps = [s for s in after.steps if s.inputs and not s.name.startswith("[internal]")]
    ran: dict[str, tuple[Cause, ...]] = {}
    found = []
    for step in steps:
        if step.state != _RAN:
            continue
        needed = [cause for digest in step.inputs for cause in ran.get(digest, ())]
        causes: tuple[Cause, ...]
        if before is None:
            what = "no earlier build of this name is known on this computer"
            causes = (Cause(CauseKind.FIRST, step.name, what),)
        elif step.name not in known:
            near = difflib.get_close_matches(step.name, sorted(known), n=1)
            was = f"; it was {near[0]!r}" if near else ""
            causes = (Cause(CauseKind.COMMAND, step.name, f"no step was called so before{was}"),)
        elif needed:
            causes = tuple(dict.fromkeys(needed))
        else:
            what = "the step is called as before; this builder tells no more of a Dockerfile"
            causes = (Cause(CauseKind.UNKNOWN, step.name, what),)
        for digest in step.digests:
            ran[digest] = causes
        is_after = causes[0].step != step.name
        found.append(StepReason(step.name, step.digests[0], causes, is_after))
    return found, len(steps), [(step.digests[0], step.name) for step in steps]


def _option_notes(
    after: PastBuild, before: PastBuild | None, causes: Sequence[Cause]
) -> Iterator[str]:
    """Yield what else was asked for differently, without what is said already."""
    if before is None:
        return
    said = {
        f"build argument {name.removeprefix('env ')}" for c in causes for name, _, _ in c.fields
    }
    said |= {"platform"} if any(c.kind is CauseKind.PLATFORM for c in causes) else set()
    ours, theirs = before.options, after.options
    for key in sorted(ours.keys() | theirs.keys()):
        if ours.get(key) != theirs.get(key) and key not in said:
            sides = [side.get(key, "(none)") or "(empty)" for side in (ours, theirs)]
            yield f"Also different: {key}: {sides[0]} → {sides[1]}."


def _chosen(names: Sequence[tuple[str, str]], step: str) -> tuple[set[str], str]:
    """Return the digests and the name of the step that is meant, from the strictest reading to the loosest."""
    for fits in (
        lambda digest, name: step == digest,
        lambda digest, name: step == name,
        lambda digest, name: (
            len(step) >= 6
            and digest.removeprefix("sha256:").startswith(step.removeprefix("sha256:"))
        ),
        lambda digest, name: step in name,
    ):
        matches = [(digest, name) for digest, name in names if fits(digest, name)]
        found = {name for _, name in matches}
        if len(found) == 1:
            return {digest for digest, _ in matches}, matches[0][1]
        if found:
            listed = ", ".join(sorted(found)[:5])
            raise UsageError(
                f"{len(found)} steps match {step!r}: {listed}",
                hint="give more of the name, or the step's digest",
            )
    raise UsageError(
        f"No step matches {step!r}.", hint="see result.steps for the names and digests there are"
    )
