"""A bucket of S3, or of what speaks its protocol, as the store of contexts.

Up to three addresses lead to one bucket: that of this process, that of those who upload, and that of build machines. A
signature covers the host, so an address is signed for the endpoint that it will be used at. PUT is signed without a
length, because `curl -T file URL` is how people upload; S3 itself then takes up to 5 GiB, and `check` refuses what is
over the limit before a machine is asked for, from the length that the bucket tells. Until it expires such an address
can be used again, so `check` returns the digest of what it read, and a machine takes nothing else. On a repeat the
daemon sends HEAD to an address that is signed for GET, is refused with 403, and goes on with GET.

boto3 blocks, so it is called in threads. Its own retries are on: it waits longer each time.

Source: AWS "Signature Version 4", "Uploading objects with presigned URLs"; botocore `config.py`, `exceptions.py`.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO, Literal, TypeVar, cast

from depotlab._values import Value
from depotlab.errors import DepotlabError, MissingExtra, StorageError, UsageError
from depotlab.service._boundary import ContextFacts, Upload
from depotlab.service._storage.endpoints import base_url
from depotlab.service._storage.refusals import encoded, missing, too_large
from depotlab.service._storage.signing import is_key
from depotlab.service._storage.threads import Threads

__all__ = ["S3Storage"]

T = TypeVar("T")
Who = Literal["us", "uploaders", "machines"]

_CONNECT_S = 5.0
_READ_S = 30.0
_MOST_TRIES = 4
_MOST_CONNECTIONS = 16
_ANY_REGION = "us-east-1"  # servers that are not Amazon's have one region, and most call it so
_MOST_EXPIRES_S = 7 * 86_400  # of a signature

# What a server says that is worth another try, beyond every status from 500 on.
_PASSING = frozenset(
    {
        "RequestTimeout",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
        "RequestLimitExceeded",
        "OperationAborted",
    }
)
_HINTS = {
    "AccessDenied": "the keys may not do this: they need s3:GetObject, s3:PutObject, s3:DeleteObject, and to tell what "
    "is not there s3:ListBucket",
    "ExpiredToken": "get new temporary credentials",
    "InvalidAccessKeyId": "check access_key_id",
    "NoSuchBucket": "check the bucket's name, the region and the endpoint",
    "PermanentRedirect": "give the region= of the bucket",
    "AuthorizationHeaderMalformed": "give the region= of the bucket",
    "RequestTimeTooSkewed": "set the clock of this computer",
    "SignatureDoesNotMatch": "check secret_access_key, and that no proxy changes the host",
}


class S3Storage(Value):
    """A bucket of S3, or of any server that speaks its protocol.

    Args:
        bucket: It is there already. A service removes its archives when it forgets their builds; for what no service
            knows of, give it a rule for its life cycle, or call `sweep`.
        prefix: Of all keys in it.
        endpoint_url: How this process reaches the server; that of Amazon when it is not given.
        public_endpoint_url: How those who upload reach it; as this process when it is not given.
        build_endpoint_url: How build machines reach it; as those who upload when it is not given.
        region: Of the bucket; as the environment and the files of `aws` say when it is not given.
        access_key_id: With `secret_access_key`; when neither is given, boto3 looks for credentials where it always
            does: environment, files, roles of the machine or the container.
        secret_access_key: The secret to it.
        session_token: Of temporary credentials. Addresses that they sign are good no longer than they are.
        path_style: Whether the bucket stands in the path (`https://HOST/BUCKET/…`) and not in the host's name; it does
            when `endpoint_url` is given. Amazon's buckets with a dot in their name need it.

    Raises:
        UsageError: An argument is wrong.

    Example:
        >>> S3Storage("contexts", endpoint_url="http://minio:9000", public_endpoint_url="https://s3.example.com")
        S3Storage('contexts', endpoint_url='http://minio:9000')
    """

    def __init__(
        self,
        bucket: str,
        *,
        prefix: str = "",
        endpoint_url: str | None = None,
        public_endpoint_url: str | None = None,
        build_endpoint_url: str | None = None,
        region: str | None = None,
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
        session_token: str | None = None,
        path_style: bool | None = None,
    ) -> None:
        if not bucket or "/" in bucket:
            raise UsageError(
                f"bucket {bucket!r} is no name of one.", hint="a folder in it is prefix="
            )
        if bool(access_key_id) != bool(secret_access_key):
            raise UsageError(
                "Only one of access_key_id and secret_access_key is given.",
                hint="give both, or neither to use the credentials that boto3 finds",
            )
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        ours = base_url("endpoint_url", endpoint_url)
        public = base_url("public_endpoint_url", public_endpoint_url) or ours
        machines = base_url("build_endpoint_url", build_endpoint_url) or public
        self._endpoints: dict[Who, str] = {"us": ours, "uploaders": public, "machines": machines}
        self._region = region
        self._credentials = (access_key_id, secret_access_key, session_token)
        # Not "auto": it signs for Amazon's global host, which sends uploads on to the region's, for which the signature
        # is no good. Source: botocore `signers.py`.
        self._style = "path" if (bool(ours) if path_style is None else path_style) else "virtual"
        self._threads: Threads | None = None
        self._session: Any = None
        self._clients: dict[str, Any] = {}
        self._making = threading.Lock()

    def __repr__(self) -> str:
        endpoint = self._endpoints["us"]
        return f"S3Storage({self._bucket!r}{f', endpoint_url={endpoint!r}' if endpoint else ''})"

    def _facts(self) -> Iterable[tuple[str, object]]:
        return [
            ("bucket", self._bucket),
            ("prefix", self._prefix),
            ("endpoint_url", self._endpoints["us"] or "Amazon's"),
            ("public_endpoint_url", self._endpoints["uploaders"]),
            ("build_endpoint_url", self._endpoints["machines"]),
            ("region", self._region),
        ]

    async def open(self) -> None:
        """Get ready. Nothing is sent: a server that is down is found by who needs it.

        Raises:
            MissingExtra: boto3 is not installed.
            StorageError: Its settings, such as a profile that is not there, cannot be used.
        """
        if self._threads is None:
            self._threads = Threads()
            await self._run(lambda: self._client("us"))

    async def close(self) -> None:
        """Let go of connections and threads. Idempotent."""
        threads, self._threads = self._threads, None
        if threads is not None:
            await threads.close()
            for client in self._clients.values():
                client.close()
            self._clients = {}

    async def upload(self, key: str, *, expires_s: int, max_bytes: int) -> Upload:
        """Allow uploads under this key; see `Storage.upload`. The last one counts."""
        if not is_key(key):
            raise UsageError(
                f"key {key[:100]!r} is none.", hint="it looks like 'PROJECT/NANOSECONDS.tar.gz'"
            )
        url = await self._signed("uploaders", "put_object", key, expires_s)
        return Upload(url, key, expires_s, max_bytes)

    async def check(self, key: str, *, max_bytes: int, max_unpacked_bytes: int) -> ContextFacts:
        """Look at what was uploaded while it comes from the bucket; see `Storage.check`."""

        def opened() -> BinaryIO:
            found = self._called(lambda client: client.get_object(**self._at(key)), key=key)
            body = _Body(found["Body"], self._failed, seen)
            # Not every server says how long it is; what is read is counted as well.
            if found.get("ContentLength", 0) > max_bytes:
                body.close()
                raise too_large(max_bytes)
            if found.get("ContentEncoding", "").strip().lower() == "gzip":
                body.close()
                raise encoded("gzip")
            return cast("BinaryIO", body)

        seen = hashlib.sha256()
        facts = await self._opened().check(
            opened, max_bytes=max_bytes, max_unpacked_bytes=max_unpacked_bytes
        )
        # An address for PUT stays good for a while, and what was looked at must stay what is built.
        return replace(facts, digest=f"sha256:{seen.hexdigest()}")

    async def download_url(self, key: str, *, expires_s: int) -> str:
        """Return an address from which a build machine can GET it; see `Storage.download_url`."""
        return await self._signed("machines", "get_object", key, expires_s)

    async def delete(self, key: str) -> None:
        """Remove what is under a key; nothing there is no error."""
        await self._run(lambda: self._called(lambda client: client.delete_object(**self._at(key))))

    async def sweep(self, older_than_s: float) -> int:
        """Remove archives under the prefix that came longer ago; return how many."""

        def remove(client: Any) -> int:
            before = datetime.now(UTC) - timedelta(seconds=older_than_s)
            pages = client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix
            )
            n_removed = 0
            for page in pages:  # a bucket may have millions
                old = [x["Key"] for x in page.get("Contents", ()) if x["LastModified"] < before]
                for name in old:  # one by one: not every server has the call for many
                    client.delete_object(Bucket=self._bucket, Key=name)
                n_removed += len(old)
            return n_removed

        return await self._run(lambda: self._called(remove))

    # ----------------------------------------------------------------------------------- calls

    def _opened(self) -> Threads:
        if self._threads is None:
            raise UsageError(
                "The store of contexts is not open.",
                hint="a service opens and closes its store; alone, `await storage.open()`",
            )
        return self._threads

    async def _run(self, work: Callable[[], T]) -> T:
        return await self._opened().run(work)

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + key}

    async def _signed(self, who: Who, method: str, key: str, expires_s: int) -> str:
        if not 0 < expires_s <= _MOST_EXPIRES_S:
            raise UsageError(f"expires_s is {expires_s}.", hint="S3 signs for a second to 7 days")

        def sign(client: Any) -> str:
            url: str = client.generate_presigned_url(
                method, Params=self._at(key), ExpiresIn=expires_s
            )
            return url

        # In a thread too: the first time credentials may have to be asked for.
        return await self._run(lambda: self._called(sign, who=who))

    def _called(self, call: Callable[[Any], T], *, who: Who = "us", key: str = "") -> T:
        """Call with a client, from a thread, and turn what boto3 raises into ours.

        Raises:
            ContextRefused: There is nothing under `key`.
            StorageError: The server does not answer, or refuses.
        """
        client = self._client(who)
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        try:
            return call(client)
        except ClientError as error:
            if key and _code(error) == "NoSuchKey":
                raise missing(key) from None
            raise self._failed(error) from None
        except (BotoCoreError, ResponseParserError, OSError) as error:
            raise self._failed(error) from None

    def _client(self, who: Who) -> Any:
        """Return the client for one of the endpoints; of equal ones there is one."""
        endpoint = self._endpoints[who]
        with self._making:
            if endpoint not in self._clients:
                self._clients[endpoint] = self._made(endpoint)
            return self._clients[endpoint]

    def _made(self, endpoint: str) -> Any:
        try:
            import boto3
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError
        except ImportError as error:
            raise MissingExtra("S3Storage", extra="service") from error
        key_id, secret, token = self._credentials
        try:
            self._session = self._session or boto3.session.Session(
                aws_access_key_id=key_id,
                aws_secret_access_key=secret,
                aws_session_token=token,
                region_name=self._region,
            )
            client = self._session.client(
                "s3",
                region_name=self._session.region_name or _ANY_REGION,
                endpoint_url=endpoint or None,
                config=Config(
                    signature_version="s3v4",
                    s3={"addressing_style": self._style},
                    connect_timeout=_CONNECT_S,
                    read_timeout=_READ_S,
                    retries={"mode": "standard", "total_max_attempts": _MOST_TRIES},
                    max_pool_connections=_MOST_CONNECTIONS,
                    # Else an address for PUT would want a checksum that curl does not send.
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                ),
            )
        except (BotoCoreError, ValueError) as error:
            raise self._failed(error) from None
        # Else who closes would wait for all tries at a server that hangs: two minutes.
        client.meta.events.register("before-send.s3", self._refuse_when_closed)
        return client

    def _refuse_when_closed(self, **_: object) -> None:
        if self._threads is None:
            raise StorageError("The store of contexts was closed.", is_transient=True)

    def _failed(self, error: BaseException) -> DepotlabError:
        """Return the error for what boto3 raised. Its texts may have keys and signatures in them, so they stay out."""
        from botocore import exceptions as boto

        where = f"The store of contexts ({self._endpoints['us'] or 'S3'}, bucket {self._bucket!r})"
        if isinstance(error, boto.ClientError):
            code = _code(error)
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return StorageError(
                f"{where} refuses: {code} ({status}).",
                is_transient=status >= 500 or status == 429 or code in _PASSING,
                hint=_HINTS.get(code, "the server's own log says more"),
            )
        if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError):
            return StorageError(
                f"{where} needs credentials, and there are none.",
                is_transient=False,
                hint="give access_key_id= and secret_access_key=, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            )
        if isinstance(error, boto.SSLError):
            return StorageError(
                f"{where} has a certificate that is not trusted here, or does not speak TLS.",
                is_transient=False,
                hint="for an authority of your own set AWS_CA_BUNDLE",
            )
        if isinstance(error, _link_errors()):
            return StorageError(
                f"{where} does not answer ({type(error).__name__}).",
                is_transient=True,
                hint="check endpoint_url= and the network",
            )
        return StorageError(
            f"{where} cannot be used: boto3 raised {type(error).__name__}.",
            is_transient=False,
            hint="check the arguments of S3Storage and the files of aws",
        )


def _link_errors() -> tuple[type[BaseException], ...]:
    """What boto3 raises when a server is not there, or breaks off."""
    from botocore import exceptions as boto
    from botocore.parsers import ResponseParserError

    return (
        ResponseParserError,  # a proxy answers in its place, or it was cut off
        boto.ConnectionError,
        boto.HTTPClientError,
        boto.IncompleteReadError,
        boto.ResponseStreamingError,
        boto.CredentialRetrievalError,
        OSError,
    )


def _code(error: Any) -> str:
    code: str = error.response.get("Error", {}).get("Code", "")
    # A server's own word, and so anything; those of the protocol are short.
    return code[:60] if code.isalnum() else "an unknown error"


class _Body:
    """The content of an object while it comes, which `seen` is told of. What breaks off is an error of the store."""

    def __init__(
        self, body: Any, failed: Callable[[BaseException], BaseException], seen: Any
    ) -> None:
        self._body = body
        self._failed = failed
        self._seen = seen

    def read(self, n_bytes: int) -> bytes:
        from botocore.exceptions import BotoCoreError
        from urllib3.exceptions import HTTPError

        try:
            piece: bytes = self._body.read(n_bytes)
        except (BotoCoreError, HTTPError, OSError) as error:
            raise self._failed(error) from None
        self._seen.update(piece)
        return piece

    def close(self) -> None:
        self._body.close()
