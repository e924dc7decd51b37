"""Why a machine that the API has given us does not answer: is it not there yet, or do certificates not fit?

The one passes while we wait, the other never does. gRPC reports both as "unavailable", so when a machine lets us wait
we shake hands once ourselves. With TLS 1.3 our side of the handshake is over before the machine has looked at our
certificate: what it thinks of that is an alert, which comes when we first read. So we read for a moment; a machine
that is content says nothing, or begins to speak HTTP/2.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final, Literal

from depotlab._rpc import Endpoint, client_context
from depotlab.errors import Unreachable

__all__ = ["Knocked", "knock"]

Knocked = Literal["nobody", "closed", "let in"]
"""`nobody`: it is not there, or does not speak TLS. `closed`: it ended the connection when we had shown who we are."""

_LIMIT_S: Final = 5.0
_LISTEN_S: Final = 1.0
# OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED.
_ABOUT_TIME: Final = (9, 10)
# Of the alerts that OpenSSL may be told, those about the certificate that we have shown, in the words of its reasons.
# Sources: RFC 8446 6.2; openssl `ssl/ssl_err.c`.
_ABOUT_US: Final = (
    "UNKNOWN_CA",
    "BAD_CERTIFICATE",
    "UNSUPPORTED_CERTIFICATE",
    "CERTIFICATE_REVOKED",
    "CERTIFICATE_EXPIRED",
    "CERTIFICATE_UNKNOWN",
    "CERTIFICATE_REQUIRED",
    "ACCESS_DENIED",
    "DECRYPT_ERROR",
)


async def knock(endpoint: Endpoint) -> Knocked:
    """Shake hands with a machine, and say what came of it.

    Raises:
        Unreachable: Its certificate does not fit: another authority, another name, or the wrong time. Or it says
            that ours does not.
    """
    tls = endpoint.tls
    assert tls is not None
    context = await asyncio.to_thread(client_context, tls)  # reads files
    name = tls.server_name or endpoint.host
    try:
        async with asyncio.timeout(_LIMIT_S):
            reader, writer = await asyncio.open_connection(
                endpoint.host, endpoint.port, ssl=context, server_hostname=name
            )
    except ssl.SSLCertVerificationError as error:
        raise _refused(endpoint, name, error) from error
    except OSError as error:  # refused, reset, timed out, another protocol
        return "closed" if _check_alert(endpoint, error) else "nobody"
    try:
        async with asyncio.timeout(_LISTEN_S):
            return "let in" if await reader.read(1) else "closed"
    except TimeoutError:  # it waits for us to speak
        return "let in"
    except OSError as error:
        _check_alert(endpoint, error)
        return "closed"
    finally:
        writer.transport.abort()


def _check_alert(endpoint: Endpoint, error: OSError) -> bool:
    """Return whether a failure is an alert, which somebody who speaks TLS has sent.

    Raises:
        Unreachable: It says that we have the wrong certificate, or ask for the wrong name.
    """
    reason = (error.reason or "") if isinstance(error, ssl.SSLError) else ""
    said = reason.partition("ALERT_")[2] or reason.partition("TLSV1_")[2]
    words = said.replace("_", " ").lower()
    if said.endswith(_ABOUT_US):
        raise Unreachable(
            f"The machine at {endpoint.address} does not accept the certificate that Depot has given us: {words}.",
            address=endpoint.address,
            hint="check the date and time of this computer; if they are right, report it to who runs the server",
        ) from error
    if said == "UNRECOGNIZED_NAME":
        assert endpoint.tls is not None
        raise Unreachable(
            f"The machine at {endpoint.address} does not know the name {endpoint.tls.server_name!r}, by which Depot "
            "calls it.",
            address=endpoint.address,
            hint="something between here and the machine answers in its place, or the server is set up wrong",
        ) from error
    return bool(said)


def _refused(endpoint: Endpoint, name: str, error: ssl.SSLCertVerificationError) -> Unreachable:
    if error.verify_code in _ABOUT_TIME:
        hint = "check the date and time of this computer; if they are right, report it to who runs the server"
    else:
        hint = "something between here and the machine answers in its place, or the server is set up wrong"
    return Unreachable(
        f"The certificate of the machine at {endpoint.address} is not accepted: {error.verify_message} "
        f"(its name should be {name!r}).",
        address=endpoint.address,
        hint=hint,
    )
