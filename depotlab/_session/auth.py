"""The registry credentials that the daemon asks for while it pulls and pushes.

For a registry that wants tokens the daemon asks, in this order:

1. `GetTokenAuthority`: our public key, once for each registry and daemon; then `FetchToken`, which we
   do ourselves, so that the password stays here.
2. `VerifyTokenAuthority` in later sessions, while it still has a token: our signature.
3. `Credentials`, if we answer UNAVAILABLE to the first, or the registry wants a password.

A key is ed25519 from HMAC-SHA256(daemon's salt, our seed for the registry, or nothing for an
anonymous one). The Go client counts a registry token as anonymous, so that everybody on the daemon may use
it; we do not. Every answer but OK and UNIMPLEMENTED ends the pull or push, so a
look-up that fails is answered as if there were nothing: most images are public. What was configured
and does not work is reported; if the build fails, that is why.

Source: moby/buildkit `session/auth/auth.go`, `session/auth/authprovider/`.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from depotlab._docker import docker_config_dir
from depotlab._proto import auth_pb2
from depotlab._rpc import Call, Handler, RpcFault, Status, unary
from depotlab._session.credentials import ANONYMOUS, Credentials, config_key
from depotlab._session.dockerconfig import DockerConfig
from depotlab._session.seeds import TokenSeeds
from depotlab._session.service import Report
from depotlab._session.token import CLIENT_ID, TokenRequest, fetch_token
from depotlab.errors import SessionError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["Auth"]

# Helpers of cloud registries hand out passwords that live for five minutes.
_LOOKUP_LIFE_S = 290.0
_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))


class Auth:
    """The service `moby.filesync.v1.Auth`.

    Args:
        given: Credentials in code, by registry host; they go before those of the configuration.
        report: Takes what goes wrong on our side.
        finds: Ask the Docker configuration for hosts that are not given; else they get no login.

    Attributes:
        methods: See `Service`.
    """

    def __init__(
        self,
        given: Mapping[str, Credentials | tuple[str, str]],
        *,
        report: Report,
        finds: bool = True,
    ) -> None:
        self._finds = finds
        self._given = {
            config_key(host): one if isinstance(one, Credentials) else Credentials(*one)
            for host, one in given.items()
        }
        self._report = report
        self._found: dict[str, tuple[float, Credentials]] = {}
        self._looking = asyncio.Lock()
        self._seeds = TokenSeeds(docker_config_dir())
        self.methods: Mapping[str, Handler] = {
            f"/moby.filesync.v1.Auth/{method}": unary(answer)
            for method, answer in self._answers().items()
        }

    def _answers(self) -> dict[str, Callable[[Call, bytes], Awaitable[bytes]]]:
        return {
            "Credentials": self._credentials,
            "FetchToken": self._fetch_token,
            "GetTokenAuthority": self._get_token_authority,
            "VerifyTokenAuthority": self._verify_token_authority,
        }

    async def _credentials(self, _call: Call, message: bytes) -> bytes:
        request = auth_pb2.CredentialsRequest.FromString(message)
        username, secret = (await self._find(request.Host)).login
        return auth_pb2.CredentialsResponse(Username=username, Secret=secret).SerializeToString()

    async def _fetch_token(self, _call: Call, message: bytes) -> bytes:
        request = auth_pb2.FetchTokenRequest.FromString(message)
        wanted = TokenRequest(
            host=request.Host,
            realm=request.Realm,
            service=request.Service,
            scopes=tuple(request.Scopes),
            client_id=request.ClientID or CLIENT_ID,
        )
        credentials = await self._find(request.Host)
        try:
            token = await asyncio.to_thread(fetch_token, wanted, credentials)
        except SessionError as error:
            self._report(error)
            raise RpcFault(Status.UNKNOWN, error.message) from error
        issued_at_s = int(token.issued_at.timestamp()) if token.issued_at else 0
        return auth_pb2.FetchTokenResponse(
            Token=token.text, ExpiresIn=token.life_s, IssuedAt=issued_at_s
        ).SerializeToString()

    async def _get_token_authority(self, _call: Call, message: bytes) -> bytes:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        request = auth_pb2.GetTokenAuthorityRequest.FromString(message)
        key = await self._key(request.Host, request.Salt)
        public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return auth_pb2.GetTokenAuthorityResponse(PublicKey=public).SerializeToString()

    async def _verify_token_authority(self, _call: Call, message: bytes) -> bytes:
        request = auth_pb2.VerifyTokenAuthorityRequest.FromString(message)
        key = await self._key(request.Host, request.Salt)
        # As NaCl's sign does: the signature, then what was signed.
        signed = key.sign(request.Payload) + request.Payload
        return auth_pb2.VerifyTokenAuthorityResponse(Signed=signed).SerializeToString()

    async def _find(self, host: str) -> Credentials:
        """Look credentials up, one registry at a time: some helpers hang when two of them run."""
        key = config_key(host)
        if key in self._given:
            return self._given[key]
        if not self._finds:
            return ANONYMOUS
        async with self._looking:
            looked_at_s, found = self._found.get(key, (float("-inf"), ANONYMOUS))
            if time.monotonic() - looked_at_s > _LOOKUP_LIFE_S:
                found = await asyncio.to_thread(DockerConfig(self._report).find, host)
                self._found[key] = (time.monotonic(), found)
        return found

    async def _key(self, host: str, salt: bytes) -> Ed25519PrivateKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        if os.environ.get("BUILDKIT_NO_CLIENT_TOKEN", "") in _TRUE:
            raise RpcFault(Status.UNAVAILABLE, "client side tokens disabled")
        credentials = await self._find(host)
        proof = b""
        if not credentials.anonymous:
            proof = await asyncio.to_thread(self._seeds.get, host)
            if config_key(host) in self._given:
                # Not the account that `docker login` knows: its tokens must not be taken for ours.
                parts = (*credentials.login, credentials.registry_token)
                proof += hashlib.sha256("\0".join(parts).encode()).digest()
        return Ed25519PrivateKey.from_private_bytes(hmac.digest(salt, proof, "sha256"))
