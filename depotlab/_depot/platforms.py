"""Which of Depot's two architectures builds for a platform, and where that needs emulation.

386 runs on amd64 and all of ARM on arm64, by the processors themselves. Every other architecture is emulated, on amd64.
"""

from __future__ import annotations

import platform as this_computer
from collections.abc import Iterable
from typing import Final

from depotlab._proto import depot_cli_pb2 as cli
from depotlab.errors import UsageError

__all__ = ["MACHINES", "builder_platform", "emulated", "machine_platform", "machines_for"]

MACHINES: Final = ("amd64", "arm64")

# Names that operating systems and tools use for the same. Source: containerd/platforms `database.go`.
_ALIASES = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "i386": "386",
    "i486": "386",
    "i586": "386",
    "i686": "386",
    "aarch64": "arm64",
    "aarch64_be": "arm64",
    "armhf": "arm",
    "armel": "arm",
}
_NATIVE = {"amd64": "amd64", "386": "amd64", "arm64": "arm64", "arm": "arm64"}


def machine_platform(platform: str = "") -> str:
    """Return the architecture of the machine that builds for a platform: `amd64` or `arm64`.

    Args:
        platform: Such as `linux/arm64`, `linux/arm/v7` or only `x86_64`; empty is this computer's.

    Raises:
        UsageError: It is no platform.

    Example:
        >>> machine_platform("linux/arm/v7")
        'arm64'
    """
    return _NATIVE.get(_architecture(platform), "amd64")


def emulated(platform: str, machine: str) -> bool:
    """Whether commands for a platform are emulated on a machine.

    Args:
        platform: As for `machine_platform`.
        machine: `amd64` or `arm64`, or a platform of that architecture.

    Example:
        >>> emulated("linux/riscv64", "amd64"), emulated("linux/386", "amd64")
        (True, False)
    """
    return _NATIVE.get(_architecture(platform)) != machine_platform(machine)


def machines_for(platforms: Iterable[str], *, forced: str = "") -> dict[str, tuple[str, ...]]:
    """Return the machines that a build needs, each with the platforms it builds for.

    Args:
        platforms: Of the image; none is this computer's.
        forced: All of it on this one, as `DEPOT_BUILD_PLATFORM` says: `linux/amd64`, `linux/arm64`; empty and
            `dynamic` leave it to the platforms.

    Example:
        >>> machines_for(["linux/amd64", "linux/386", "linux/arm64"])
        {'amd64': ('linux/amd64', 'linux/386'), 'arm64': ('linux/arm64',)}
    """
    wanted = dict.fromkeys(platforms) or {f"linux/{_architecture('')}": None}
    found: dict[str, list[str]] = {}
    for platform in wanted:
        by = platform if forced in ("", "dynamic") else forced
        found.setdefault(machine_platform(by), []).append(platform)
    return {machine: tuple(names) for machine, names in found.items()}


def builder_platform(machine: str) -> cli.BuilderPlatform:
    """Return the wire's number of `amd64` or `arm64`."""
    amd64, arm64 = cli.BUILDER_PLATFORM_AMD64, cli.BUILDER_PLATFORM_ARM64
    return {"amd64": amd64, "arm64": arm64}[machine]


def _architecture(platform: str) -> str:
    if not isinstance(platform, str):
        raise UsageError(
            f"platform={platform!r} must be a text.", hint="for example platform='linux/arm64'"
        )
    words = (platform or this_computer.machine()).strip().lower().split("/")
    if not all(words) or len(words) > 4:
        raise UsageError(
            f"platform={platform!r} is no platform.", hint="for example platform='linux/arm64'"
        )
    word = words[0] if len(words) == 1 else words[1]
    return _ALIASES.get(word, "arm" if word.startswith("armv") else word)
