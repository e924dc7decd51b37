"""Identity tokens that CI systems give to their jobs, and that Depot takes where a trust policy says so.

Each provider is a function from the environment to a token, or None where that CI system does not run us. They are
asked in the order of `PROVIDERS`; the first token is used.

GitHub gives no identity to the jobs of a pull request from a fork. For those of public repositories Depot has a
service of its own: it is told which run we claim to be, and gives a code; the job writes the code into its log, which
everybody can read; when the service has seen it there, it gives the token.

Source: depot/cli `pkg/oidc/github.go`, `pkg/oidc/buildkite.go`, `pkg/oidc/buildkite/`, `pkg/oidc/actionspublic/`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from depotlab._depot.agent import user_agent
from depotlab._depot.errors import IdentityFailed
from depotlab._depot.http1 import Http, HttpBroken, HttpMalformed, HttpUnreached

__all__ = ["AUDIENCE", "PROVIDERS", "Provider", "buildkite", "circleci", "fork", "github", "gitlab"]

AUDIENCE: Final = "https://depot.dev"

Provider = Callable[[Mapping[str, str]], Awaitable[str | None]]

_BUILDKITE_AGENT = "https://agent.buildkite.com/v3"
_CLAIM_URL = "https://actions-public-oidc.depot.dev/claim"
_FORK_TRIES = 60
_FORK_PAUSE_S = 1.0
_FORK_ANSWER_S = 5.0
_MAX_BYTES = 64 * 1024
_TIMEOUT_S = 30.0


async def github(environ: Mapping[str, str]) -> str | None:
    """Ask GitHub Actions; the job needs the permission `id-token: write`.

    Raises:
        IdentityFailed: It was asked, and gave none.
    """
    secret = environ.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "")
    url = environ.get("ACTIONS_ID_TOKEN_REQUEST_URL", "")
    if not secret or not url:
        return None
    parts = urlsplit(url)
    query = urlencode([*_other_than_audience(parts.query), ("audience", AUDIENCE)])
    answer = await _ask(
        "GitHub Actions", "GET", urlunsplit(parts._replace(query=query)), f"bearer {secret}"
    )
    return _text_in(answer, "value", "GitHub Actions")


async def gitlab(environ: Mapping[str, str]) -> str | None:
    """Take the token that the job names in `id_tokens:`; GitLab has put it into DEPOT_OIDC_TOKEN."""
    return environ.get("DEPOT_OIDC_TOKEN") or None if environ.get("GITLAB_CI") else None


async def circleci(environ: Mapping[str, str]) -> str | None:
    """Take the token that CircleCI puts into every job."""
    return environ.get("CIRCLE_OIDC_TOKEN_V2") or None


async def buildkite(environ: Mapping[str, str]) -> str | None:
    """Ask the API that serves Buildkite's agents.

    Raises:
        IdentityFailed: It was asked, and gave none.
    """
    secret = environ.get("BUILDKITE_AGENT_ACCESS_TOKEN", "")
    job = environ.get("BUILDKITE_JOB_ID", "")
    if not secret or not job:
        return None
    base = (environ.get("BUILDKITE_AGENT_ENDPOINT") or _BUILDKITE_AGENT).rstrip("/")
    body = json.dumps({"audience": AUDIENCE}).encode()
    url = f"{base}/jobs/{quote(job, safe='')}/oidc/tokens"
    answer = await _ask("Buildkite", "POST", url, f"Token {secret}", body)
    return _text_in(answer, "token", "Buildkite")


async def fork(
    environ: Mapping[str, str], *, claim_url: str = _CLAIM_URL, pause_s: float = _FORK_PAUSE_S
) -> str | None:
    """Prove to Depot that we are the job of a fork's pull request, by writing into its log. Takes up to a minute.

    Args:
        environ: Of the job.
        claim_url: Of the service.
        pause_s: Between two questions whether it has seen the code.

    Raises:
        IdentityFailed: It was asked, and gave none.
    """
    name = "Depot's service for pull requests of forks"
    run_id = environ.get("GITHUB_RUN_ID", "")
    event = environ.get("GITHUB_EVENT_NAME", "")
    if not run_id or event != "pull_request":
        return None
    repository = await asyncio.to_thread(_forked, environ.get("GITHUB_EVENT_PATH", ""))
    if not repository:
        return None
    claim = {"aud": AUDIENCE, "eventName": event, "repo": repository, "runID": run_id}
    answer = await _ask(name, "POST", claim_url, "", json.dumps(claim).encode())
    code = _text_in(answer, "challengeCode", name)
    exchange_url = _text_in(answer, "exchangeURL", name)
    for _ in range(_FORK_TRIES):
        sys.stdout.write(f"Waiting for OIDC auth challenge {code}\n")
        sys.stdout.flush()
        try:
            token = await _ask(name, "POST", exchange_url, "", timeout_s=_FORK_ANSWER_S)
        except IdentityFailed:  # not seen yet
            await asyncio.sleep(pause_s)
        else:
            return token.decode("ascii", "replace").strip() or None
    raise _failed(name, f"it has not seen the code in the job's log after {_FORK_TRIES} questions")


PROVIDERS: Final[Mapping[str, Provider]] = {
    "GitHub Actions": github,
    "GitLab": gitlab,
    "CircleCI": circleci,
    "Buildkite": buildkite,
    "a fork's pull request": fork,
}
"""By the name that messages use, in the order in which they are asked."""


def _forked(host_path: str) -> str:
    """The public repository that a pull request of a fork is for, as the job's event has it; or empty."""
    try:
        event: Any = json.loads(Path(host_path).read_bytes()) if host_path else None
        into, head = event["repository"], event["pull_request"]["head"]["repo"]["full_name"]
        name = into["full_name"]
        private = into.get("private", False)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""  # no event of a pull request, so none of a fork
    return name if isinstance(name, str) and not private and head != name else ""


