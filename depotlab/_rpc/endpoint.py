"""Where a daemon is and how to trust it: values only, nothing is opened here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from depotlab._docker import DockerHost
from depotlab._rpc.transport import Dialer, Transport
from depotlab._values import Value
from depotlab.errors import UsageError

__all__ = ["TLS", "Endpoint", "SessionDialer"]

DEFAULT_ADDRESS = "unix:///run/buildkit/buildkitd.sock"
ADDRESS_HINT = (
    "use unix:///path/to/buildkitd.sock, tcp://host:port, docker://, ssh://host, "
    "docker-container://NAME, podman-container://NAME, nerdctl-container://NAME or kube-pod://POD"
)

SessionDialer = Callable[[Sequence[tuple[str, str]]], Awaitable[Transport]]
"""Opens a connection that is a session's own, given the session's metadata; the daemon speaks first on it."""


def _pem(value: bytes | str | Path | None, what: str) -> bytes | None:
    """Take PEM text, PEM bytes or the path of a PEM file."""
    if value is None:
        return None
    if isinstance(value, bytes):
        data = value
    elif isinstance(value, str) and "-----BEGIN" in value:
        data = value.encode()
    elif not isinstance(value, str | Path):
        raise UsageError(
            f"TLS({what}=...) is PEM text or the path of a PEM file, not {type(value).__name__}."
        )
    else:
        try:
            data = Path(value).expanduser().read_bytes()
        except OSError as error:
            raise UsageError(
                f"TLS({what}=...) cannot be read: {error.strerror or error}: {value}",
                hint="pass the PEM text itself, or the path of a readable PEM file",
            ) from error
    if b"-----BEGIN" not in data:
        raise UsageError(
            f"TLS({what}=...) is not PEM: there is no '-----BEGIN' line in it.",
            hint="convert it with: openssl x509 -inform der -in FILE -out FILE.pem",
        )
    return data


@dataclass(frozen=True, slots=True, init=False, repr=False)
class TLS(Value):
    """Certificates for a connection, held in memory only; the repr never shows them.

    Attributes:
        ca: PEM of the authorities to trust. None trusts the authorities that gRPC ships.
        cert: PEM of our certificate chain, for daemons that ask for one (mTLS).
        key: PEM of the private key of `cert`.
        server_name: Name the daemon's certificate must have, when the address has another.
    """

    ca: bytes | None = field(repr=False)
    cert: bytes | None = field(repr=False)
    key: bytes | None = field(repr=False)
    server_name: str

    def __init__(
        self,
        *,
        ca: bytes | str | Path | None = None,
        cert: bytes | str | Path | None = None,
        key: bytes | str | Path | None = None,
        server_name: str = "",
    ) -> None:
        if (cert is None) != (key is None):
            raise UsageError(
                "TLS(cert=..., key=...) must be given together.",
                hint="pass both, or neither when the daemon asks for no client certificate",
            )
        object.__setattr__(self, "ca", _pem(ca, "ca"))
        object.__setattr__(self, "cert", _pem(cert, "cert"))
        object.__setattr__(self, "key", _pem(key, "key"))
        object.__setattr__(self, "server_name", server_name)

    @classmethod
    def from_dir(cls, path: str | Path, *, server_name: str = "") -> TLS:
        """Read the files of a directory, by the names that `buildctl --tlsdir` knows.

        Args:
            path: Directory with `ca.pem` or `ca.crt`, `cert.pem` or `tls.crt`, `key.pem` or `tls.key`.
            server_name: Name the daemon's certificate must have, when the address has another.

        Raises:
            UsageError: One of the three is missing, or is no PEM.

        Example:
            >>> TLS.from_dir("~/.config/buildkit")  # doctest: +SKIP
            TLS(ca=…, cert=…, key=…)
        """
        host_dir = Path(path).expanduser()
        found = []
        for names in (("ca.pem", "ca.crt"), ("cert.pem", "tls.crt"), ("key.pem", "tls.key")):
            host_file = next((host_dir / n for n in names if (host_dir / n).exists()), None)
            if host_file is None:
                raise UsageError(
                    f"TLS.from_dir({str(path)!r}): there is neither {names[0]} nor {names[1]} in it.",
                    hint="pass the files one by one: TLS(ca=..., cert=..., key=...)",
                )
            found.append(host_file)
        ca, cert, key = found
        return cls(ca=ca, cert=cert, key=key, server_name=server_name)

    def __repr__(self) -> str:
        shown = [f"{n}=…" for n in ("ca", "cert", "key") if getattr(self, n) is not None]
        if self.server_name:
            shown.append(f"server_name={self.server_name!r}")
        return f"TLS({', '.join(shown)})"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One daemon. Made from any address by `endpoint_at`; directly for the two kinds of sockets.

    Attributes:
        address: `unix:///absolute/path` or `tcp://host:port`; with a dialer, what messages call it.
        tls: For `tcp` only; None is plain HTTP/2.
        dialer: Opens one connection, for daemons that are not behind a socket of their own.
        session_dialer: Opens the connection of a session, for daemons that want it apart from the others.
        docker: The engine, when the daemon is a Docker Engine's own BuildKit.
        direct: No proxy is on the way, whatever the environment says.
    """

    address: str
    tls: TLS | None = None
    dialer: Dialer | None = field(default=None, repr=False)
    session_dialer: SessionDialer | None = field(default=None, repr=False)
    docker: DockerHost | None = None
    direct: bool = False

    def __post_init__(self) -> None:
        if self.dialer is not None:
            if self.tls is not None:
                raise UsageError(
                    f"tls= does not go with {self.address}.",
                    hint="leave tls= out: what connects brings its own security",
                )
            return
        url = urlsplit(self.address)
        if "@" in url.netloc:
            # Not shown: what is before the @ may be a password.
            raise UsageError(
                f"A {url.scheme}:// address of a BuildKit daemon has no user and no password.",
                hint="write tcp://host:port, with tls=TLS(...) for a daemon that asks who we are",
            )
        if url.scheme == "unix":
            if not self.socket_path.startswith("/"):
                raise UsageError(
                    f"{self.address!r} is not an absolute socket path.",
                    hint="write unix:///run/buildkit/buildkitd.sock, with three slashes",
                )
            if self.tls is not None:
                raise UsageError(
                    "tls= does not go with a unix socket.", hint="leave tls= out, or use tcp://"
                )
        elif url.scheme == "tcp":
            try:
                port = url.port
            except ValueError:
                port = None
            if not url.hostname or port is None:
                raise UsageError(
                    f"{self.address!r} needs a host and a port.", hint="write tcp://10.0.0.7:1234"
                )
        else:
            raise UsageError(
                f"{self.address!r} is not an address of a BuildKit daemon.",
                hint=ADDRESS_HINT,
            )

    @property
    def socket_path(self) -> str:
        """Path of the unix socket, or an empty string."""
        return self.address.removeprefix("unix://") if self.address.startswith("unix://") else ""

    @property
    def host(self) -> str:
        """Host of a tcp address, or `localhost`."""
        return urlsplit(self.address).hostname or "localhost"

    @property
    def port(self) -> int:
        """Port of a tcp address, or 0."""
        return urlsplit(self.address).port or 0
