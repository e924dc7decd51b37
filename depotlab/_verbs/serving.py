"""What one attempt of a build serves over its session, and what is left to do when it has ended."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from depotlab import export
from depotlab._oci import Descriptor, Layout, as_descriptor
from depotlab._session import (
    ContentStores,
    Credentials,
    FileSend,
    Secrets,
    Service,
    Session,
    Ssh,
    Uploads,
)
from depotlab._transfer import Tree
from depotlab._verbs.request import BuildRequest
from depotlab.cache import Note
from depotlab.errors import DepotlabError
from depotlab.export import Artifact, Output
from depotlab.llb import parse_reference

__all__ = ["Offer", "Served"]


@dataclass(frozen=True, slots=True)
class Offer:
    """What the target of a build reads from this machine.

    Attributes:
        folders: Directories by the name of the local source.
        uploads: Streams of bytes by id.
        stores: Image layouts by the whole id of the content store.
        grows: Takes the session of each attempt, to offer it more directories while the build runs.
    """

    folders: Mapping[str, Path | Tree] = field(default_factory=dict)
    uploads: Mapping[str, Callable[[], Iterator[bytes]]] = field(default_factory=dict)
    stores: Mapping[str, Layout] = field(default_factory=dict)
    grows: Callable[[Session], None] | None = None


class Served:
    """The session of one attempt, and the outputs that arrive over it.

    Args:
        request: The build.
        offer: What its target reads.
        outputs: As they are asked of the daemon.
        auth: Registry credentials by host.

    Attributes:
        session: To build with.
    """

    def __init__(
        self,
        request: BuildRequest,
        offer: Offer,
        outputs: Sequence[Output],
        auth: Mapping[str, Credentials],
    ) -> None:
        problems: list[DepotlabError] = []
        report = problems.append
        stores = {**offer.stores, **request.cache_imports.stores, **request.cache_exports.stores}
        self._layout = _export_layout(outputs)
        if self._layout is not None:
            stores["export"] = self._layout
        self._request = request
        self._offer = offer
        self._outputs = outputs
        self._files = FileSend(export.destinations(outputs), report=report)
        self._content = ContentStores(stores, report=report)
        services: list[Service] = []
        self._receives = bool(export.destinations(outputs))
        if self._receives:
            self._files.check()
            services.append(self._files)
        if stores:
            services.append(self._content)
        if request.secrets:
            services.append(Secrets(request.secrets, report=report))
        if request.ssh:
            services.append(Ssh(request.ssh, report=report))
        self._uploads = Uploads(offer.uploads, report=report)
        if offer.uploads:
            services.append(self._uploads)
        self.session = Session(
            offer.folders,
            auth=auth,
            finds_logins=request.finds_logins,
            services=services,
            problems=problems,
        )
        if offer.grows is not None:
            offer.grows(self.session)

    @property
    def can_be_repeated(self) -> bool:
        """False when something was read that can be read only once."""
        sources = self._offer.uploads
        sent = self._uploads.sent_bytes
        return not any(sent[name] and getattr(sources[name], "once", False) for name in sources)

    async def commit(
        self, response: Mapping[str, str]
    ) -> tuple[dict[int, Artifact], tuple[Note, ...]]:
        """Put what arrived in its place, after a build that succeeded.

        Returns:
            What the outputs became, by their position; remarks on caches.

        Raises:
            SessionError: Something could not be put in place.
        """
        # Each is a hop to a thread, which shows in a build that takes 20 ms.
        artifacts: dict[int, Artifact] = {}
        notes: tuple[Note, ...] = ()
        if self._receives:
            artifacts = await self._files.commit()
        if self._layout is not None or self._request.cache_exports.entries:
            notes = await asyncio.to_thread(self._finish, response, artifacts)
        return artifacts, notes

    async def discard(self, error: BaseException) -> None:
        """Remove what arrived, after a build that failed."""
        if self._receives:
            await self._files.discard(error)

    def _finish(
        self, response: Mapping[str, str], artifacts: dict[int, Artifact]
    ) -> tuple[Note, ...]:
        if self._layout is not None:
            self._list_image(self._layout, response, artifacts)
        return self._request.cache_exports.finish(response, self._content.last_written)

    def _list_image(
        self, layout: Layout, response: Mapping[str, str], artifacts: dict[int, Artifact]
    ) -> None:
        """Name the image in the index of the layout that the daemon has filled."""
        index, output = next(
            (index, output)
            for index, output in enumerate(self._outputs)
            if isinstance(output.destination, export.ToLayout)
        )
        found = Artifact(path=layout.host_path, metadata=dict(response))
        if not found.descriptor:
            return
        descriptor = as_descriptor(found.descriptor, where="the daemon's answer")
        # The answer has one of each, and of several outputs it is that of another one.
        metadata = dict(response)
        if "*" not in output.names:
            names = (str(parse_reference(name).tagged()) for name in output.names)
            metadata["image.name"] = ",".join(names)
        written = self._content.last_written.get("export", "")
        if written and written != descriptor.digest:
            descriptor = layout.describe(written)
            metadata |= _told_of(layout, descriptor)
        artifacts[index] = found = replace(found, metadata=metadata)
        layout.add_to_index(descriptor, names=found.names)


def _told_of(layout: Layout, image: Descriptor) -> dict[str, str]:
    """Say of an image what the daemon's answer would, had it been the only one."""
    told = {"mediaType": image.media_type, "digest": image.digest, "size": image.size_bytes}
    config = layout.document(image).get("config")
    return {
        "containerimage.digest": image.digest,
        "containerimage.descriptor": base64.b64encode(json.dumps(told).encode()).decode(),
        "containerimage.config.digest": config["digest"] if isinstance(config, dict) else "",
    }


def _export_layout(outputs: Sequence[Output]) -> Layout | None:
    place = export.layout(outputs)
    if place is None:
        return None
    layout = Layout(place)
    layout.create()
    return layout
