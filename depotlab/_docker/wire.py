"""One HTTP/1.1 connection to an engine, whatever carries it. Blocks."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import socket
import subprocess
import tempfile

from depotlab._docker.host import DockerHost
from depotlab.errors import LinkError, Unreachable

__all__ = ["EngineConnection"]

STOP_S = 3.0
"""How long a connecting program may take to end by itself."""

WORDS_BYTES = 4096
"""How much of what a connecting program complains of goes into an error."""


class EngineConnection(http.client.HTTPConnection):
    """HTTP over a unix socket, TCP, TLS, or a program such as ssh."""

    def __init__(self, host: DockerHost, *, timeout_s: float | None) -> None:
        super().__init__("docker", timeout=timeout_s)
        self._engine_host = host
        self._program: subprocess.Popen[bytes] | None = None
        self._words_fd = -1
        self._opened: socket.socket | None = None

    def connect(self) -> None:
        """Open the connection.

        Raises:
            Unreachable: With the reason.
        """
        where = self._engine_host
        try:
            if where.socket_path:
                self.sock = socket.socket(socket.AF_UNIX)
                self.sock.settimeout(self.timeout)
                self.sock.connect(where.socket_path)
            elif where.argv:
                self._start(where.argv)
            else:
                name, port = where.tcp
                self.sock = socket.create_connection((name, port), self.timeout)
                # A load or a push waits without a limit; a peer that is gone must end it all the same.
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                if where.tls is not None:
                    self.sock = where.tls.context().wrap_socket(self.sock, server_hostname=name)
        except OSError as error:
            self.end()
            raise where.unreachable(error) from error
        # `http.client` forgets it when an answer ends the connection, while the answer is still being read.
        self._opened = self.sock

    def break_off(self) -> None:
        """Let whoever waits for the engine fail now; from another thread. The engine gives up what it did for us."""
        if self._opened is not None:
            with contextlib.suppress(OSError):
                self._opened.shutdown(socket.SHUT_RDWR)

    def _start(self, argv: tuple[str, ...]) -> None:
        program = shutil.which(argv[0])
        if program is None:
            raise Unreachable(
                f"The Docker Engine at {self._engine_host} is reached with the program {argv[0]!r}, "
                "which is not on the PATH.",
                address=self._engine_host.address,
                hint=f"install {argv[0]}",
            )
        ours, theirs = socket.socketpair()
        ours.settimeout(self.timeout)
        self.sock = ours
        # A file and not a pipe: nobody reads along, and a program that says much must not wait.
        with theirs, tempfile.TemporaryFile() as words:
            self._words_fd = os.dup(words.fileno())
            # In a session of its own: Ctrl-C is not meant for it, and it cannot ask on our terminal.
            self._program = subprocess.Popen(
                [program, *argv[1:]],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=words.fileno(),
                start_new_session=True,
            )

    def explained(self, error: OSError | http.client.HTTPException) -> LinkError:
        """Return what to raise for a connection that broke; a program's last words say why."""
        words = ""
        if self._program is not None:
            self.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._program.wait(STOP_S)
            words = os.pread(self._words_fd, WORDS_BYTES, 0).decode("utf-8", "replace").strip()
        if words:
            return Unreachable(
                f"The Docker Engine at {self._engine_host} cannot be reached: {words}",
                address=self._engine_host.address,
                hint=f"try the same in a terminal: {' '.join(self._engine_host.argv)}",
            )
        return LinkError(
            f"The connection to the Docker Engine at {self._engine_host} broke: "
            f"{error or type(error).__name__}.",
            address=self._engine_host.address,
            hint="look into the engine's log",
        )

    def end(self) -> None:
        """Close, and end the program that connects. `http.client` calls `close` itself when a read fails."""
        self.close()
        program, self._program = self._program, None
        if program is not None:
            with program:
                program.terminate()
                try:
                    program.wait(STOP_S)
                except subprocess.TimeoutExpired:
                    program.kill()
        if self._words_fd >= 0:
            os.close(self._words_fd)
            self._words_fd = -1
