"""The one door to all machines of the plane: TLS in front, the daemons' private sockets behind.

A client says by the server name which machine it wants, and proves by its certificate which build it is. What
does not fit is refused before a byte reaches a daemon. Then bytes go both ways as they are; a `Tap` reads along, and
for each build that starts, a `Watch` tells the plane its steps.

Bounded: a connection holds at most a few chunks in each direction, because nothing is read before what was
read is taken.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from depotlab._plane.authority import LEAF_LIFE, Authority, Leaf
from depotlab._plane.calls import connect
from depotlab._plane.identity import Identity, MachineKey, parse_uri
from depotlab._plane.secure import Names
from depotlab._plane.tap import Solve, Tap
from depotlab._plane.watch import Watch
from depotlab._rpc import (
    RpcFailed,
    RpcFault,
    SocketTransport,
    TlsTransport,
    Transport,
    server_context,
)
from depotlab.errors import DepotlabError, EngineError, LinkError

_HANDSHAKE_S = 10.0
# How long the last words of a build may take once nobody holds it any more.
_LAST_WORDS_S = 5.0
_REMEMBERED = 200
_ACCEPT_AGAIN_S = 0.2


class Refused(Exception):
    """A client may not come in. The text says why; the client itself is not told."""


class _Visitor:
    """One build on one machine: its connections, and the readers of its builds there."""

    def __init__(self) -> None:
        self.connections: set[asyncio.Task[None]] = set()
        self.watches: set[asyncio.Task[None]] = set()


class Gate:
    """Lets builds through to their machines. Belongs to the event loop on which it is opened.

    Args:
        authority: Signs the gate's certificates, and those of its clients.
        admit: Given who comes, returns the socket of the daemon; raises `Refused`.
        tell: Takes the serialized status messages of a build.

    Attributes:
        refused: Why the last clients were refused, and other troubles, newest last; for people.
    """

    def __init__(
        self,
        authority: Authority,
        *,
        admit: Callable[[Identity], Path],
        tell: Callable[[str, bytes], None],
    ) -> None:
        self._authority = authority
        self._admit = admit
        self._tell = tell
        self._machines: dict[str, tuple[ssl.SSLContext, datetime] | None] = {}
        self._names: Names | None = None
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._arriving: set[asyncio.Task[None]] = set()
        self._visitors: dict[Identity, _Visitor] = {}
        self.refused: deque[str] = deque(maxlen=_REMEMBERED)

    async def open(self, host: str, port: int = 0) -> None:
        """Listen.

        Raises:
            EngineError: That cannot be.
        """
        unnamed = self._authority.server("nobody.depotlab.internal")
        self._names = Names(self._context_of, self._context(unnamed))
        try:
            self._listener = socket.create_server((host, port), family=_family(host), backlog=256)
        except OSError as error:
            raise EngineError(
                f"The gate of the machines cannot listen on {host}: {error.strerror or error}.",
                hint="choose an address that this computer has, such as 127.0.0.1",
            ) from error
        self._listener.setblocking(False)
        self._accepting = asyncio.create_task(self._accept(self._listener), name="plane gate")

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._listener is not None
        port: int = self._listener.getsockname()[1]
        return port

    async def close(self) -> None:
        """Cut everybody off and stop listening. Can be called twice."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.wait([self._accepting])
        if self._listener is not None:
            self._listener.close()
        await _end(self._arriving)
        for identity in list(self._visitors):
            await self._send_away(identity, last_words_s=0.0)

    # -------------------------------------------------------------------------------- who is here

    def add_machine(self, machine: MachineKey) -> None:
        """Answer to a machine's name from now on."""
        self._machines.setdefault(machine.server_name, None)

    async def send_away(self, identity: Identity) -> None:
        """Cut the connections of a build to one machine; returns when its last status was told.

        What it still built there is cancelled by the daemon when its connections are gone.
        """
        await self._send_away(identity, last_words_s=_LAST_WORDS_S)

    async def send_all_away(self, machine: MachineKey) -> None:
        """As `send_away`, for all builds of a machine that is about to end."""
        leaving = [identity for identity in self._visitors if identity.machine == machine]
        await asyncio.gather(*map(self.send_away, leaving))

    async def _send_away(self, identity: Identity, *, last_words_s: float) -> None:
        visitor = self._visitors.get(identity)
        if visitor is None:
            return
        await _end(visitor.connections)
        if visitor.watches and last_words_s:
            await asyncio.wait(set(visitor.watches), timeout=last_words_s)
        await _end(visitor.watches)
        if not visitor.connections and self._visitors.get(identity) is visitor:
            del self._visitors[identity]

    # ------------------------------------------------------------------------------- coming in

    def _context_of(self, server_name: str) -> ssl.SSLContext | None:
        if server_name not in self._machines:
            self.refused.append(f"a client asked for {server_name!r}, which is no machine")
            return None
        found, now = self._machines[server_name], datetime.now(UTC)
        if found is None or found[1] - now < LEAF_LIFE / 2:
            leaf = self._authority.server(server_name)
            found = self._machines[server_name] = (self._context(leaf), leaf.expires_at)
        return found[0]

    def _context(self, leaf: Leaf) -> ssl.SSLContext:
        pem = (leaf.key_pem + leaf.cert_pem).encode()
        return server_context(pem, client_ca=self._authority.ca_pem)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            # Not `sock_accept`: when it is cancelled just as somebody connects, that connection stays open.
            await _until_readable(listener)
            try:
                accepted, _ = listener.accept()
            except (BlockingIOError, InterruptedError):  # who has connected is gone
                continue
            except OSError as error:  # no descriptor is left, or the client is gone already
                self.refused.append(f"a connection could not be accepted: {error}")
                await asyncio.sleep(_ACCEPT_AGAIN_S)
                continue
            task = loop.create_task(self._serve(accepted), name="plane gate connection")
            self._arriving.add(task)
            # A task that is cancelled before its first step closes nothing itself.
            task.add_done_callback(partial(self._left, accepted))

    def _left(self, accepted: socket.socket, task: asyncio.Task[None]) -> None:
        accepted.close()
        self._arriving.discard(task)
        for visitor in self._visitors.values():
            visitor.connections.discard(task)

    async def _serve(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        plain = SocketTransport(accepted, address="a client")
        try:
            near, identity, host_socket = await self._let_in(plain)
        except Refused as refusal:
            self.refused.append(str(refusal))
            await plain.close()
            return
        except BaseException:
            await plain.close()
            raise
        try:
            await self._carry(near, identity, host_socket)
        except DepotlabError as error:
            self.refused.append(f"build {identity.build_id}: {error.message}")
        finally:
            await near.close()

    async def _let_in(self, plain: SocketTransport) -> tuple[TlsTransport, Identity, Path]:
        assert self._names is not None
        try:
            async with asyncio.timeout(_HANDSHAKE_S):
                near = await TlsTransport.accept(plain, self._names.context, address="a client")
        except ssl.SSLError as error:
            raise Refused(
                f"TLS: {(error.reason or str(error)).replace('_', ' ').lower()}"
            ) from error
        except LinkError as error:
            raise Refused("a client went away before it had said who it is") from error
        except TimeoutError:
            raise Refused(f"a client said nothing for {_HANDSHAKE_S:.0f} s") from None
        try:
            identity = _identify(near, self._names.asked_by(near.session))
            return near, identity, self._admit(identity)
        except BaseException:
            await near.close()
            raise

    # -------------------------------------------------------------------------------- carrying

    async def _carry(self, near: TlsTransport, identity: Identity, host_socket: Path) -> None:
        me = asyncio.current_task()
        assert me is not None
        visitor = self._visitors.setdefault(identity, _Visitor())
        visitor.connections.add(me)
        self._arriving.discard(me)
        far = await connect(host_socket)
        try:
            up = self._carry_up(near, far, identity, host_socket)
            await _first_of(up, _carry_down(far, near))
        finally:
            await far.close()

    async def _carry_up(
        self, near: TlsTransport, far: Transport, identity: Identity, host_socket: Path
    ) -> None:
        tap, me = Tap(), asyncio.current_task()
        assert me is not None
        while (data := await near.read()) is not None:
            for solve in tap.feed(data):
                await self._watch(solve, identity, host_socket, lambda: not me.done())
            await far.write([data])

    async def _watch(
        self, solve: Solve, identity: Identity, host_socket: Path, is_solving: Callable[[], bool]
    ) -> None:
        """Begin to read the status of a build, before the daemon is given its request."""
        if not solve.ref:
            return  # the daemon gives it a name that only the client hears
        watch = await Watch.open(host_socket, solve.ref)
        task = asyncio.create_task(
            self._read_status(watch, identity, is_solving), name=f"plane status of {solve.ref}"
        )
        watches = self._visitors[identity].watches
        watches.add(task)
        task.add_done_callback(watches.discard)

    async def _read_status(
        self, watch: Watch, identity: Identity, is_solving: Callable[[], bool]
    ) -> None:
        try:
            await watch.run(partial(self._tell, identity.build_id), is_solving)
        except (RpcFailed, RpcFault, LinkError) as error:
            # A machine that dies is told of by the one who runs it.
            self.refused.append(f"build {identity.build_id}: no status of {watch.ref}: {error}")
        finally:
            await watch.close()


def _identify(near: TlsTransport, server_name: str) -> Identity:
    """Return who came, when all that was said fits together."""
    known = [identity for uri in near.peer_uris if (identity := parse_uri(uri)) is not None]
    if len(known) != 1:
        raise Refused("a certificate of ours names no build")
    identity = known[0]
    if server_name != identity.machine.server_name:
        raise Refused(
            f"build {identity.build_id} asked for {server_name}, which is not its machine"
        )
    if near.protocol != "h2":
        raise Refused(f"build {identity.build_id} does not speak HTTP/2 (no ALPN h2)")
    return identity


async def _carry_down(far: Transport, near: TlsTransport) -> None:
    while (data := await far.read()) is not None:
        await near.write([data])


async def _first_of(*ways: Coroutine[None, None, None]) -> None:
    """Run both until one ends; raise what went wrong in that one."""
    tasks = [asyncio.create_task(way, name="plane gate bytes") for way in ways]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


async def _end(tasks: set[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait for them."""
    ending = set(tasks)
    for task in ending:
        task.cancel()
    if ending:
        await asyncio.wait(ending)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


async def _until_readable(listener: socket.socket) -> None:
    """Wait until somebody has connected."""
    loop = asyncio.get_running_loop()
    connected = loop.create_future()

    def tell() -> None:
        if not connected.done():
            connected.set_result(None)

    loop.add_reader(listener, tell)
    try:
        await connected
    finally:
        loop.remove_reader(listener)
