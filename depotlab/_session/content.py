"""The content store: image layouts of this machine that the daemon reads from and writes to, blob by blob.

A session may have several stores; every call names one in its metadata. The daemon reads an image that a
build starts from (`oci:NAME`), reads and writes a build cache (`local:DIR`), and writes an image that was asked
for as a directory (`export`). The session only moves blobs: that one of them is *the* image or *the* cache is
written into the layout's index afterwards.

Write is a dialogue on one stream for each blob. The first message is STAT and says which blob it is; then come
WRITE messages with an offset, which must be where we are, STATs that ask where that is, and COMMIT with the
digest. Each is answered, with the number of bytes that we have, before the next one is sent. A blob that
we have already is refused with ALREADY_EXISTS, which saves sending it. A stream that ends before COMMIT leaves nothing.

The disk is used in threads, one piece at a time for each call: a slow one must not delay the session's health, and
what has been read waits in `drain` until the daemon takes it.

Source: containerd/containerd `api/services/content/v1/content.proto`, `plugins/services/content/contentserver`;
moby/buildkit `session/content/attachable.go`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from google.protobuf.timestamp_pb2 import Timestamp

from depotlab._oci import BlobInfo, Ingest, Layout, split_digest
from depotlab._proto import content_pb2
from depotlab._rpc import Call, Handler, RpcFault, Status, unary
from depotlab._session.service import Report
from depotlab._session.uninterrupted import uninterrupted
from depotlab.errors import DepotlabError, ReferenceInvalid, SessionError

__all__ = ["ContentStores"]

_STORE_KEY = "buildkit-attachable-store-id"
_PIECE_BYTES = 1 << 20
_N_INFOS_PER_MESSAGE = 100
_STAT, _WRITE, _COMMIT = (
    content_pb2.WriteAction.STAT,
    content_pb2.WriteAction.WRITE,
    content_pb2.WriteAction.COMMIT,
)


@dataclass(slots=True)
class _Writing:
    """A blob that the daemon is writing.

    Attributes:
        ref: The daemon's name for this attempt.
        expected: The digest it will have, as far as the daemon has said.
        total_bytes: Its length, 0 when that was not said.
        ingest: None until there is something to write.
    """

    ref: str
    expected: str = ""
    total_bytes: int = 0
    ingest: Ingest | None = None
    started_ns: int = field(default_factory=time.time_ns)
    updated_ns: int = field(default_factory=time.time_ns)

    @property
    def offset(self) -> int:
        return self.ingest.offset if self.ingest is not None else 0


class ContentStores:
    """The service `containerd.services.content.v1.Content`.

    Args:
        stores: Layouts by the whole id of the store: `oci:NAME`, `local:DIR`, `export`. One that is
            read only gives and does not take. The directories of others must have been made (`Layout.create`).
        report: Takes what goes wrong on our side.

    Attributes:
        last_written: By store, the digest of the blob that the daemon wrote last, or would have written if it had
            not been there already. When the daemon is done, that is the manifest of what it wrote.
        methods: See `Service`.
    """

    def __init__(self, stores: Mapping[str, Layout], *, report: Report) -> None:
        self._stores = dict(stores)
        self._report = report
        self._writings: dict[tuple[str, str], _Writing] = {}
        self.last_written: dict[str, str] = {}
        one_answer: dict[str, Callable[[Call, bytes], Awaitable[bytes]]] = {
            "Info": self._info,
            "Update": self._update,
            "Delete": self._delete,
            "Status": self._status,
            "ListStatuses": self._list_statuses,
            "Abort": self._abort,
        }
        streams: dict[str, Handler] = {
            "List": self._list,
            "Read": self._read,
            "Write": self._write,
            **{method: unary(answer) for method, answer in one_answer.items()},
        }
        self.methods: Mapping[str, Handler] = {
            f"/containerd.services.content.v1.Content/{method}": partial(self._guarded, handler)
            for method, handler in streams.items()
        }

    async def _guarded(self, handler: Handler, call: Call) -> None:
        """Serve a call; an error of ours is told to the daemon as a status, and to the build as it is."""
        try:
            await handler(call)
        except (
            ReferenceInvalid
        ) as error:  # the daemon asked for it, so it is no fault of this machine
            raise RpcFault(Status.INVALID_ARGUMENT, error.message) from error
        except DepotlabError as error:
            self._report(error)
            raise RpcFault(Status.FAILED_PRECONDITION, error.message) from error

    # -------------------------------------------------------------------------------- reading

    async def _info(self, call: Call, message: bytes) -> bytes:
        digest = content_pb2.InfoRequest.FromString(message).digest
        _, layout = self._store(call)
        info = await self._known(layout, digest)
        return content_pb2.InfoResponse(info=_as_message(info)).SerializeToString()

    async def _update(self, call: Call, message: bytes) -> bytes:
        """Answer as if done: layouts keep no labels, and the answer shows that there are none."""
        digest = content_pb2.UpdateRequest.FromString(message).info.digest
        _, layout = self._store(call)
        info = await self._known(layout, digest)
        return content_pb2.UpdateResponse(info=_as_message(info)).SerializeToString()

    async def _list(self, call: Call) -> None:
        _, layout = self._store(call)
        await call.receive()
        infos = await asyncio.to_thread(lambda: list(layout.blobs()))
        for at in range(0, len(infos), _N_INFOS_PER_MESSAGE):
            some = map(_as_message, infos[at : at + _N_INFOS_PER_MESSAGE])
            await call.send(content_pb2.ListContentResponse(info=some).SerializeToString())

    async def _read(self, call: Call) -> None:
        _, layout = self._store(call)
        request = content_pb2.ReadContentRequest.FromString(await call.receive() or b"")
        info = await self._known(layout, request.digest)
        at = max(0, request.offset)
        if at > info.size_bytes:
            raise RpcFault(
                Status.OUT_OF_RANGE,
                f"{request.digest} has {info.size_bytes} bytes, and none at {at}",
            )
        end = info.size_bytes if request.size <= 0 else min(info.size_bytes, at + request.size)
        while at < end:
            n_wanted = min(_PIECE_BYTES, end - at)
            piece = await asyncio.to_thread(_read_piece, layout, request.digest, at, n_wanted)
            head = _read_head(at, len(piece))
            call.queue_pieces([head, piece], length=len(head) + len(piece))
            await call.drain()
            at += len(piece)

    async def _known(self, layout: Layout, digest: str) -> BlobInfo:
        info = await asyncio.to_thread(layout.info, digest)
        if info is not None:
            return info
        if (
            layout.read_only
        ):  # what a build starts from must be whole; where it writes, it asks what is there
            self._report(
                SessionError(
                    f"The build asks for {digest}, which {layout.host_path} does not have.",
                    path=str(layout.host_path),
                    hint="copy the image into the layout again, with all the platforms that are needed",
                )
            )
        raise RpcFault(Status.NOT_FOUND, f"content {digest}: not found")

    # -------------------------------------------------------------------------------- writing

    async def _write(self, call: Call) -> None:
        store_id, layout = self._writable(call)
        message = await call.receive()
        if message is None:
            raise RpcFault(Status.INVALID_ARGUMENT, "a write begins with a message")
        request = content_pb2.WriteContentRequest.FromString(message)
        if not request.ref:
            raise RpcFault(Status.INVALID_ARGUMENT, "the first message must have a reference")
        key = (store_id, request.ref)
        if key in self._writings:
            # The daemon waits a little and asks again; by then the blob is there.
            raise RpcFault(Status.UNAVAILABLE, f"ref {request.ref} is being written")
        writing = self._writings[key] = _Writing(request.ref)
        try:
            while True:
                answer = await self._step(store_id, layout, writing, request)
                await call.send(answer.SerializeToString())
                if request.action == _COMMIT or (message := await call.receive()) is None:
                    return
                request = content_pb2.WriteContentRequest.FromString(message)
        finally:
            del self._writings[key]
            if writing.ingest is not None:
                # A thread may be in the middle of a write, which `abort` waits for; meanwhile the end of the session
                # may cancel the call again.
                await uninterrupted(writing.ingest.abort)

    async def _step(
        self,
        store_id: str,
        layout: Layout,
        writing: _Writing,
        request: content_pb2.WriteContentRequest,
    ) -> content_pb2.WriteContentResponse:
        """Do what one message says, and return the answer."""
        if request.total > 0:
            writing.total_bytes = request.total
        if request.expected:
            split_digest(request.expected)
            writing.expected = request.expected
        answer = content_pb2.WriteContentResponse(
            action=request.action,
            total=writing.total_bytes,
            started_at=_stamp(writing.started_ns),
            updated_at=_stamp(writing.updated_ns),
        )
        if request.action == _STAT:
            if request.expected:
                await self._refuse_known(store_id, layout, request.expected)
        else:
            if writing.ingest is None:
                writing.ingest = layout.ingest(expected=writing.expected)
            await self._append(writing.ingest, request)
            writing.updated_ns = time.time_ns()
            if request.action == _COMMIT:
                commit = partial(
                    writing.ingest.commit,
                    expected=writing.expected,
                    size_bytes=writing.total_bytes or None,
                )
                answer.digest = await asyncio.to_thread(commit)
                self.last_written[store_id] = answer.digest
        answer.offset = writing.offset
        return answer

    async def _refuse_known(self, store_id: str, layout: Layout, digest: str) -> None:
        """End the call when the blob is there already."""
        if await asyncio.to_thread(_have, layout, digest):
            self.last_written[store_id] = digest
            raise RpcFault(Status.ALREADY_EXISTS, f"content {digest}: already exists")

    async def _append(self, ingest: Ingest, request: content_pb2.WriteContentRequest) -> None:
        if request.offset > 0 and request.offset != ingest.offset:
            raise RpcFault(
                Status.OUT_OF_RANGE,
                f"write at {request.offset}, where {ingest.offset} bytes have arrived",
            )
        if request.action == _WRITE and request.offset == 0 and ingest.offset:
            await asyncio.to_thread(ingest.restart)  # the daemon begins again
        if request.data:
            await asyncio.to_thread(ingest.write, request.data)

    async def _delete(self, call: Call, message: bytes) -> bytes:
        digest = content_pb2.DeleteContentRequest.FromString(message).digest
        _, layout = self._writable(call)
        if not await asyncio.to_thread(layout.delete_blob, digest):
            raise RpcFault(Status.NOT_FOUND, f"content {digest}: not found")
        return b""

    async def _status(self, call: Call, message: bytes) -> bytes:
        ref = content_pb2.StatusRequest.FromString(message).ref
        store_id, _ = self._store(call)
        writing = self._writings.get((store_id, ref))
        if writing is None:
            raise RpcFault(Status.NOT_FOUND, f"nothing is being written under {ref!r}")
        return content_pb2.StatusResponse(status=_as_status(writing)).SerializeToString()

    async def _list_statuses(self, call: Call, _message: bytes) -> bytes:
        store_id, _ = self._store(call)
        found = [_as_status(one) for (store, _), one in self._writings.items() if store == store_id]
        return content_pb2.ListStatusesResponse(statuses=found).SerializeToString()

    async def _abort(self, call: Call, message: bytes) -> bytes:
        ref = content_pb2.AbortRequest.FromString(message).ref
        store_id, _ = self._writable(call)
        writing = self._writings.get((store_id, ref))
        if writing is None:
            raise RpcFault(Status.NOT_FOUND, f"nothing is being written under {ref!r}")
        if writing.ingest is not None:
            await asyncio.to_thread(writing.ingest.abort)
        return b""

    # --------------------------------------------------------------------------------- stores

    def _store(self, call: Call) -> tuple[str, Layout]:
        store_id = next(iter(call.metadata.get(_STORE_KEY, ())), None)
        if store_id is None:
            raise RpcFault(Status.INVALID_ARGUMENT, f"request lacks metadata {_STORE_KEY!r}")
        layout = self._stores.get(store_id)
        if layout is None:
            there = ", ".join(self._stores) or "none"
            self._report(
                SessionError(
                    f"The build asks for the content store {store_id!r}, which it was not given.",
                    hint=f"there is {there}; llb.oci_layout() needs store_id= with the part after 'oci:'",
                )
            )
            raise RpcFault(Status.NOT_FOUND, f"unknown store {store_id}")
        return store_id, layout

    def _writable(self, call: Call) -> tuple[str, Layout]:
        store_id, layout = self._store(call)
        if layout.read_only:
            raise RpcFault(Status.PERMISSION_DENIED, f"store {store_id} is read only")
        return store_id, layout


def _have(layout: Layout, digest: str) -> bool:
    if layout.info(digest) is None:
        return False
    layout.keep(digest)
    return True


def _read_piece(layout: Layout, digest: str, at: int, n_bytes: int) -> bytes:
    """Read on in a blob. It is not held open between pieces, so that a call that is given up leaves no file open."""
    try:
        with layout.open_blob(digest) as blob:
            piece = os.pread(blob.fileno(), n_bytes, at)
        why = "it was cut off"
    except OSError as error:
        piece, why = b"", (error.strerror or str(error)).lower()
    if not piece:
        raise SessionError(
            f"{digest} in {layout.host_path} cannot be read to its end: {why}.",
            path=str(layout.host_path),
            hint="build again when nothing changes the layout",
        )
    return piece


def _read_head(offset: int, length: int) -> bytes:
    """Return what stands before the data of a `ReadContentResponse{offset=1, data=2}`."""
    head = b"\x08" + _varint(offset) if offset else b""
    return head + b"\x12" + _varint(length)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _stamp(at_ns: int) -> Timestamp:
    seconds, nanos = divmod(at_ns, 1_000_000_000)
    return Timestamp(seconds=seconds, nanos=nanos)


def _as_message(info: BlobInfo) -> content_pb2.Info:
    at = _stamp(info.modified_ns)
    return content_pb2.Info(digest=info.digest, size=info.size_bytes, created_at=at, updated_at=at)


def _as_status(writing: _Writing) -> content_pb2.Status:
    return content_pb2.Status(
        started_at=_stamp(writing.started_ns),
        updated_at=_stamp(writing.updated_ns),
        ref=writing.ref,
        offset=writing.offset,
        total=writing.total_bytes,
        expected=writing.expected,
    )
