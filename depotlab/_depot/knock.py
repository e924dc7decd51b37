"""Why a machine that the API has given us does not answer: is it not there yet, or do its certificates not fit?

The one passes while we wait, the other never does. gRPC reports both as "unavailable", so after a failure we shake
hands once ourselves. We show no certificate of ours: what the machine thinks of that, it says after the handshake.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

from depotlab._rpc import Endpoint
from depotlab.errors import Unreachable

__all__ = ["knock"]

_LIMIT_S: Final = 5.0
# OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED.
_ABOUT_TIME: Final = (9, 10)


async def knock(endpoint: Endpoint) -> bool:
    """Shake hands with a machine.

    Returns:
        True if it answered with a certificate that fits; False if it is not there, or did not speak TLS.

    Raises:
        Unreachable: Its certificate does not fit: another authority, another name, or the wrong time.
    """
    tls = endpoint.tls
    assert tls is not None
    assert tls.ca is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=tls.ca.decode("ascii"))
    context.set_alpn_protocols(["h2"])
    name = tls.server_name or endpoint.host
    try:
        async with asyncio.timeout(_LIMIT_S):
            _, writer = await asyncio.open_connection(
                endpoint.host, endpoint.port, ssl=context, server_hostname=name
            )
    except ssl.SSLCertVerificationError as error:
        raise _refused(endpoint, name, error) from error
    except OSError:  # refused, reset, timed out, another protocol
        return False
    writer.transport.abort()
    return True


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
