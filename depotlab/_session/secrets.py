"""Secrets that the steps and sources of a build ask for.

An id that nobody gave is NOT_FOUND: a step that may do without it goes on, another fails with `secret X: not
found`. Any other code would fail both. The daemon also asks for ids of its own (see `depotlab.secret`), so an
id that is not there is nothing to report.

Source: moby/buildkit `session/secrets/`.
"""

from __future__ import annotations

from collections.abc import Mapping

from depotlab._proto import secrets_pb2
from depotlab._rpc import Call, Handler, RpcFault, Status, unary
from depotlab._session.service import Report
from depotlab.secret import Secret

__all__ = ["Secrets"]


class Secrets:
    """The service `moby.buildkit.secrets.v1.Secrets`.

    Args:
        secrets: By id; those that were not read yet are read here.
        report: As for other services; nothing can go wrong once the values are read.

    Attributes:
        methods: See `Service`.

    Raises:
        UsageError: A secret cannot be read.
    """

    def __init__(self, secrets: Mapping[str, Secret], *, report: Report) -> None:
        self._values = {name: one.read() for name, one in secrets.items()}
        self.methods: Mapping[str, Handler] = {
            "/moby.buildkit.secrets.v1.Secrets/GetSecret": unary(self._get_secret)
        }

    async def _get_secret(self, _call: Call, message: bytes) -> bytes:
        name = secrets_pb2.GetSecretRequest.FromString(message).ID
        if name not in self._values:
            raise RpcFault(Status.NOT_FOUND, f"the build was given no secret {name!r}")
        return secrets_pb2.GetSecretResponse(data=self._values[name]).SerializeToString()
