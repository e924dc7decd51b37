"""What was attested of a build, as values: provenance (how it was made) and SBOM (what is in it).

Source: SLSA provenance v0.2 and v1 (slsa.dev/spec), BuildKit's own additions to them (moby/buildkit
`docs/attestations/slsa-definitions.md`), SPDX 2.3 (spdx.github.io/spdx-spec).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from depotlab._values import Value, safe_html
from depotlab.buildkit.covered import covered, without_passwords
from depotlab.errors import ProtocolError

__all__ = [
    "Attestation",
    "Material",
    "Package",
    "Provenance",
    "Sbom",
    "attestation",
    "provenance",
]

_SLSA = "https://slsa.dev/provenance/"
_SPDX = "https://spdx.dev/"
_SHOWN_ROWS = 40


class Material(NamedTuple):
    """Something that a build was made from.

    Attributes:
        uri: Such as `pkg:docker/busybox@latest?platform=linux%2Famd64` or a repository; passwords are covered.
        digests: By algorithm, such as `sha256` or `sha1`.
    """

    uri: str
    digests: Mapping[str, str]


class Package(NamedTuple):
    """A package in an image.

    Attributes:
        name: As its ecosystem calls it.
        version: Or empty.
        purl: Package URL, such as `pkg:deb/debian/libc6@2.36`, or empty.
        license: As it was concluded or declared, or empty.
    """

    name: str
    version: str
    purl: str = ""
    license: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Attestation(Value):
    """A statement about what a build made.

    Attributes:
        predicate: Its predicate type, a URL.
        platform: What it is about, such as `linux/arm64`; empty for a result without.
        raw: The predicate, as JSON says it; anything that was given to the build may be in it.
    """

    predicate: str
    platform: str
    raw: Mapping[str, Any] = field(hash=False)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._words()}>"

    def _words(self) -> str:
        return f"{self.predicate}{f' for {self.platform}' if self.platform else ''}"

    def _rows(self) -> tuple[Sequence[str], list[tuple[str, ...]]]:
        return ("key",), [(key,) for key in self.raw]

    def _repr_html_(self) -> str:
        heads, rows = self._rows()
        shown = rows[:_SHOWN_ROWS]
        more = f"<div>and {len(rows) - len(shown)} more</div>" if len(rows) > len(shown) else ""
        cells = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in shown)
        titles = "".join(f'<th style="text-align:left">{name}</th>' for name in heads)
        return (
            f"<div><b>{safe_html(self._words())}</b>"
            f"<table><thead><tr>{titles}</tr></thead><tbody>{cells}</tbody></table>{more}</div>"
        )


@dataclass(frozen=True, slots=True, repr=False)
class Provenance(Attestation):
    """How something was made: from what, by whom, with which options.

    Attributes:
        builder_id: Who built, as the builder was told to say; often empty.
        build_type: How; a URL.
        frontend: `dockerfile.v0`, or empty for a graph.
        options: Of the frontend; what may be a secret is covered.
        materials: What it was made from, with digests.
        is_complete: All that it was made from is listed; local directories never are.
        started_on: RFC 3339, or empty.
        finished_on: RFC 3339, or empty.
        invocation_id: The daemon's name for the build.
    """

    builder_id: str = ""
    build_type: str = ""
    frontend: str = ""
    options: Mapping[str, str] = field(default_factory=dict, hash=False)
    materials: tuple[Material, ...] = field(default=(), hash=False)
    is_complete: bool = False
    started_on: str = ""
    finished_on: str = ""
    invocation_id: str = ""

    @property
    def graph(self) -> Mapping[str, Any]:
        """Each operation with its digest, where the provenance has them (`mode=max`, and the daemon's own); else empty.

        Keys are `llbDefinition` and `digestMapping`, as BuildKit writes them.
        """
        inside = self.raw.get("buildDefinition", {}).get("internalParameters", {})
        found: Mapping[str, Any] = inside.get("buildConfig") or self.raw.get("buildConfig") or {}
        return found

    def _words(self) -> str:
        made = "material" if len(self.materials) == 1 else "materials"
        whole = "" if self.is_complete else ", not all listed"
        where = f" for {self.platform}" if self.platform else ""
        return f"{self.frontend or 'graph'}{where}, {len(self.materials)} {made}{whole}"

    def _rows(self) -> tuple[Sequence[str], list[tuple[str, ...]]]:
        rows: list[tuple[str, ...]] = [
            ("option", key, value) for key, value in self.options.items()
        ]
        rows += [
            (
                "material",
                one.uri,
                " ".join(f"{kind}:{value}" for kind, value in one.digests.items()),
            )
            for one in self.materials
        ]
        return ("", "", ""), rows


@dataclass(frozen=True, slots=True, repr=False)
class Sbom(Attestation):
    """What is in something that was built.

    Attributes:
        name: What was looked at.
        packages: In the order of the document.
        n_files: How many files are listed.
        tools: What looked.
    """

    name: str = ""
    packages: tuple[Package, ...] = ()
    n_files: int = 0
    tools: tuple[str, ...] = ()

    def _words(self) -> str:
        where = f" for {self.platform}" if self.platform else ""
        return f"{self.name or 'SBOM'}{where}, {len(self.packages)} packages, {self.n_files} files"

    def _rows(self) -> tuple[Sequence[str], list[tuple[str, ...]]]:
        return ("package", "version", "license"), [
            (one.name, one.version, one.license) for one in self.packages
        ]


def attestation(predicate: str, platform: str, data: bytes) -> Attestation:
    """Read the predicate of an attestation; kinds that are not known come as plain `Attestation`.

    Raises:
        ProtocolError: It is no JSON object.
    """
    try:
        raw = json.loads(data)
    except ValueError:
        raw = None
    if not isinstance(raw, dict):
        raise ProtocolError(
            f"An attestation of type {predicate} is no JSON object.",
            hint="its media type may be one that depotlab does not know",
        )
    if predicate.startswith(_SLSA):
        return provenance(predicate, platform, raw)
    if predicate.startswith(_SPDX):
        return _sbom(predicate, platform, raw)
    return Attestation(predicate, platform, raw)


def provenance(predicate: str, platform: str, raw: Mapping[str, Any]) -> Provenance:
    """Read a provenance of version 0.2 or 1."""
    if "buildDefinition" in raw:
        made = raw["buildDefinition"]
        outer = made.get("externalParameters") or {}
        request = outer.get("request") or {}
        run = raw.get("runDetails") or {}
        about = run.get("metadata") or {}
        whole = about.get("buildkit_completeness") or {}
        return Provenance(
            predicate,
            platform,
            raw,
            builder_id=str((run.get("builder") or {}).get("id") or ""),
            build_type=str(made.get("buildType") or ""),
            frontend=str(request.get("frontend") or ""),
            options=covered(request.get("args") or {}),
            materials=_materials(made.get("resolvedDependencies")),
            is_complete=bool(whole.get("resolvedDependencies")),
            started_on=str(about.get("startedOn") or ""),
            finished_on=str(about.get("finishedOn") or ""),
            invocation_id=str(about.get("invocationId") or ""),
        )
    call = (raw.get("invocation") or {}).get("parameters") or {}
    about = raw.get("metadata") or {}
    return Provenance(
        predicate,
        platform,
        raw,
        builder_id=str((raw.get("builder") or {}).get("id") or ""),
        build_type=str(raw.get("buildType") or ""),
        frontend=str(call.get("frontend") or ""),
        options=covered(call.get("args") or {}),
        materials=_materials(raw.get("materials")),
        is_complete=bool((about.get("completeness") or {}).get("materials")),
        started_on=str(about.get("buildStartedOn") or ""),
        finished_on=str(about.get("buildFinishedOn") or ""),
        invocation_id=str(about.get("buildInvocationID") or ""),
    )


def _materials(listed: Sequence[Mapping[str, Any]] | None) -> tuple[Material, ...]:
    return tuple(
        Material(without_passwords(str(one.get("uri") or "")), dict(one.get("digest") or {}))
        for one in listed or ()
    )


def _sbom(predicate: str, platform: str, raw: Mapping[str, Any]) -> Sbom:
    packages = [
        Package(
            name=str(one.get("name") or ""),
            version=str(one.get("versionInfo") or ""),
            purl=next(
                (
                    str(ref.get("referenceLocator"))
                    for ref in one.get("externalRefs") or ()
                    if ref.get("referenceType") == "purl"
                ),
                "",
            ),
            license=_license(one),
        )
        for one in raw.get("packages") or ()
    ]
    creators = (raw.get("creationInfo") or {}).get("creators") or ()
    return Sbom(
        predicate,
        platform,
        raw,
        name=str(raw.get("name") or ""),
        packages=tuple(packages),
        n_files=len(raw.get("files") or ()),
        tools=tuple(c.removeprefix("Tool: ") for c in creators if c.startswith("Tool: ")),
    )


def _license(package: Mapping[str, Any]) -> str:
    for key in ("licenseConcluded", "licenseDeclared"):
        value = str(package.get(key) or "")
        if value not in ("", "NOASSERTION", "NONE"):
            return value
    return ""


def _cell(text: str) -> str:
    return f'<td style="text-align:left">{safe_html(text)}</td>'
