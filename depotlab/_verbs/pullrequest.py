"""What is to be pulled and where it goes, checked in the caller's line; and what became of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from depotlab._depot import REGISTRY_HOST
from depotlab._docker import DockerHost
from depotlab._values import Value
from depotlab._verbs.apiface import check_timeout
from depotlab._verbs.loading import engine_to_load
from depotlab.errors import UsageError
from depotlab.export import Artifact, Output
from depotlab.llb import Platform, parse_reference

__all__ = ["PullRequest", "Pulled", "prepare_pull"]

_SAVED = re.compile(
    r"(?:(?P<host>[A-Za-z0-9.-]+(?::\d+)?)/)?(?P<project>[a-z0-9][a-z0-9_.-]*)"
    r"(?P<mark>[:@])(?P<rest>[A-Za-z0-9_][A-Za-z0-9_.:-]*)"
)
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_FORMS = "'BUILD', 'PROJECT:TAG', or 'TAG' with project=; a build's result has them in .depot"


@dataclass(frozen=True, slots=True)
class PullRequest:
    """One pull, as asked for.

    Attributes:
        title: As the user called the image.
        build_id: Of the build whose image is meant; or empty.
        project_id: Of the project whose image is meant; or empty.
        tag: In that project, or a digest.
        host: Of the registry, if the user named it.
        target: Of a build with several targets.
        output: An archive or a layout on this machine, or None.
        engine: To load the image into, or None.
        names: For the image; none takes those that the build gave it.
        platform: Only the image for this one; None takes all where all have a place.
        timeout_s: For each wait.
    """

    title: str
    build_id: str = ""
    project_id: str = ""
    tag: str = ""
    host: str = ""
    target: str = ""
    output: Output | None = None
    engine: DockerHost | None = None
    names: tuple[str, ...] = ()
    platform: Platform | None = None
    timeout_s: float = 30.0

    @property
    def one_platform(self) -> bool:
        """Whether there is no place for more than one."""
        return self.engine is not None or (self.output is not None and self.output.type == "docker")


@dataclass(frozen=True, slots=True, repr=False)
class Pulled(Value):
    """An image that was pulled, every part of it checked against its digest.

    Attributes:
        reference: Where it came from, such as `registry.depot.dev/PROJECT:BUILD`.
        digest: Of what came: the index of all platforms, or the manifest of the one that was asked for.
        names: That it has here.
        platforms: As `linux/arm64`.
        size_bytes: Of all its parts, as they are stored.
        fetched_bytes: Of these, what came over the network; the rest was there.
        loaded: Names of the image in the Docker Engine that it was loaded into.
        output: What became of it on this machine, when it went to a file, a directory or memory.
    """

    reference: str
    digest: str
    names: tuple[str, ...]
    platforms: tuple[str, ...]
    size_bytes: int
    fetched_bytes: int
    loaded: tuple[str, ...] = ()
    output: Artifact | None = field(default=None, compare=False)

    def read(self) -> bytes:
        """Return the bytes of the archive.

        Raises:
            UsageError: There is none that can be read.
        """
        if self.output is None:
            raise UsageError(
                "This image was loaded into a Docker Engine, and is no file here.",
                hint="pull it with output=export.oci(None) for its bytes",
            )
        return self.output.read()

    def __repr__(self) -> str:
        path = self.output.path if self.output else None
        where = f" to {path}" if path else f", loaded as {', '.join(self.loaded)}"
        if self.output is not None and path is None:
            where = ", in memory" if self.output.data is not None else ""
        platforms = f" for {', '.join(self.platforms)}" if any(self.platforms) else ""
        return (
            f"<pulled {self.reference}{platforms}, {self.size_bytes} bytes{where}: {self.digest}>"
        )


def prepare_pull(
    image: str,
    *,
    output: Output | None,
    load: bool | str,
    tags: str | Sequence[str] | None,
    project: str | None,
    target: str | None,
    platform: str | None,
    timeout_s: float,
) -> PullRequest:
    """Check what a user asks for; see `depotlab.pull`. Nothing is sent.

    Raises:
        UsageError: It cannot work.
        ReferenceInvalid: A tag is no image name.
        Unreachable: `load=True`, and there is no Docker Engine on this computer.
    """
    check_timeout(timeout_s)
    found = _what(image, project)
    names = _names(tags, output)
    if (output is None) == (not load):
        raise UsageError(
            "pull() needs one place to go to: output= or load=.",
            hint="for example output=export.oci('app.tar'), or load=True for the Docker Engine here",
        )
    if output is not None:
        _check_output(output)
    if target is not None and (not isinstance(target, str) or not found.get("build_id")):
        raise UsageError(
            f"target={target!r} is the name of a target of a build that is pulled by its id.",
            hint="leave it out; the images of a project's tags end in -TARGET",
        )
    return PullRequest(
        title=image,
        target=target or "",
        output=output,
        engine=engine_to_load(load) if load else None,
        names=names,
        platform=None if platform is None else Platform.parse(platform).normalized(),
        timeout_s=timeout_s,
        **found,
    )


def _what(image: Any, project: Any) -> dict[str, str]:
    if isinstance(image, str) and _WORD.fullmatch(image):
        if project is None:
            return {"build_id": image}
        if isinstance(project, str) and project.strip():
            return {"project_id": project, "tag": image}
        raise UsageError(
            f"project={project!r} must be the id of a project.", hint="leave it out for a build"
        )
    match = _SAVED.fullmatch(image) if isinstance(image, str) else None
    if match is None:
        raise UsageError(
            f"pull({image!r}): that is no image that Depot keeps.", hint=f"write {_FORMS}"
        )
    named = match["project"]
    if project is not None and project != named:
        raise UsageError(
            f"pull({image!r}) names another project than project={project!r}.",
            hint="leave project= out",
        )
    host = match["host"] or ""
    return {
        "project_id": named,
        "tag": match["rest"],
        "host": "" if host == REGISTRY_HOST else host,
    }


def _names(tags: str | Sequence[str] | None, output: Output | None) -> tuple[str, ...]:
    given = (tags,) if isinstance(tags, str) else tuple(tags or ())
    if given and output is not None and output.names:
        raise UsageError(
            "The image is named twice: by tags= and by its output.",
            hint="leave one of them out",
        )
    names = given or (output.names if output is not None else ())
    return tuple(dict.fromkeys(str(parse_reference(name).tagged()) for name in names))


def _check_output(output: Any) -> None:
    if not isinstance(output, Output) or output.type not in ("oci", "docker"):
        raise UsageError(
            f"pull(output={output!r}): an image goes to an archive or a layout.",
            hint="use export.oci(...) or export.docker(...)",
        )
    if others := set(output.attrs) - {"name", "tar"}:
        raise UsageError(
            f"pull(output=...) takes the image as it is; {', '.join(sorted(others))} would change it.",
            hint="leave these out, or build the image with them",
        )