def _other_than_audience(query: str) -> list[tuple[str, str]]:
    return [item for item in parse_qsl(query, keep_blank_values=True) if item[0] != "audience"]


async def _ask(
    name: str,
    method: str,
    url: str,
    authorization: str,
    body: bytes = b"",
    *,
    timeout_s: float = _TIMEOUT_S,
) -> bytes:
    parts = urlsplit(url)
    target = urlunsplit(("", "", parts.path or "/", parts.query, ""))
    headers = {
        "accept": "application/json",
        "user-agent": user_agent(),
    }
    if authorization:
        headers["authorization"] = authorization
    if body:
        headers["content-type"] = "application/json"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _failed(name, "its address in the environment is no URL")
    http = Http(f"{parts.scheme}://{parts.netloc}")
    try:
        async with (
            asyncio.timeout(timeout_s),
            http.exchange(method, target, headers, body) as answer,
        ):
            if answer.status != 200:
                # The body is not shown: what a token service writes there is not ours to print.
                raise _failed(name, f"HTTP {answer.status}")
            return await answer.read(max_bytes=_MAX_BYTES)
    except TimeoutError:
        raise _failed(name, f"no answer within {timeout_s:g} s") from None
    except (HttpUnreached, HttpBroken, HttpMalformed) as error:
        raise _failed(name, str(error)) from error
    finally:
        http.close()


def _text_in(data: bytes, key: str, name: str) -> str:
    try:
        value = json.loads(data)[key]
    except (ValueError, KeyError, TypeError, RecursionError):
        value = None
    if not isinstance(value, str) or not value:
        raise _failed(name, "there is no token in its answer")
    return value


def _failed(name: str, why: str) -> IdentityFailed:
    return IdentityFailed(
        f"{name} gave this job no identity token: {why}.",
        hint="check that the job may ask for one (GitHub: permissions, id-token: write), or set DEPOT_TOKEN",
        code="unauthenticated",
    )
