"""Pulling: ask Depot where the image is, read its documents, and let its layers stream to where they go.

Nothing but one chunk of one layer is in memory at a time, whatever the image. One thread does all that blocks; when the
pull is cancelled its connection is cut, which ends whatever it waits for.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from depotlab._depot import Api
from depotlab._docker import DockerEngine
from depotlab._oci import Descriptor, Layout, Picked, archive_entries, pick, tar_stream
from depotlab._session import (
    ByteSink,
    Credentials,
    FileSink,
    Manifest,
    MemorySink,
    Registry,
    StreamSink,
    fetch_blob,
    fetch_manifest,
)
from depotlab._verbs.pullrequest import Pulled, PullRequest
from depotlab._verbs.pullsteps import Steps
from depotlab._verbs.reach import Reach, reach
from depotlab.errors import ContextError, GraphError, SessionError, UsageError
from depotlab.export import Artifact, ToFile, ToLayout, ToMemory, ToStream
from depotlab.llb import Platform, Reference, host_platform, parse_reference
from depotlab.progress import (
    BuildEnded,
    BuildStarted,
    Fold,
    Phase,
)

__all__ = ["pull_image"]

T = TypeVar("T")

_DOCUMENT_BYTES = 4 << 20
_GRACE_S = 3.0


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an image is.

    Attributes:
        reference: Its whole name.
        credentials: What opens its registry.
        names: That its build gave it.
    """

    reference: Reference
    credentials: Credentials = field(repr=False)
    names: tuple[str, ...] = ()


async def pull_image(
    request: PullRequest,
    fold: Fold,
    *,
    token: str | None,
    organization: str | None,
    url: str | None,
    local: bool | str | Path,
) -> Pulled:
    """Pull one image, feeding `fold`, which always gets its end event.

    Raises:
        NotFound: Depot does not know the build or the project.
        Unauthenticated: Or the token.
        RegistryError: The registry refused, the connection broke too often, or a part is not what its digest says.
        SessionError: It cannot be written.
        DaemonError: The Docker Engine refused it.
    """
    title = f"local copy of {request.title}"
    fold.feed([BuildStarted(time.time_ns(), title, "the registry of Depot")])
    try:
        reached = await reach(token=token, organization=organization, url=url, local=local)
        try:
            place = await _find(request, reached)
            work = _Pull(request, place, fold)
            pulled = await _in_thread(work.run, abort=work.abort)
        finally:
            await reached.release()
    except asyncio.CancelledError:
        fold.feed([BuildEnded(time.time_ns(), Phase.CANCELED)])
        raise
    except Exception as error:
        text = (str(error) or repr(error)).splitlines()[0]
        fold.feed([BuildEnded(time.time_ns(), Phase.FAILED, text)])
        raise
    fold.feed([BuildEnded(time.time_ns(), Phase.SUCCEEDED)])
    return pulled


async def _find(request: PullRequest, reached: Reach) -> _Place:
    """Ask Depot where the image is, and for a login that pulls it."""
    api = Api(reached.config.connect(timeout_s=request.timeout_s))
    try:
        if request.build_id:
            info = await api.images.pull_info(request.build_id)
            # A name is for one image; of several targets nobody knows whose it was.
            names = info.tags if not info.targets else ()
            reference = parse_reference(info.reference_of(request.target))
            return _Place(reference, info.credentials, names)
        token = await api.images.pull_token(project_id=request.project_id)
    finally:
        api.close()
    if request.host not in ("", token.registry_host):
        raise UsageError(
            f"{request.title!r} is not in Depot's registry, which is {token.registry_host}.",
            hint="write 'PROJECT:TAG' for what Depot keeps",
        )
    mark = "@" if ":" in request.tag else ":"
    name = f"{token.registry_host}/{request.project_id}{mark}{request.tag}"
    return _Place(parse_reference(name), token.credentials)


