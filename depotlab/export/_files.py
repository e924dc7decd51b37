"""The files of a result: in a tar archive or in a directory. Source: moby/buildkit `exporter/local`, `exporter/tar`."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Literal

from depotlab.export._check import choice, epoch, flag, plain_name
from depotlab.export._destination import Place, archive, directory
from depotlab.export._output import Output

__all__ = ["local", "tar"]

Mode = Literal["copy", "delete"]


def tar(
    dest: Place,
    *,
    attestation_prefix: str = "",
    source_date_epoch: int | datetime | None = None,
    limit_bytes: int | None = None,
) -> Output:
    """Give the files of the result as one tar archive, uncompressed, with owners, modes and times.

    With several platforms each is a directory of the archive, such as `linux_amd64`.

    Args:
        dest: A path, a binary file object, or None for memory. A file appears under its name when the
            whole build has succeeded; a file object gets bytes as they come, and keeps them when the build
            fails later.
        attestation_prefix: Before the names of attestation files, such as `provenance.json`.
        source_date_epoch: The time of every file, in seconds since 1970 or as an aware datetime.
        limit_bytes: End the build when the archive gets longer.

    Raises:
        UsageError: A destination that cannot be written, or a wrong value.

    Example:
        >>> tar(None)
        <output tar: to memory>
    """
    attrs: dict[str, str] = {}
    _common(attrs, "tar", attestation_prefix, source_date_epoch)
    return Output("tar", attrs, destination=archive("tar", dest, limit_bytes))


def local(
    dest: str | os.PathLike[str],
    *,
    mode: Mode = "copy",
    platform_split: bool | None = None,
    attestation_prefix: str = "",
    source_date_epoch: int | datetime | None = None,
    devices: bool = False,
    limit_bytes: int | None = None,
) -> Output:
    """Give the files of the result in a directory, with their modes and times, owned by you.

    They are received in a hidden directory on the same file system, and put in place when the whole
    build has succeeded: a build that fails changes nothing. Existing directories are kept and take the modes
    and times of the result; other things of the same name are replaced. Nothing outside is ever written, whatever
    links there are.

    Args:
        dest: Made if it is missing, for you alone (mode 0700).
        mode: `copy` removes nothing else; `delete` leaves only what the result has.
        platform_split: A directory for each platform, such as `linux_amd64`. The default is yes for
            several platforms, no for one.
        attestation_prefix: Before the names of attestation files, such as `provenance.json`.
        source_date_epoch: The time of every file, in seconds since 1970 or as an aware datetime.
        devices: Make device nodes too, for which you have to be root. Otherwise they are left out, with a warning.
        limit_bytes: End the build when the content of all files together gets longer.

    Raises:
        UsageError: A destination that cannot be written, or a wrong value. `mode="delete"` refuses
            directories that are or hold your home or working directory.

    Example:
        >>> local("/tmp/out", mode="delete")
        <output local: to /tmp/out, which becomes equal>
    """
    choice("local", "mode", mode, ("copy", "delete"))
    attrs: dict[str, str] = {}
    if mode == "delete":
        attrs["mode"] = mode
    flag(attrs, "local", "platform_split", platform_split)
    _common(attrs, "local", attestation_prefix, source_date_epoch)
    flag({}, "local", "devices", devices)
    place = directory("local", dest, mode, devices=devices, limit_bytes=limit_bytes)
    return Output("local", attrs, destination=place)


def _common(
    attrs: dict[str, str],
    call: str,
    attestation_prefix: str,
    source_date_epoch: int | datetime | None,
) -> None:
    if attestation_prefix:
        plain_name(call, "attestation_prefix", attestation_prefix)
        attrs["attestation-prefix"] = attestation_prefix
    epoch(attrs, call, source_date_epoch)
