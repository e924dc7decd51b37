"""Platforms such as `linux/arm64`, by the rules of containerd/platforms (database.go)."""

from __future__ import annotations

import functools
import platform as host
import re
from dataclasses import dataclass, field
from typing import Any

from depotlab._values import Value
from depotlab.llb._check import refuse, string, strings
from depotlab.llb._wire import text, texts

_known_os = frozenset(
    [
        "aix",
        "android",
        "darwin",
        "dragonfly",
        "freebsd",
        "hurd",
        "illumos",
        "ios",
        "js",
        "linux",
        "nacl",
        "netbsd",
        "openbsd",
        "plan9",
        "solaris",
        "windows",
        "zos",
    ]
)
_part = re.compile(r"[A-Za-z0-9_.-]+")
_arm_variants = {"": "v7", "7": "v7", "5": "v5", "6": "v6", "8": "v8"}
_arm64_variants = {"8": "", "v8": "", "v8.0": "", "9": "v9", "9.0": "v9", "v9.0": "v9"}
_machines = {
    "amd64": ("amd64", ""),
    "x86_64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "arm64": ("arm64", ""),
    "i386": ("386", ""),
    "i686": ("386", ""),
    "armv6l": ("arm", "v6"),
    "armv7l": ("arm", "v7"),
    "armv8l": ("arm", "v7"),
}


@dataclass(frozen=True, slots=True, repr=False)
class Platform(Value):
    """What a step runs on, or an image is for.

    Kept as given: `arm64` with variant `v8` stays so in the op, and is another digest than
    `arm64` alone. `normalized()` is what settings of a state use.

    Attributes:
        os: Such as `linux`.
        architecture: Such as `amd64`, `arm64`, `arm`, `riscv64`.
        variant: Such as `v7` for 32-bit ARM, else empty.
        os_version: Only Windows has one.
        os_features: Only Windows has them.
    """

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()
    _encoded: bytes = field(init=False, repr=False, compare=False, default=b"")

    def __post_init__(self) -> None:
        for name in ("os", "architecture", "variant", "os_version"):
            string(f"Platform {name}", getattr(self, name))
        object.__setattr__(self, "os_features", strings("Platform os_features", self.os_features))
        encoded = (
            text(1, self.architecture)
            + text(2, self.os)
            + text(3, self.variant)
            + text(4, self.os_version)
            + texts(5, self.os_features)
        )
        object.__setattr__(self, "_encoded", encoded)

    @classmethod
    def parse(cls, words: str) -> Platform:
        """Return the platform that words such as `linux/arm64/v8` name.

        Raises:
            GraphError: They name none.
        """
        return as_platform("platform", words)

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    @property
    def encoded(self) -> bytes:
        """The `pb.Platform` message."""
        return self._encoded

    def normalized(self) -> Platform:
        """Return the same platform in the usual words: `x86_64` is `amd64`, `arm` is `v7`."""
        architecture, variant = _normalize(self.architecture, self.variant)
        name = self.os.lower()
        return Platform(
            "darwin" if name == "macos" else name or "linux",
            architecture,
            variant,
            self.os_version,
            tuple(sorted(set(self.os_features))),
        )


def _normalize(architecture: str, variant: str) -> tuple[str, str]:
    architecture, variant = architecture.lower(), variant.lower()
    match architecture:
        case "i386":
            return "386", ""
        case "x86_64" | "x86-64" | "amd64":
            return "amd64", "" if variant == "v1" else variant
        case "aarch64" | "arm64":
            return "arm64", _arm64_variants.get(variant, variant)
        case "armhf":
            return "arm", "v7"
        case "armel":
            return "arm", "v6"
        case "arm":
            return "arm", _arm_variants.get(variant, variant)
        case _:
            return architecture, variant


@functools.lru_cache(maxsize=256)
def _parse(words: str) -> Platform | str:
    parts = words.split("/")
    if not 1 <= len(parts) <= 3 or not all(map(_part.fullmatch, parts)):
        return "a platform is os/architecture or os/architecture/variant, such as linux/arm64"
    if len(parts) == 1:
        if parts[0].lower() in _known_os:
            return f"the architecture is missing, such as {parts[0]}/amd64"
        return f"the operating system is missing, such as linux/{parts[0]}"
    name = parts[0].lower()
    architecture, variant = _normalize(parts[1], parts[2] if len(parts) == 3 else "")
    # A variant that is written out is kept, one that is implied is left out; so does
    # containerd/platforms Parse.
    if len(parts) == 2 and (architecture, variant) == ("arm", "v7"):
        variant = ""
    if len(parts) == 3 and architecture == "arm64" and not variant:
        variant = "v8"
    return Platform("darwin" if name == "macos" else name, architecture, variant)


def as_platform(argument: str, value: Any) -> Platform:
    """Return a platform from a Platform or words such as `linux/arm64/v8`."""
    if isinstance(value, Platform):
        return value
    if not isinstance(value, str):
        refuse(f"{argument}={value!r} is neither text nor a Platform.")
    found = _parse(value)
    if isinstance(found, str):
        refuse(f"{argument}={value!r} is not a platform.", hint=found)
    return found


@functools.cache
def host_platform() -> Platform:
    """Return Linux on this computer's processor: what the Go client assumes on Linux.

    On macOS and Windows the Go client would take that system's name, which no BuildKit worker
    can run; Linux containers are what is meant.
    """
    machine = host.machine().lower()
    return Platform("linux", *_machines.get(machine, (machine, "")))
