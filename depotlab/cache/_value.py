"""One cache as a value, and what a build remarks about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from depotlab._values import Value
from depotlab.errors import UsageError

__all__ = ["Attrs", "Cache", "Note", "listed"]

_SHOWN = ("ref", "bucket", "region", "container", "scope", "name", "prefix", "mode")


class Attrs(dict[str, str]):
    """Attributes as the daemon takes them. The repr has their names, and values of none: some are secrets."""

    def __repr__(self) -> str:
        return f"<{len(self)} attributes: {', '.join(self)}>"


@dataclass(frozen=True, slots=True, repr=False)
class Cache(Value):
    """Where a build leaves finished steps or looks for them. Made by the functions of this module.

    Attributes:
        type: Such as `registry`, as BuildKit calls it.
        attrs: What the daemon is told of it in any case.
        export_attrs: What it is told besides when the build leaves its steps there.
        secrets: What it is told besides and nobody is shown.
        host_path: Directory of a local cache, absolute.
        tag: Which of several caches in that directory.
        digest: Of the local cache to look into, when the tag does not decide.
        reset: Remove what the local cache does not need any more.
        profile: Of the AWS configuration that credentials come from.
        needs_client: True when credentials of this machine are sent along if none were given.
    """

    type: str
    attrs: Mapping[str, str] = field(default_factory=dict)
    export_attrs: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=Attrs)
    host_path: Path | None = None
    tag: str = "latest"
    digest: str = ""
    reset: bool = False
    profile: str = ""
    needs_client: bool = False

    @property
    def label(self) -> str:
        """What messages call it, such as `registry ghcr.io/me/app:cache`."""
        where = self.attrs.get("ref") or self.attrs.get("bucket")
        if url := self.attrs.get("account_url"):
            parts = urlsplit(url)  # without what may be a signature in its query
            where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        if self.host_path is not None:
            where = str(self.host_path) + (f", tag {self.tag}" if self.tag != "latest" else "")
        if self.type == "gha":
            where = f"scope {self.attrs.get('scope', 'buildkit')}"
        return f"{self.type} {where or ''}".rstrip()

    def __repr__(self) -> str:
        told = {**self.attrs, **self.export_attrs}
        words = [
            f"{key}={told[key]}" for key in _SHOWN if key in told and told[key] not in self.label
        ]
        hidden = [f"{key}=•••" for key in self.secrets]
        return f"<cache {', '.join([self.label, *words, *hidden])}>"

    def __hash__(self) -> int:
        return hash((self.type, self.host_path, self.tag, tuple(sorted(self.attrs.items()))))


@dataclass(frozen=True, slots=True, repr=False)
class Note(Value):
    """A remark on a cache that did not fail the build.

    Attributes:
        message: One sentence.
        hint: What to try, or empty.
    """

    message: str
    hint: str = ""


def listed(argument: str, given: Any) -> tuple[Cache, ...]:
    """Return one cache or several as several.

    Raises:
        UsageError: Something is no cache.
    """
    if given is None:
        return ()
    several = (
        (given,) if isinstance(given, Cache | str) or not isinstance(given, Sequence) else given
    )
    for one in several:
        if not isinstance(one, Cache):
            raise UsageError(f"{argument}={one!r} is not a cache.", hint=_meant_by(argument, one))
    return tuple(dict.fromkeys(several))


def _meant_by(argument: str, given: object) -> str:
    """Return a hint; a text may be in the words of the docker command: `type=local,src=dir`."""
    words = (
        dict(word.partition("=")[::2] for word in given.split(","))
        if isinstance(given, str)
        else {}
    )
    if kind := words.get("type"):
        place = next((words[key] for key in ("ref", "src", "dest") if words.get(key)), None)
        return f"write {argument}=cache.{kind}({'...' if place is None else repr(place)})"
    ref = repr(given) if isinstance(given, str) else "ref"
    return f"use depotlab.cache, for example {argument}=cache.registry({ref}) or {argument}=cache.local('dir')"
