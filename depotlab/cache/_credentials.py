"""What only this machine knows: the token of a GitHub job, the keys of an AWS user.

GitHub: as `buildctl` does it. AWS: the environment, then the files of the AWS command line. Other ways to
log in there (single sign-on, roles, programs) need its library; their keys can be put into the environment.

Source: moby/buildkit `cmd/buildctl/build/util.go`; docker/buildx `util/buildflags/cache.go`; AWS SDKs and Tools
Reference Guide, "Shared config and credentials files".
"""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from pathlib import Path

from depotlab.cache._value import Attrs, Cache
from depotlab.errors import UsageError

__all__ = ["client_attrs"]

_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_AWS_KEYS = {
    "access_key_id": "aws_access_key_id",
    "secret_access_key": "aws_secret_access_key",
    "session_token": "aws_session_token",
}
_OTHER_LOGINS = ("sso_session", "sso_start_url", "role_arn", "credential_process", "login_session")


def client_attrs(cache: Cache, environment: Mapping[str, str]) -> Attrs:
    """Return the attributes that this machine adds to those that were given.

    Raises:
        UsageError: Something that the daemon cannot do without is not there.
    """
    if not cache.needs_client:
        return Attrs()
    return _github(cache, environment) if cache.type == "gha" else _aws(cache, environment)


def _github(cache: Cache, environment: Mapping[str, str]) -> Attrs:
    given = {**cache.attrs, **cache.secrets}
    found = Attrs()
    version = given.get("version")
    if version is None and environment.get("ACTIONS_CACHE_SERVICE_V2") in _TRUE:
        version = "2"
    results = environment.get("ACTIONS_RESULTS_URL")
    if "url_v2" not in given and version == "2" and results:
        found["url_v2"] = results
    if "url" not in given and (url := environment.get("ACTIONS_CACHE_URL") or results):
        found["url"] = url
    if "token" not in given and (token := environment.get("ACTIONS_RUNTIME_TOKEN")):
        found["token"] = token
    there = {*given, *found}
    lacking = [] if there & {"url", "url_v2"} else ["url= (from ACTIONS_RESULTS_URL)"]
    if "token" not in there:
        lacking.append("token= (from ACTIONS_RUNTIME_TOKEN)")
    if lacking:
        raise UsageError(
            f"cache.gha() lacks {' and '.join(lacking)}.",
            hint="it works in a job of GitHub Actions; a `run:` step there needs an action before it that exports "
            "the runtime, such as crazy-max/ghaction-github-runtime",
        )
    return found


def _aws(cache: Cache, environment: Mapping[str, str]) -> Attrs:
    """Return the keys that the AWS command line would use, or nothing where it would ask elsewhere."""
    if not cache.profile:
        found = _three(environment, {name: key.upper() for name, key in _AWS_KEYS.items()})
        if found:
            return found
    profile = cache.profile or environment.get("AWS_PROFILE") or ""
    home = Path(environment.get("HOME") or "~").expanduser() / ".aws"
    files = (
        (Path(environment.get("AWS_SHARED_CREDENTIALS_FILE") or home / "credentials"), ""),
        (Path(environment.get("AWS_CONFIG_FILE") or home / "config"), "profile "),
    )
    known: dict[str, str] = {}
    looked_at: list[str] = []
    for host_file, prefix in files:
        looked_at.append(str(host_file))
        parsed = _read(host_file.expanduser())
        for section in (f"{prefix}{profile or 'default'}", profile or "default"):
            if parsed.has_section(section):
                entries = dict(parsed.items(section))
                known = {**entries, **known}
                if found := _three(entries, _AWS_KEYS):
                    return found
    if not profile:
        return Attrs()
    how = next((key for key in _OTHER_LOGINS if key in known), "")
    why = f"it logs in by {how}" if how else "it has no keys" if known else "there is none"
    raise UsageError(
        f"cache.s3() cannot use the AWS profile {profile!r}: {why} in {' and '.join(looked_at)}.",
        hint=f"run: eval $(aws configure export-credentials --profile {profile} --format env); or pass the keys",
    )


def _three(source: Mapping[str, str], keys: Mapping[str, str]) -> Attrs:
    """Return key, secret and token; nothing unless there are the first two."""
    found = Attrs((name, source[key]) for name, key in keys.items() if source.get(key))
    return found if {"access_key_id", "secret_access_key"} <= set(found) else Attrs()


def _read(host_file: Path) -> configparser.RawConfigParser:
    parsed = configparser.RawConfigParser(strict=False, default_section="", allow_no_value=True)
    try:
        parsed.read_string(host_file.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return parsed
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        # What configparser says quotes lines of the file, which may be keys.
        reason = (
            (error.strerror or "").lower() if isinstance(error, OSError) else "it is no AWS file"
        )
        raise UsageError(
            f"{host_file}, which has the credentials for cache.s3(), cannot be used: {reason}.",
            hint="correct it, pass the keys, or write credentials='daemon'",
        ) from None
    return parsed
