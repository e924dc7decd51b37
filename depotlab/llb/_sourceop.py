"""The op that brings files in: an image, a directory, a repository, a download."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from depotlab.llb._meta import Constraints
from depotlab.llb._op import Context, Edge, Op, Rewriter
from depotlab.llb._platform import Platform
from depotlab.llb._reference import Reference
from depotlab.llb._where import Where
from depotlab.llb._wire import field, text, text_map

_LOCAL = "local://"
_PLATFORM_SPECIFIC = ("docker-image://", "oci-layout://")
_UNIQUE_CAP = frozenset({"source.local.unique"})


class SourceOp(Op):
    """See `encode` for the rules.

    Attributes:
        identifier: Such as `docker-image://docker.io/library/busybox:latest`.
        attrs: Options by BuildKit's name.
        image: The reference, if its config passes to what is built on it and is not known yet.
        host_path: The directory on this machine, for a local source.
        unique_id: Instead of the one of the marshal call, for a local source.
    """

    __slots__ = ("_body", "_caps", "attrs", "host_path", "identifier", "image", "unique_id")
    kind = "source"
    passes_platform = True

    def __init__(
        self,
        identifier: str,
        attrs: Mapping[str, str],
        caps: frozenset[str],
        constraints: Constraints,
        where: Where | None,
        *,
        image: Reference | None = None,
        host_path: Path | None = None,
        unique_id: str = "",
    ) -> None:
        super().__init__((), constraints, where)
        self.identifier = identifier
        self.attrs = dict(attrs)
        self.image = image
        self.host_path = host_path
        self.unique_id = unique_id
        self._caps = caps
        self._body: bytes | None = None
        if self._takes_unique_id:
            self._caps |= _UNIQUE_CAP

    @property
    def _takes_unique_id(self) -> bool:
        return self.identifier.startswith(_LOCAL) and "local.session" not in self.attrs

    def encode(self, context: Context) -> bytes:
        platform = b""
        if self.identifier.startswith(_PLATFORM_SPECIFIC):
            own = self.constraints.platform
            platform = context.platform_field if own is None else field(10, own.encoded)
        if self._takes_unique_id:
            unique = self.unique_id or context.unique_id
            body = _encode(self.identifier, {**self.attrs, "local.unique": unique})
        else:
            if self._body is None:
                self._body = _encode(self.identifier, self.attrs)
            body = self._body
        return platform + context.tail(self.constraints) + body

    def caps(self, context: Context) -> frozenset[str]:
        return self._caps

    def rewritten(self, rewriter: Rewriter) -> Op | Edge | None:
        where = rewriter.where(self.where)
        if where is self.where:
            return self
        return SourceOp(
            self.identifier,
            self.attrs,
            self._caps,
            self.constraints,
            where,
            image=self.image,
            host_path=self.host_path,
            unique_id=self.unique_id,
        )

    def pinned(self, reference: Reference | None) -> SourceOp:
        """Return the same image with its config known, under `reference` if that is given."""
        identifier = self.identifier if reference is None else f"docker-image://{reference}"
        return SourceOp(identifier, self.attrs, self._caps, self.constraints, self.where)

    def identity(self) -> bytes:
        pending = b"pending" if self.image is not None else b""
        return pending + b"\0" + str(self.host_path or "").encode("utf-8", "surrogateescape")

    @property
    def platform(self) -> Platform | None:
        return self.constraints.platform


def _encode(identifier: str, attrs: Mapping[str, str]) -> bytes:
    return field(3, text(1, identifier) + text_map(2, attrs))
