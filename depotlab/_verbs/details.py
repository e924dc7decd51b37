"""What views can ask about the steps of a build: the op that was sent, the user's line, the files that are there now.

A graph is known from what was sent for it. Of a Dockerfile the frontend tells only the names of its steps, which
begin with the words of the instruction; so the line is the one that says the same, if only one does.
Source: moby/buildkit `frontend/dockerfile/dockerfile2llb/convert.go`, where steps get their names.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from depotlab._contexts import read_inside
from depotlab._graph import Node
from depotlab._portal import portal
from depotlab._verbs.builder import Builder
from depotlab._verbs.request import BuildRequest
from depotlab._verbs.steps import BuiltStep, step_at
from depotlab.errors import DepotlabError, SourceLocation, UsageError
from depotlab.frontend import Dockerfile
from depotlab.llb import Definition
from depotlab.progress import Step, StepState

if TYPE_CHECKING:
    from depotlab._verbs.open import AnyBuilder

__all__ = ["Lister", "StepDetails", "instruction_place", "list_files_with"]

Lister = Callable[["AnyBuilder", BuiltStep], Coroutine[Any, Any, str]]
"""Lists the files of a step, as HTML."""

_listers: list[Lister] = []
_TAG = re.compile(r"\[[^\]]{1,100}\] ")
_HEREDOC = re.compile(r"<<-?\s*[\"']?(\w+)")
_MAX_DOCKERFILE_BYTES = 1 << 20


def list_files_with(one: Lister) -> None:
    """Say who lists files of steps: the room that looks into builds, which lies above this one."""
    _listers[:] = [one]


class StepDetails:
    """Answers questions about the steps of one build; see `widgets.Details`.

    Args:
        request: Of the build.
        builder: Where it runs or ran; without one no files can be listed.
    """

    def __init__(self, request: BuildRequest, builder: AnyBuilder | None = None) -> None:
        self._request = request
        self._builder = builder
        self._nodes: dict[int, dict[str, Node]] = {}
        self._text: str | None = None
        self._places: dict[str, SourceLocation | None] = {}  # views ask several times a second

    def node(self, step: Step) -> Node | None:
        """Return the step as the graph that was sent draws it; None when no graph has it."""
        for definition in self._definitions():
            nodes = self._nodes.get(id(definition))
            if nodes is None:
                drawn = {node.id: node for node in definition.graph().graph.nodes}
                nodes = self._nodes[id(definition)] = drawn
            # A group is shown as one step, by its own name.
            if len(step.members) == 1 and step.members[0] in nodes:
                return nodes[step.members[0]]
        return None

    def place(self, step: Step) -> SourceLocation | None:
        """Return the user's line that asked for the step, when it is known."""
        for definition in self._definitions():
            for digest in reversed(step.members):
                if digest in definition.locations:
                    return definition.locations[digest]
        target = self._request.target
        if not isinstance(target, Dockerfile) or step.is_internal:
            return None
        if self._text is None:
            self._text = _text_of(target)
        if step.name not in self._places:
            place = instruction_place(self._text, step.name, filename=target.filename)
            self._places[step.name] = place
        return self._places[step.name]

    def code(self, step: Step) -> str:
        """Return what to type to see the step's files; empty when it leaves none."""
        if step.state is StepState.FAILED:
            return "except depotlab.errors.StepFailed as error: error.ls()"
        return f"bk.browse(result.at({step.name!r}))" if self._leaves_files(step) else ""

    def has_files(self, step: Step) -> bool:
        """Say whether the step leaves files that can be listed now.

        Not at Depot, where a look takes a machine; and not by a client that was closed, which would connect again.
        """
        is_open = isinstance(self._builder, Builder) and self._builder.is_connected
        return is_open and bool(_listers) and self._leaves_files(step)

    def _leaves_files(self, step: Step) -> bool:
        if step.state not in (StepState.RAN, StepState.CACHED) or step.is_internal:
            return False
        if isinstance(self._request.target, Dockerfile):
            return _TAG.match(step.name) is not None
        return any(d in step.members for each in self._definitions() for d in each.digests)

    def list_files(self, step: Step) -> Future[str]:
        """Begin to list the step's files on the builder; the future has HTML, or what went wrong."""
        if self._builder is None or not _listers:
            raise UsageError("The files of this build cannot be listed.", hint="build it again")
        return portal().submit(_listed(self._builder, self._request, step)).done

    def _definitions(self) -> Iterator[Definition]:
        for sent in tuple(self._request.sent):
            yield from tuple(sent.values())


async def _listed(builder: AnyBuilder, request: BuildRequest, step: Step) -> str:
    try:
        return await _listers[0](builder, step_at(request, step))
    except DepotlabError as error:
        return f"<pre>{html.escape(str(error))}</pre>"


def _text_of(target: Dockerfile) -> str:
    """Return the Dockerfile as it is now, or nothing when it is not on this machine."""
    if target.text is not None:
        return target.text
    if target.directory is None:
        return ""
    try:
        data = read_inside(target.directory, target.filename) or b""
    except DepotlabError:
        return ""  # gone, or locked, since the build was asked for: then no line is shown
    return data[:_MAX_DOCKERFILE_BYTES].decode("utf-8", "replace")


def instruction_place(text: str, name: str, *, filename: str) -> SourceLocation | None:
    """Return the place of the instruction that a step is named by; None unless exactly one says the same.

    Args:
        text: The Dockerfile.
        name: Of the step, such as `[web 2/3] RUN npm ci`.
        filename: To show.
    """
    tag = _TAG.match(name)
    if tag is None:
        return None
    wanted = _alike(" ".join(name[tag.end() :].split()))
    found = [place for place in _instructions(text) if _alike(place[2]) == wanted]
    if len(found) != 1:
        return None
    first, last, _ = found[0]
    return SourceLocation(filename, first, last, text)


def _alike(said: str) -> str:
    """Return the words in which an instruction and the name of its step are the same.

    A base image is named in full, and pinned, by its step.
    """
    words = [word for word in said.split() if not word.startswith("--platform=")]
    if words[:1] != ["FROM"] or len(words) < 2:
        return said
    image = words[1].partition("@")[0].removeprefix("docker.io/").removeprefix("library/")
    return f"FROM {image}" if ":" in image.rpartition("/")[2] else f"FROM {image}:latest"


def _instructions(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield first line, last line and words of each instruction, as the frontend names a step by it."""
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        if not lines[at].strip() or lines[at].strip().startswith("#"):
            at += 1
            continue
        first = at
        words: list[str] = []
        while at < len(lines):
            line = lines[at].strip()
            at += 1
            if not line.startswith("#"):
                words.append(line.removesuffix("\\"))
                if not line.endswith("\\"):
                    break
        said = " ".join(" ".join(words).split())
        for end in _HEREDOC.findall(said):
            while at < len(lines) and lines[at].strip() != end:
                at += 1
            at += 1
        keyword, _, rest = said.partition(" ")
        if rest:
            yield first + 1, min(at, len(lines)), f"{keyword.upper()} {rest}"
