"""Caches in GitHub Actions, in S3 and in Azure Blob Storage: the daemon goes there itself, with our credentials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from depotlab.cache._check import Mode, Writer
from depotlab.cache._value import Attrs, Cache
from depotlab.errors import UsageError

__all__ = ["azblob", "gha", "s3"]


def gha(
    *,
    scope: str = "",
    mode: Mode | None = None,
    url: str = "",
    url_v2: str = "",
    token: str = "",
    version: Literal[1, 2] | None = None,
    timeout_s: float | None = None,
    github_token: str = "",
    repository: str = "",
    ignore_error: bool = False,
) -> Cache:
    """Keep the cache in that of GitHub Actions. Works inside a job, where GitHub sets addresses and a token.

    When a build is prepared, what is not given comes from `ACTIONS_RUNTIME_TOKEN`, `ACTIONS_RESULTS_URL`,
    `ACTIONS_CACHE_URL` and `ACTIONS_CACHE_SERVICE_V2`. GitHub shows these to actions, but not to the commands of `run:`
    steps, where an action such as crazy-max/ghaction-github-runtime has to export them first.

    Args:
        scope: Builds of different images need different ones; the daemon's default is `buildkit`.
        mode: `max` keeps the steps of all stages, `min` (the default) those that the result consists of.
        url: Of the service, version 1.
        url_v2: Of the service, version 2.
        token: Of the job.
        version: Of the service's protocol.
        timeout_s: For one cache entry; the daemon's default is ten minutes.
        github_token: For the REST API of GitHub, with `repository`: the daemon then asks once which
            entries there are, and not once for each layer.
        repository: As `owner/name`.
        ignore_error: A cache that cannot be written does not fail the build.

    Raises:
        UsageError: An argument is wrong.

    Example:
        >>> gha(scope="app", mode="max")
        <cache gha scope app, mode=max>
    """
    both, hidden, export = Writer("cache.gha"), Writer("cache.gha"), Writer("cache.gha")
    both.text("scope", scope)
    both.text("url", url)
    both.text("url_v2", url_v2)
    both.number("version", version, 1, 2)
    both.seconds("timeout_s", timeout_s, "timeout")
    both.text("repository", repository)
    hidden.secret("token", token)
    hidden.secret("github_token", github_token, "ghtoken")
    export.export(mode, ignore_error)
    if bool(github_token) != bool(repository):
        raise UsageError(
            "cache.gha() needs github_token= and repository= together.",
            hint="in a job: repository=os.environ['GITHUB_REPOSITORY']",
        )
    return Cache("gha", both.attrs, export.attrs, Attrs(hidden.attrs), needs_client=True)


def s3(
    bucket: str = "",
    *,
    region: str = "",
    prefix: str = "",
    name: str | Sequence[str] = (),
    mode: Mode | None = None,
    endpoint_url: str = "",
    use_path_style: bool | None = None,
    access_key_id: str = "",
    secret_access_key: str = "",
    session_token: str = "",
    profile: str = "",
    credentials: Literal["client", "daemon"] = "client",
    manifests_prefix: str = "",
    blobs_prefix: str = "",
    touch_refresh_s: float | None = None,
    upload_parallelism: int | None = None,
    disable_accept_encoding: bool | None = None,
    retry_mode: Literal["standard", "adaptive"] | None = None,
    retry_max_attempts: int | None = None,
    ignore_error: bool = False,
) -> Cache:
    """Keep the cache in an S3 bucket.

    Credentials: those given here; else, when a build is prepared, those of this machine (`AWS_ACCESS_KEY_ID`,
    `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`, or a profile of `~/.aws/credentials` or `~/.aws/config`); else
    the daemon's own. They go to the daemon with the request. Where a Dockerfile is built, a daemon keeps those of
    `cache_from=` in its build history, for whoever may read that: use keys with few rights there, or
    `credentials="daemon"`.

    Args:
        bucket: Left out, it is that of the daemon's `AWS_BUCKET`.
        region: Left out, it is that of the daemon's `AWS_REGION`.
        prefix: Before the names of all objects, for example `builds/`.
        name: Under which the cache is left, several when wanted; the first is looked for. The default is `buildkit`.
        mode: `max` keeps the steps of all stages, `min` (the default) those that the result consists of.
        endpoint_url: Of another service that speaks the protocol, as the daemon reaches it.
        use_path_style: The bucket in the path instead of the host name. Needs `endpoint_url`.
        access_key_id: With `secret_access_key`; and `session_token` for temporary ones.
        secret_access_key: See `access_key_id`.
        session_token: See `access_key_id`.
        profile: Of the AWS configuration of this machine; `AWS_PROFILE` or `default` when left out.
        credentials: `daemon` sends none.
        manifests_prefix: The default is `manifests/`.
        blobs_prefix: The default is `blobs/`.
        touch_refresh_s: Layers older than this are copied onto themselves, so that rules for
            expiry spare them. The default is a day.
        upload_parallelism: Layers sent at a time; the default is 4.
        disable_accept_encoding: For Google Cloud Storage, whose signatures fail otherwise.
        retry_mode: Of the AWS library.
        retry_max_attempts: Of the AWS library.
        ignore_error: A cache that cannot be written does not fail the build.

    Raises:
        UsageError: An argument is wrong.

    Example:
        >>> s3("my-bucket", region="eu-central-1", access_key_id="A", secret_access_key="B")
        <cache s3 my-bucket, region=eu-central-1, mode=min, access_key_id=•••, secret_access_key=•••>
    """
    both, hidden, export = Writer("cache.s3"), Writer("cache.s3"), Writer("cache.s3")
    _texts(
        both,
        bucket=bucket,
        region=region,
        prefix=prefix,
        endpoint_url=endpoint_url,
        manifests_prefix=manifests_prefix,
        blobs_prefix=blobs_prefix,
    )
    both.names("name", name, "name")
    both.flag("use_path_style", use_path_style)
    both.flag("disable_accept_encoding", disable_accept_encoding)
    both.choice("retry_mode", retry_mode, ("standard", "adaptive"))
    both.number("retry_max_attempts", retry_max_attempts, 1, 1000)
    export.seconds("touch_refresh_s", touch_refresh_s, "touch_refresh")
    export.number("upload_parallelism", upload_parallelism, 1, 1000)
    export.export(mode, ignore_error)
    for argument, value in (
        ("access_key_id", access_key_id),
        ("secret_access_key", secret_access_key),
        ("session_token", session_token),
    ):
        hidden.secret(argument, value)
    if bool(access_key_id) != bool(secret_access_key) or (session_token and not access_key_id):
        raise UsageError(
            "cache.s3() needs access_key_id= and secret_access_key= together.",
            hint="leave both out to use those of this machine",
        )
    if use_path_style and not endpoint_url:
        raise UsageError(
            "cache.s3(use_path_style=True) needs endpoint_url=: the daemon ignores it otherwise.",
            hint="for example endpoint_url='https://minio.example.com'",
        )
    Writer("cache.s3").choice("credentials", credentials, ("client", "daemon"))
    if credentials == "daemon" and (access_key_id or profile):
        raise UsageError(
            "cache.s3(credentials='daemon') sends none, so it takes no keys and no profile.",
            hint="leave credentials= out",
        )
    return Cache(
        "s3",
        both.attrs,
        export.attrs,
        Attrs(hidden.attrs),
        profile=_profile(profile),
        needs_client=credentials == "client" and not access_key_id,
    )


def azblob(
    account_url: str = "",
    *,
    container: str = "",
    account_name: str = "",
    secret_access_key: str = "",
    prefix: str = "",
    name: str | Sequence[str] = (),
    mode: Mode | None = None,
    manifests_prefix: str = "",
    blobs_prefix: str = "",
    ignore_error: bool = False,
) -> Cache:
    """Keep the cache in Azure Blob Storage.

    Args:
        account_url: Such as `https://me.blob.core.windows.net`. Left out, it is that of the daemon's
            `BUILDKIT_AZURE_STORAGE_ACCOUNT_URL`.
        container: Made when it is missing; the default is `buildkit-cache`.
        account_name: Left out, it is the first word of the host name.
        secret_access_key: Of the account. Left out, the daemon uses the identity that it runs under. See `s3` for
            where it goes.
        prefix: Before the names of all blobs.
        name: Under which the cache is left and looked for, several when wanted. The default is `buildkit`.
        mode: `max` keeps the steps of all stages, `min` (the default) those that the result consists of.
        manifests_prefix: The default is `manifests`.
        blobs_prefix: The default is `blobs`.
        ignore_error: A cache that cannot be written does not fail the build.

    Raises:
        UsageError: An argument is wrong.

    Example:
        >>> azblob("https://me.blob.core.windows.net", secret_access_key="B")
        <cache azblob https://me.blob.core.windows.net, mode=min, secret_access_key=•••>
    """
    both, hidden, export = Writer("cache.azblob"), Writer("cache.azblob"), Writer("cache.azblob")
    _texts(
        both,
        account_url=account_url,
        container=container,
        account_name=account_name,
        prefix=prefix,
        manifests_prefix=manifests_prefix,
        blobs_prefix=blobs_prefix,
    )
    both.names("name", name, "name")
    hidden.secret("secret_access_key", secret_access_key)
    export.export(mode, ignore_error)
    return Cache("azblob", both.attrs, export.attrs, Attrs(hidden.attrs))


def _texts(writer: Writer, **values: Any) -> None:
    for argument, value in values.items():
        writer.text(argument, value)
    for argument in ("endpoint_url", "account_url"):
        value = values.get(argument)
        if value and not value.startswith(("http://", "https://")):
            raise UsageError(
                f"{writer.call}({argument}={value!r}) is not a URL.",
                hint="it begins with https://, or with http:// for a service without TLS",
            )


def _profile(profile: Any) -> str:
    if not isinstance(profile, str):
        raise UsageError(
            f"cache.s3(profile={profile!r}) is not the name of a profile.", hint="pass a string"
        )
    return profile
