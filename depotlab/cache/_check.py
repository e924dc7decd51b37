"""Arguments of caches become attributes here, or errors that say what would be right.

The daemon ignores a mode that it does not know, and so do several storages with numbers and durations; so a
wrong value is found here or not at all. Source: moby/buildkit `control/control.go`, `cache/remotecache/s3/s3.go`,
`util/compression/attrs.go`.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from typing import Any, Literal

from depotlab.errors import UsageError

__all__ = ["Compression", "Mode", "Writer"]

Mode = Literal["min", "max"]
Compression = Literal["uncompressed", "gzip", "estargz", "zstd"]

_LEVELS = {"gzip": 9, "estargz": 9, "zstd": 22}


class Writer:
    """Turns the arguments of one call into attributes. Values that are None or empty are left to the daemon.

    Args:
        call: Such as `cache.s3`, for errors.

    Attributes:
        attrs: What was written so far.
    """

    def __init__(self, call: str) -> None:
        self.call = call
        self.attrs: dict[str, str] = {}

    def text(self, argument: str, value: Any, attr: str = "") -> None:
        """Write a text."""
        if not isinstance(value, str) or set(value) & {"\0", "\n", "\r"}:
            raise UsageError(
                f"{self.call}({argument}={value!r}) is not a line of text.",
                hint=f"pass {argument} as a string",
            )
        if value:
            self.attrs[attr or argument] = value

    def secret(self, argument: str, value: Any, attr: str = "") -> None:
        """Write a text that no error may show."""
        if not isinstance(value, str) or value != value.strip():
            what = (
                "has spaces around it" if isinstance(value, str) else f"is {type(value).__name__}"
            )
            raise UsageError(
                f"{self.call}({argument}=…) {what}.",
                hint="pass it as a string, exactly as it was issued",
            )
        if value:
            self.attrs[attr or argument] = value

    def names(self, argument: str, value: Any, attr: str) -> None:
        """Write one name, or several, which BuildKit separates by a semicolon."""
        several = [value] if isinstance(value, str) else list(value)
        for one in several:
            if not isinstance(one, str) or not one or ";" in one:
                raise UsageError(
                    f"{self.call}({argument}={value!r}) is not a name or a list of names.",
                    hint=f"for example {argument}=['main', 'my-branch']",
                )
        if several:
            self.attrs[attr] = ";".join(several)

    def flag(self, argument: str, value: Any, attr: str = "") -> None:
        """Write a yes or no."""
        if value is None:
            return
        if not isinstance(value, bool):
            raise UsageError(
                f"{self.call}({argument}={value!r}) is neither True nor False.",
                hint=f"write {argument}=True or leave it out",
            )
        self.attrs[attr or argument] = "true" if value else "false"

    def choice(self, argument: str, value: Any, legal: Sequence[str]) -> None:
        """Write one of a few words."""
        if value is None:
            return
        if not isinstance(value, str) or value not in legal:
            close = difflib.get_close_matches(str(value).lower(), legal, n=1, cutoff=0.5)
            raise UsageError(
                f"{self.call}({argument}={value!r}) is not one of {', '.join(map(repr, legal))}.",
                hint=f"did you mean {close[0]!r}?"
                if close
                else f"leave {argument} out if in doubt",
            )
        self.attrs[argument] = value

    def number(self, argument: str, value: Any, low: int, high: int, attr: str = "") -> None:
        """Write a whole number."""
        if value is None:
            return
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise UsageError(
                f"{self.call}({argument}={value!r}) is not a whole number from {low} to {high}.",
                hint=f"for example {argument}={low}",
            )
        self.attrs[attr or argument] = str(value)

    def seconds(self, argument: str, value: Any, attr: str) -> None:
        """Write a duration as Go reads it."""
        if value is None:
            return
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or not 0 < value < 1e9:
            raise UsageError(
                f"{self.call}({argument}={value!r}) is not a time above zero.",
                hint=f"in seconds, for example {argument}=600",
            )
        self.attrs[attr] = f"{value:.3f}".rstrip("0").rstrip(".") + "s"

    def export(self, mode: Mode | None, ignore_error: bool) -> None:
        """Write what every export takes. `buildctl`, too, always says the mode."""
        self.choice("mode", "min" if mode is None else mode, ("min", "max"))
        if ignore_error is not False:
            self.flag("ignore_error", ignore_error, "ignore-error")

    def layers(
        self,
        *,
        compression: Compression | None,
        compression_level: int | None,
        force_compression: bool,
        oci_mediatypes: bool | None,
        image_manifest: bool | None,
    ) -> None:
        """Write in which form layers and manifest are stored."""
        self.choice("compression", compression, ("uncompressed", *_LEVELS))
        if compression_level is not None:
            highest = _LEVELS.get(compression or "gzip")
            if highest is None:
                raise UsageError(
                    f"{self.call}(compression='uncompressed') has no level.",
                    hint="leave compression_level out",
                )
            self.number("compression_level", compression_level, 0, highest, "compression-level")
        if force_compression is not False:
            self.flag("force_compression", force_compression, "force-compression")
        self.flag("oci_mediatypes", oci_mediatypes, "oci-mediatypes")
        self.flag("image_manifest", image_manifest, "image-manifest")
        if oci_mediatypes is False and image_manifest:
            raise UsageError(
                f"{self.call}(image_manifest=True, oci_mediatypes=False) contradicts itself.",
                hint="a cache in the form of an image has OCI media types: leave oci_mediatypes out",
            )
