"""An image layout in a directory: `oci-layout`, `index.json` and `blobs/ALGORITHM/DIGITS`.

The file `index.json` (see `index.py`) lists what the layout is about; blobs that nothing there leads to are left-overs.

Source: opencontainers/image-spec `image-layout.md`.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from depotlab._oci.documents import (
    Descriptor,
    hash_for,
    kind_of,
    looks_like_digest,
    parse_document,
    split_digest,
)
from depotlab._oci.index import IndexFile, unreadable, unwritable
from depotlab._oci.ingest import INGEST_PREFIX, Ingest
from depotlab._oci.walk import DOCUMENT_BYTES, Node, walk
from depotlab._values import Value
from depotlab.errors import ContextError, UsageError

__all__ = ["BlobInfo", "Layout", "Removed"]

_STALE_INGEST_S = 24 * 3600.0


@dataclass(frozen=True, slots=True, repr=False)
class BlobInfo(Value):
    """What a layout knows of a blob without reading it.

    Attributes:
        digest: Its name.
        size_bytes: Length of the file.
        modified_ns: When it was written or last asked for to be written, ns since 1970.
    """

    digest: str
    size_bytes: int
    modified_ns: int


@dataclass(frozen=True, slots=True, repr=False)
class Removed(Value):
    """What `Layout.collect_garbage` took away.

    Attributes:
        n_blobs: Blobs, and remains of blobs.
        n_bytes: Their length together.
    """

    n_blobs: int
    n_bytes: int


class Layout(Value):
    """An image layout in a directory of this machine.

    Making one looks at nothing. Methods block; several threads may use one layout at a time.

    Args:
        host_path: The directory.
        read_only: Refuse everything that would change it.

    Attributes:
        host_path: The directory, absolute.
        read_only: As given.
    """

    def __init__(self, host_path: str | os.PathLike[str], *, read_only: bool = False) -> None:
        self.host_path = Path(os.path.abspath(Path(host_path).expanduser()))  # noqa: PTH100 - `..` is meant as text
        self.read_only = read_only
        self._host_blobs = self.host_path / "blobs"
        self._index = IndexFile(self.host_path)

    def __repr__(self) -> str:
        return f"<Layout {self.host_path}{', read only' if self.read_only else ''}>"

    # ------------------------------------------------------------------------- what is there

    def index(self) -> tuple[Descriptor, ...]:
        """Return what `index.json` lists.

        Raises:
            ContextError: There is no layout here, or its index cannot be read or understood.
        """
        return self._index.listed()

    def tags(self) -> tuple[str, ...]:
        """Return what images may be asked for by: whole names where there are, else tags."""
        return tuple(
            dict.fromkeys(one.name or one.tag for one in self.index() if one.name or one.tag)
        )

    def find(self, tag: str) -> Descriptor | None:
        """Return the image with this tag or whole name; None when there is none.

        Raises:
            ContextError: Several different images have it, or the index cannot be read.
        """
        listed = self.index()
        found = [one for one in listed if one.name == tag] or [
            one for one in listed if one.tag == tag
        ]
        if len({one.digest for one in found}) > 1:
            names = ", ".join(one.name or one.digest for one in found)
            raise ContextError(
                f"{len(found)} images in {self.host_path} have the tag {tag!r}: {names}.",
                path=str(self.host_path),
                hint="name the one that is meant by its whole name or its digest",
            )
        return found[0] if found else None

    def resolve(self, ref: str = "") -> Descriptor:
        """Return the image that is meant; its manifest or index is there.

        Args:
            ref: A digest, a tag, a whole name, or a name or tag with `@` and a digest, which then
                decides. Empty means the tag `latest`, or else the only image there is.

        Raises:
            ContextError: There is no such image; the message lists what there is.
            ReferenceInvalid: The digest is none.
        """
        wanted = ref.rpartition("@")[2] if "@" in ref else ref
        if looks_like_digest(wanted) or "@" in ref:
            split_digest(wanted)
            listed = next((one for one in self.index() if one.digest == wanted), None)
            return self._there(listed) if listed else self.describe(wanted)
        found = self.find(wanted or "latest")
        if found is None:
            listed_all = self.index()
            if ref or len({one.digest for one in listed_all}) != 1:
                raise self._unknown(wanted or "latest", listed_all)
            found = listed_all[0]
        return self._there(found)

    def describe(self, digest: str) -> Descriptor:
        """Return the descriptor of an index or a manifest that is there as a blob.

        Raises:
            ContextError: It is not there, or is no such document.
        """
        info = self.info(digest)
        if info is None:
            raise self._missing(digest)
        document = self.document(Descriptor(digest, info.size_bytes))
        kind = kind_of("", document)
        if not kind:
            raise ContextError(
                f"{digest} in {self.host_path} is neither the manifest of an image nor an index.",
                path=str(self._host_blob(digest)),
                hint="name an image by its tag: " + ", ".join(self.tags()[:10]),
            )
        known = {
            "index": "application/vnd.oci.image.index.v1+json",
            "manifest": "application/vnd.oci.image.manifest.v1+json",
        }
        return Descriptor(digest, info.size_bytes, str(document.get("mediaType") or known[kind]))

    def info(self, digest: str) -> BlobInfo | None:
        """Return what is known of a blob, None when it is not there.

        Raises:
            ReferenceInvalid: The digest is none.
            ContextError: The disk refuses to say.
        """
        host_blob = self._host_blob(digest)
        try:
            found = host_blob.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise unreadable(host_blob, error) from error
        if not stat.S_ISREG(found.st_mode):
            return None
        return BlobInfo(digest, found.st_size, found.st_mtime_ns)

    def open_blob(self, digest: str) -> BinaryIO:
        """Open a blob for reading, without a buffer. Its content is not checked.

        Raises:
            ReferenceInvalid: The digest is none.
            ContextError: It is not there or cannot be read.
        """
        host_blob = self._host_blob(digest)
        try:
            # A pipe in place of a blob must not hang us.
            handle = os.open(host_blob, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            raise self._missing(digest) from None
        except OSError as error:
            raise unreadable(host_blob, error) from error
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise self._missing(digest)
        return os.fdopen(handle, "rb", buffering=0)

    def document(self, descriptor: Descriptor) -> dict[str, Any]:
        """Return a JSON document of the layout, after a check of its digest.

        Raises:
            ContextError: It is not there, is not what the digest says, or is no JSON object.
        """
        host_blob = self._host_blob(descriptor.digest)
        with self.open_blob(descriptor.digest) as blob:
            data = blob.read(DOCUMENT_BYTES + 1)
        if len(data) > DOCUMENT_BYTES:
            raise ContextError(
                f"{host_blob} is too long for a manifest or a configuration.",
                path=str(host_blob),
                hint="a layer was named where a document belongs",
            )
        digest = hash_for(descriptor.digest)
        digest.update(data)
        if digest.hexdigest() != split_digest(descriptor.digest)[1]:
            raise ContextError(
                f"{host_blob} has another content than its name says.",
                path=str(host_blob),
                hint="make the image layout anew; the file was damaged or cut off",
            )
        return parse_document(data, where=str(host_blob))

    def walk(self, root: Descriptor | None = None) -> Iterator[Node]:
        """Yield everything that a descriptor leads to, itself first; without one, all of `index.json`.

        What a document points at and is not there (the other platforms of an image, often) is yielded all the
        same, with `present` False.
        """
        return walk(self, (root,) if root else self.index())

    def blobs(self) -> Iterator[BlobInfo]:
        """Yield all blobs there are, in no order."""
        for algorithm in ("sha256", "sha384", "sha512"):
            try:
                with os.scandir(self._host_blobs / algorithm) as entries:
                    names = [entry.name for entry in entries]
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise unreadable(self._host_blobs / algorithm, error) from error
            for name in names:
                with suppress(UsageError):  # a file that is no blob
                    if info := self.info(f"{algorithm}:{name}"):
                        yield info

    # ------------------------------------------------------------------------------ changes

    def create(self) -> None:
        """Make the directories that are missing, and remove what killed processes left a day ago.

        Raises:
            ContextError: That cannot be done.
        """
        self._check_writable()
        try:
            self._host_blobs.mkdir(parents=True, exist_ok=True)
            for host_file in self._ingests():
                if time.time() - host_file.stat().st_mtime > _STALE_INGEST_S:
                    host_file.unlink(missing_ok=True)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise ContextError(
                f"The image layout {self.host_path} cannot be made: {reason}.",
                path=str(self.host_path),
                hint="name a directory that may be written to",
            ) from error

    def ingest(self, *, expected: str = "") -> Ingest:
        """Begin to write a blob; see `Ingest`. The directory must have been made by `create`."""
        self._check_writable()
        return Ingest(self._host_blobs, expected=expected)

    def write_blob(self, pieces: Iterable[bytes], *, expected: str = "") -> Descriptor:
        """Write a whole blob and return its descriptor, without a media type.

        Raises:
            SessionError: It is not what `expected` says, or the disk does not take it.
        """
        ingest = self.ingest(expected=expected)
        try:
            for piece in pieces:
                ingest.write(piece)
            return Descriptor(ingest.commit(), ingest.offset)
        finally:
            ingest.abort()

    def keep(self, digest: str) -> None:
        """Note that a blob is wanted now, so that `collect_garbage` of an earlier moment spares it."""
        self._check_writable()
        with suppress(OSError):  # somebody else's file: then its age is what it is
            os.utime(self._host_blob(digest))

    def delete_blob(self, digest: str) -> bool:
        """Remove a blob; return whether it was there."""
        self._check_writable()
        host_blob = self._host_blob(digest)
        try:
            host_blob.unlink()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise unwritable(host_blob, error) from error
        return True

    def add_to_index(
        self, descriptor: Descriptor, *, tag: str = "latest", names: Sequence[str] = ()
    ) -> None:
        """List an image in `index.json`, in place of what had its tag or name before.

        Args:
            descriptor: Of its manifest or index, whose blobs are there.
            tag: For an image without names.
            names: Whole names, such as `docker.io/library/app:1`; each becomes an entry of its own.

        Raises:
            SessionError: The files cannot be written, or another process has held the lock for 20 s.
            ContextError: The index that is there cannot be understood.
        """
        self._check_writable()
        self._index.add(descriptor, tag=tag, names=names)

    def collect_garbage(self, *, before_ns: int) -> Removed:
        """Remove the blobs that nothing in `index.json` leads to.

        Args:
            before_ns: Spare blobs that were written or asked for since then, ns since 1970: another build that
                writes to the layout now lists them in the index at its end.

        Raises:
            ContextError: A document cannot be understood. Nothing has been removed then.
            SessionError: A file cannot be removed.
        """
        self._check_writable()
        n_blobs = n_bytes = 0
        with self._index.locked():
            kept = {node.descriptor.digest for node in self.walk()}
            for info in self.blobs():
                if info.digest not in kept and info.modified_ns < before_ns:
                    n_blobs += self.delete_blob(info.digest)
                    n_bytes += info.size_bytes
            for host_file in self._ingests():
                with suppress(FileNotFoundError):
                    found = host_file.stat()
                    if found.st_mtime_ns < before_ns:
                        host_file.unlink()
                        n_blobs, n_bytes = n_blobs + 1, n_bytes + found.st_size
        return Removed(n_blobs, n_bytes)

    # --------------------------------------------------------------------------------- files

    def _host_blob(self, digest: str) -> Path:
        algorithm, encoded = split_digest(digest)
        return self._host_blobs / algorithm / encoded

    def _ingests(self) -> list[Path]:
        if not self._host_blobs.is_dir():
            return []
        return [one for one in self._host_blobs.iterdir() if one.name.startswith(INGEST_PREFIX)]

    # -------------------------------------------------------------------------------- errors

    def _check_writable(self) -> None:
        if self.read_only:
            raise UsageError(
                f"The image layout {self.host_path} was opened for reading only.",
                hint="make a Layout without read_only=True to change it",
            )

    def _there(self, descriptor: Descriptor) -> Descriptor:
        info = self.info(descriptor.digest)
        if info is None:
            raise self._missing(descriptor.digest)
        if info.size_bytes != descriptor.size_bytes:
            raise ContextError(
                f"{descriptor.digest} in {self.host_path} has {info.size_bytes} bytes and not "
                f"{descriptor.size_bytes}, as the index says.",
                path=str(self._host_blob(descriptor.digest)),
                hint="make the image layout anew; the file was damaged or cut off",
            )
        return descriptor

    def _missing(self, digest: str) -> ContextError:
        return ContextError(
            f"The image layout {self.host_path} has no blob {digest}.",
            path=str(self._host_blob(digest)),
            hint="copy the image into the layout again, with all the platforms that are needed",
        )

    def _unknown(self, tag: str, listed: Sequence[Descriptor]) -> ContextError:
        there = list(dict.fromkeys(one.name or one.tag or one.digest for one in listed))
        if not there:
            what, hint = "it lists no image at all", "copy an image into it"
        else:
            more = f" and {len(there) - 10} more" if len(there) > 10 else ""
            what = f"there is {', '.join(map(repr, there[:10]))}{more}"
            hint = "ask for one of these, or for a digest"
        return ContextError(
            f"There is no image {tag!r} in {self.host_path}: {what}.",
            path=str(self.host_path),
            hint=hint,
        )
