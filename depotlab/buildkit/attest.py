"""Attestations: what the daemon writes beside an image about how it was made (provenance) and what is in it (SBOM).

The daemon's solver makes them for every build whose options say so, whoever the frontend is. They go into the image
as a second manifest of an index, so with them even an image of one platform has an index digest.
Source: moby/buildkit `frontend/attestations/parse.go`, `solver/llbsolver/provenance.go`.
"""

from __future__ import annotations

from collections.abc import Mapping

from depotlab.errors import UsageError
from depotlab.llb import parse_reference

__all__ = ["attestations"]

Wanted = bool | str | Mapping[str, str | bool] | None

_PROVENANCE_KEYS: Mapping[str, tuple[str, ...]] = {
    "mode": ("min", "max"),
    "version": ("v1", "v0.2"),
    "inline-only": ("true", "false"),
    "reproducible": ("true", "false"),
    "capture-usage": ("true", "false"),
    "complete-materials": ("true", "false"),
    "builder-id": (),
    "filename": (),
}


def attestations(*, provenance: Wanted = None, sbom: Wanted = None) -> dict[str, str]:
    """Return what to attest, for `SolveSpec.attests`.

    Args:
        provenance: How the image was made. True or `"min"` says from which sources; `"max"` also with which steps,
            arguments and source files, which may tell more than one likes. A mapping takes BuildKit's own
            keys: `mode`, `version`, `inline_only`, `builder_id`, `reproducible` and others.
        sbom: What is in the image, as an SPDX document. True runs BuildKit's default scanner, an image name another
            one; a mapping takes `generator` and the scanner's own settings.

    Raises:
        UsageError: A value that BuildKit does not know.
        ReferenceInvalid: A scanner whose name is no image name.

    Example:
        >>> attestations(provenance="max", sbom="localhost:5000/scanner:1")
        {'provenance': 'mode=max', 'sbom': 'generator=localhost:5000/scanner:1'}
    """
    wanted: dict[str, str] = {}
    if provenance is not None and provenance is not False:
        wanted["provenance"] = _csv(_provenance(provenance))
    if sbom is not None and sbom is not False:
        wanted["sbom"] = _csv(_sbom(sbom))
    return wanted


def _provenance(value: Wanted) -> dict[str, str]:
    hint = "use True, 'min', 'max', or a mapping such as {'mode': 'max', 'builder_id': 'https://…'}"
    if value is True:
        return {"mode": "min"}
    if isinstance(value, str):
        value = {"mode": value}
    settings = _settings("provenance", value, hint)
    for key, item in settings.items():
        if key not in _PROVENANCE_KEYS:
            raise UsageError(
                f"provenance={{{key!r}: …}} is not known.",
                hint=f"keys are {', '.join(_PROVENANCE_KEYS)}",
            )
        choices = _PROVENANCE_KEYS[key]
        if choices and item not in choices:
            raise UsageError(
                f"provenance: {key} must be one of {', '.join(choices)}, not {item!r}.", hint=hint
            )
    return settings


def _sbom(value: Wanted) -> dict[str, str]:
    hint = "use True, the name of a scanner image, or a mapping with generator="
    if value is True:
        return {}
    if isinstance(value, str):
        value = {"generator": value}
    settings = _settings("sbom", value, hint)
    if "generator" in settings:
        parse_reference(settings["generator"])
    return settings


def _settings(argument: str, value: object, hint: str) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise UsageError(f"{argument}={value!r} is not understood.", hint=hint)
    settings: dict[str, str] = {}
    for key, item in value.items():
        if not isinstance(key, str) or not isinstance(item, str | bool):
            raise UsageError(
                f"{argument}={{{key!r}: {item!r}}} must map texts to texts or True and False.",
                hint=hint,
            )
        name = key.replace("_", "-") if argument == "provenance" else key
        settings[name] = str(item).lower() if isinstance(item, bool) else item
    return settings


def _csv(settings: Mapping[str, str]) -> str:
    """Return the settings as one line of comma-separated fields, quoted where they need it (RFC 4180)."""
    fields = (f"{key}={value}" for key, value in settings.items())
    return ",".join(_quoted(field) if set(field) & set(',"\n\r') else field for field in fields)


def _quoted(field: str) -> str:
    return '"' + field.replace('"', '""') + '"'
