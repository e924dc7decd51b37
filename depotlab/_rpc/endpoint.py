"""Where a daemon is and how to trust it: values only, nothing is opened here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from depotlab.errors import UsageError

__all__ = ["TLS", "Endpoint"]

DEFAULT_ADDRESS = "unix:///run/buildkit/buildkitd.sock"


def _pem(value: bytes | str | Path | None, what: str) -> bytes | None:
    """Take PEM text, PEM bytes or the path of a PEM file."""
    if value is None:
        return None
    if isinstance(value, bytes):
        data = value
    elif isinstance(value, str) and "-----BEGIN" in value:
        data = value.encode()
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


@dataclass(frozen=True, slots=True, init=False)
class TLS:
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

    def __repr__(self) -> str:
        shown = [f"{n}=…" for n in ("ca", "cert", "key") if getattr(self, n) is not None]
        if self.server_name:
            shown.append(f"server_name={self.server_name!r}")
        return f"TLS({', '.join(shown)})"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One daemon.

    Attributes:
        address: `unix:///absolute/path` or `tcp://host:port`.
        tls: For `tcp` only; None is plain HTTP/2.
    """

    address: str
    tls: TLS | None = None

    def __post_init__(self) -> None:
        url = urlsplit(self.address)
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
                hint="use unix:///path/to/buildkitd.sock or tcp://host:port",
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
