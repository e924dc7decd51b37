"""Why a connection to a daemon cannot be made, in words for people, each with what to try."""

from __future__ import annotations

import errno
import socket
import ssl
from pathlib import Path

from depotlab._rpc.endpoint import Endpoint
from depotlab.errors import Unreachable

__all__ = ["find_reason", "not_http2", "reason_of"]


def find_reason(endpoint: Endpoint, *, timeout_s: float) -> Unreachable:
    """Find out by trying once more. Blocks; opens and closes a plain socket."""
    try:
        if path := endpoint.socket_path:
            with socket.socket(socket.AF_UNIX) as plain:
                plain.settimeout(timeout_s)
                plain.connect(path)
        else:
            with socket.create_connection((endpoint.host, endpoint.port), timeout_s) as plain:
                if endpoint.tls is not None:
                    return _tls_reason(endpoint, plain)
    except OSError as error:
        return reason_of(error, endpoint, timeout_s=timeout_s)
    return _error(
        endpoint,
        f"{endpoint.address} accepts connections, but does not speak gRPC as a BuildKit daemon does.",
        "check that it is buildkitd, and whether it expects TLS (pass tls=depotlab.TLS(...))",
    )


def reason_of(error: OSError, endpoint: Endpoint, *, timeout_s: float) -> Unreachable:
    """Turn what connecting or the TLS handshake raised into the error to raise.

    Args:
        error: Of the socket or of `ssl`.
        endpoint: What was tried.
        timeout_s: How long it may have taken.
    """
    path, where = endpoint.socket_path, endpoint.address
    match error:
        case FileNotFoundError():
            message = f"No BuildKit daemon at {where}: the socket does not exist."
            hint = "start the daemon, or use depotlab.local() for an engine on this computer"
        case PermissionError() if path:
            message = f"No permission to use the BuildKit socket {path}{_owner(path)}."
            hint = (
                "join the group that owns the socket, or use depotlab.local() for your own engine"
            )
        case ConnectionRefusedError():
            what = "the socket exists, but nobody listens" if path else "the connection was refused"
            message = f"No BuildKit daemon at {where}: {what}."
            hint = "start the daemon, and check the address"
        case socket.gaierror():
            message = f"The host of {where} cannot be found: {error.strerror}."
            hint = "check the spelling and the network"
        case TimeoutError():
            message = f"{where} did not answer within {timeout_s:g} s."
            hint = "check the address, the firewall and the network"
        case ssl.SSLCertVerificationError():
            message = f"The certificate of {where} is not accepted: {error.verify_message}."
            hint = "pass the authority that signed it as TLS(ca=...), and its name as server_name="
        case ssl.SSLError():
            message = f"TLS with {where} failed: {error.strerror or error}."
            hint = "check that the daemon expects TLS, and which client certificate it accepts"
        case _:
            known = errno.errorcode.get(error.errno or 0)
            name = f" ({known})" if known else ""
            message = f"{where} cannot be reached: {error.strerror or error}{name}."
            hint = "check the address"
    return _error(endpoint, message, hint)


def not_http2(endpoint: Endpoint) -> Unreachable:
    """Return the error for a peer that speaks TLS, and not HTTP/2."""
    where = endpoint.address
    return _error(endpoint, f"{where} speaks TLS, but not HTTP/2.", "check that it is buildkitd")


def _tls_reason(endpoint: Endpoint, plain: socket.socket) -> Unreachable:
    tls = endpoint.tls
    assert tls is not None
    context = ssl.create_default_context(cadata=tls.ca.decode("ascii") if tls.ca else None)
    context.set_alpn_protocols(["h2"])
    with context.wrap_socket(plain, server_hostname=tls.server_name or endpoint.host) as secure:
        if secure.selected_alpn_protocol() != "h2":
            return not_http2(endpoint)
    return _error(
        endpoint,
        f"{endpoint.address} ended the connection after the TLS handshake.",
        "the daemon probably wants another client certificate: check TLS(cert=..., key=...)",
    )


def _error(endpoint: Endpoint, message: str, hint: str) -> Unreachable:
    return Unreachable(message, address=endpoint.address, hint=hint)


def _owner(path: str) -> str:
    """Describe who owns a socket, as ` (mode 0660, owner 0:998)`, or nothing when unknown."""
    try:
        found = Path(path).stat()
    except OSError:
        return ""
    return f" (mode {found.st_mode & 0o7777:04o}, owner {found.st_uid}:{found.st_gid})"
