"""A graph told in words: what each op does and reads, what a change to it costs, what the result consists of."""

# ruff: noqa: SLF001  (a State hides its pieces from users, not from the files of its room)
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from depotlab._values import safe_html
from depotlab.llb._definition import Definition
from depotlab.llb._explain import shared_with_steps
from depotlab.llb._facts import Facts, facts_of, numbered
from depotlab.llb._fields import metadata_fields, op_fields
from depotlab.llb._tables import as_html, as_text, ranges, shortened
from depotlab.llb._view import OpView

if TYPE_CHECKING:
    from depotlab.llb._state import State

__all__ = [
    "Explanation",
    "Layers",
    "definition_bundle",
    "layers_of",
    "op_bundle",
    "rerun_counts",
    "story",
]

# Longer listings lose their middle: nobody reads them, and a picture shows more.
_MAX_ROWS = 200
# Up to here a listing names the ops that would run again; beyond it counts them.
_MAX_NAMED = 24
_MAX_WORDS = 160


class Explanation(str):
    """Text that is its own repr, so that a cell which ends in `state.explain()` can be read."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class Layers(NamedTuple):
    """How many layers a result has: those that steps add, and images whose layers come with them."""

    added: int = 0
    images: tuple[str, ...] = ()


def story(state: State) -> Explanation:
    """See `State.explain`."""
    config = state._config.describe(skip=shared_with_steps(state))
    closing = [f"config only, changes no digest: {config}"] if config else []
    definition = state.marshal(local_unique_id="")
    if not definition.data:
        return Explanation("\n".join(["scratch: no ops, an empty file system", *closing]))
    views = definition.ops[:-1]
    facts = [facts_of(view) for view in views]
    rows = _shown(len(views))
    opening = (
        f"{_n(len(views), 'op')}, result {definition.head[:19]}, {_layer_words(definition, facts)}"
    )
    lines = [opening, ""]
    lines += _listing(views, facts, rows)
    lines += [
        "",
        "A change to an op reruns at most the ops behind it; where files come out as before, the cache is found again.",
    ]
    lines += _needs(definition)
    return Explanation("\n".join([*lines, *closing]))


def _listing(views: Sequence[OpView], facts: Sequence[Facts], rows: Sequence[int]) -> list[str]:
    numbers = numbered(views)
    targets = {view.digest: each.targets for view, each in zip(views, facts, strict=True)}
    reruns = _reruns(views, rows)
    table = []
    for row in rows:
        view, words = views[row], facts[row].sentence
        if facts[row].name and facts[row].name != facts[row].words:
            words = f"{facts[row].name}: {words}"
        cells = (
            str(row + 1),
            view.digest[7:19],
            shortened(words, _MAX_WORDS),
            _reads(facts[row], numbers, targets),
            reruns[row],
        )
        table.append(cells)
    head = ("", "digest", "op", "reads", "a change reruns")
    lines = as_text(head, table, widths=(7, 12, 56, 30, 24), right=(0,))
    left_out = len(views) - len(rows)
    if left_out:
        # A cell may go on over several lines; the gap is before the first row of the second half.
        number = str(rows[len(rows) // 2] + 1)
        width = len(str(rows[-1] + 1))
        at = next(i for i, line in enumerate(lines) if i and line[:width].strip() == number)
        lines.insert(at, f"{'':{width}}  … {left_out} more ops …")
    return lines


def _shown(count: int) -> list[int]:
    """Return the positions of the ops that a listing shows."""
    if count <= _MAX_ROWS:
        return list(range(count))
    half = _MAX_ROWS // 2
    return [*range(half), *range(count - half, count)]


def _reads(facts: Facts, numbers: dict[str, int], targets: Mapping[str, Mapping[int, str]]) -> str:
    shown = []
    for read in facts.reads:
        notes = []
        if read.output:
            notes.append(targets.get(read.digest, {}).get(read.output) or f"output {read.output}")
        if read.role:
            notes.append(read.role)
        number = str(numbers[read.digest]) if read.digest in numbers else read.digest[7:19]
        shown.append(f"{number} ({', '.join(notes)})" if notes else number)
    if len(shown) > 8:
        shown[7:] = [f"… {len(shown) - 7} more"]
    return ", ".join(shown)


# -------------------------------------------------------------------------------------- reruns


def _reruns(views: Sequence[OpView], rows: Sequence[int]) -> dict[int, str]:
    if len(views) > _MAX_NAMED:
        counts = rerun_counts(views, rows)
        return {row: f"{count} of {len(views)}" if count else "" for row, count in counts.items()}
    masks = _dependence(views, rows)
    found = {}
    for row in rows:
        users = [n + 1 for n, mask in enumerate(masks) if mask >> row & 1 and n != row]
        found[row] = ranges(users)
    return found


def rerun_counts(views: Sequence[OpView], rows: Sequence[int]) -> dict[int, int]:
    """Return how many other ops depend on each of the ops at `rows`.

    Linear in the graph: every op has a bit per row that it depends on, and the bits of all ops are
    added up at once, in binary, one big number for each place.
    """
    places: list[int] = []
    for carry in _dependence(views, rows):
        place = 0
        while carry:
            if place == len(places):
                places.append(0)
            places[place], carry = places[place] ^ carry, places[place] & carry
            place += 1
    return {
        row: sum((bits >> number & 1) << place for place, bits in enumerate(places)) - 1
        for number, row in enumerate(rows)
    }


def _dependence(views: Sequence[OpView], rows: Sequence[int]) -> Iterable[int]:
    """Return for each op a number whose bit i says that it is, or depends on, the op at `rows[i]`."""
    bits = {row: 1 << number for number, row in enumerate(rows)}
    masks: dict[str, int] = {}
    for position, view in enumerate(views):
        mask = bits.get(position, 0)
        for digest, _ in view.inputs:
            mask |= masks.get(digest, 0)
        masks[view.digest] = mask
    return [masks[view.digest] for view in views]


# -------------------------------------------------------------------------------------- layers


def layers_of(definition: Definition, facts: Sequence[Facts]) -> Layers:
    """Return the layers of the result.

    Runs and file ops add one each; a merge has those of all its inputs; a diff has those
    between its two sides if one was built on the other, else one.
    """
    views = definition.ops[:-1]
    if not views:
        return Layers()
    parts = {view.digest: (view, each) for view, each in zip(views, facts, strict=True)}
    # Only what the files of the result are made of: (added, images) by op and output.
    known: dict[tuple[str, int], Layers] = {}
    head = (definition.head, definition.head_output)
    stack = [head]
    while stack:
        key = stack[-1]
        if key in known:
            stack.pop()
            continue
        below = _below(key, parts)
        waiting = [each for each in below if each not in known]
        if waiting:
            stack += waiting
            continue
        stack.pop()
        known[key] = _layers(key, parts, [known[each] for each in below])
    return known[head]


_Parts = dict[str, tuple[OpView, Facts]]


def _below(key: tuple[str, int], parts: _Parts) -> list[tuple[str, int]]:
    """Return the outputs whose layers are among those of this one."""
    view, facts = parts[key[0]]
    match facts.kind:
        case "exec":
            wanted = "" if key[1] == 0 else f"bind {facts.targets.get(key[1], '')}"
            reads = [r for r in facts.reads if wanted in r.role.split(", ")][:1]
        case "file":
            reads = [r for r in facts.reads if r.role == ""][:1]
        case "merge":
            return list(view.inputs)
        case "diff":
            reads = [r for r in facts.reads if r.role == ""]
        case "passthrough":
            reads = [r for r in facts.reads if r.role == ""][key[1] : key[1] + 1]
        case _:
            reads = []
    return [(read.digest, read.output) for read in reads]


def _layers(key: tuple[str, int], parts: _Parts, below: Sequence[Layers]) -> Layers:
    _, facts = parts[key[0]]
    added = sum(each.added for each in below)
    images = tuple(dict.fromkeys(name for each in below for name in each.images))[:3]
    match facts.kind:
        case "image" | "oci":
            return Layers(0, (facts.words,))
        case "merge" | "passthrough":
            return Layers(added, images)
        case "diff":
            steps = _steps_between(facts, parts)
            return Layers(added, images) if steps is None else Layers(steps, ())
        case _:
            return Layers(added + 1, images)


def _steps_between(facts: Facts, parts: _Parts) -> int | None:
    """Return how many layers a diff has; None if that is all of its upper side."""
    lower = [(r.digest, r.output) for r in facts.reads if r.role == "without"]
    upper = [(r.digest, r.output) for r in facts.reads if r.role == ""]
    if not lower:
        return None
    steps = 0
    at = upper[:1]
    while at:
        if at[0] == lower[0]:
            return steps
        below = _below(at[0], parts)
        if len(below) != 1:
            break
        steps += parts[at[0][0]][1].kind != "passthrough"
        at = below
    return 1  # not built on each other: BuildKit compares the files


def _layer_words(definition: Definition, facts: Sequence[Facts]) -> str:
    layers = layers_of(definition, facts)
    words = _n(layers.added, "layer")
    if layers.images:
        words += f" on top of {' and '.join(f'image {name}' for name in layers.images)}"
    return words


# ----------------------------------------------------------------------------------- around it


def _needs(definition: Definition) -> list[str]:
    """Return what a build must be given."""
    lines = []
    if definition.locals:
        named = [f"{name} = {path}" for name, path in definition.locals.items()]
        lines.append(f"reads on this machine: {', '.join(named)}")
    for word, names in (
        ("needs secrets", definition.secret_ids),
        ("uses secrets if given", definition.optional_secret_ids),
        ("needs SSH agents", definition.ssh_ids),
    ):
        if names:
            lines.append(f"{word}: {', '.join(sorted(names))}")
    return lines


def definition_bundle(definition: Definition) -> dict[str, str]:
    """Return what a notebook shows of a definition: a table of its ops."""
    views = definition.ops[:-1]
    rows = _shown(len(views))
    facts = [facts_of(views[row]) for row in rows]
    numbers = numbered(views)
    targets = {views[row].digest: each.targets for row, each in zip(rows, facts, strict=True)}
    head = ("", "digest", "kind", "op", "reads")
    table = [
        (
            str(row + 1),
            views[row].digest[7:19],
            each.kind,
            shortened(each.label, _MAX_WORDS),
            _reads(each, numbers, targets),
        )
        for row, each in zip(rows, facts, strict=True)
    ]
    left_out = len(views) - len(rows)
    if left_out:
        table.insert(len(rows) // 2, ("", "", "", f"… {left_out} more ops …", ""))
    title = repr(definition)
    text = [title, *(as_text(head, table, widths=(7, 12, 11, 60, 30), right=(0,)) if table else ())]
    return {
        "text/plain": "\n".join(text),
        "text/html": _titled(title, as_html(head, table, code=(1,))),
    }


def op_bundle(view: OpView) -> dict[str, str]:
    """Return what a notebook shows of one op: all its fields."""
    facts = facts_of(view)
    rows = [("kind", facts.kind), ("digest", view.digest)]
    rows += [("reads", f"{r.digest[:19]} {r.role}".rstrip()) for r in facts.reads]
    rows += [*op_fields(view.data).items(), *metadata_fields(view.metadata).items()]
    rows = [(name, shortened(value, 400)) for name, value in rows if value]
    title = facts.label
    return {
        "text/plain": "\n".join([title, *as_text(("", ""), rows, widths=(32, 80))]),
        "text/html": _titled(title, as_html(("field", "value"), rows, code=(1,))),
    }


def _titled(title: str, table: str) -> str:
    return f"<div><b>{safe_html(title)}</b></div>{table}"


def _n(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
