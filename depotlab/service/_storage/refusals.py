"""Why an uploaded context is not built, in the words of the errors."""

from __future__ import annotations

from depotlab._values import bytes_text
from depotlab.errors import ContextRefused

__all__ = ["damaged", "encoded", "missing", "no_archive", "too_large", "too_much"]

_HINT = "upload a tar archive: plain, or packed with gzip, zstd, bzip2 or xz"
_WHOLE = "make the archive again and upload all of it; `tar -tf` shows how far it can be read"


def missing(key: str) -> ContextRefused:
    """Return the error for a key under which there is nothing."""
    return ContextRefused(
        f"There is nothing at the build context path {key!r}.",
        reason="missing",
        hint="PUT the archive to the upload URL first, and give the path that came with it",
    )


def too_large(max_bytes: int) -> ContextRefused:
    """Return the error for an upload that is over its limit."""
    return ContextRefused(
        f"The uploaded archive is larger than {bytes_text(max_bytes)}.",
        reason="too_large",
        hint="leave out what the build does not need, such as .git and installed packages",
    )


def no_archive(why: str) -> ContextRefused:
    """Return the error for what is something else."""
    return ContextRefused(
        f"The uploaded file is no tar archive: {why}.", reason="not_an_archive", hint=_HINT
    )


def encoded(encoding: str) -> ContextRefused:
    """Return the error for an upload that whoever gets it would unpack before he has seen it."""
    return ContextRefused(
        f"The archive was uploaded with the header Content-Encoding: {encoding}, and would be unpacked on its way.",
        reason="not_an_archive",
        hint="PUT it without that header: how an archive is packed is seen from its content",
    )


def damaged(why: str) -> ContextRefused:
    """Return the error for an archive that is cut off, or has been changed."""
    return ContextRefused(f"The uploaded archive is damaged: {why}.", reason="damaged", hint=_WHOLE)


def too_much(why: str) -> ContextRefused:
    """Return the error for an archive that would fill a disk, or keep a processor."""
    return ContextRefused(
        f"The uploaded archive would unpack to too much: {why}.",
        reason="unpacks_to_too_much",
        hint="leave out what the build does not need, such as .git and installed packages",
    )