class _Pull:
    """The part that blocks."""

    def __init__(self, request: PullRequest, place: _Place, fold: Fold) -> None:
        self._request = request
        self._place = place
        self._steps = Steps(fold)
        self._engine = DockerEngine(request.engine) if request.engine is not None else None
        where = place.reference
        self._registry = Registry(
            where.domain, where.path, place.credentials, timeout_s=request.timeout_s
        )
        self._fetched_bytes = 0
        self._n_layers = 0
        names = request.names or place.names or (str(where),) * (not where.digest)
        self._names = tuple(dict.fromkeys(str(parse_reference(n).tagged()) for n in names))

    def abort(self) -> None:
        """Let `run` fail now; from another thread."""
        self._registry.abort()
        if self._engine is not None:
            self._engine.abort()

    def run(self) -> Pulled:
        loaded: tuple[str, ...] = ()
        output: Artifact | None = None
        try:
            picked = self._pick()
            self._n_layers = len(picked.layers)
            if self._engine is not None:
                loaded = tuple(self._engine.load(self._archive(picked, for_docker=True)))
            else:
                output = self._write(picked)
        except ContextError as error:  # a document of the image, which the registry gave us
            what = f"The image {self._place.reference}"
            raise self._registry.failed(error.message.rstrip("."), what) from error
        finally:
            self._registry.close()
        return Pulled(
            reference=str(self._place.reference),
            digest=picked.root.digest,
            names=self._names,
            platforms=picked.platforms,
            size_bytes=picked.size_bytes,
            fetched_bytes=self._fetched_bytes,
            loaded=loaded,
            output=output,
        )

    # ----------------------------------------------------------------------------- documents

    def _pick(self) -> Picked:
        where = self._place.reference
        with self._steps.step("find", f"find {where}"):
            found: Manifest = fetch_manifest(self._registry, where.digest or where.tag or "latest")
            self._fetched_bytes += len(found.data)
            root = Descriptor(found.digest, len(found.data), found.media_type)
            return pick(root, found.data, self._document, self._want)

    def _document(self, descriptor: Descriptor) -> bytes:
        if descriptor.size_bytes > _DOCUMENT_BYTES:
            what = f"The document {descriptor.digest} of {self._registry.name}"
            raise self._registry.failed("it is too long to be one", what)
        if "manifest" in descriptor.media_type or "index" in descriptor.media_type:
            data = fetch_manifest(self._registry, descriptor.digest).data
        else:
            pieces = fetch_blob(self._registry, descriptor.digest, descriptor.size_bytes)
            data = b"".join(pieces)
        self._fetched_bytes += len(data)
        return data

    def _want(self, platforms: Sequence[str]) -> str | None:
        wanted = self._request.platform
        if wanted is None:
            if not self._request.one_platform:
                return None
            if len(platforms) == 1:
                return platforms[0]
            wanted = self._own_platform()
        for name in platforms:
            if _is_platform(name, wanted):
                return name
        raise UsageError(
            f"There is no image for {wanted} in {self._place.reference}.",
            hint=f"pass platform= as one of {', '.join(filter(None, platforms)) or 'none'}",
        )

    def _own_platform(self) -> Platform:
        """The platform of the engine that the image goes to, or this computer's."""
        if self._engine is None:
            return host_platform().normalized()
        said = self._engine.json("GET", "/version") or {}
        words = f"{said.get('Os') or 'linux'}/{said.get('Arch') or host_platform().architecture}"
        return Platform.parse(words).normalized()

    # -------------------------------------------------------------------------------- layers

    def _layer(self, layer: Descriptor) -> Iterator[bytes]:
        """Yield a layer, showing how it comes."""
        with self._steps.transfer(layer) as moved:
            for chunk in fetch_blob(self._registry, layer.digest, layer.size_bytes):
                self._fetched_bytes += len(chunk)
                yield chunk
                moved(len(chunk))

    def _archive(self, picked: Picked, *, for_docker: bool) -> Iterator[bytes]:
        entries = archive_entries(picked, self._names, for_docker=for_docker, fetch=self._layer)
        return tar_stream(entries)

    def _write(self, picked: Picked) -> Artifact:
        output = self._request.output
        assert output is not None
        match output.destination:
            case ToLayout():
                return self._fill(Layout(output.destination.host_path), picked)
            case ToFile(path, limit):
                sink: ByteSink = FileSink(path, limit)
            case ToStream(stream, limit):
                sink = StreamSink(stream, limit)
            case ToMemory(limit):
                sink = MemorySink(limit)
            case _:
                raise AssertionError("checked before")
        sink.check()
        sink.open()
        try:
            for piece in self._archive(picked, for_docker=output.type == "docker"):
                if sink.limit_bytes is not None and sink.n_bytes + len(piece) > sink.limit_bytes:
                    raise SessionError(
                        f"The archive is longer than {sink.limit_bytes} bytes.",
                        path=str(sink.host_path or ""),
                        hint="raise limit_bytes=",
                    )
                if piece:
                    sink.write([piece])
            sink.end()
            sink.commit()
            return self._artifact(picked, sink.host_path, sink.data(), sink.n_bytes)
        finally:
            sink.clear()

    def _fill(self, layout: Layout, picked: Picked) -> Artifact:
        """Put what is missing into an image layout, and list the image there at the end."""
        layout.create()
        for digest, data in picked.documents.items():
            layout.write_blob([data], expected=digest)
        for layer in picked.layers:
            if _is_there(layout, layer):
                layout.keep(layer.digest)
                self._steps.skipped(layer)
                continue
            layout.write_blob(self._layer(layer), expected=layer.digest)
        layout.add_to_index(picked.root, names=self._names)
        return self._artifact(picked, layout.host_path, None, picked.size_bytes)

    def _artifact(
        self, picked: Picked, host_path: Path | None, data: bytes | None, n_bytes: int
    ) -> Artifact:
        said = {
            "containerimage.digest": picked.root.digest,
            "image.name": ",".join(self._names),
        }
        return Artifact(
            host_path, data, n_bytes, metadata={key: text for key, text in said.items() if text}
        )


def _is_platform(name: str, wanted: Platform) -> bool:
    """Whether an image's platform is the one; what an index says may be anything."""
    try:
        return Platform.parse(name).normalized() == wanted
    except GraphError:
        return False


def _is_there(layout: Layout, layer: Descriptor) -> bool:
    """Whether a layout has a blob, whole and right. One that is not is removed."""
    info = layout.info(layer.digest)
    if info is None:
        return False
    algorithm, _, digits = layer.digest.partition(":")
    found = hashlib.new(algorithm)
    with layout.open_blob(layer.digest) as blob:
        while piece := blob.read(1 << 20):
            found.update(piece)
    right = found.hexdigest() == digits
    if not right:
        layout.delete_blob(layer.digest)
    return right


async def _in_thread(work: Callable[[], T], *, abort: Callable[[], None]) -> T:
    """Run what blocks in a thread of its own; when this is cancelled, `abort` it and wait for its end.

    Not on the loop's own threads: a pull may last, and they are few.
    """
    done: concurrent.futures.Future[T] = concurrent.futures.Future()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - handed to who waits
            done.set_exception(error)
        else:
            done.set_result(result)

    threading.Thread(target=run, name="depotlab pull", daemon=True).start()
    waiting = asyncio.wrap_future(done)
    try:
        await asyncio.wait([waiting])
    except asyncio.CancelledError:
        abort()
        await asyncio.wait([waiting], timeout=_GRACE_S)
        if waiting.done() and not waiting.cancelled():
            waiting.exception()  # it was cut off; how it took that says nothing
        raise
    return waiting.result()
