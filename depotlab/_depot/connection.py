"""What one answer to "where is my machine" asks of us. No clock, no network.

The server says `pending` with a time to wait, or `active` with an address, the name that the machine's certificate has,
the authority that signed it, and a certificate and key of this build. All three are PEM. What is missing or malformed
is named by its field, and never shown.

A machine is dialled directly even where the API is behind an HTTP proxy: the official command line does so.
Source: depot/cli `pkg/machine/machine.go`.
"""

from __future__ import annotations

from dataclasses import dataclass

from depotlab._depot.errors import BadReply
from depotlab._proto import depot_cli_pb2 as cli
from depotlab._rpc import TLS, Endpoint
from depotlab.errors import UsageError

__all__ = ["Found", "Wait", "read_connection"]

MIN_WAIT_S = 0.05
_METHOD = "GetBuildKitConnection"


@dataclass(frozen=True, slots=True)
class Wait:
    """Ask again after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Found:
    """The machine is there.

    Attributes:
        endpoint: Where, with the certificates.
        gzip: The server asks us to compress messages to the machine.
    """

    endpoint: Endpoint
    gzip: bool = False


def read_connection(reply: cli.GetBuildKitConnectionResponse) -> Wait | Found:
    """Say what an answer asks of us.

    Raises:
        BadReply: It cannot be used; the message names the field.
    """
    match reply.WhichOneof("connection"):
        case "pending":
            return Wait(max(reply.pending.wait_ms / 1000, MIN_WAIT_S))
        case "active":
            return _found(reply.active)
        case _:
            raise _bad("connection", "is neither pending nor active")


def _found(active: cli.GetBuildKitConnectionResponse.Active) -> Found:
    if not active.endpoint:
        raise _bad("active.endpoint", "is empty")
    if not active.endpoint.startswith("tcp://"):
        raise _bad("active.endpoint", "does not begin with tcp://")
    tls = _tls(active)
    try:
        endpoint = Endpoint(active.endpoint, tls=tls, direct=True)
    except UsageError:
        raise _bad("active.endpoint", "is not tcp://host:port") from None
    return Found(endpoint, gzip=active.WhichOneof("compressor") == "gzip")


def _tls(active: cli.GetBuildKitConnectionResponse.Active) -> TLS:
    # Loaded when a machine is near: the rest of the library does not need it.
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    texts = {
        "active.ca_cert.cert": active.ca_cert.cert,
        "active.cert.cert": active.cert.cert,
        "active.cert.key": active.cert.key,
    }
    for name, text in texts.items():
        if not text.strip():
            raise _bad(name, "is empty; a machine is never spoken to without certificates")
    ca, cert, key = (text.encode() for text in texts.values())
    # gRPC does not say what is wrong with a certificate: it fails to connect, for ever.
    for name, pem in (("active.ca_cert.cert", ca), ("active.cert.cert", cert)):
        try:
            found = x509.load_pem_x509_certificates(pem)
        except (ValueError, UnsupportedAlgorithm):
            raise _bad(name, "is no certificate in PEM") from None
        if name == "active.cert.cert":
            ours = found[0].public_key()
    try:
        private = load_pem_private_key(key, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _bad("active.cert.key", "is no private key in PEM without a password") from None
    if private.public_key() != ours:
        raise _bad("active.cert.key", "does not belong to active.cert.cert")
    return TLS(ca=ca, cert=cert, key=key, server_name=active.server_name)


def _bad(field_name: str, what: str) -> BadReply:
    return BadReply(
        f"{_METHOD}: the answer cannot be used: {field_name} {what}.",
        hint="report it to who runs the server",
        code="internal",
        method=_METHOD,
    )
