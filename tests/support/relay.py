"""A relay between a client and a daemon's unix socket, whose connections a test can cut."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class Relay:
    """Forwards bytes both ways. One thread for each direction of each connection.

    Attributes:
        address: For clients.
        n_connections: How many have been made.
    """

    def __init__(self, folder: Path, target: str) -> None:
        self._target = target.removeprefix("unix://")
        self._path = folder / "relay.sock"
        self.address = f"unix://{self._path}"
        self.n_connections = 0
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._deadly = b""
        self._is_closed = False
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._path))
        self._listener.listen(64)
        self._start(self._accept)

    def cut(self) -> None:
        """Break all connections; new ones work."""
        with self._lock:
            sockets, self._open = self._open, []
        for one in sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def cut_when_seen(self, words: bytes) -> None:
        """Break all connections when a client sends these bytes, once; the daemon does not get them."""
        with self._lock:
            self._deadly = words

    def close(self) -> None:
        self._is_closed = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join(10)  # from here on no connection is added
        self.cut()
        for thread in self._threads:
            thread.join(10)
        self._path.unlink(missing_ok=True)

    def _start(self, work, *args) -> None:
        thread = threading.Thread(target=work, args=args, name="relay")
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._is_closed:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            try:
                far.connect(self._target)
            except OSError:
                near.close()
                far.close()
                continue
            with self._lock:
                self.n_connections += 1
                self._open += (near, far)
            users = [2]
            self._start(self._pump, near, far, users, True)
            self._start(self._pump, far, near, users, False)

    def _pump(self, source, target, users, is_from_client) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if is_from_client and self._must_cut(data):
                    self.cut()
                    break
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)
        with self._lock:
            users[0] -= 1
            if users[0]:
                return
            self._open = [one for one in self._open if one not in (source, target)]
        source.close()
        target.close()

    def _must_cut(self, data: bytes) -> bool:
        with self._lock:
            if not self._deadly or self._deadly not in data:
                return False
            self._deadly = b""
            return True


@contextmanager
def running_relay(target: str) -> Iterator[Relay]:
    with tempfile.TemporaryDirectory(prefix="dl-") as folder:
        relay = Relay(Path(folder), target)
        try:
            yield relay
        finally:
            relay.close()
