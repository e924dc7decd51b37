"""Listens to the calls of a builder, and makes a recording of them.

The calls are told by a tap (`_rpc.tap`), so whatever makes them is not changed. What the client sent is read here, for
its key and for short names, and forgotten; so are the answers of the client to what the daemon asked over a session.
Directories are digested while the build runs, by the same filters as those with which they were sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from depotlab._proto import gateway_pb2, upload_pb2
from depotlab._recorded.contexts import ContextRequest, digest_tree, read_context_request
from depotlab._recorded.heard import BRIDGE, CONTROL, Heard
from depotlab._recorded.hide import Hider
from depotlab._recorded.session import UPLOAD_PULL
from depotlab._recorded.tape import Tape
from depotlab._recorded.writing import Writer
from depotlab._rpc import Call as RpcCall
from depotlab._rpc import Exchange, Side
from depotlab._session import Session
from depotlab._transfer import BadPattern
from depotlab.errors import DepotlabError, RecordingError

__all__ = ["Recorder"]

_CONTENT = "containerd.services.content.v1.Content"
_OURS = frozenset((CONTROL, BRIDGE, _CONTENT))
# Of what the daemon asks for, only what can be asked for again without a network, a login or an agent.
_REPLAYED = frozenset(
    (
        "moby.filesync.v1.FileSync",
        "moby.filesync.v1.FileSend",
        "moby.upload.v1.Upload",
        "moby.buildkit.secrets.v1.Secrets",
        _CONTENT,
    )
)
_DIFF_COPY = "/moby.filesync.v1.FileSync/DiffCopy"


class Recorder:
    """A `Tap` that makes a recording.

    Args:
        is_wanted: Whether a call belongs to the builder that is recorded.
    """

    wants_payloads = True

    def __init__(self, is_wanted: Callable[[Exchange], bool]) -> None:
        self._is_wanted = is_wanted
        self._began_ns = time.time_ns()
        self._recorded_at = datetime.now(UTC).isoformat(timespec="seconds")
        self._heard: dict[int, Heard] = {}
        self._digests: dict[tuple[str, ContextRequest], str] = {}
        self._secrets: set[bytes] = set()
        self._lock = threading.Lock()  # the tap is called on the I/O thread, the rest on others

    def offered(self, session: Session, secrets: Iterable[bytes]) -> None:
        """Hear of a session before it begins: what it offers, and what must not get into the recording.

        A directory is digested before it is sent: whoever waits for the build may change it right after.
        """
        with self._lock:
            self._secrets.update(secrets)
        send = session.handlers[_DIFF_COPY]

        async def digest_and_send(call: RpcCall) -> None:
            request = read_context_request(call.metadata)
            tree = session.trees.get(request[0])
            if tree is not None:
                # What cannot be read is told when it is sent.
                with contextlib.suppress(DepotlabError, BadPattern):
                    digest = await asyncio.to_thread(digest_tree, tree, request)
                    self._digests[session.id, request] = digest
            await send(call)

        session.handlers = {**session.handlers, _DIFF_COPY: digest_and_send}

    @property
    def n_builds(self) -> int:
        """How many builds were asked for."""
        with self._lock:
            return sum(heard.is_build for heard in self._heard.values())

    # --------------------------------------------------------------------------------- the tap

    def began(self, exchange: Exchange) -> None:
        """See `Tap`."""
        known = _OURS if exchange.asker == "client" else _REPLAYED
        is_tunnel = exchange.service == CONTROL and exchange.method == "Session"
        if exchange.service in known and not is_tunnel and self._is_wanted(exchange):
            with self._lock:
                self._heard[exchange.number] = Heard(exchange)

    def message(
        self, exchange: Exchange, sender: Side, size_bytes: int, payload: bytes | None, at_ns: int
    ) -> None:
        """See `Tap`."""
        heard = self._heard.get(exchange.number)
        if heard is None:
            return
        is_process = exchange.method == "ExecProcess"
        if sender == "daemon":
            n_before = len(heard.stdin) if is_process else heard.n_sent
            heard.answers.append((at_ns, payload or b"", n_before))
            return
        heard.n_sent += 1
        if exchange.path == UPLOAD_PULL and payload is not None:
            heard.archive = heard.archive or hashlib.sha256()
            heard.archive.update(upload_pb2.BytesMessage.FromString(payload).data)
        if exchange.asker == "daemon" or payload is None:
            return
        if is_process and heard.requests:
            heard.stdin += gateway_pb2.ExecMessage.FromString(payload).File.Data
        else:
            heard.requests.append(payload)

    def failed(self, exchange: Exchange, details: bytes) -> None:
        """Hear of the typed details of a failure, before `ended`."""
        heard = self._heard.get(exchange.number)
        if heard is not None:
            heard.details = details

    def ended(self, exchange: Exchange, code: int, text: str, at_ns: int) -> None:
        """See `Tap`."""
        heard = self._heard.get(exchange.number)
        if heard is None:
            return
        heard.ended_ns, heard.code, heard.text = at_ns, code, text
        if exchange.path == _DIFF_COPY:
            asked = exchange.session_id or "", read_context_request(exchange.headers)
            heard.context = self._digests.get(asked, "")

    # --------------------------------------------------------------------------------- the tape

    def tape(self, *, buildkit: str, registry: str, keeps_history: bool) -> Tape:
        """Return what was heard so far, as a recording. Blocks for what that takes.

        Args:
            buildkit: Version of the daemon; empty takes what its workers say.
            registry: Beside it, or empty.
            keeps_history: See `Tape`.

        Raises:
            RecordingError: There was no build.
        """
        with self._lock:
            heard = sorted(self._heard.values(), key=lambda one: one.exchange.number)
        if not any(one.is_build for one in heard):
            raise RecordingError(
                "Nothing was built or looked at while it was recorded.",
                hint="build inside the block: with depotlab.record(path, builder) as bk: bk.build(...)",
            )
        writer = Writer(heard, self._began_ns, Hider(self._secrets))
        builds, calls = writer.write()
        buildkit = buildkit or next(filter(None, (one.version for one in heard)), "")
        return Tape(
            self._recorded_at, self._began_ns, buildkit, registry, builds, calls, keeps_history
        )
